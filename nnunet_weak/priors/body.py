"""What of an image counts: its filled nonzero region, its body, and Otsu's threshold between dark and bright in there.

Arrays are (z, y, x). Statistics come from a regular sample of some two million voxels: at 512 x 512 x 500 they differ
from those of all voxels by far less than they vary between scanners, and cost a sixtieth.

Reference:
    Otsu, A threshold selection method from gray-level histograms, IEEE Trans. SMC 9, 1979.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_SAMPLE_VOXELS = 2_000_000
_HISTOGRAM_BINS = 256
# Hounsfield units: nothing in a body but lung and bowel gas lies below -300, and only air lies below -200 in bulk.
_AIR_BELOW_HU = -300.0
_HOLDS_AIR_HU = -200.0
_NORMALISED_RANGE = 50.0


def filled_nonzero_region(array: np.ndarray) -> np.ndarray | None:
    """Nonzero voxels with enclosed holes filled, as nnU-Net's crop sees them; None where that is the whole volume.

    Equals `scipy.ndimage.binary_fill_holes(array != 0)`: a zero voxel is outside if faces of zero voxels join it to the
    volume's border.
    """
    zero = array == 0
    if not any(face.any() for face in _faces(zero)):
        return None
    components, count = ndimage.label(zero)
    inside = np.ones(count + 1, dtype=bool)
    for face in _faces(components):
        inside[np.unique(face)] = False
    inside[0] = True
    region = zero  # reused: this array and the components are the peak of memory
    for z in range(len(region)):
        np.take(inside, components[z], out=region[z])
    return region


def regular_sample(array: np.ndarray) -> tuple[slice, ...]:
    """Slices that thin a volume out to about two million voxels, evenly along its longest axes first."""
    steps = [1] * array.ndim
    while np.prod([-(-n // step) for n, step in zip(array.shape, steps, strict=True)]) > _SAMPLE_VOXELS:
        longest = int(np.argmax([n / step for n, step in zip(array.shape, steps, strict=True)]))
        steps[longest] += 1
    return tuple(slice(step // 2, None, step) for step in steps)


def body_sample(array: np.ndarray, region: np.ndarray | None, air_threshold: float | None = None) -> np.ndarray:
    """Intensities of a regular sample of the voxels above air, or of all where nothing lies above.

    Args:
        array: Intensities, (z, y, x).
        region: What `filled_nonzero_region` returned.
        air_threshold: Intensity up to which a voxel is air; None lets `air_level` find it.

    Returns:
        One-dimensional float32 array, empty only if the region is.
    """
    values, in_body = sample_with_body(array, array, region, air_threshold)
    return values[in_body]


def sample_with_body(
    values: np.ndarray, array: np.ndarray, region: np.ndarray | None, air_threshold: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A regular sample of `values` in the region, and which of these voxels the image's intensities place in the body.

    See `body_sample`, which is this for the intensities themselves.
    """
    thinned = regular_sample(array)
    if region is not None and not region[thinned].any():
        thinned = tuple(slice(None) for _ in array.shape)  # a region so small that the sample misses it
    chosen = ... if region is None else region[thinned]
    intensities = array[thinned][chosen].ravel().astype(np.float32)
    if intensities.size == 0:
        return intensities, intensities.astype(bool)
    in_body = intensities > (air_level(intensities) if air_threshold is None else air_threshold)
    if not in_body.any():
        in_body[:] = True
    return values[thinned][chosen].ravel().astype(np.float32), in_body


def air_level(intensities: np.ndarray) -> float:
    """Intensity up to which a voxel is air, from what the intensities of an image look like.

    Plenty of voxels below -200 are Hounsfield units with air: -300. None below 0 is a magnetic resonance image, where
    air gives no signal: a tenth of the 98th percentile. In between, a range of many units is computed tomography
    cropped to tissue, with no air at all, and a small one comes from normalised intensities: a tenth of the way from
    the 2nd to the 98th percentile.
    """
    lowest, low, high = (float(value) for value in np.percentile(intensities, [0.5, 2, 98]))
    if lowest < _HOLDS_AIR_HU:
        return _AIR_BELOW_HU
    if lowest >= 0:
        return 0.1 * high
    return low + 0.1 * (high - low) if high - low < _NORMALISED_RANGE else -np.inf


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


def _faces(array: np.ndarray) -> list[np.ndarray]:
    return [np.take(array, index, axis=axis) for axis in range(array.ndim) for index in (0, -1)]
