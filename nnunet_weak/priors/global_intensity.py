"""Priors from the image alone: bright as the paper has it, or contours.

Arrays are (z, y, x); the results are written slab by slab, for a 512 x 512 x 500 volume leaves no room for temporary
copies.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from nnunet_weak.priors.body import body_sample, otsu_threshold, sample_with_body

_SLAB_VOXELS = 4_000_000
_GRADIENT_SLAB_VOXELS = 16_000_000  # larger, as each slab is filtered with margins
_KERNEL_SIGMAS = 4.0


def otsu_prior(
    array: np.ndarray, region: np.ndarray | None, upper_percentile: float, air_threshold: float | None
) -> np.ndarray | None:
    """P = clip((I - lo) / (hi - lo), 0, 1), lo = Otsu's threshold and hi = an upper percentile, both over the body.

    Args:
        array: Intensities, (z, y, x), any number type.
        region: What `filled_nonzero_region` returned; where nothing of the image is nonzero, there is no prior.
        upper_percentile: Where P reaches 1.
        air_threshold: See `body_sample`.

    Returns:
        P in float32, or None where the body has one intensity only and P would say nothing.

    Reference:
        SCORE, "Network inputs and boundary prior".
    """
    body = body_sample(array, region, air_threshold)
    if body.size == 0:
        return None
    low, high = otsu_threshold(body), float(np.percentile(body, upper_percentile))
    if high <= low:
        high = float(body.max())
    return rescaled(array, low, high) if high > low else None


def gradient_prior(
    array: np.ndarray,
    region: np.ndarray | None,
    spacing_mm: tuple[float, ...],
    sigma_mm: float,
    upper_percentile: float,
    air_threshold: float | None,
) -> np.ndarray | None:
    """P = clip((g - lo) / (hi - lo), 0, 1) of the gradient's magnitude g of the smoothed image, per mm.

    lo is the median of g, which is noise, and hi an upper percentile, both over the body. P is high on contours and 0
    in even areas: eq. 2 then adds voxels up to a visible contour and eq. 3 removes those away from one, in the paper's
    words, but neither knows which side of the contour is inside. Axes of a single voxel have no gradient.

    Args:
        array: Intensities, (z, y, x).
        region: What `filled_nonzero_region` returned.
        spacing_mm: Voxel size, (z, y, x).
        sigma_mm: Standard deviation of the Gaussian.
        upper_percentile: Where P reaches 1.
        air_threshold: See `body_sample`.

    Returns:
        P in float32, or None where there is no gradient.
    """
    magnitude = np.empty(array.shape, dtype=np.float32)
    sigma_vox = [sigma_mm / step if n > 1 else 0.0 for step, n in zip(spacing_mm, array.shape, strict=True)]
    margin = int(_KERNEL_SIGMAS * sigma_vox[0] + 0.5) + 1
    for start, stop in _slabs(array.shape, _GRADIENT_SLAB_VOXELS):
        first, last = max(start - margin, 0), min(stop + margin, len(array))
        smooth = ndimage.gaussian_filter(array[first:last].astype(np.float32), sigma_vox, truncate=_KERNEL_SIGMAS)
        squares = np.zeros_like(smooth)
        for axis, n in enumerate(smooth.shape):
            if n > 1:
                squares += np.gradient(smooth, spacing_mm[axis], axis=axis) ** 2
        np.sqrt(squares[start - first : stop - first], out=magnitude[start:stop])
    sample, in_body = sample_with_body(magnitude, array, region, air_threshold)
    if sample.size == 0:
        return None
    sample = sample[in_body]
    low, high = float(np.median(sample)), float(np.percentile(sample, upper_percentile))
    if high <= low:
        high = float(magnitude.max())
    return rescaled(magnitude, low, high, out=magnitude) if high > low else None


def rescaled(array: np.ndarray, low: float, high: float, out: np.ndarray | None = None) -> np.ndarray:
    """clip((array - low) / (high - low), 0, 1) as float32; `out` may be the array itself."""
    result = np.empty(array.shape, dtype=np.float32) if out is None else out
    for start, stop in _slabs(array.shape):
        slab = result[start:stop]
        np.subtract(array[start:stop], np.float32(low), out=slab, dtype=np.float32, casting="unsafe")
        slab *= np.float32(1 / (high - low))
        np.clip(slab, 0, 1, out=slab)
    return result


def _slabs(shape: tuple[int, ...], voxels: int = _SLAB_VOXELS) -> Iterator[tuple[int, int]]:
    step = max(1, voxels // max(1, int(np.prod(shape[1:]))))
    for start in range(0, shape[0], step):
        yield start, min(start + step, shape[0])
