"""The neighbourhood of each region of an initial mask: its part of the volume, and depths in mm.

Arrays are (z, y, x), spacings likewise. A depth is positive inside the region and negative outside: the distance in mm
to the centre of the nearest voxel of the other side, as two exact Euclidean distance transforms give it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy  # its parts are loaded where they are first used
import SimpleITK as sitk

from nnunet_weak.priors.prior import UNINFORMATIVE, Array, Option, PriorInput, Probability

logger = logging.getLogger(__name__)

SHELL = Option(6.0, 1e-3, 1000, "mm around the mask's boundary that its surroundings are learned from")
REACH = Option(20.0, 1e-3, 10000, "mm from the mask beyond which P is 0")
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
    intensities: Array
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

    def uninformative(self, reason: str) -> Probability:
        """0.5 everywhere, with a warning."""
        logger.warning("Boundary prior of region %d is %g everywhere: %s.", self.label, UNINFORMATIVE, reason)
        return np.full(self.intensities.shape, UNINFORMATIVE, dtype=np.float32)


def prior_by_region(
    prior_around: Callable[..., Probability], case: PriorInput, *, reach_mm: float, **options: float
) -> Probability:
    """Give every voxel the prior of the region of the mask it is in or nearest to, and 0 beyond the reach of all.

    For one region, everything else is outside: the background and the other regions alike. `prior_around` makes P in a
    `Neighbourhood` with the same options, and may leave anything beyond the reach.
    """
    assert case.labels is not None
    prior = np.zeros(case.labels.shape, dtype=np.float32)
    boxes = {index + 1: box for index, box in enumerate(scipy.ndimage.find_objects(case.labels)) if box is not None}
    # In 254ths of the reach: a quarter of the memory, and only nearly equal distances tie. One region needs none of it.
    nearest = np.full(prior.shape, 255, dtype=np.uint8) if len(boxes) > 1 else None
    for label, box in boxes.items():
        part = tuple(
            slice(max(0, side.start - int(reach_mm / step) - 1), side.stop + int(reach_mm / step) + 1)
            for side, step in zip(box, case.spacing_mm, strict=True)
        )
        inside = case.labels[part] == label
        depth_mm = signed_depth_mm(inside, case.spacing_mm)
        defined = None if case.nonzero is None else case.nonzero[part]
        around = Neighbourhood(label, case.intensities[part], inside, depth_mm, defined, case.spacing_mm)
        own = depth_mm >= -reach_mm
        values = prior_around(around, reach_mm=reach_mm, **options)
        if nearest is not None:
            away = np.ceil(np.clip(-depth_mm, 0, reach_mm) * (254 / reach_mm)).astype(np.uint8)
            own &= away < nearest[part]
            np.copyto(nearest[part], away, where=own)
        del around, depth_mm  # before the pages of `prior` are touched for the first time
        np.copyto(prior[part], values, where=own)
    return prior


def regular_choice(chosen: np.ndarray) -> tuple[np.ndarray, ...]:
    """Indices of every n-th chosen voxel, with the n that leaves two million at the most."""
    at = np.flatnonzero(chosen)
    return np.unravel_index(at[:: max(1, -(-at.size // _MOST_SAMPLES))], chosen.shape)


def signed_depth_mm(inside: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Distance in mm to the nearest voxel of the other side, positive inside; infinite where there is none."""
    if not inside.any() or inside.all():
        return np.full(inside.shape, np.inf if inside.any() else -np.inf, dtype=np.float32)
    depth_mm = _distance_to(~inside, spacing_mm)
    depth_mm -= _distance_to(inside, spacing_mm)
    return depth_mm


def _distance_to(target: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Distance to the nearest voxel of `target`, 0 in it; ten times as fast as scipy's.

    Inside, the filter's negative distances count to border voxels, so only the positive part is exact.
    """
    image = sitk.GetImageFromArray(target.view(np.uint8))
    image.SetSpacing(spacing_mm[::-1])
    distance = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return np.maximum(sitk.GetArrayViewFromImage(distance), 0)
