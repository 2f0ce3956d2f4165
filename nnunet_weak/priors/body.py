"""The filled nonzero region of an image, and a sample of the voxels of the body in it.

Arrays are (z, y, x). Statistics come from a regular sample of some two million voxels: at 512 x 512 x 500 they differ
from those of all voxels by far less than they vary between scanners, and cost a sixtieth.
"""

from __future__ import annotations

import numpy as np
import scipy  # its parts are loaded where they are first used

_SAMPLE_VOXELS = 2_000_000
# Hounsfield units: nothing in a body but lung and bowel gas lies below -300, and only air lies below -200 in bulk.
_AIR_BELOW_HU = -300.0
_HOLDS_AIR_HU = -200.0
_NORMALISED_RANGE = 50.0


def filled_nonzero_region(array: np.ndarray) -> np.ndarray | None:
    """Nonzero voxels with enclosed holes filled, as nnU-Net's crop sees them; None where that is the whole volume."""
    nonzero = array != 0
    if all(np.take(nonzero, index, axis=axis).all() for axis in range(array.ndim) for index in (0, -1)):
        return None
    return scipy.ndimage.binary_fill_holes(nonzero)


def regular_sample(array: np.ndarray) -> tuple[slice, ...]:
    """Slices that thin a volume out to about two million voxels, evenly along its longest axes first."""
    steps = [1] * array.ndim
    while np.prod([-(-n // step) for n, step in zip(array.shape, steps, strict=True)]) > _SAMPLE_VOXELS:
        longest = int(np.argmax([n / step for n, step in zip(array.shape, steps, strict=True)]))
        steps[longest] += 1
    return tuple(slice(step // 2, None, step) for step in steps)


def sample_body(
    values: np.ndarray, intensities: np.ndarray, region: np.ndarray | None, air_threshold: float | None = None
) -> np.ndarray:
    """A regular sample of `values` in the body: voxels of the region above air, or all of it where none is.

    Args:
        values: Shape (z, y, x).
        intensities: The image, same shape.
        region: Result of `filled_nonzero_region`.
        air_threshold: Intensity up to which a voxel is air; None lets `air_level` find it.

    Returns:
        One-dimensional float32 array, empty only if the region is.
    """
    part = regular_sample(intensities)
    if region is not None and not region[part].any():
        part = (slice(None),) * intensities.ndim  # a region so small that the sample misses it
    chosen = ... if region is None else region[part]
    sample = intensities[part][chosen].ravel().astype(np.float32)
    values = values[part][chosen].ravel().astype(np.float32)
    if sample.size == 0:
        return values
    in_body = sample > (air_level(sample) if air_threshold is None else air_threshold)
    return values[in_body] if in_body.any() else values


def air_level(intensities: np.ndarray) -> float:
    """Intensity up to which a voxel is air, estimated from the distribution of the intensities.

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
