"""The neighbourhood of each region of an initial mask: its part of the volume, depths in mm, and which region a voxel
is nearest to.

Arrays are (z, y, x), spacings likewise. A depth is positive inside the region and negative outside: the distance in mm
to the centre of the nearest voxel of the other side, as two exact Euclidean distance transforms give it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

_MOST_SAMPLES = 2_000_000


@dataclass(frozen=True)
class Neighbourhood:
    """A region of the mask with the part of the volume around it.

    Attributes:
        label: The region's value in the mask.
        intensities: The image in this part, (z, y, x).
        inside: The region, bool.
        depth_mm: Signed distance to the region's boundary, float32.
        defined: Voxels within the nonzero region of the image, bool; None where all are.
        spacing_mm: Voxel size, (z, y, x).
    """

    label: int
    intensities: np.ndarray
    inside: np.ndarray
    depth_mm: np.ndarray
    defined: np.ndarray | None
    spacing_mm: tuple[float, ...]

    def within(self, low_mm: float, high_mm: float) -> np.ndarray:
        """Defined voxels with a depth in (low_mm, high_mm]."""
        chosen = (self.depth_mm > low_mm) & (self.depth_mm <= high_mm)
        if self.defined is not None:
            chosen &= self.defined
        return chosen


def prior_by_region(
    array: np.ndarray,
    labels: np.ndarray,
    region: np.ndarray | None,
    spacing_mm: tuple[float, ...],
    reach_mm: float,
    model: Callable[[Neighbourhood], np.ndarray],
) -> np.ndarray:
    """Give every voxel the prior of the region of the mask it is in or nearest to, and 0 beyond the reach of all of
    them.

    For one region, everything else is outside: the background and the other regions alike.

    Args:
        array: Intensities, (z, y, x).
        labels: Initial mask, 0 = background, k = region k.
        region: What `filled_nonzero_region` returned.
        spacing_mm: Voxel size, (z, y, x).
        reach_mm: Farther away from every region P is 0.
        model: Makes P in one neighbourhood; may leave anything beyond `reach_mm`.

    Returns:
        P in float32.
    """
    prior = np.zeros(array.shape, dtype=np.float32)
    boxes = {index + 1: box for index, box in enumerate(ndimage.find_objects(labels)) if box is not None}
    # In 254ths of the reach: a quarter of the memory, and ties are broken by a hair's breadth only. One region needs
    # none of it.
    nearest = np.full(array.shape, 255, dtype=np.uint8) if len(boxes) > 1 else None
    for label, box in boxes.items():
        part = tuple(
            slice(max(0, side.start - int(reach_mm / step) - 1), side.stop + int(reach_mm / step) + 1)
            for side, step in zip(box, spacing_mm, strict=True)
        )
        inside = labels[part] == label
        depth_mm = signed_depth_mm(inside, spacing_mm)
        around = Neighbourhood(
            label, array[part], inside, depth_mm, None if region is None else region[part], spacing_mm
        )
        own = depth_mm >= -reach_mm
        local_prior = model(around)
        if nearest is not None:
            away = np.minimum(np.maximum(-depth_mm, 0), reach_mm) * (254 / reach_mm)
            away = np.ceil(away).astype(np.uint8)
            own &= away < nearest[part]
            np.copyto(nearest[part], away, where=own)
        del around, depth_mm  # before the pages of `prior` are touched for the first time
        np.copyto(prior[part], local_prior, where=own)
    return prior


def regular_choice(chosen: np.ndarray) -> tuple[np.ndarray, ...]:
    """Indices of every n-th chosen voxel, with the n that leaves two million at the most."""
    at = np.flatnonzero(chosen)
    return np.unravel_index(at[:: max(1, -(-at.size // _MOST_SAMPLES))], chosen.shape)


def signed_depth_mm(inside: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Distance in mm to the nearest voxel of the other side, positive inside; plus or minus infinity where there is no
    other side.
    """
    if not inside.any() or inside.all():
        return np.full(inside.shape, np.inf if inside.any() else -np.inf, dtype=np.float32)
    depth = sitk.GetArrayFromImage(_distance_to(~inside, spacing_mm))
    np.maximum(depth, 0, out=depth)
    outward = _distance_to(inside, spacing_mm)
    view = sitk.GetArrayViewFromImage(outward)
    for z in range(len(depth)):
        depth[z] -= np.maximum(view[z], 0)
    return depth


def _distance_to(target: np.ndarray, spacing_mm: tuple[float, ...]) -> sitk.Image:
    """Distance to the nearest voxel of `target`; negative in it.

    There the filter counts to the target's border voxels, so only the positive part is the exact distance.
    """
    image = sitk.GetImageFromArray(target.view(np.uint8))
    image.SetSpacing(spacing_mm[::-1])
    return sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
