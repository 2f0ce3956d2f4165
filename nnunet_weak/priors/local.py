"""Local prior: Otsu's threshold around each region of the initial mask, with filled marrow.

For structures with a bright (or dark) shell and a filling like their surroundings, bone with marrow above all: a
threshold for the whole image calls the filling outside, and eq. 3 of SCORE then removes it.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import scipy  # its parts are loaded where they are first used

from nnunet_weak.priors.neighbourhood import REACH, SHELL, Neighbourhood, prior_by_region, regular_choice
from nnunet_weak.priors.otsu import otsu_threshold, rescaled
from nnunet_weak.priors.prior import UNINFORMATIVE, Prior, Probability

_MAD_STEPS = 2.0


def local_prior(around: Neighbourhood, *, shell_mm: float, reach_mm: float) -> Probability:
    """P = clip((I - lo) / (hi - lo), 0, 1) with bounds from the shell around a region.

    t is Otsu's threshold of the voxels within `shell_mm` of the region's boundary, on both sides. lo = median + 2 MAD
    of those outside the region (MAD: median absolute deviation, unscaled), hi = 2 t - lo, so that P = 0.5 at t. Where
    lo comes out above t, as it does where the mask misses much of the structure, lo is taken from the shell's voxels
    below t instead. Structures darker than their surroundings are treated the same with intensities negated.

    Then, in every slice (z), holes in P > 0.5 are set to 1 if they lie in the mask for the larger part: marrow is, the
    brain in a skull or the spinal canal is not. P is 0.5 where the shell has one intensity only.
    """
    at = regular_choice(around.within(-shell_mm, shell_mm))
    values, inside = around.intensities[at].astype(np.float32), around.inside[at]
    if inside.all() or not inside.any():
        return around.uninformative("there is nothing around it, or nothing in it")
    # Means, as the median voxel of a bone may be marrow.
    sign = 1.0 if values[inside].mean() >= values[~inside].mean() else -1.0
    values *= sign
    threshold = otsu_threshold(values)
    low = _above_median(values[~inside])
    if low >= threshold:
        low = min(_above_median(values[values <= threshold]), (float(values.min()) + threshold) / 2)
    if low >= threshold:
        return around.uninformative("it and its surroundings have one intensity")
    prior = rescaled(around.intensities, sign * low, sign * (2 * threshold - low))
    _fill_holes_by_slice(prior, around, reach_mm)
    return prior


def _above_median(values: np.ndarray) -> float:
    median = float(np.median(values))
    return median + _MAD_STEPS * float(np.median(np.abs(values - median)))


def _fill_holes_by_slice(prior: np.ndarray, around: Neighbourhood, reach_mm: float) -> None:
    for plane, inside, depth_mm in zip(prior, around.inside, around.depth_mm, strict=True):
        if not inside.any():
            continue
        # Beyond the reach counts as open, so a gap that the mask's slice does not enclose is no hole.
        open_ = (plane <= UNINFORMATIVE) | (depth_mm < -reach_mm)
        holes, count = scipy.ndimage.label(scipy.ndimage.binary_fill_holes(~open_) & open_)
        if count:
            mostly_inside = np.bincount(holes.ravel(), inside.ravel()) * 2 > np.bincount(holes.ravel())
            mostly_inside[0] = False
            plane[mostly_inside[holes]] = 1.0


LOCAL = Prior(partial(prior_by_region, local_prior), {"shell_mm": SHELL, "reach_mm": REACH}, needs_mask=True)
