"""A figure of held-out CT cases before and after: initial masks and what became of them, beside the reference.

    python -m benchmarks.before_after --work WORK/mandible_ct \\
        --refined predictions/scores_likelihood-SCOREPlus-0-refined --figure docs/images/mandible.png

Nobody picks the cases: they are those at the quartiles of the change of Dice. The slice is the axial one in which the
reference is largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

import nnunet_weak
from nnunet_weak.options import option, parse

QUARTILES = {0.25: "lower quartile of the gain", 0.5: "median", 0.75: "upper quartile"}
WINDOW_HU = (-200, 1200)
MARGIN_VOXELS = 4


@dataclass(frozen=True, kw_only=True)
class Options:
    work: Path = option(metavar="DIR", help="folder of a data set in the working folder of benchmarks/all.py")
    refined: Path = option(metavar="DIR", help="refined masks, in that folder")
    figure: Path = option(metavar="FILE", help="picture to write")


def main() -> None:
    from matplotlib.figure import Figure

    options = parse(Options, None, description=__doc__)
    held_out = options.work / "held_out"
    rows = {"before": held_out / "initial_masks", "after": options.work / options.refined}
    dice = {
        when: nnunet_weak.evaluate(folder, held_out / "labels").groupby("case")["dice"].mean()
        for when, folder in rows.items()
    }
    change = (dice["after"] - dice["before"]).sort_values()
    print({when: round(float(value.mean()), 3) for when, value in dice.items()}, f"{(change > 0).sum()} better")
    cases = {str(change.index[round(share * (len(change) - 1))]): title for share, title in QUARTILES.items()}
    figure = Figure(figsize=(8.6, 5.4), layout="constrained", facecolor="white")
    panels = figure.subplots(len(rows), len(cases))
    for axes, (when, folder) in zip(panels, rows.items(), strict=True):
        axes[0].set_ylabel("initial mask" if when == "before" else "refined", fontsize=11)
        for axis, (case, title) in zip(axes, cases.items(), strict=True):
            show(axis, held_out, folder, case)
            heading = f"Dice {dice[when][case]:.2f}"
            axis.set_title(f"{title}\n{heading}" if when == "before" else heading, fontsize=10)
    options.figure.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.figure, dpi=110, metadata={"Software": None})


def show(axis: Any, held_out: Path, folder: Path, case: str) -> None:
    """A slice with the outlines of the reference (green) and of a mask (orange)."""
    image, reference, mask = (
        sitk.ReadImage(str(place / f"{case}.nii.gz")) for place in (held_out / "images", held_out / "labels", folder)
    )
    labels, drawn = (sitk.GetArrayFromImage(one) > 0 for one in (reference, mask))
    at = int(labels.sum((1, 2)).argmax())
    where = np.nonzero((labels | drawn)[at])
    window = tuple(slice(max(0, side.min() - MARGIN_VOXELS), side.max() + MARGIN_VOXELS + 1) for side in where)
    x, y, _ = image.GetSpacing()
    low, high = WINDOW_HU
    pixels = sitk.GetArrayFromImage(image)[at][window]
    axis.imshow(pixels, cmap="gray", vmin=low, vmax=high, aspect=y / x, interpolation="bicubic")
    for plane, colour in ((labels, "tab:green"), (drawn, "tab:orange")):
        if plane[at].any():
            axis.contour(plane[at][window], levels=[0.5], colors=colour, linewidths=1.6)
    axis.set_xticks([])
    axis.set_yticks([])


if __name__ == "__main__":
    main()
