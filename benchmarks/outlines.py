"""Outlines that were drawn by hand around vertebrae, on a few sagittal slices of each, as points and as labels.

    python -m benchmarks.outlines --data DATA

asks on the development cases how far inside of the outlines the bone begins: Dice of surfaces through them, moved
inwards by so many mm. In a map of outlines a voxel of value k lies on the curve around the label 6 - k: they were
counted from the other end.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from benchmarks.data import DATA, patient_of
from nnunet_weak.images.read import with_geometry_of
from nnunet_weak.options import option, parse
from nnunet_weak.points.files import write_points
from nnunet_weak.points.points import ObjectPoints, PointSet
from nnunet_weak.surface.fit import fit_surface
from nnunet_weak.surface.rasterise import rasterise

SPINE = DATA["spine_mri"]
EVERY = 6  # of the voxels of a curve: points of about one in 6 mm
INSETS_MM = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)


@dataclass(frozen=True, kw_only=True)
class Options:
    data: Path = option(metavar="DIR", help="folder with spine_mri/")


def objects_of(outlines: sitk.Image) -> list[ObjectPoints]:
    """Points on the curves of each class, LPS mm."""
    array, names = sitk.GetArrayFromImage(outlines), list(SPINE.classes)
    found = []
    for label, name in enumerate(names, start=1):
        voxels = np.argwhere(array == len(names) + 1 - label)[::EVERY, ::-1]
        places = [outlines.TransformIndexToPhysicalPoint(voxel) for voxel in voxels.tolist()]
        found += [ObjectPoints(np.array(places), name)] if places else []
    return found


def write_outline_points(source: Path, folder: Path) -> None:
    """Write a table of points for each map of outlines."""
    folder.mkdir(parents=True)
    for path in sorted(source.glob("*.nii.gz")):
        points = PointSet(tuple(objects_of(sitk.ReadImage(str(path)))))
        write_points(folder / path.name.replace(".nii.gz", ".csv"), points)


def write_filled_outlines(source: Path, folder: Path) -> None:
    """Write labels as one fills the curves by hand: background beside them, `ignore` in slices without any curve."""
    folder.mkdir(parents=True)
    for path in sorted(source.glob("*.nii.gz")):
        image = sitk.ReadImage(str(path))
        array, count = sitk.GetArrayFromImage(image), len(SPINE.classes)
        labels = np.zeros(array.shape, np.uint8)
        labels[~array.any((1, 2))] = count + 1
        for label in range(1, count + 1):
            for index, curve in enumerate(array == count + 1 - label):
                labels[index][filled(curve)] = label
        sitk.WriteImage(with_geometry_of(labels, image), str(folder / path.name))


def filled(curve: np.ndarray) -> np.ndarray:
    """A curve and what it encloses, also if it is open by some voxels; (y, x)."""
    whole = ndimage.binary_fill_holes(curve)
    if whole.sum() > 1.5 * curve.sum():
        return whole
    closed = ndimage.binary_closing(np.pad(curve, 3), np.ones((3, 3)), iterations=2)
    return ndimage.binary_fill_holes(closed)[3:-3, 3:-3] | curve


def seconds_of_exams(table: Path) -> dict[str, float]:
    """Seconds of drawing by case, from `effort.csv`."""
    seconds: dict[str, float] = {}
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            seconds[row["case"]] = seconds.get(row["case"], 0.0) + float(row["seconds"])
    return seconds


def dice_by_inset(folder: Path) -> Iterator[tuple[float, float]]:
    """Dice of the surfaces of all development cases and classes, for each inset."""
    found: dict[float, list[float]] = {inset: [] for inset in INSETS_MM}
    for path in sorted((folder / "outlines").glob("*.nii.gz")):
        if SPINE.part(patient_of(path.name)) != "development":
            continue
        outlines, labels = sitk.ReadImage(str(path)), sitk.ReadImage(str(folder / "labels" / path.name))
        for one in objects_of(outlines):
            (value,) = SPINE.classes[one.class_name]
            fit, truth = fit_surface(one.points_mm), sitk.GetArrayFromImage(labels) == value
            for inset in INSETS_MM:
                surface = fit.inset(inset)
                inside = sitk.GetArrayFromImage(rasterise(surface.vertices_mm, surface.faces, labels)) > 0
                found[inset].append(2 * (inside & truth).sum() / (inside.sum() + truth.sum()))
    for inset, dice in found.items():
        yield inset, float(np.mean(dice))


def main() -> None:
    folder = parse(Options, None, description=__doc__).data / "spine_mri"
    seconds = seconds_of_exams(folder / "effort.csv")
    print(f"{np.mean(list(seconds.values())):.0f} s of drawing an exam (mean of {len(seconds)})")
    for inset, dice in dice_by_inset(folder):
        print(f"{inset:g} mm inside: Dice {dice:.3f}")


if __name__ == "__main__":
    main()
