"""Weak-Net from simulated points against full supervision, stock on templates, and slices of equal effort.

    python benchmarks/weaknet_hippocampus.py WORK --images DIR --labels DIR --values 1 2 --device cuda

Files are named alike in both folders; the first number in a name is the patient's. Patients whose number leaves the
remainder of `--hold-out MODULO:REMAINDER` are held out: nothing is trained, chosen or calibrated on them. Every label
value of `--values` belongs to the one object, the Medical Segmentation Decathlon's hippocampus by default. Each step is
a command that a user would type; what is complete in WORK is not done again.

For each number of points N: the stock trainer on the templates, Weak-Net with lambda = 0, Weak-Net, Weak-Net with
trust, and the stock trainer on slices whose outlines are as long in voxels as N points. Tables with paired tests and
reports: WORK/evaluation_N*. With `--lambdas` and `--distances` those are varied for the first N, and the effect of
gamma is measured: WORK/figure.png. That shows sensitivity; a value chosen from it is chosen on the held-out cases.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

HERE = Path(__file__).resolve().parent
METHODS = ("WeakNetTrust", "WeakNet", "WeakNetNoReconstruction")
STOCK = "nnUNetTrainerStock_weaknet_benchmark"
GAMMAS = tuple(round(0.1 * step, 1) for step in range(1, 10))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--values", type=int, nargs="+", default=[1, 2], help="of the object in the labels")
    parser.add_argument("--points", type=int, nargs="+", default=[25, 125], help="on each object")
    parser.add_argument("--noise-mm", type=float, default=0.0, help="of the clicks")
    parser.add_argument("--hold-out", default="4:1", metavar="MODULO:REMAINDER")
    parser.add_argument("--most-cases", type=int, help="use the first so many training and held-out cases only")
    parser.add_argument("--without-slices", action="store_true")
    parser.add_argument("--lambdas", nargs="*", default=[], help="for example 0.001 0.01 0.1 1 10")
    parser.add_argument("--distances", nargs="*", default=[], help="d in mm, for example 1 2 5 10")
    parser.add_argument("--configuration", default="3d_fullres", choices=("2d", "3d_fullres"))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--iterations", type=int, default=100, help="per epoch")
    parser.add_argument("--features", type=int, help="of the first stage, for a CPU (default: as planned)")
    parser.add_argument("--batch", type=int, help="patches in a step, for a CPU (default: as planned)")
    parser.add_argument("--without-mirroring", action="store_true", help="when predicting, for a CPU")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("-d", "--dataset", type=int, default=561, help="the first number of several data sets")
    parser.add_argument("-np", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    bench = Benchmark(arguments)
    bench.collect()
    for count in arguments.points:
        bench.compare(count)
    if arguments.lambdas or arguments.distances:
        bench.vary(arguments.points[0])
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
            "WEAKNET_BENCHMARK_EPOCHS": str(arguments.epochs),
            "WEAKNET_BENCHMARK_ITERATIONS": str(arguments.iterations),
            "WEAKNET_BENCHMARK_LAMBDA": " ".join(arguments.lambdas),
            "WEAKNET_BENCHMARK_D": " ".join(arguments.distances),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        }

    def run(self, command: str, show: bool = False) -> None:
        print(f"$ {command}", flush=True)
        start = time.perf_counter()
        done = subprocess.run(shlex.split(command), env=self.environment, capture_output=True, text=True, check=False)
        with (self.work / "log.txt").open("a") as log:
            log.write(f"$ {command}\n{done.stdout}{done.stderr}\n")
        if done.returncode:
            sys.exit(f"failed with exit code {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
        print(f"{done.stdout if show else ''}    {time.perf_counter() - start:.0f} s", flush=True)

    def collect(self) -> None:
        """Training and held-out cases into folders of their own, with one label."""
        modulo, remainder = map(int, self.arguments.hold_out.split(":"))
        counts = {"train": 0, "test": 0}
        for path in sorted(self.arguments.images.glob("*.nii.gz")):
            patient = int(re.findall(r"\d+", path.name)[0])
            part = "test" if patient % modulo == remainder else "train"
            if self.arguments.most_cases and counts[part] >= self.arguments.most_cases:
                continue
            counts[part] += 1
            folder = self.work / part
            for kind in ("images", "labels"):
                (folder / kind).mkdir(parents=True, exist_ok=True)
            if not (folder / "labels" / path.name).exists():
                shutil.copyfile(path, folder / "images" / path.name)
                labels = sitk.ReadImage(str(self.arguments.labels / path.name))
                merged = np.isin(sitk.GetArrayFromImage(labels), self.arguments.values).astype(np.uint8)
                image = sitk.GetImageFromArray(merged)
                image.CopyInformation(labels)
                sitk.WriteImage(image, str(folder / "labels" / path.name))
        inputs = self.work / "imagesTs"
        inputs.mkdir(exist_ok=True)
        for path in (self.work / "test" / "images").iterdir():
            shutil.copyfile(path, inputs / path.name.replace(".nii.gz", "_0000.nii.gz"))
        print(f"{counts['train']} training cases, {counts['test']} held-out cases")

    def compare(self, count: int) -> None:
        """All methods from so many points, on the held-out cases."""
        templates = self.templates(count)
        predictions = {method: self.predicted(templates, f"nnUNetTrainer{method}_benchmark") for method in METHODS}
        predictions["stock on templates"] = self.predicted(templates, STOCK)
        if not self.arguments.without_slices:
            predictions["stock on slices"] = self.predicted(self.slices(count), STOCK)
        predictions["full supervision"] = self.predicted(self.full(), STOCK)
        best, *others = predictions
        baselines = " ".join(f"--baseline '{name}={predictions[name]}'" for name in others)
        self.run(
            f"nnunet_weak_evaluate {predictions[best]} {self.work}/test/labels {baselines} --name {best} "
            f"--labels object=1 --output {self.work}/evaluation_N{count} --report -np {self.arguments.np}",
            show=True,
        )

    def vary(self, count: int) -> None:
        """Dice on the held-out cases by lambda, d and gamma."""
        templates = self.templates(count)
        curves: dict[str, dict[float, float]] = {}
        for label, values in (("lambda", self.arguments.lambdas), ("d", self.arguments.distances)):
            for value in values:
                trainer = f"nnUNetTrainerWeakNet_{label}{value.replace('.', 'p')}_benchmark"
                curves.setdefault(label, {})[float(value)] = self.dice(self.predicted(templates, trainer))[0.5]
        curves["gamma"] = self.dice(self.predicted(templates, "nnUNetTrainerWeakNet_benchmark"))
        (self.work / "sensitivity.json").write_text(json.dumps(curves, indent=2))
        draw(curves, self.work / "figure.png")
        print(json.dumps(curves, indent=2))

    def dice(self, predictions: Path) -> dict[float, float]:
        """Mean Dice by gamma, from the stored probabilities."""
        from nnunet_weak.training.calibration import dice_by_threshold

        rows = []
        for path in sorted(predictions.glob("*.npz")):
            probabilities = np.load(path)["probabilities"].astype(np.float64).clip(1e-9, 1)
            labels = sitk.ReadImage(str(self.work / "test" / "labels" / f"{path.stem}.nii.gz"))
            rows.append(dice_by_threshold(np.log(probabilities), sitk.GetArrayFromImage(labels), GAMMAS))
        return dict(zip(GAMMAS, np.mean(rows, axis=0).tolist(), strict=True))

    def templates(self, count: int) -> int:
        """The data set of templates from so many points on each object."""
        points, train, processes = self.work / f"points_N{count}", self.work / "train", self.arguments.np
        number = self.number(f"Points{count}")
        if not points.exists():
            self.run(
                f"nnunet_weak_simulate_points --references {train}/labels --classes object=1 -n {count} -o {points} "
                f"--noise-mm {self.arguments.noise_mm:g} -np {processes}"
            )
        if not (self.raw / f"Dataset{number}_Points{count}").exists():
            self.run(
                f"nnunet_weak_convert_points --images {train}/images --points {points} --classes object "
                f"--channel-names MRI -d {number} -n Points{count} -np {processes}",
                show=True,
            )
        self.plan(number)
        return number

    def slices(self, count: int) -> int:
        """The data set of slices with outlines as long as so many points, the rest ignored."""
        folder, number = self.work / f"slices_N{count}", self.number(f"Slices{count}")
        if not folder.exists():
            self.run(
                f"nnunet_weak_simulate_slices --references {self.work}/train/labels --classes object=1 "
                f"--effort {count} -o {folder} -np {self.arguments.np}",
                show=True,
            )
        self.write_stock(number, f"Slices{count}", folder, {"background": 0, "object": 1, "ignore": 2})
        self.plan(number)
        return number

    def full(self) -> int:
        number = self.number("Full")
        self.write_stock(number, "Full", self.work / "train" / "labels", {"background": 0, "object": 1})
        self.plan(number)
        return number

    def number(self, name: str) -> int:
        names = ["Full", *(f"{kind}{count}" for count in self.arguments.points for kind in ("Points", "Slices"))]
        return self.arguments.dataset + names.index(name)

    def write_stock(self, number: int, name: str, labels: Path, values: dict[str, int]) -> None:
        folder = self.raw / f"Dataset{number}_{name}"
        if (folder / "dataset.json").exists():
            return
        for part in ("imagesTr", "labelsTr"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        files = sorted(labels.glob("*.nii.gz"))
        for path in files:
            image = self.work / "train" / "images" / path.name
            shutil.copyfile(image, folder / "imagesTr" / path.name.replace(".nii.gz", "_0000.nii.gz"))
            shutil.copyfile(path, folder / "labelsTr" / path.name)
        content = {
            "channel_names": {"0": "MRI"},
            "labels": values,
            "numTraining": len(files),
            "file_ending": ".nii.gz",
        }
        (folder / "dataset.json").write_text(json.dumps(content, indent=2))

    def plan(self, number: int) -> None:
        """Plan and preprocess; all data sets hold the same images and get the same plan."""
        name = next(self.raw.glob(f"Dataset{number}_*")).name
        done = self.preprocessed / name / "planned"
        if done.exists():
            return
        processes = self.arguments.np
        self.run(
            f"nnUNetv2_plan_and_preprocess -d {number} -c {self.arguments.configuration} --verify_dataset_integrity "
            f"-npfp {processes} -np {processes}"
        )
        if self.arguments.features or self.arguments.batch:
            thin = HERE.parent / "examples" / "thin_plan.py"
            options = {"features": self.arguments.features, "batch": self.arguments.batch}
            given = " ".join(f"--{name} {value}" for name, value in options.items() if value)
            self.run(f"{sys.executable} {thin} {name} {given}")
        done.touch()

    def predicted(self, number: int, trainer: str) -> Path:
        """Train where that is not done, and predict the held-out cases."""
        configuration, device = self.arguments.configuration, self.arguments.device
        name = next(self.raw.glob(f"Dataset{number}_*")).name
        model = self.results / name / f"{trainer}__nnUNetPlans__{configuration}"
        output = self.work / "predictions" / f"{name}_{trainer}"
        mirroring = " --disable_tta" if self.arguments.without_mirroring else ""
        if not (model / "fold_0" / "checkpoint_final.pth").exists():
            self.run(f"nnUNetv2_train {number} {configuration} 0 -tr {trainer} -device {device}")
        if not (output / "done").exists():
            self.run(
                f"nnUNetv2_predict -i {self.work}/imagesTs -o {output} -d {number} -c {configuration} -f 0 "
                f"-tr {trainer} -device {device} --save_probabilities -npp 1 -nps 1{mirroring}"
            )
            (output / "done").touch()
        return output


def draw(curves: dict[str, dict[float, float]], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(curves), 3), layout="constrained")
    FigureCanvasAgg(figure)
    titles = {"lambda": "lambda", "d": "d (mm)", "gamma": "gamma"}
    for axis, (name, curve) in zip(np.atleast_1d(figure.subplots(1, len(curves))), curves.items(), strict=True):
        axis.plot(list(curve), list(curve.values()), "o-")
        axis.set_xlabel(titles[name])
        axis.set_ylabel("Dice")
        if name == "lambda":
            axis.set_xscale("log")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    sys.exit(main())
