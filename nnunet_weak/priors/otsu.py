"""Otsu prior: how bright a voxel is, as in the paper.

Reference:
    Otsu, A threshold selection method from gray-level histograms, IEEE Trans. SMC 9, 1979;
    SCORE, "Network inputs and boundary prior".
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from nnunet_weak.priors.body import sample_body
from nnunet_weak.priors.prior import Array, Option, Prior, PriorInput, Probability

_HISTOGRAM_BINS = 256

UPPER_PERCENTILE = Option(99.5, 50, 100, "percentile over the body at which P reaches 1")
AIR_THRESHOLD = Option(None, -math.inf, math.inf, "intensity up to which a voxel is air; None finds it")


def otsu_prior(case: PriorInput, *, upper_percentile: float, air_threshold: float | None) -> Probability | None:
    """P = clip((I - lo) / (hi - lo), 0, 1), lo = Otsu's threshold and hi = an upper percentile, both over the body."""
    return rescaled_over_body(case, case.intensities, otsu_threshold, upper_percentile, air_threshold)


def otsu_threshold(values: np.ndarray) -> float:
    """Otsu's threshold from a histogram of 256 bins between the 0.5th and the 99.5th percentile.

    The percentiles keep one metal voxel of 30,000 HU from stretching the histogram. Values above the threshold are the
    bright class. Where a gap between the classes makes several thresholds equally good, their middle is taken.

    Args:
        values: Any shape, not empty.

    Returns:
        The threshold; the value itself where all values are the same.
    """
    low, high = (float(bound) for bound in np.percentile(values, [0.5, 99.5]))
    if high <= low:
        low, high = float(values.min()), float(values.max())
        if high <= low:
            return low
    # Not scikit-image's function: it counts in float32, in which equally good thresholds of a gap differ.
    scale = _HISTOGRAM_BINS / (high - low)
    bins = np.clip((values.ravel() - low) * scale, 0, _HISTOGRAM_BINS - 1).astype(np.intp)
    counts = np.bincount(bins, minlength=_HISTOGRAM_BINS).astype(np.float64)
    centres = low + (np.arange(_HISTOGRAM_BINS) + 0.5) / scale
    below, above = np.cumsum(counts)[:-1], counts[::-1].cumsum()[::-1][1:]
    mass = counts * centres
    mean_below, mean_above = np.cumsum(mass)[:-1] / below.clip(1), mass[::-1].cumsum()[::-1][1:] / above.clip(1)
    separation = below * above * (mean_below - mean_above) ** 2
    best = np.flatnonzero(separation >= separation.max() * (1 - 1e-9))
    return float((centres[best[0]] + centres[best[-1]]) / 2)


def rescaled_over_body(
    case: PriorInput,
    values: Array,
    lower_bound: Callable[[np.ndarray], float],
    upper_percentile: float,
    air_threshold: float | None,
    out: Probability | None = None,
) -> Probability | None:
    """clip((values - lo) / (hi - lo), 0, 1), both bounds over the body; None where they coincide."""
    body = sample_body(values, case.intensities, case.nonzero, air_threshold)
    if body.size == 0:
        return None
    low, high = lower_bound(body), float(np.percentile(body, upper_percentile))
    if high <= low:
        high = float(body.max())
    return rescaled(values, low, high, out) if high > low else None


def rescaled(array: Array, low: float, high: float, out: Probability | None = None) -> Probability:
    """clip((array - low) / (high - low), 0, 1) as float32; `out` may be the array itself."""
    out = np.subtract(array, np.float32(low), out=out, dtype=np.float32, casting="unsafe")
    out *= np.float32(1 / (high - low))
    return np.clip(out, 0, 1, out=out)


OTSU = Prior(otsu_prior, {"upper_percentile": UPPER_PERCENTILE, "air_threshold": AIR_THRESHOLD})
