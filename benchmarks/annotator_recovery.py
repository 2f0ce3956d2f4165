"""Does RefineSeg find how a planted annotator confuses classes, whose transition matrix is known?

Two careful annotators and a leaky one draw ACDC: background beside the RV is drawn as RV, myocardium and LV are swapped
near their border. Each leaves 30 % blank. With one careful annotator nobody could say which of the two is wrong. Prints
the mean absolute error of the learned matrices, of what is drawn by predicted class, and of the identity.

    python -m benchmarks.annotator_recovery --data DATA --work WORK --trainers RefineSeg
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.annotations import Annotation, drawings
from benchmarks.planted_annotators import Confusion, draw_planted, transition_matrix_of
from benchmarks.runs import FOLD, DataFolder, RunOptions
from nnunet_weak.images.atomic import atomic_folder
from nnunet_weak.images.read import with_geometry_of
from nnunet_weak.options import option, parse
from nnunet_weak.simulation.drawings import drawn_counts

BACKGROUND, RV, MYOCARDIUM, LV, BLANK = range(5)
PLANTED = {
    "careful": (),
    "second": (),
    "leaky": (Confusion(BACKGROUND, RV, 6.0), Confusion(MYOCARDIUM, LV, 4.0, 0.5), Confusion(LV, MYOCARDIUM, 4.0, 0.5)),
}


@dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    trainers: tuple[str, ...] = option(default=("RefineSeg",), recorded=False, help="without nnUNetTrainer")


def main() -> None:
    options = parse(Options, None, description=__doc__)
    folder = DataFolder(options, "acdc")
    planted = folder.folder / "planted"
    if not planted.exists():
        with atomic_folder(planted) as partial:
            plant_annotators(folder.folder / "train" / "labels", partial)
    maps = [f"--positive {annotator}=planted/{annotator}" for annotator in PLANTED]
    Annotation("planted annotators", drawings(*maps)).prepare(folder, "planted")
    for trainer in options.trainers:
        model, output = folder.train("planted", trainer), f"annotators/{trainer}"
        folder.make(
            f"{output}/annotators.png",
            f"nnunet_weak_report_annotators -m {model} -f {FOLD} -device {options.device} -o {output}",
        )
        print_recovery(planted / "truth.json", folder.folder / output / "annotators.json")


def plant_annotators(labels: Path, output: Path) -> None:
    """Drawings of `PLANTED`, and the matrices that they follow: `truth.json`."""
    counts = {annotator: np.zeros((BLANK, BLANK), np.int64) for annotator in PLANTED}
    for case, path in enumerate(sorted(labels.iterdir())):
        image = sitk.ReadImage(str(path))
        truth = sitk.GetArrayFromImage(image)
        for number, (annotator, confusions) in enumerate(PLANTED.items()):
            seed = int(np.random.default_rng([0, case, number]).integers(2**31))
            drawing = draw_planted(
                truth, image.GetSpacing()[::-1], confusions, num_classes=BLANK, seed=seed, blank_share=0.3
            )
            counts[annotator] += drawn_counts(drawing, truth, BLANK)
            drawn = np.where(drawing == 0, BLANK, drawing.astype(np.int64) - 1).astype(np.uint8)
            (output / annotator).mkdir(exist_ok=True)
            sitk.WriteImage(with_geometry_of(drawn, image), str(output / annotator / path.name))
    matrices = {annotator: transition_matrix_of(count).tolist() for annotator, count in counts.items()}
    (output / "truth.json").write_text(json.dumps(matrices, indent=2))


def print_recovery(truth: Path, learned: Path) -> None:
    maps = json.loads(learned.read_text())["maps"]
    for annotator, matrix in json.loads(truth.read_text()).items():
        planted = np.array(matrix)
        candidates = {view: np.array(maps[annotator][view], float) for view in ("learned", "drawn", "agreement")}
        candidates["identity"] = np.eye(len(planted))
        errors = {view: np.abs(candidate - planted).mean() for view, candidate in candidates.items()}
        print(annotator, " ".join(f"{view} {error:.4f}" for view, error in errors.items()), flush=True)
        print("truth\n", planted.round(3), "\nlearned\n", candidates["learned"].round(3), flush=True)


if __name__ == "__main__":
    main()
