"""RefineSeg against the stock trainer and full supervision on ACDC (cardiac cine MRI: RV, myocardium, LV).

    python benchmarks/refineseg_acdc.py DATA WORK [--epochs 20] [--iterations 100] [--device cuda]

DATA holds `images/`, `labels/` (0 to 3) and, where wanted, `scribbles/` (0 to 3 drawn, 4 blank), files
`patientNNN_frameNN.nii.gz`. Both frames of a patient stay together. All data sets are made by this package's own
commands and have the label `ignore`, so that patches are sampled alike. All trainings have one schedule and take all
training cases; nothing is tuned on the held-out patients.

    full            dense labels, stock trainer
    coarse          one simulated annotator, typical: what is there and what is not
    two             two annotators, typical and hasty, positive drawings; beside the stock trainer on STAPLE's fusion
    scribbles       the real scribbles
    scribbles_not   the same with negatives derived from them: a class is not farther than REACH_MM from the convex hull
                    of its scribble in the slice, nor in slices where others are drawn and it is not
    ..._walker      drawings or scribbles carried on into their blanks by a random walker: a further map for RefineSeg,
                    the label map for the stock trainer
    planted         two careful annotators, and a leaky one whose mistakes are known: background beside the RV is drawn
                    as RV, myocardium and LV are swapped near their border. Each leaves 30 % blank. With one careful
                    annotator nobody could say which of the two is wrong. DATA may be phantoms, which are learned
                    sooner: `nnunet_weak_make_phantoms`, with labels 1 to 3

WORK/evaluation holds tables, paired tests over patients and reports; WORK/annotators what the heads have learned, and
for the planted annotators how far that is from the truth.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from nnunet_runs import Runs, add_run_options
from planted_annotators import Confusion, draw_planted, transition_matrix_of
from scipy import ndimage
from skimage.morphology import convex_hull_image

from nnunet_weak.images.atomic import atomic_folder
from nnunet_weak.images.read import with_geometry_of
from nnunet_weak.simulation.drawings import drawn_counts

LABELS = "RV=1 MYO=2 LV=3"
DRAWN = f"--labels background=0 {LABELS} --blank 4"
REACH_MM = 12.0
NONE_OF_THE_TARGETS = 5
RV, MYOCARDIUM, LV = 1, 2, 3
PLANTED = {
    "careful": (),
    "second": (),
    "leaky": (Confusion(0, RV, 6.0), Confusion(MYOCARDIUM, LV, 4.0, 0.5), Confusion(LV, MYOCARDIUM, 4.0, 0.5)),
}
COMPARISONS = {
    "full": ("full", "Stock"),
    "coarse_stock": ("coarse", "Stock"),
    "coarse_refineseg": ("coarse", "RefineSeg"),
    "coarse_walker_stock": ("coarse_filled", "Stock"),
    "coarse_walker_refineseg": ("coarse_walker", "RefineSeg"),
    "two_stock": ("two", "Stock"),
    "two_staple": ("staple", "Stock"),
    "two_refineseg": ("two", "RefineSeg"),
    "scribbles_stock": ("scribbles", "Stock"),
    "scribbles_refineseg": ("scribbles", "RefineSeg"),
    "scribbles_walker_stock": ("scribbles_filled", "Stock"),
    "scribbles_walker_refineseg": ("scribbles_walker", "RefineSeg"),
    "scribbles_not_stock": ("scribbles_not", "Stock"),
    "scribbles_not_refineseg": ("scribbles_not", "RefineSeg"),
    "scribbles_not_balanced": ("scribbles_not", "RefineSegBalanced"),
}
PARTS = {
    "scribbles_walker_identity": ("scribbles_walker", "RefineSegNoTransitionMatrices"),
    "scribbles_not_identity": ("scribbles_not", "RefineSegNoTransitionMatrices"),
    "planted_stock": ("planted", "Stock"),
    "planted_refineseg": ("planted", "RefineSeg"),
    "planted_head_lr20": ("planted", "RefineSegHeadLR20"),
    "planted_identity": ("planted", "RefineSegNoTransitionMatrices"),
    "coarse_sgd": ("coarse", "RefineSegSGD"),
    "coarse_deep_supervision": ("coarse", "RefineSegDeepSupervision"),
    "coarse_identity": ("coarse", "RefineSegNoTransitionMatrices"),
    "coarse_no_negatives": ("coarse", "RefineSegNoNegatives"),
    "coarse_no_regulariser": ("coarse", "RefineSegNoRegulariser"),
    "coarse_no_warmup": ("coarse", "RefineSegNoWarmup"),
    "coarse_learned_complementary": ("coarse", "RefineSegLearnedComplementary"),
}
RUNS = COMPARISONS | PARTS
FUSED = {
    "staple": ("two", "staple"),
    "coarse_filled": ("coarse", "random_walker"),
    "scribbles_filled": ("scribbles", "random_walker"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    add_run_options(parser, dataset=541, configuration="2d", hold_out="4:3")
    parser.add_argument("--runs", nargs="+", choices=list(RUNS), default=list(COMPARISONS))
    parser.add_argument("--seed", type=int, default=0, help="of the simulated annotators")
    arguments = parser.parse_args()
    with_scribbles = any(RUNS[run][0].startswith("scribbles") for run in arguments.runs)
    kinds = ("images", "labels", "scribbles") if with_scribbles else ("images", "labels")
    bench = Benchmark(arguments)
    bench.collect(**{kind: arguments.data / kind for kind in kinds})
    bench.as_channel_zero("test/images", "imagesTs")
    for name in dict.fromkeys(RUNS[run][0] for run in arguments.runs):
        bench.prepare(name)
    for run in arguments.runs:
        bench.train_and_predict(run)
    bench.compare()
    return 0


class Benchmark(Runs):
    fold = "all"

    def prepare(self, name: str) -> None:
        """Drawings, raw data set, plans, preprocessed data."""
        processes = self.arguments.np
        if name in FUSED:
            source, method = FUSED[name]
            self.prepare(source)
            convert = f"nnunet_weak_fuse -d {self.number(source)} --method {method} -o {self.number(name)} -n {name}"
        else:
            convert = (
                f"nnunet_weak_convert_drawings --images train/images {self.drawings(name)} {DRAWN} --channel-names MRI "
                f"--patients patients.csv -d {self.number(name)} -n {name}"
            )
        self.make(f"nnUNet_raw/{self.folder(name)}", f"{convert} -np {processes}")
        self.plan(name)
        if name not in FUSED:
            self.run(f"nnunet_weak_preprocess_annotations -d {self.number(name)} -np {processes}")

    def drawings(self, name: str) -> str:
        """The converter's options for a data set's drawings, which are made if they have to be."""
        if name.endswith("_walker"):
            return f"{self.drawings(name.removesuffix('_walker'))} --random-walker"
        if name in ("coarse", "two"):
            self.make(
                "drawings",
                f"nnunet_weak_simulate_drawings --references train/labels --classes {LABELS} -o drawings --negative "
                f"--annotators anna=typical ben=hasty --seed {self.arguments.seed} -np {self.arguments.np}",
            )
        train, planted = self.work / "train", self.work / "planted"
        if name == "planted" and not planted.exists():
            with atomic_folder(planted) as folder:
                plant_annotators(train / "labels", folder, self.arguments.seed)
        derived = train / "derived"
        if name == "scribbles_not" and not derived.exists():
            with atomic_folder(derived) as folder:
                derive_negatives(train / "scribbles", train / "labels", folder)
        return {
            "full": "--positive full=train/labels --references train/labels",
            "coarse": "--positive anna=drawings/positive_anna --negative anna=drawings/negative_anna",
            "two": "--positive anna=drawings/positive_anna --positive ben=drawings/positive_ben",
            "planted": " ".join(f"--positive {annotator}=planted/{annotator}" for annotator in PLANTED),
            "scribbles": "--positive scribble=train/scribbles",
            "scribbles_not": "--positive scribble=train/scribbles --negative scribble=train/derived "
            f"--not-any-target {NONE_OF_THE_TARGETS}",
        }[name]

    def train_and_predict(self, run: str) -> None:
        name, method = RUNS[run]
        trainer = f"nnUNetTrainer{method}_benchmark"
        model = self.train(name, trainer)
        self.predict(name, trainer, run)
        if method.startswith("RefineSeg"):
            output = f"annotators/{run}"
            self.make(
                f"{output}/annotators.png",
                f"nnunet_weak_report_annotators -m {model} -f {self.fold} -device {self.arguments.device} -o {output}",
            )
            if name == "planted":
                print_recovery(self.work / "planted" / "truth.json", self.work / output / "annotators.json")

    def compare(self) -> None:
        """Each RefineSeg run against the runs on the same drawings, and against full supervision."""
        for run in self.arguments.runs:
            group = run.split("_")[0]
            others = [other for other in self.arguments.runs if other == "full" or other.startswith(f"{group}_")]
            compared = dict.fromkeys([run, *others])
            if RUNS[run][1].startswith("RefineSeg") and len(compared) > 1:
                self.evaluate({other: f"predictions/{other}" for other in compared}, LABELS, f"evaluation/{run}")
        print_dice(self.work / "evaluation")


def plant_annotators(labels: Path, output: Path, seed: int) -> None:
    """Drawings of `PLANTED`, and the matrices that they follow: `truth.json`."""
    counts = {annotator: np.zeros((4, 4), np.int64) for annotator in PLANTED}
    for case, path in enumerate(sorted(labels.iterdir())):
        image = sitk.ReadImage(str(path))
        truth = sitk.GetArrayFromImage(image)
        for number, (annotator, confusions) in enumerate(PLANTED.items()):
            drawing = draw_planted(
                truth,
                image.GetSpacing()[::-1],
                confusions,
                num_classes=4,
                seed=int(np.random.default_rng([seed, case, number]).integers(2**31)),
                blank_share=0.3,
            )
            counts[annotator] += drawn_counts(drawing, truth, 4)
            drawn = np.where(drawing == 0, 4, drawing.astype(np.int64) - 1).astype(np.uint8)
            (output / annotator).mkdir(exist_ok=True)
            sitk.WriteImage(with_geometry_of(drawn, image), str(output / annotator / path.name))
    matrices = {annotator: transition_matrix_of(count).tolist() for annotator, count in counts.items()}
    (output / "truth.json").write_text(json.dumps(matrices, indent=2))


def print_recovery(truth: Path, learned: Path) -> None:
    """Mean absolute error of the learned matrices, of what is drawn by predicted class, and of the identity."""
    maps = json.loads(learned.read_text())["maps"]
    for annotator, matrix in json.loads(truth.read_text()).items():
        planted = np.array(matrix)
        candidates = {view: np.array(maps[annotator][view], float) for view in ("learned", "drawn", "agreement")}
        candidates["identity"] = np.eye(len(planted))
        errors = {view: np.abs(candidate - planted).mean() for view, candidate in candidates.items()}
        print(annotator, " ".join(f"{view} {error:.4f}" for view, error in errors.items()), flush=True)
        print("truth\n", planted.round(3), "\nlearned\n", candidates["learned"].round(3), flush=True)


def derive_negatives(scribbles: Path, labels: Path, output: Path) -> None:
    """Write what is not there, told from where the scribbles are, and print how often that is wrong."""
    wrong = spoken = 0
    for path in sorted(scribbles.iterdir()):
        image = sitk.ReadImage(str(path))
        drawn, truth = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(folder / path.name))) for folder in (scribbles, labels)
        )
        result = np.full(drawn.shape, 4, np.uint8)
        spacing_mm = image.GetSpacing()[1::-1]
        for index in np.flatnonzero(((drawn > 0) & (drawn < 4)).any((1, 2))):
            result[index] = excluded(drawn[index], spacing_mm)
        none = result == NONE_OF_THE_TARGETS
        wrong += int((none & (truth > 0)).sum() + ((result == truth) & (result < 4)).sum())
        spoken += int((result != 4).sum())
        sitk.WriteImage(with_geometry_of(result, image), str(output / path.name))
    print(f"derived negatives: {spoken} voxels, {wrong / spoken:.4f} of them wrong", flush=True)


def excluded(drawn: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """What a slice is not: the class whose hull is nearest among those out of reach, 5 where all are, 4 where none."""
    distances = []
    for label in (1, 2, 3):
        scribble = drawn == label
        hull = convex_hull_image(scribble) if scribble.sum() > 2 else scribble
        away = ndimage.distance_transform_edt(~hull, sampling=spacing_mm) if hull.any() else np.full(drawn.shape, 1e6)
        distances.append(np.where(away > REACH_MM, away, np.inf))
    nearest = np.argmin(distances, axis=0) + 1
    outside = np.isfinite(distances).sum(0)
    return np.select([outside == 3, outside > 0], [NONE_OF_THE_TARGETS, nearest], 4)


def print_dice(folder: Path) -> None:
    import pandas as pd

    tables = [pd.read_csv(path) for path in sorted(folder.glob("*/evaluation.csv"))]
    if tables:
        every = pd.concat(tables).drop_duplicates(["method", "case", "label"])
        every.columns = [column.casefold() for column in every.columns]
        table = every.pivot_table("dice", "method", "label", "mean")
        print(table.assign(mean=table.mean(axis=1)).to_string(float_format=lambda value: f"{value:.3f}"))


if __name__ == "__main__":
    sys.exit(main())
