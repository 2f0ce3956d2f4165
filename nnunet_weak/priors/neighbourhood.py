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
            nearest[part][own] = away[own]
        prior[part][own] = local_prior[own]
    return prior


def signed_depth_mm(inside: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Distance in mm to the nearest voxel of the other side, positive inside; plus or minus infinity where there is no
    other side.
    """
    if not inside.any() or inside.all():
        return np.full(inside.shape, np.inf if inside.any() else -np.inf, dtype=np.float32)
    depth = _distance_to(~inside, spacing_mm)
    depth -= _distance_to(inside, spacing_mm)
    return depth


def _distance_to(target: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    image = sitk.GetImageFromArray(target.view(np.uint8))
    image.SetSpacing(spacing_mm[::-1])
    signed = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    distance = sitk.GetArrayFromImage(signed)
    # Inside the target the filter counts to its border voxels, so only the outside part is the exact distance.
    return np.maximum(distance, 0, out=distance)
