"""The figure of the README: for each method an annotation with its minutes, and held-out mandibles before and after.

    python -m benchmarks.all --data DATA --work WORK --rows mandible_ct ...
    python -m benchmarks.before_after --work WORK/mandible_ct --figure docs/images/before_after.png

Nobody picks the cases: annotated is the first of the training, held out the median of the change of Dice. The slice is
the axial one in which the reference is largest. Minutes are estimated: 1 s for a corner of an outline, 3 s for a point.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

import nnunet_weak
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.options import option, parse

SECONDS_OF_CORNER, SECONDS_OF_POINT = 1, 3
POINTS, DRAWINGS = "points_25_spread", "drawings"
WINDOW_HU = (-200, 1200)
MARGIN_VOXELS = 6


@dataclass(frozen=True)
class Panels:
    """A row of the figure: titles, and the folders of label maps before and after."""

    method: str
    annotation: str
    before: tuple[str, str]
    after: tuple[str, str]


ROWS = (
    Panels(
        "SCORE",
        "mask of a weak model\n0 min",
        ("the mask itself", "held_out/initial_masks"),
        ("SCOREPlus", "predictions/scores_likelihood-SCOREPlus-0-refined"),
    ),
    Panels(
        "RefineSeg",
        "rough drawing",
        ("stock nnU-Net on it", "predictions/coarse-Stock-0-imagesTs"),
        ("RefineSegPlus", "predictions/coarse_walker-RefineSegPlus-0-imagesTs"),
    ),
    Panels(
        "Weak-Net",
        "25 points",
        ("2 patients drawn, no points", "predictions/few2-Stock-0-imagesTs"),
        ("and points on 75 more", "predictions/points25_few2_second-Stock-0-imagesTs"),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    work: tuple[Path, ...] = option(
        metavar="DIR",
        help="folders of the data set in working folders of benchmarks/all.py, which together have all rows",
    )
    figure: Path = option(metavar="FILE", help="picture to write")


@dataclass(frozen=True)
class Slice:
    """The axial slice of a case in which its reference is largest, cut to the reference."""

    image: sitk.Image
    at: int
    window: tuple[slice, slice]

    @classmethod
    def of(cls, image: Path, reference: Path) -> Slice:
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(reference))) > 0
        at = int(labels.sum((1, 2)).argmax())
        window = [
            slice(max(0, side.min() - MARGIN_VOXELS), side.max() + MARGIN_VOXELS + 1)
            for side in np.nonzero(labels.any(0))
        ]
        return cls(sitk.ReadImage(str(image)), at, (window[0], window[1]))

    @property
    def aspect(self) -> float:
        """Height of a pixel by its width."""
        x, y, _ = self.image.GetSpacing()
        return y / x

    def of_labels(self, path: Path) -> NDArray[np.int64]:
        """This slice of a label map."""
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[self.at][self.window].astype(np.int64)

    def show(self, axis: Any, outlines: Sequence[tuple[Path, str]]) -> None:
        """Draw the image, and outlines of label maps in colours."""
        low, high = WINDOW_HU
        pixels = sitk.GetArrayFromImage(self.image)[self.at][self.window]
        axis.imshow(pixels, cmap="gray", vmin=low, vmax=high, aspect=self.aspect, interpolation="bicubic")
        for path, colour in outlines:
            plane = self.of_labels(path) > 0
            if plane.any():
                axis.contour(plane, levels=[0.5], colors=colour, linewidths=1.6)
        axis.set_xticks([])
        axis.set_yticks([])


def main() -> None:
    from matplotlib.figure import Figure

    options = parse(Options, None, description=__doc__)
    figure = Figure(figsize=(9.6, 8.4), layout="constrained", facecolor="white")
    panels = figure.subplots(len(ROWS), 4)
    for number, (axes, row) in enumerate(zip(panels, ROWS, strict=True)):
        draw_row(axes, row, number, options.work)
    options.figure.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.figure, dpi=110, metadata={"Software": None})


def draw_row(axes: Sequence[Any], row: Panels, number: int, work: Sequence[Path]) -> None:
    """One method; prints the Dice before and after."""
    before, after = (find(work, folder) for _, folder in (row.before, row.after))
    held_out = find(work, "held_out")
    dice = [
        nnunet_weak.evaluate(folder, held_out / "labels").groupby("case")["dice"].mean() for folder in (before, after)
    ]
    change = (dice[1] - dice[0]).sort_values()
    print(
        row.after[0], [round(float(value.mean()), 3) for value in dice], f"{(change > 0).sum()} of {len(change)} better"
    )
    case = str(change.index[len(change) // 2])
    train = find(work, "train")
    annotated = sorted((train / "labels").glob("*.nii.gz"))[0].name
    axes[0].set_ylabel(row.method, fontsize=12)
    axes[0].set_title(row.annotation + draw_annotation(axes[0], number, work, train, annotated), fontsize=10)
    seen = Slice.of(held_out / "images" / f"{case}.nii.gz", held_out / "labels" / f"{case}.nii.gz")
    reference = held_out / "labels" / f"{case}.nii.gz"
    for axis, folder, (title, _), value in zip(axes[1:3], (before, after), (row.before, row.after), dice, strict=True):
        seen.show(axis, [(reference, "tab:green"), (folder / f"{case}.nii.gz", "tab:orange")])
        axis.set_title(f"{title}\nDice {value[case]:.2f}", fontsize=10)
    seen.show(axes[3], [(reference, "tab:green")])
    axes[3].set_title("reference\n", fontsize=10)


def draw_annotation(axis: Any, number: int, work: Sequence[Path], train: Path, case: str) -> str:
    """Draw what a training case has of the annotation of a row; returns the rest of the title, with minutes."""
    seen = Slice.of(train / "images" / case, train / "labels" / case)
    if number == 0:
        seen.show(axis, [(train / "initial_masks" / case, "tab:orange")])
        return ""
    seen.show(axis, [])
    if number == 1:
        folder = find(work, DRAWINGS)
        for kind, colours in (("positive_anna", {0: "tab:blue", 1: "tab:orange"}), ("negative_anna", {1: "tab:blue"})):
            plane = seen.of_labels(folder / kind / case)
            for value, colour in colours.items():
                axis.contourf(plane == value, levels=[0.5, 1.5], colors=colour, alpha=0.45)
        with (folder / "effort.csv").open() as file:
            rows = [
                row for row in csv.DictReader(file) if (f"{row['case']}.nii.gz", row["annotator"]) == (case, "anna")
            ]
        return minutes(SECONDS_OF_CORNER * sum(float(row["clicks"]) for row in rows))
    (path,) = find(work, POINTS).glob(case.replace(".nii.gz", "_*"))
    (points,) = nnunet_weak.read_points(path).objects
    index = np.array([seen.image.TransformPhysicalPointToContinuousIndex(one) for one in points.points_mm.tolist()])
    rows, columns = (side.start for side in seen.window)
    axis.scatter(
        index[:, 0] - columns, index[:, 1] - rows, s=12, color="tab:orange", edgecolors="white", linewidths=0.4
    )
    return minutes(SECONDS_OF_POINT * len(index))


def minutes(seconds: float) -> str:
    """A line `about 1.3 min`."""
    return f"\nabout {seconds / 60:.1f} min"


def find(work: Sequence[Path], name: str) -> Path:
    """The first of the working folders that has something.

    Raises:
        InvalidInputError: None has it.
    """
    for folder in work:
        if (folder / name).exists():
            return folder / name
    raise InvalidInputError(f"{', '.join(map(str, work))}: without {name} (remedy: run the rows of benchmarks/all.py)")


if __name__ == "__main__":
    main()
