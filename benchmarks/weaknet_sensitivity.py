"""How much do lambda, d and gamma change the Dice of Weak-Net from 25 points on hippocampi?

Trains with each value of lambda and d; gamma is varied on stored probabilities. Writes sensitivity.json and .png in
WORK/hippocampus. A value chosen from it is chosen on the measured cases: take `--part development` for that.

    python -m benchmarks.weaknet_sensitivity --data DATA --work WORK --part development
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.rows import run_rows
from benchmarks.runs import DataFolder, Row, RunOptions
from benchmarks.trainers.benchmark_trainers import DISTANCES_MM, LAMBDAS, variant
from nnunet_weak.options import parse
from nnunet_weak.trainers import nnUNetTrainerWeakNet as WeakNet
from nnunet_weak.training.calibration import dice_by_threshold

ANNOTATION = "points25_spread"
GAMMAS = tuple(round(0.1 * step, 1) for step in range(1, 10))
DEFAULTS = {"lambda": WeakNet.reconstruction_weight, "d": WeakNet.boundary_distance_mm}


def main() -> None:
    options = parse(RunOptions, None, description=__doc__)
    trainers = {
        label: {value: variant(label, value).removeprefix("nnUNetTrainer") for value in values}
        | {DEFAULTS[label]: "WeakNet"}
        for label, values in (("lambda", LAMBDAS), ("d", DISTANCES_MM))
    }
    trainers["lambda"][0.0] = "WeakNetNoReconstruction"
    names = dict.fromkeys(name for curve in trainers.values() for name in curve.values())
    results = run_rows([Row("hippocampus", ANNOTATION, name) for name in names], options)
    dice = {
        row.trainer: float(np.mean([case["dice"] for case in result["metrics"]])) for row, result in results.items()
    }
    curves = {
        label: {value: dice[name] for value, name in sorted(curve.items()) if name in dice}
        for label, curve in trainers.items()
    }
    folder = DataFolder(options, "hippocampus")
    curves["gamma"] = dice_by_gamma(folder)
    text = json.dumps(curves, indent=2)
    (folder.folder / "sensitivity.json").write_text(text)
    draw(curves, folder.folder / "sensitivity.png")
    print(text)


def dice_by_gamma(folder: DataFolder) -> dict[float, float]:
    """Mean Dice of Weak-Net at each threshold of the probabilities."""
    folder.copy_as_channel_zero("held_out/images", "imagesTs_gamma")
    predictions = folder.predict(ANNOTATION, "WeakNet", images="imagesTs_gamma", probabilities=True)
    rows = []
    for path in sorted((folder.folder / predictions).glob("*.npz")):
        probabilities = np.load(path)["probabilities"].astype(np.float64).clip(1e-9, 1)
        labels = sitk.ReadImage(str(folder.folder / "held_out" / "labels" / f"{path.stem}.nii.gz"))
        rows.append(dice_by_threshold(np.log(probabilities), sitk.GetArrayFromImage(labels), GAMMAS))
    return dict(zip(GAMMAS, np.mean(rows, axis=0).tolist(), strict=True))


def draw(curves: dict[str, dict[float, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(curves), 3), layout="constrained")
    (axes,) = figure.subplots(1, len(curves), sharey=True, squeeze=False)
    for axis, (name, curve) in zip(axes, curves.items(), strict=True):
        axis.plot(list(curve), list(curve.values()), "o-")
        axis.set_xlabel({"d": "d (mm)"}.get(name, name))
    axes[0].set_xscale("symlog", linthresh=min(LAMBDAS))
    axes[0].set_ylabel("Dice")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
