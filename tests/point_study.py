"""Images of two balls, points on them and their conversion: what the tests of point conversion share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_weak.dataset_conversion.points import main
from nnunet_weak.points.files import write_points
from nnunet_weak.points.points import ObjectPoints, PointSet

SIZE = (24, 20, 9)  # x, y, z
SPACING = (1.0, 1.25, 2.5)
ORIGIN = (30.0, -12.0, 60.0)
CENTRES = {"liver": (38.0, 0.0, 70.0), "spleen": (45.0, 0.0, 70.0)}
RADIUS = 5.0


def sphere_points(centre, radius: float = RADIUS, count: int = 40) -> np.ndarray:
    """Fibonacci points on a sphere, LPS mm."""
    k = np.arange(count) + 0.5
    polar, azimuth = np.arccos(1 - 2 * k / count), np.pi * (1 + 5**0.5) * k
    unit = np.stack([np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)], 1)
    return np.array(centre) + radius * unit


def on_grid(array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    return image


def ball(centre, radius: float = RADIUS) -> np.ndarray:
    """Voxel centres within a ball, (z, y, x)."""
    axes = [np.array(ORIGIN)[i] + np.array(SPACING)[i] * np.arange(SIZE[i]) for i in range(3)]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    return ((np.stack([x, y, z], -1) - np.array(centre)) ** 2).sum(-1) <= radius**2


class PointStudy:
    """Images of two balls and points on them."""

    def __init__(self, folder: Path, cases: int = 2) -> None:
        self.folder = folder
        for name in ("images", "points", "references"):
            (folder / name).mkdir()
        for number in range(cases):
            self.image(f"case_{number}", number)

    def image(self, name: str, seed: int = 0) -> None:
        array = np.random.default_rng(seed).normal(100, 5, SIZE[::-1]).astype(np.float32)
        sitk.WriteImage(on_grid(array), str(self.folder / "images" / f"{name}.nii.gz"))

    def points(self, file: str, *classes: str, named: bool = True, **fields) -> None:
        path = self.folder / "points" / file
        path.parent.mkdir(exist_ok=True)
        objects = tuple(
            ObjectPoints(fields.get("points", sphere_points(CENTRES[name])), name if named else "") for name in classes
        )
        write_points(path, PointSet(objects))

    def reference(self, name: str, array: np.ndarray) -> None:
        sitk.WriteImage(on_grid(array.astype(np.uint8)), str(self.folder / "references" / f"{name}.nii.gz"))

    def convert(self, *further: str) -> int:
        folders = ["--images", str(self.folder / "images"), "--points", str(self.folder / "points")]
        return main([*folders, "-d", "531", "-n", "Balls", "-np", "1", *further])

    @property
    def raw(self) -> Path:
        return self.folder / "nnUNet_raw" / "Dataset531_Balls"

    def labels(self, case: str, folder: str = "labelsTr") -> np.ndarray:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(self.raw / folder / f"{case}.nii.gz")))
