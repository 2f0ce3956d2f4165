"""How well a boundary prior separates the voxels near the mask's boundary, where reference labels exist.

SCORE changes a mask near its boundary only, and P decides which way: where P ranks the voxels of that band no better
than chance, no training on it can improve the mask. Arrays are (z, y, x), distances in voxels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy  # its parts are loaded where they are first used
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.read import geometry_difference
from nnunet_weak.priors.neighbourhood import signed_depth_mm

ETA_VOX = 2.0
"""The paper's eta: SCORE changes a mask this near to its boundary."""


@dataclass(frozen=True)
class BandAssessment:
    """How P, the mask and the reference relate in the band around the mask's boundary.

    Attributes:
        auc: Probability that P is higher in a random voxel of the reference than in a random voxel outside it; 0.5 is
            chance. NaN where the band holds only one of the two, or nothing.
        auc_inside: The same among the voxels inside the mask, where over-segmentation is to be found. A P that only
            repeats the mask gets 0.5 here, whatever its `auc`.
        auc_outside: The same among those outside the mask, where under-segmentation is.
        dice_mask: Dice of the initial mask and the reference; NaN where both are empty.
        dice_prior: Dice with the band relabelled by P > 0.5, which is where P alone would lead.
        dice_oracle: Dice with the band relabelled as the reference, which nothing confined to the band can exceed.
        voxels: Size of the band.
    """

    auc: float
    auc_inside: float
    auc_outside: float
    dice_mask: float
    dice_prior: float
    dice_oracle: float
    voxels: int


def assess_in_band(
    prior: sitk.Image, mask: sitk.Image, reference: sitk.Image, radius_vox: float = ETA_VOX
) -> BandAssessment:
    """Compare P with the reference in the band that SCORE may change, with all regions of the mask as one.

    The band holds the voxels inside and outside whose distance to the nearest voxel of the other side is at most the
    radius, in voxels along every axis alike.

    Args:
        prior: Boundary prior.
        mask: Initial mask, on the same grid.
        reference: Reference labels, on the same grid.
        radius_vox: Radius of the band.

    Raises:
        InvalidInputError: Grids differ.
    """
    for name, image in (("reference labels are", reference), ("boundary prior is", prior)):
        if difference := geometry_difference(mask, image):
            raise InvalidInputError(f"{name} not on the mask's grid: {difference}")
    inside, truth = (sitk.GetArrayViewFromImage(image) > 0 for image in (mask, reference))
    # Cropped to the band of the mask and of the reference.
    either = scipy.ndimage.find_objects((inside | truth).view(np.uint8))
    margin = int(radius_vox) + 1
    part = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in either[0]) if either else ...
    inside, truth = inside[part], truth[part]
    band = np.abs(signed_depth_mm(inside, (1.0, 1.0, 1.0))) <= radius_vox
    values = sitk.GetArrayViewFromImage(prior)[part][band]
    was, true = inside[band], truth[band]
    beyond = inside & ~band, truth & ~band
    return BandAssessment(
        auc=band_auc(values, true),
        auc_inside=band_auc(values[was], true[was]),
        auc_outside=band_auc(values[~was], true[~was]),
        dice_mask=_dice(was, true, *beyond),
        dice_prior=_dice(values > 0.5, true, *beyond),
        dice_oracle=_dice(true, true, *beyond),
        voxels=int(true.size),
    )


def band_auc(values: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a value is higher where `positive` than elsewhere; NaN where there is only one of the two."""
    positives, negatives = values[positive], np.sort(values[~positive])
    if positives.size == 0 or negatives.size == 0:
        return math.nan
    lower, not_higher = (np.searchsorted(negatives, positives, side) for side in ("left", "right"))
    return float((lower + not_higher).mean() / (2 * negatives.size))  # ties count half


def _dice(predicted: np.ndarray, true: np.ndarray, mask_beyond: np.ndarray, true_beyond: np.ndarray) -> float:
    """Dice of a labelling of the band, together with the mask and the reference beyond it."""
    both = np.count_nonzero(predicted & true) + np.count_nonzero(mask_beyond & true_beyond)
    size = sum(map(np.count_nonzero, (predicted, true, mask_beyond, true_beyond)))
    return 2 * both / size if size else math.nan
