"""Local prior: Otsu's threshold around each region of the initial mask, with filled marrow.

For structures with a bright (or dark) shell and a filling like their surroundings, bone with marrow above all: a
threshold for the whole image calls the filling outside, and eq. 3 of SCORE then eats it.
"""

from __future__ import annotations

import logging

import numpy as np
from scipy import ndimage

from nnunet_weak.priors.body import otsu_threshold
from nnunet_weak.priors.global_intensity import rescaled
from nnunet_weak.priors.neighbourhood import Neighbourhood, regular_choice

logger = logging.getLogger(__name__)
_MAD_STEPS = 2.0


def local_prior(around: Neighbourhood, shell_mm: float, reach_mm: float) -> np.ndarray:
    """P = clip((I - lo) / (hi - lo), 0, 1) with bounds from the shell around a region, and enclosed fillings set to 1.

    t is Otsu's threshold of the voxels within `shell_mm` of the region's boundary, on both sides. lo = median + 2 MAD
    of those outside the region (MAD: median absolute deviation, unscaled), hi = 2 t - lo, so that P = 0.5 at t. Where
    lo comes out above t, as it does where the mask misses much of the structure, lo is taken from the shell's voxels
    below t instead. Structures darker than what is around them are treated the same with intensities negated.

    Then, in every slice (z), holes in P > 0.5 are set to 1 if they lie in the mask for the larger part: marrow is, the
    brain in a skull or the spinal canal is not.

    Returns:
        P in float32; 0.5 where the shell has one intensity only.
    """
    at = regular_choice(around.within(-shell_mm, shell_mm))
    values, inside = around.intensities[at].astype(np.float32), around.inside[at]
    if inside.all() or not inside.any():
        return _uninformative(around, "there is nothing around it, or nothing in it")
    # Means, as the median voxel of a bone may be marrow.
    sign = 1.0 if values[inside].mean() >= values[~inside].mean() else -1.0
    values *= sign
    threshold = otsu_threshold(values)
    low = _above_median(values[~inside])
    if low >= threshold:
        low = min(_above_median(values[values <= threshold]), (float(values.min()) + threshold) / 2)
    if low >= threshold:
        return _uninformative(around, "it and its surroundings have one intensity")
    bounds = (sign * low, sign * (2 * threshold - low))
    prior = rescaled(around.intensities, *bounds)
    _fill_holes_by_slice(prior, around, reach_mm)
    return prior


def _above_median(values: np.ndarray) -> float:
    median = float(np.median(values))
    return median + _MAD_STEPS * float(np.median(np.abs(values - median)))


def _fill_holes_by_slice(prior: np.ndarray, around: Neighbourhood, reach_mm: float) -> None:
    for plane, inside, depth_mm in zip(prior, around.inside, around.depth_mm, strict=True):
        if not inside.any():
            continue
        # Beyond the reach counts as open, so what the mask's slice does not enclose is not a hole.
        components, count = ndimage.label((plane <= 0.5) | (depth_mm < -reach_mm))
        sizes = np.bincount(components.ravel(), minlength=count + 1)
        fill = np.bincount(components[inside], minlength=count + 1) * 2 > sizes
        fill[0] = False
        for edge in (components[0], components[-1], components[:, 0], components[:, -1]):
            fill[np.unique(edge)] = False
        plane[fill[components]] = 1.0


def _uninformative(around: Neighbourhood, reason: str) -> np.ndarray:
    logger.warning("Boundary prior of region %d is 0.5 everywhere: %s.", around.label, reason)
    return np.full(around.intensities.shape, 0.5, dtype=np.float32)
