"""RefineSeg against the stock trainer and full supervision on ACDC (cardiac cine MRI: RV, myocardium, LV).

    python benchmarks/refineseg_acdc.py DATA WORK [--epochs 20] [--iterations 100] [--device cuda]

DATA holds `images/`, `labels/` (0 to 3) and `scribbles/` (0 to 3 drawn, 4 blank), files `patientNNN_frameNN.nii.gz`.
Patients whose number leaves a given remainder are held out; both frames of a patient stay together. All data sets are
made by this package's own commands and have the label `ignore`, so that patches are sampled alike. All trainings have
one schedule; nothing is tuned on the held-out patients. The network is nnU-Net's 2d one.

    full            dense labels, stock trainer
    coarse          one simulated annotator, typical: what is there and what is not
    two             two annotators, typical and hasty, positive drawings; beside the stock trainer on STAPLE's fusion
    scribbles       the real scribbles
    scribbles_not   the same with negatives derived from them: a class is not farther than REACH_MM from the convex hull
                    of its scribble in the slice, nor in slices where others are drawn and it is not

What is complete in WORK is not done again. WORK/evaluation holds tables, paired tests over patients and reports.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from skimage.morphology import convex_hull_image

HERE = Path(__file__).resolve().parent
LABELS = "RV=1 MYO=2 LV=3"
DRAWN = f"--labels background=0 {LABELS} --blank 4"
DATASETS = {"full": 541, "coarse": 542, "two": 543, "staple": 544, "scribbles": 545, "scribbles_not": 546}
REACH_MM = 12.0
NONE_OF_THE_TARGETS = 5
RUNS = {
    "full": ("full", "Stock"),
    "coarse_stock": ("coarse", "Stock"),
    "coarse_refineseg": ("coarse", "RefineSeg"),
    "two_stock": ("two", "Stock"),
    "two_staple": ("staple", "Stock"),
    "two_refineseg": ("two", "RefineSeg"),
    "scribbles_stock": ("scribbles", "Stock"),
    "scribbles_refineseg": ("scribbles", "RefineSeg"),
    "scribbles_not_refineseg": ("scribbles_not", "RefineSeg"),
    "coarse_sgd": ("coarse", "RefineSegSGD"),
    "coarse_deep_supervision": ("coarse", "RefineSegDeepSupervision"),
    "coarse_identity": ("coarse", "RefineSegIdentity"),
    "coarse_no_negatives": ("coarse", "RefineSegNoNegatives"),
    "coarse_no_regulariser": ("coarse", "RefineSegNoRegulariser"),
    "coarse_no_warmup": ("coarse", "RefineSegNoWarmup"),
    "coarse_learned_complementary": ("coarse", "RefineSegLearnedComplementary"),
}
DEFAULT_RUNS = list(RUNS)[:9]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--iterations", type=int, default=100, help="per epoch")
    parser.add_argument("--without-mirroring", action="store_true", help="when predicting, for a CPU")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--modulo", type=int, default=4, help="held out: patient number %% MODULO == REMAINDER")
    parser.add_argument("--remainder", type=int, default=3)
    parser.add_argument("--runs", nargs="+", choices=list(RUNS), default=DEFAULT_RUNS)
    parser.add_argument("--limit", type=int, help="patients on either side, for a quick look")
    parser.add_argument("--features", type=int, help="of the first stage, for a CPU (default: as planned)")
    parser.add_argument("--batch", type=int, help="slices in a step, for a CPU (default: as planned)")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated annotators")
    parser.add_argument("-np", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    bench = Benchmark(arguments)
    bench.collect()
    for run in arguments.runs:
        bench.prepare(RUNS[run][0])
        bench.train_and_predict(run)
    bench.evaluate()
    return 0


class Benchmark:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.work = arguments.work.resolve()
        folders = {name: self.work / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
        for path in folders.values():
            path.mkdir(parents=True, exist_ok=True)
        self.raw, self.preprocessed, self.results = folders.values()
        self.environment = {
            **os.environ,
            **{name: str(path) for name, path in folders.items()},
            "nnUNet_extTrainer": str(HERE / "trainers"),
            "nnUNet_n_proc_DA": str(max(1, arguments.np - 1)),
            "nnUNet_compile": "f",  # compiling takes longer than it saves in a short schedule
            "REFINESEG_BENCHMARK_EPOCHS": str(arguments.epochs),
            "REFINESEG_BENCHMARK_ITERATIONS": str(arguments.iterations),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        }

    def run(self, command: str) -> None:
        print(f"$ {command}", flush=True)
        start = time.perf_counter()
        log = self.work / "log.txt"
        with log.open("a") as output:
            done = subprocess.run(shlex.split(command), env=self.environment, stdout=output, stderr=output, check=False)
        if done.returncode:
            sys.exit(f"failed with exit code {done.returncode}:\n{log.read_text()[-3000:]}")
        print(f"    {time.perf_counter() - start:.0f} s", flush=True)

    def collect(self) -> None:
        """Training and held-out patients into folders of their own."""
        modulo, remainder, limit = self.arguments.modulo, self.arguments.remainder, self.arguments.limit
        cases: dict[bool, dict[int, list[str]]] = {False: {}, True: {}}
        for path in sorted((self.arguments.data / "images").glob("patient*.nii.gz")):
            number = int(re.findall(r"\d+", path.name)[0])
            cases[number % modulo == remainder].setdefault(number, []).append(path.name)
        for held_out, part in ((False, "train"), (True, "test")):
            patients = dict(list(cases[held_out].items())[:limit])
            rows = []
            for number, names in patients.items():
                for name in names:
                    rows.append([name.removesuffix(".nii.gz"), f"patient{number:03d}"])
                    for kind in ("images", "labels", "scribbles"):
                        target = self.work / part / kind / name
                        if held_out and kind == "images":
                            target = target.with_name(name.replace(".nii.gz", "_0000.nii.gz"))
                        target.parent.mkdir(parents=True, exist_ok=True)
                        if not target.exists():
                            shutil.copyfile(self.arguments.data / kind / name, target)
            with (self.work / f"{part}_patients.csv").open("w", newline="") as file:
                csv.writer(file).writerows([["case", "patient"], *rows])
            print(f"{part}: {len(patients)} patients, {len(rows)} volumes")

    def prepare(self, name: str) -> None:
        """Drawings, raw data set, plans, preprocessed data."""
        number = DATASETS[name]
        folder = f"Dataset{number}_{name}"
        if (self.preprocessed / folder / "complete").is_file():
            return
        train, np_ = self.work / "train", self.arguments.np
        drawn = self.work / "drawings"
        if name in ("coarse", "two", "staple") and not drawn.is_dir():
            self.run(
                f"nnunet_weak_simulate_coarse --references {train}/labels --labels {LABELS} -o {drawn} --negative "
                f"--annotators anna=typical ben=hasty --seed {self.arguments.seed} -np {np_}"
            )
        if name == "staple":
            self.prepare("two")
            self.run(
                f"nnunet_weak_fuse -d {DATASETS['two']} --method staple -o {number} -n {name} --overwrite -np {np_}"
            )
        else:
            drawings = {
                "full": f"--positive full={train}/labels --references {train}/labels",
                "coarse": f"--positive anna={drawn}/positive_anna --negative anna={drawn}/negative_anna",
                "two": f"--positive anna={drawn}/positive_anna --positive ben={drawn}/positive_ben",
                "scribbles": f"--positive scribble={train}/scribbles",
                "scribbles_not": f"--positive scribble={train}/scribbles --negative scribble={train}/derived "
                f"--none-of-the-targets {NONE_OF_THE_TARGETS}",
            }[name]
            if name == "scribbles_not":
                derive_negatives(train / "scribbles", train / "labels", train / "derived")
            self.run(
                f"nnunet_weak_convert_coarse --images {train}/images {drawings} {DRAWN} --channel-names MRI "
                f"--patients {self.work}/train_patients.csv -d {number} -n {name} --overwrite -np {np_}"
            )
        self.run(f"nnUNetv2_plan_and_preprocess -d {number} -c 2d -npfp {np_} -np {np_} --verify_dataset_integrity")
        if self.arguments.features or self.arguments.batch:
            thin = HERE.parent / "examples" / "thin_plan.py"
            options = {"features": self.arguments.features, "batch": self.arguments.batch}
            given = " ".join(f"--{name} {value}" for name, value in options.items() if value)
            self.run(f"{sys.executable} {thin} {folder} {given}")
        if name != "staple":
            self.run(f"nnunet_weak_preprocess -d {number} -np {np_}")
        (self.preprocessed / folder / "complete").touch()

    def train_and_predict(self, run: str) -> None:
        name, method = RUNS[run]
        number, trainer = DATASETS[name], f"nnUNetTrainer{method}_benchmark"
        output = self.work / "predictions" / run
        wanted = len(list((self.work / "test" / "labels").iterdir()))
        if len(list(output.glob("*.nii.gz"))) == wanted:
            return
        device = self.arguments.device
        mirroring = " --disable_tta" if self.arguments.without_mirroring else ""
        self.run(f"nnUNetv2_train {number} 2d all -tr {trainer} -device {device}")
        self.run(
            f"nnUNetv2_predict -i {self.work}/test/images -o {output} -d {number} -c 2d -f all -tr {trainer} "
            f"-device {device} -npp 1 -nps 1{mirroring}"
        )
        if method.startswith("RefineSeg"):
            model = self.results / f"Dataset{number}_{name}" / f"{trainer}__nnUNetPlans__2d"
            self.run(f"nnunet_weak_annotators {model} -f all -device {device} -o {self.work}/annotators/{run}")

    def evaluate(self) -> None:
        """Each RefineSeg run against the runs on the same drawings, and against full supervision."""
        for run in self.arguments.runs:
            if not RUNS[run][1].startswith("RefineSeg"):
                continue
            group = run.split("_")[0]
            baselines = [
                other
                for other in self.arguments.runs
                if other != run and (other == "full" or other.startswith(f"{group}_"))
            ]
            if not baselines:
                continue
            compared = " ".join(f"--baseline {other}={self.work}/predictions/{other}" for other in baselines)
            output = self.work / "evaluation" / run
            self.run(
                f"nnunet_weak_evaluate {self.work}/predictions/{run} {self.work}/test/labels {compared} "
                f"--labels {LABELS} --patients {self.work}/test_patients.csv --output {output} --report "
                f"-np {self.arguments.np}"
            )
        print_dice(self.work / "evaluation")


def derive_negatives(scribbles: Path, labels: Path, output: Path) -> None:
    """Write what is not there, told from where the scribbles are, and print how often that is wrong."""
    output.mkdir(exist_ok=True)
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
        derived = sitk.GetImageFromArray(result)
        derived.CopyInformation(image)
        sitk.WriteImage(derived, str(output / path.name))
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
