"""The files of one case, written on the grid of its image.

Training folders (`imagesTr`, `labelsTr`, `annotationsTr`) and inference folders (`imagesTs`) are written by the same
functions, so that what a network sees at inference is what it saw in training. Arrays are (z, y, x).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.read import geometry_difference
from nnunet_weak.images.write import copy_volume, is_plain_3d_file, write_volume

# nnU-Net compares the grids of a case's files with numpy.allclose, whose relative tolerance is 1e-5; a copy must be
# closer than that.
_EXACT = 1e-6


@dataclass(frozen=True)
class CaseFiles:
    """Where the files of one case go, and their grid.

    Attributes:
        folder: The raw data set, or the folder of inference images.
        name: The case.
        file_ending: Ending of all files.
        reference: The image (or any image on its grid) that all files must agree with.
        images: Sub-folder of the channels; `""` for inference.
        made_ending: Ending of the channels that are made here; "" for that of all files. Where they are read but once,
            it saves their compression.
    """

    folder: Path
    name: str
    file_ending: str
    reference: sitk.Image
    images: str = "imagesTr"
    made_ending: str = ""

    def channel_path(self, channel: int, *, made: bool = False) -> Path:
        """`imagesTr/CASE_0003.nii.gz` for channel 3."""
        ending = self.made_ending if made and self.made_ending else self.file_ending
        return self.folder / self.images / channel_file_name(self.name, channel, ending)

    def write_image(self, channel: int, source: Path, image: sitk.Image) -> None:
        """Write an image channel: the bytes of its file where those serve as they are, else its voxels, without loss.

        Args:
            channel: Number of the channel.
            source: The file.
            image: What was read from it.

        Raises:
            InvalidInputError: The image is not on the case's grid.
        """
        self._check_grid(image, source)
        target = self.channel_path(channel)
        target.parent.mkdir(parents=True, exist_ok=True)
        same_format = source.is_file() and source.name.lower().endswith(self.file_ending)
        if same_format and not geometry_difference(self.reference, image, _EXACT) and is_plain_3d_file(source):
            copy_volume(source, target)
        else:
            write_volume(sitk.GetArrayViewFromImage(image), self.reference, target)

    def write_channel(self, channel: int, array: np.ndarray, slope: float = 1.0) -> None:
        """Write a channel made from an array; `slope` as in `write_volume`."""
        target = self.channel_path(channel, made=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_volume(array, self.reference, target, slope=slope)

    def write_labels(self, labels: sitk.Image) -> None:
        """Write the label map of the case, as integers of 8 or 16 bits.

        Raises:
            InvalidInputError: Not on the case's grid, not of an integer type, or labels outside 0 to 65535.
        """
        self._write_integers(labels, self.folder / "labelsTr" / f"{self.name}{self.file_ending}")

    def write_annotation_map(self, map_name: str, encoded: sitk.Image) -> None:
        """Write a further annotation map of the case (0 = blank, k + 1 = class k); checks as for `write_labels`."""
        self._write_integers(encoded, self.folder / "annotationsTr" / map_name / f"{self.name}{self.file_ending}")

    def _write_integers(self, labels: sitk.Image, target: Path) -> None:
        self._check_grid(labels, target.relative_to(self.folder))
        array = sitk.GetArrayViewFromImage(labels)
        if array.dtype.kind not in "ui":
            raise InvalidInputError(f"{target.name}: labels are whole numbers, this image holds {array.dtype}")
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > np.iinfo(np.uint16).max:
            raise InvalidInputError(f"{target.name}: label values range from {low} to {high}, allowed are 0 to 65535")
        target.parent.mkdir(parents=True, exist_ok=True)
        small = np.uint8 if high <= np.iinfo(np.uint8).max else np.uint16
        write_volume(array.astype(small, copy=False), self.reference, target)

    def _check_grid(self, image: sitk.Image, source: Path) -> None:
        difference = geometry_difference(self.reference, image)
        if difference:
            raise InvalidInputError(
                f"{source}: not on the grid of {self.name}'s image: {difference} (remedy: resample it)"
            )


def channel_file_name(case: str, channel: int, file_ending: str) -> str:
    """File name of one channel of a case, as nnU-Net wants it."""
    return f"{case}_{channel:04d}{file_ending}"


def label_values(labels: sitk.Image) -> tuple[int, ...]:
    """Values that occur in an integer image, ascending."""
    array = sitk.GetArrayViewFromImage(labels)
    counts = np.zeros(int(array.max()) + 1 if array.size else 1, dtype=bool)
    for plane in array:  # plane by plane: an index array of the whole volume takes eight bytes for each voxel
        marked = plane[plane != 0]  # a small share of most planes
        counts[marked] = True
        counts[0] |= marked.size < plane.size
    return tuple(int(value) for value in np.flatnonzero(counts))
