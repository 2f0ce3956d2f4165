"""What the page gets of a case: a part of its voxels, small enough for a graphics card.

A texture takes 4 bytes a voxel and may not exceed 2 GB; scans reach 768 x 768 x 1417. Small scans are sent whole. Of
large ones the page gets the box of a region, or a box around a place, at full resolution, or every n-th voxel of all.
Views lie on the grid of the case: voxel u of a view is voxel `low + step * u` of the case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from nnunet_weak.annotate.cases.decode import DecodedCase, Window
from nnunet_weak.annotate.messages import pack
from nnunet_weak.errors import InvalidInputError

MOST_VOXELS = 1 << 25
MARGIN_MM = 20.0


@dataclass(frozen=True)
class View:
    """A part of a case's grid; positions are (right, anterior, superior).

    Attributes:
        low: First voxel.
        high: Voxel behind the last.
        step: Every so many voxels are sent; 1 is full resolution.
    """

    low: tuple[int, int, int]
    high: tuple[int, int, int]
    step: int = 1

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Into arrays (superior, anterior, right)."""
        x, y, z = (slice(a, b, self.step) for a, b in zip(self.low, self.high, strict=True))
        return z, y, x

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels sent along right, anterior, superior."""
        x, y, z = (-(-(b - a) // self.step) for a, b in zip(self.low, self.high, strict=True))
        return x, y, z


def choose_view(case: DecodedCase, wanted: str) -> View:
    """The part of a case that is sent.

    Args:
        case: The case.
        wanted: `whole`, `region-K` with the region's label, or `at-X-Y-Z` with a voxel.

    Raises:
        InvalidInputError: Another text, or no such region.
    """
    shape = np.array(case.grid.shape)
    kind, *numbers = wanted.split("-")
    if not all(number.isdecimal() and len(number) < 9 for number in numbers) or len(numbers) != {
        "whole": 0,
        "region": 1,
        "at": 3,
    }.get(kind, -1):
        raise InvalidInputError(f"view '{wanted}': is none of whole, region-K, at-X-Y-Z")
    low, high = np.zeros(3, int), shape
    if shape.prod() > MOST_VOXELS:
        if kind == "region":
            region = next((region for region in case.regions if region.label == int(numbers[0])), None)
            if region is None:
                raise InvalidInputError(f"view '{wanted}': the mask of {case.case} has no such region")
            margin = np.ceil(MARGIN_MM / np.array(case.grid.spacing_mm)).astype(int)
            low, high = np.maximum(region.low - margin, 0), np.minimum(region.high + margin, shape)
        elif kind == "at":
            side = _largest_side(shape)
            size = np.minimum(shape, side)
            low = np.clip(np.array([int(number) for number in numbers]) - size // 2, 0, shape - size)
            high = low + size
    step = 1
    while np.prod(-(-(high - low) // step)) > MOST_VOXELS:
        step += 1
    return View(_triple(low), _triple(high), step)


def view_message(case: DecodedCase, view: View, windows: Sequence[Window], channel: int = 0) -> bytes:
    """Image (NIfTI) and label map (one or two bytes a voxel) of a view, with its geometry.

    The NIfTI file holds the spacing alone: the page displays voxels, and computes positions from `affine` itself.

    Args:
        case: The case.
        view: The part of it.
        windows: Of the channel.
        channel: The image channel, which has been read.
    """
    spacing = np.array(case.grid.spacing_mm) * view.step
    image = nib.Nifti1Image(np.ascontiguousarray(case.image(channel)[view.slices]).T, np.diag([*spacing, 1.0]))
    labels = case.labels()
    part = b"" if labels is None else np.ascontiguousarray(labels[view.slices]).tobytes()
    header = {
        **geometry(case, view),
        "channel": channel,
        "windows": windows,
        "label_bytes": 0 if labels is None else labels.itemsize,
    }
    return pack(header, image.to_bytes(), part)


def geometry(case: DecodedCase, view: View) -> dict[str, Any]:
    """Where a view lies."""
    affine = case.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array(view.low, float)
    affine[:3, :3] *= view.step
    return {
        "low": view.low,
        "high": view.high,
        "step": view.step,
        "shape": view.shape,
        "whole_shape": case.grid.shape,
        "spacing_mm": (np.array(case.grid.spacing_mm) * view.step).tolist(),
        "affine": affine.tolist(),
    }


def _largest_side(shape: NDArray) -> int:
    low, high = 1, int(shape.max())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(shape, middle).prod() <= MOST_VOXELS else (low, middle - 1)
    return low


def _triple(values: Sequence[int] | NDArray) -> tuple[int, int, int]:
    x, y, z = (int(value) for value in values)
    return x, y, z
