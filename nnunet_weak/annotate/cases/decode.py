"""Read a case in a worker process: image and mask become uncompressed arrays that the server maps into memory.

So no request waits for gzip, views are cut out in milliseconds, and the server holds no volume. Arrays are
(superior, anterior, right) as the page has them, see `grid`; positions of voxels are (right, anterior, superior).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_weak.annotate.cases.grid import CanonicalGrid
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.read import read_case_image
from nnunet_weak.scores.initial_masks import read_initial_mask
from nnunet_weak.scores.regions import RegionSource

Window = tuple[str, float, float]
"""Name, lowest and highest intensity shown."""
Box = tuple[slice, ...]

_SAMPLES = 1 << 19
_AIR_HU = -900
_CT_WINDOWS = {"soft tissue": (-160.0, 240.0), "bone": (-450.0, 1050.0), "lung": (-1350.0, 150.0)}


@dataclass(frozen=True)
class CaseTask:
    """A case's files.

    Attributes:
        case: The case.
        images: Its image channels.
        mask: Its mask, if any.
        second_mask: Another prediction, if any.
        regions: Regions of the masks.
    """

    case: str
    images: tuple[Path, ...]
    mask: Path | None
    second_mask: Path | None
    regions: tuple[RegionSource, ...]


@dataclass(frozen=True)
class MaskRegion:
    """A region of a mask.

    Attributes:
        name: Name of the region.
        label: Its number in the label map, from 1.
        low: First voxel of its box.
        high: Voxel behind the last of its box.
        voxels: Their number.
        sha256: Of its voxels: another hash is another mask.
    """

    name: str
    label: int
    low: tuple[int, int, int]
    high: tuple[int, int, int]
    voxels: int
    sha256: str


@dataclass(frozen=True)
class DecodedCase:
    """A case as the server needs it.

    Attributes:
        case: The case.
        grid: Its grid.
        folder: Holds `image_0.npy`, where there is a mask `labels.npy`, and other channels once they were read.
        regions: Regions of the mask that have voxels.
        windows: Name, lowest and highest intensity shown of the first channel, the first one first.
    """

    case: str
    grid: CanonicalGrid
    folder: Path
    regions: tuple[MaskRegion, ...]
    windows: tuple[Window, ...]

    def image(self, channel: int = 0) -> NDArray:
        """A channel that was read, int16 or float32, mapped into memory."""
        return np.load(self.folder / f"image_{channel}.npy", mmap_mode="r")

    def labels(self) -> NDArray | None:
        """The mask as label map, or None."""
        path = self.folder / "labels.npy"
        return np.load(path, mmap_mode="r") if path.is_file() else None


def decode_case(task: CaseTask, folder: Path) -> DecodedCase:
    """Read a case's first channel and mask, and write their arrays into a new folder.

    Raises:
        InvalidInputError: Unreadable files, or a mask that is not on the image's grid.
    """
    image = read_case_image(task.images[0])
    labels = read_labels(task.mask, task, image)
    grid = CanonicalGrid.of(image)
    array = grid.to_page(sitk.GetArrayViewFromImage(image))
    folder.mkdir()
    limits = _write_image(array, folder / "image_0.npy")
    regions: tuple[MaskRegion, ...] = ()
    box: Box = (slice(None),) * 3
    if labels is not None:
        on_page = np.ascontiguousarray(grid.to_page(labels))
        np.save(folder / "labels.npy", on_page)
        regions = regions_of(on_page, task)
        box = _around(regions)
    return DecodedCase(task.case, grid, folder, regions, _windows(array[box], *limits))


def decode_channel(task: CaseTask, decoded: DecodedCase, channel: int) -> tuple[Window, ...]:
    """Read another channel of a case into its folder; returns the channel's windows.

    Raises:
        InvalidInputError: It is unreadable, or not on the first channel's grid.
    """
    path = task.images[channel]
    image = read_case_image(path)
    if image.GetSize() != decoded.grid.file_geometry[0]:
        raise InvalidInputError(f"{path}: is not on the grid of the first channel, {task.images[0].name}")
    array = decoded.grid.to_page(sitk.GetArrayViewFromImage(image))
    limits = _write_image(array, decoded.folder / f"image_{channel}.npy")
    return _windows(array[_around(decoded.regions)], *limits)


def regions_of(on_page: NDArray, task: CaseTask) -> tuple[MaskRegion, ...]:
    """Regions of a label map, (superior, anterior, right), that have voxels."""
    boxes = ndimage.find_objects(on_page, max_label=len(task.regions))
    return tuple(
        _region(region.name, number, on_page, found)
        for number, (region, found) in enumerate(zip(task.regions, boxes, strict=True), start=1)
        if found is not None
    )


def read_labels(path: Path | None, task: CaseTask, image: sitk.Image) -> NDArray | None:
    """A mask as label map 1 to K, (z, y, x) of the file; None where there is none."""
    if path is None:
        return None
    mask = read_initial_mask(path, task.regions, image, other_labels="background")
    return sitk.GetArrayFromImage(mask.label_map)


def _write_image(array: NDArray, path: Path) -> tuple[float, float]:
    """Write a channel slice by slice, so that there is no second copy of it in memory; lowest and highest intensity."""
    low, high = float(array.min()), float(array.max())
    whole = array.dtype.kind in "iu" and low >= np.iinfo(np.int16).min and high <= np.iinfo(np.int16).max
    kind = np.dtype(np.int16 if whole else np.float32)
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": array.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for plane in array:
            np.ascontiguousarray(plane, kind).tofile(file)
    return low, high


def _around(regions: Sequence[MaskRegion]) -> Box:
    """The box around all regions, everything where there is none; into arrays (superior, anterior, right)."""
    if not regions:
        return (slice(None),) * 3
    lowest = np.min([region.low for region in regions], 0)[::-1]
    highest = np.max([region.high for region in regions], 0)[::-1]
    return tuple(slice(int(a), int(b)) for a, b in zip(lowest, highest, strict=True))


def _region(name: str, label: int, labels: NDArray, box: Sequence[slice]) -> MaskRegion:
    inside = labels[tuple(box)] == label
    low = tuple(int(part.start) for part in box)[::-1]
    high = tuple(int(part.stop) for part in box)[::-1]
    digest = hashlib.sha256(repr((labels.shape, low, high)).encode())
    digest.update(np.packbits(inside).tobytes())
    return MaskRegion(
        name, label, (low[0], low[1], low[2]), (high[0], high[1], high[2]), int(inside.sum()), digest.hexdigest()
    )


def _windows(array: NDArray, low: float, high: float) -> tuple[Window, ...]:
    """Window of the intensities around the mask, then those of CT, then all intensities."""
    step = max(1, round((array.size / _SAMPLES) ** (1 / 3)))
    sample = array[::step, ::step, ::step]
    sample = sample[sample > low] if (sample > low).any() else sample
    first, last = (float(value) for value in np.percentile(sample, (2, 99.5)))
    if first == last:
        first, last = low, max(high, low + 1)
    windows = [("automatic", first, last)]
    if low <= _AIR_HU:
        windows += [(name, *limits) for name, limits in _CT_WINDOWS.items()]
    return (*windows, ("all intensities", low, max(high, low + 1)))
