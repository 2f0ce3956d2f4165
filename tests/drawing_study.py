"""Images, rough drawings on them and their conversion: what the tests of that conversion share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_weak.dataset_conversion.drawings import main

SHAPE = (5, 6, 8)  # z, y, x
BLANK = 9
LABELS = ("--labels", "background=0", "liver=1", "spleen=5", "--blank", str(BLANK))


class DrawingStudy:
    """Images and drawings that the converter takes, to be spoilt by each test."""

    def __init__(self, folder: Path, cases: int = 3) -> None:
        self.folder = folder
        for number in range(cases):
            rng = np.random.default_rng(number)
            self.write(f"images/case_{number}.nii.gz", rng.integers(0, 99, SHAPE).astype(np.int16))
            self.write(f"anna/case_{number}.nii.gz", self.drawn())

    @staticmethod
    def drawn(liver=(slice(1, 3), slice(1, 3), slice(1, 4)), spleen=(slice(1, 3), slice(3, 5), slice(4, 7))):
        array = np.full(SHAPE, BLANK, np.uint8)
        array[0] = 0
        array[liver], array[spleen] = 1, 5
        return array

    def write(self, path: str, array: np.ndarray, origin=(-12.3, 45.6, 7.8)) -> Path:
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.6, 0.75, 2.5))
        image.SetOrigin(origin)
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(target))
        return target

    def write_segmentation(self, path: str, segments: dict, layers: np.ndarray, first_voxel=(0, 0, 0)) -> None:
        """As 3D Slicer saves it: `segments` {name: (layer, value)}, `layers` (layer, z, y, x), perhaps cropped."""
        planes = [sitk.GetImageFromArray(layer.astype(np.uint8)) for layer in layers]
        image = planes[0] if len(planes) == 1 else sitk.Compose(planes)
        spacing = np.array((0.6, 0.75, 2.5))
        image.SetSpacing(spacing.tolist())
        image.SetOrigin((np.array((-12.3, 45.6, 7.8)) + np.array(first_voxel) * spacing).tolist())
        for number, (name, (layer, value)) in enumerate(segments.items()):
            image.SetMetaData(f"Segment{number}_Name", name)
            image.SetMetaData(f"Segment{number}_Layer", str(layer))
            image.SetMetaData(f"Segment{number}_LabelValue", str(value))
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(target))

    def convert(self, *further: str, labels=LABELS, positive=("anna=anna",), previews=False) -> int:
        annotators = [word for text in positive for word in ("--positive", text)]
        options = ["-d", "521", "-n", "Organs", "-np", "1", *([] if previews else ["--no-previews"])]
        return main(["--images", "images", *annotators, *labels, *options, *further])

    @property
    def dataset(self) -> Path:
        return self.folder / "nnUNet_raw" / "Dataset521_Organs"

    def voxels(self, path: str) -> np.ndarray:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(self.dataset / path)))
