"""Images, initial masks and scores, and their conversion: what the tests of score conversion share."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_weak.dataset_conversion.scores import main

SHAPE = (8, 10, 12)  # z, y, x
SCORES = {"head": (3.5, "under"), "shaft": (5, "none")}


class ScoreStudy:
    """A folder of images, label maps and scores that the converter takes, to be spoilt by each test."""

    def __init__(self, folder: Path, cases: int = 3) -> None:
        self.folder = folder
        self.scores: dict[str, dict[str, tuple[float | str, str]]] = {}
        for number in range(cases):
            self.add(f"case_{number}", seed=number)

    def add(self, name: str, seed: int = 0) -> None:
        self.write(f"images/{name}.nii.gz", self.image(seed))
        self.write(f"masks/{name}.nii.gz", self.mask())
        self.scores[name] = dict(SCORES)

    def image(self, seed: int = 0) -> sitk.Image:
        """Bone of 1000 HU in water in air; the mask misses a layer of the head."""
        array = np.full(SHAPE, -1000, np.int16)
        array[1:7, 1:9, 1:11] = 0
        array[2:6, 3:7, 2:6] = 1000
        array[3:5, 4:6, 6:10] = 1000
        array += np.random.default_rng(seed).integers(-20, 20, SHAPE).astype(np.int16)
        return self.on_grid(array)

    def mask(self, dtype: type = np.uint8) -> sitk.Image:
        array = np.zeros(SHAPE, dtype)
        array[2:6, 3:7, 3:6] = 1
        array[3:5, 4:6, 6:10] = 2
        return self.on_grid(array)

    def reference(self) -> sitk.Image:
        array = sitk.GetArrayFromImage(self.mask())
        array[2:6, 3:7, 2] = 1
        return self.on_grid(array)

    @staticmethod
    def on_grid(array: np.ndarray) -> sitk.Image:
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.6, 0.75, 2.5))
        image.SetOrigin((-12.3, 45.6, 7.8))
        return image

    def write(self, path: str, image: sitk.Image) -> Path:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(target))
        return target

    def write_binary_masks(self) -> None:
        """As TotalSegmentator: a folder for each case."""
        for name in self.scores:
            (self.folder / f"masks/{name}.nii.gz").unlink()
            for label, region in enumerate(SCORES, start=1):
                self.write(f"masks/{name}/segmentations/{region}.nii.gz", sitk.Equal(self.mask(), label))

    def convert(self, *further: str) -> int:
        with (self.folder / "scores.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["case", "region", "quality", "error"])
            for name, regions in self.scores.items():
                for region, (quality, error) in regions.items():
                    writer.writerow([name, region, quality, error])
        arguments = ["--images", "images", "--masks", "masks", "--scores", "scores.csv", "-d", "511", "-n", "Bones"]
        regions = [] if "--regions" in further else ["--regions", "head=1", "shaft=2"]
        return main([*arguments, *regions, "-np", "1", *further])

    @property
    def raw(self) -> Path:
        return self.folder / "nnUNet_raw"

    @property
    def dataset(self) -> Path:
        return self.raw / "Dataset511_Bones"

    def voxels(self, path: str) -> np.ndarray:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(self.dataset / path)))
