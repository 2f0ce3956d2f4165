"""Gradient prior: contours of the image."""

from __future__ import annotations

import numpy as np
import scipy  # its parts are loaded where they are first used

from nnunet_weak.priors.otsu import AIR_THRESHOLD, UPPER_PERCENTILE, rescaled_over_body
from nnunet_weak.priors.prior import Option, Prior, PriorInput, Probability

_SLAB_VOXELS = 16_000_000
_KERNEL_SIGMAS = 4.0


def gradient_prior(
    case: PriorInput, *, sigma_mm: float, upper_percentile: float, air_threshold: float | None
) -> Probability | None:
    """P = clip((g - lo) / (hi - lo), 0, 1) of the gradient's magnitude g of the smoothed image, per mm.

    lo is the median of g, which is noise, and hi an upper percentile, both over the body. P is high on contours and 0
    in even areas: eq. 2 then adds voxels up to a visible contour and eq. 3 removes those away from one, in the paper's
    words, but neither knows which side of the contour is inside. Axes of a single voxel have no gradient.
    """
    magnitude = np.empty(case.intensities.shape, dtype=np.float32)
    spacing = case.spacing_mm
    sigma_vox = sigma_mm / np.array(spacing) * (np.array(magnitude.shape) > 1)
    margin = int(_KERNEL_SIGMAS * sigma_vox[0] + 0.5) + 1
    # Slabs with margins, as a volume of 512 x 512 x 500 leaves no room for temporary copies.
    step = max(1, _SLAB_VOXELS // max(1, magnitude[0].size))
    for start in range(0, len(magnitude), step):
        first = max(start - margin, 0)
        slab = case.intensities[first : start + step + margin].astype(np.float32)
        slab = scipy.ndimage.gaussian_filter(slab, sigma_vox, truncate=_KERNEL_SIGMAS)
        squares = np.zeros_like(slab)
        for axis in range(3):
            if slab.shape[axis] > 1:
                squares += np.gradient(slab, spacing[axis], axis=axis) ** 2
        magnitude[start : start + step] = np.sqrt(squares)[start - first :][:step]
    return rescaled_over_body(case, magnitude, np.median, upper_percentile, air_threshold, out=magnitude)


GRADIENT = Prior(
    gradient_prior,
    {
        "upper_percentile": UPPER_PERCENTILE,
        "air_threshold": AIR_THRESHOLD,
        "sigma_mm": Option(1.0, 1e-3, 100, "standard deviation of the Gaussian under the gradient"),
    },
)
