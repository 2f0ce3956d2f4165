"""The boundary prior P of SCORE as an image: a voxel-wise plausibility in [0, 1] that weighs adding (eq. 2) against
removing (eq. 3).

Images are SimpleITK's (x, y, z); arrays are (z, y, x).

Reference:
    De Langlais et al., Resource-efficient automatic refinement of segmentations via weak supervision from light
    feedback (SCORE).
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.read import geometry_difference, read_image, with_geometry_of
from nnunet_weak.priors.body import filled_nonzero_region
from nnunet_weak.priors.global_intensity import gradient_prior, otsu_prior
from nnunet_weak.priors.local import local_prior
from nnunet_weak.priors.neighbourhood import Neighbourhood, prior_by_region
from nnunet_weak.priors.options import PriorOptions
from nnunet_weak.priors.posterior import posterior_prior

logger = logging.getLogger(__name__)

_UNINFORMATIVE = 0.5
_FILE_TOLERANCE = 1e-3


def boundary_prior(
    image: sitk.Image, options: PriorOptions, mask: sitk.Image | None = None, prior_file: Path | None = None
) -> sitk.Image:
    """Make P for one case.

    The same image, options and mask give the same P, at training and at inference. Except for `none`, P is 0 outside
    the filled nonzero region of the image, so that nnU-Net's crop to nonzero crops with this channel as without it
    (zeros enclosed by the body are not outside).

    Args:
        image: First image channel, 3D, finite, any number type.
        options: Kind of prior and its settings.
        mask: Initial mask on the same grid, 0 = background, k = region k; read by `local` and `posterior`. If it is
            empty the case gets the `otsu` prior, and a warning is logged.
        prior_file: P itself, for `file`: same grid, values in [0, 1].

    Returns:
        P as float32 image on the grid of `image`. 0.5 where nothing can be said: everywhere for `none`, in the nonzero
        region for an image of one intensity (with a warning).

    Raises:
        InvalidInputError: Mask or file is missing, unreadable, not needed, on another grid, or out of range.
    """
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InvalidInputError(
            f"boundary prior: a 3D image with one value per voxel is needed, got {image.GetDimension()}D with "
            f"{image.GetNumberOfComponentsPerPixel()} (remedy: give each channel as its own image)"
        )
    if prior_file is not None and options.kind != "file":
        raise InvalidInputError(
            f"{prior_file}: a file was given for a boundary prior of kind {options.kind!r} "
            "(remedy: choose kind 'file', or leave the file out)"
        )
    if options.kind == "none":
        return with_geometry_of(np.full(image.GetSize()[::-1], _UNINFORMATIVE, dtype=np.float32), image)
    array = sitk.GetArrayViewFromImage(image)
    if options.kind == "file":
        prior: np.ndarray | None = _prior_from_file(image, prior_file)
        region = filled_nonzero_region(array)
    else:
        labels = _checked_labels(image, options, mask) if options.needs_mask else None
        region = filled_nonzero_region(array)
        prior = _computed_prior(array, region, image.GetSpacing()[::-1], labels, options)
    if prior is None:
        logger.warning("Boundary prior is %g: the image has one intensity only.", _UNINFORMATIVE)
        prior = np.full(array.shape, _UNINFORMATIVE, dtype=np.float32)
    if region is not None:
        for z in range(len(prior)):
            prior[z][~region[z]] = 0.0
    del region
    return with_geometry_of(prior, image)


def _computed_prior(
    array: np.ndarray,
    region: np.ndarray | None,
    spacing_mm: tuple[float, ...],
    labels: np.ndarray | None,
    options: PriorOptions,
) -> np.ndarray | None:
    if options.kind == "gradient":
        return gradient_prior(
            array, region, spacing_mm, options.sigma_mm, options.upper_percentile, options.air_threshold
        )
    if labels is None:
        return otsu_prior(array, region, options.upper_percentile, options.air_threshold)

    def model(around: Neighbourhood) -> np.ndarray:
        if options.kind == "local":
            return local_prior(around, options.shell_mm, options.reach_mm)
        return posterior_prior(
            around, options.core_mm, options.shell_mm, options.reach_mm, options.locality_mm, options.mask_weight_per_mm
        )

    return prior_by_region(array, labels, region, spacing_mm, options.reach_mm, model)


def _checked_labels(image: sitk.Image, options: PriorOptions, mask: sitk.Image | None) -> np.ndarray | None:
    """The mask's array, None if it is empty."""
    if mask is None:
        raise InvalidInputError(
            f"boundary prior: kind {options.kind!r} is made around the initial mask, and none was given "
            "(remedy: give the mask, or choose 'otsu' or 'gradient')"
        )
    difference = geometry_difference(image, mask)
    if difference:
        raise InvalidInputError(
            f"boundary prior: the initial mask is not on the image's grid: {difference} (remedy: resample the mask)"
        )
    labels = sitk.GetArrayViewFromImage(mask)
    if labels.dtype.kind not in "ui":
        raise InvalidInputError(
            f"boundary prior: the initial mask holds {labels.dtype} values, whole numbers are needed"
        )
    if labels.min() < 0:
        raise InvalidInputError(f"boundary prior: the initial mask holds {int(labels.min())}, labels start at 0")
    if not labels.any():
        logger.warning("The initial mask is empty; the boundary prior is of kind 'otsu' instead of %r.", options.kind)
        return None
    return labels


def _prior_from_file(image: sitk.Image, prior_file: Path | None) -> np.ndarray:
    if prior_file is None:
        raise InvalidInputError(
            "boundary prior: kind 'file' needs a file for each case, and none was given (remedy: name it)"
        )
    prior = read_image(prior_file)
    difference = geometry_difference(image, prior)
    if difference:
        raise InvalidInputError(
            f"{prior_file}: boundary prior is not on the image's grid: {difference} (remedy: resample it)"
        )
    view = sitk.GetArrayViewFromImage(prior)
    low, high = float(view.min()), float(view.max())
    if low < -_FILE_TOLERANCE or high > 1 + _FILE_TOLERANCE:
        raise InvalidInputError(
            f"{prior_file}: a boundary prior lies in [0, 1], this one in [{low:g}, {high:g}] (remedy: rescale it)"
        )
    array = view.astype(np.float32)
    return np.clip(array, 0, 1, out=array)
