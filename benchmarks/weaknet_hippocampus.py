"""Weak-Net from simulated points against full supervision, stock on templates, and slices of equal effort.

    python benchmarks/weaknet_hippocampus.py WORK --images DIR --labels DIR --values 1 2 --device cuda

Files are named alike in both folders. Nothing is trained, chosen or calibrated on the held-out cases. Every label value
of `--values` belongs to the one object, the Medical Segmentation Decathlon's hippocampus by default.

For each number of points N, well-spread and random: the stock trainer on the templates, Weak-Net with lambda = 0,
Weak-Net, the stock trainer on slices whose outlines are as long in voxels as N points, and a second round: lambda = 0
on templates that follow the probabilities which the first such model has for the training images.
Tables with paired tests and reports: WORK/evaluation_N*. With `--lambdas` and `--distances` those are varied
for the first N, and the effect of gamma is measured: WORK/figure.png. That shows sensitivity; a value chosen from it is
chosen on the held-out cases.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from nnunet_runs import Runs, add_run_options

from nnunet_weak import trainers
from nnunet_weak.simulation.references import read_classes

WITHOUT_RECONSTRUCTION = "WeakNetNoReconstruction"
METHODS = ("WeakNet", WITHOUT_RECONSTRUCTION)
GAMMAS = tuple(round(0.1 * step, 1) for step in range(1, 10))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_options(parser, dataset=561)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--values", type=int, nargs="+", default=[1, 2], help="of the object in the labels")
    parser.add_argument("--points", type=int, nargs="+", default=[25, 125], help="on each object")
    parser.add_argument("--noise-mm", type=float, default=0.5, help="of the clicks")
    parser.add_argument("--sampling", nargs="+", default=["spread", "random"], help="of the clicks, table by table")
    parser.add_argument("--without-slices", action="store_true")
    parser.add_argument("--lambdas", nargs="*", default=[], help="for example 0.001 0.01 0.1 1 10")
    parser.add_argument("--distances", nargs="*", default=[], help="d in mm, for example 1 2 5 10")
    arguments = parser.parse_args()
    lambdas, distances = " ".join(arguments.lambdas), " ".join(arguments.distances)
    bench = Benchmark(arguments, BENCHMARK_LAMBDAS=lambdas, BENCHMARK_DISTANCES=distances)
    bench.collect(images=arguments.images, labels=arguments.labels)
    bench.as_channel_zero("test/images", "imagesTs")
    for part in ("train", "test"):
        write_objects(bench.work / part / "labels", bench.work / part / "objects", arguments.values)
    for sampling in arguments.sampling:
        for count in arguments.points:
            bench.compare(count, sampling)
    if arguments.lambdas or arguments.distances:
        bench.vary(arguments.points[0], arguments.sampling[0])
    return 0


class Benchmark(Runs):
    def compare(self, count: int, sampling: str) -> None:
        """All methods from so many points, on the held-out cases."""
        templates = self.templates(count, sampling)
        first = {method: self.predicted(templates, method) for method in METHODS}
        second = self.predicted(self.second_round(count, sampling), WITHOUT_RECONSTRUCTION)
        predictions = {"second round": second, **first, "stock on templates": self.predicted(templates, "Stock")}
        if not self.arguments.without_slices:
            predictions["stock on slices"] = self.predicted(self.slices(count), "Stock")
        predictions["full supervision"] = self.predicted(self.full(), "Stock")
        self.evaluate(predictions, "object=1", f"evaluation_N{count}_{sampling}", references="objects")

    def vary(self, count: int, sampling: str) -> None:
        """Dice on the held-out cases by lambda, d and gamma."""
        templates = self.templates(count, sampling)
        default, without = (self.predicted(templates, method) for method in METHODS[:2])
        trainer = trainers.nnUNetTrainerWeakNet
        curves = {
            "lambda": {trainer.reconstruction_weight: default, 0.0: without},
            "d": {trainer.boundary_distance_mm: default},
        }
        for label, values in (("lambda", self.arguments.lambdas), ("d", self.arguments.distances)):
            for value in values:
                curves[label][float(value)] = self.predicted(templates, f"WeakNet_{label}{value.replace('.', 'p')}")
        measured = {
            label: {value: self.dice(folder)[0.5] for value, folder in sorted(curve.items())}
            for label, curve in curves.items()
        } | {"gamma": self.dice(default)}
        (self.work / "sensitivity.json").write_text(json.dumps(measured, indent=2))
        draw(measured, self.work / "figure.png")
        print(json.dumps(measured, indent=2))

    def predicted(self, name: str, method: str) -> str:
        """Train on a data set, and predict the held-out cases with probabilities."""
        trainer = f"nnUNetTrainer{method}_benchmark"
        self.train(name, trainer)
        return self.predict(name, trainer, f"{name}_{method}", save_probabilities=True)

    def dice(self, predictions: str) -> dict[float, float]:
        """Mean Dice by gamma, from the stored probabilities."""
        from nnunet_weak.training.calibration import dice_by_threshold

        rows = []
        for path in sorted((self.work / predictions).glob("*.npz")):
            probabilities = np.load(path)["probabilities"].astype(np.float64).clip(1e-9, 1)
            labels = sitk.ReadImage(str(self.work / "test" / "objects" / f"{path.stem}.nii.gz"))
            rows.append(dice_by_threshold(np.log(probabilities), sitk.GetArrayFromImage(labels), GAMMAS))
        return dict(zip(GAMMAS, np.mean(rows, axis=0).tolist(), strict=True))

    def second_round(self, count: int, sampling: str) -> str:
        """The data set of templates that follow the probabilities of the first round's model with lambda = 0."""
        first, trainer = self.templates(count, sampling), f"nnUNetTrainer{WITHOUT_RECONSTRUCTION}_benchmark"
        images = f"nnUNet_raw/{self.folder(first)}/imagesTr"
        predicted = self.predict(first, trainer, f"{first}_training", save_probabilities=True, images=images)
        return self.templates(count, sampling, f"SecondRound{count}{sampling}", f"--follow-prediction {predicted}")

    def templates(self, count: int, sampling: str, name: str = "", options: str = "") -> str:
        """The data set of templates from so many points on each object."""
        name, points = name or f"Points{count}{sampling}", f"points_N{count}_{sampling}"
        processes = self.arguments.np
        self.make(
            points,
            f"nnunet_weak_simulate_points --references train/objects --classes object=1 -n {count} -o {points} "
            f"--noise-mm {self.arguments.noise_mm:g} --sampling {sampling} -np {processes}",
        )
        self.make(
            f"nnUNet_raw/{self.folder(name)}",
            f"nnunet_weak_convert_points --images train/images --points {points} --classes object "
            f"--channel-names MRI -d {self.number(name)} -n {name} -np {processes} {options}",
            show=True,
        )
        self.plan(name)
        return name

    def slices(self, count: int) -> str:
        """The data set of slices with outlines as long as so many points, the rest ignored."""
        name, slices = f"Slices{count}", f"slices_N{count}"
        self.make(
            slices,
            f"nnunet_weak_simulate_slices --references train/objects --classes object=1 --effort {count} -o {slices} "
            f"-np {self.arguments.np}",
            show=True,
        )
        self.write_stock(name, slices, {"background": 0, "object": 1, "ignore": 2})
        self.plan(name)
        return name

    def full(self) -> str:
        """The data set of dense labels."""
        self.write_stock("Full", "train/objects", {"background": 0, "object": 1})
        self.plan("Full")
        return "Full"

    def write_stock(self, name: str, labels: str, values: dict[str, int]) -> None:
        """A raw data set as stock nnU-Net knows it."""
        folder = self.raw / self.folder(name)
        if (folder / "dataset.json").exists():
            return
        self.as_channel_zero("train/images", folder / "imagesTr")
        (folder / "labelsTr").mkdir(exist_ok=True)
        files = sorted((self.work / labels).glob("*.nii.gz"))
        for path in files:
            shutil.copyfile(path, folder / "labelsTr" / path.name)
        content = {
            "channel_names": {"0": "MRI"},
            "labels": values,
            "numTraining": len(files),
            "file_ending": ".nii.gz",
        }
        (folder / "dataset.json").write_text(json.dumps(content, indent=2))


def write_objects(labels: Path, objects: Path, values: list[int]) -> None:
    """Label maps with 1 where the labels have one of the values."""
    objects.mkdir(exist_ok=True)
    for path in labels.glob("*.nii.gz"):
        if not (objects / path.name).exists():
            sitk.WriteImage(read_classes(path, {"object": tuple(values)}), str(objects / path.name))


def draw(curves: dict[str, dict[float, float]], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(curves), 3), layout="constrained")
    FigureCanvasAgg(figure)
    titles = {"lambda": "lambda", "d": "d (mm)", "gamma": "gamma"}
    (axes,) = figure.subplots(1, len(curves), sharey=True, squeeze=False)
    for axis, (name, curve) in zip(axes, curves.items(), strict=True):
        axis.plot(list(curve), list(curve.values()), "o-")
        axis.set_xlabel(titles[name])
        if name == "lambda":
            axis.set_xscale("symlog", linthresh=min(value for value in curve if value > 0))
    axes[0].set_ylabel("Dice")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    sys.exit(main())
