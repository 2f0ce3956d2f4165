"""Whether a boundary prior can help, told before training where reference labels exist.

SCORE changes a mask near its boundary only, and P decides which way: where P ranks the voxels of that band no better
than chance, no training on it can improve the mask. Arrays are (z, y, x), depths in mm or in voxels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.read import geometry_difference
from nnunet_weak.priors.neighbourhood import signed_depth_mm


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
    prior: sitk.Image,
    mask: sitk.Image,
    reference: sitk.Image,
    *,
    radius_mm: float | None = None,
    radius_vox: float | None = None,
    label: int | None = None,
) -> BandAssessment:
    """Compare P with the reference in the band that SCORE may change.

    The band holds the voxels inside and outside whose distance to the nearest voxel of the other side is at most the
    radius.

    Args:
        prior: Boundary prior.
        mask: Initial mask, on the same grid.
        reference: Reference labels, on the same grid.
        radius_mm: Radius in mm.
        radius_vox: Radius in voxels, along every axis alike; 2 (the paper's eta) if neither is given.
        label: The region to look at, in mask and reference; None takes everything above 0 as one.

    Raises:
        InvalidInputError: Grids differ, or both radii are given.
    """
    inside, truth, band, part = _band(mask, reference, radius_mm, radius_vox, label)
    difference = geometry_difference(mask, prior)
    if difference:
        raise InvalidInputError(f"boundary prior is not on the mask's grid: {difference}")
    values = sitk.GetArrayViewFromImage(prior)[part][band]
    mine, true = inside[band], truth[band]
    beyond = ~band
    kept, missed, total = (int(np.count_nonzero(set_ & beyond)) for set_ in (inside & truth, truth, inside))
    return BandAssessment(
        auc=_auc(values, true),
        auc_inside=_auc(values[mine], true[mine]),
        auc_outside=_auc(values[~mine], true[~mine]),
        dice_mask=_dice(kept, total, missed, mine, true),
        dice_prior=_dice(kept, total, missed, values > 0.5, true),
        dice_oracle=_dice(kept, total, missed, true, true),
        voxels=int(true.size),
    )


def _band(
    mask: sitk.Image, reference: sitk.Image, radius_mm: float | None, radius_vox: float | None, label: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[slice, ...]]:
    if radius_mm is not None and radius_vox is not None:
        raise InvalidInputError("band around the mask: give its radius in mm or in voxels, not both")
    difference = geometry_difference(mask, reference)
    if difference:
        raise InvalidInputError(f"reference labels are not on the mask's grid: {difference}")
    if radius_mm is not None:
        radius, spacing = radius_mm, mask.GetSpacing()[::-1]
    else:
        radius, spacing = 2.0 if radius_vox is None else radius_vox, (1.0, 1.0, 1.0)
    inside, truth = (_foreground(sitk.GetArrayViewFromImage(image), label) for image in (mask, reference))
    boxes = [box for array in (inside, truth) for box in ndimage.find_objects(array.view(np.uint8)) if box is not None]
    part = []
    for axis, step in enumerate(spacing):
        margin = int(radius / step) + 1
        starts, stops = [box[axis].start for box in boxes], [box[axis].stop for box in boxes]
        part.append(slice(max(0, min(starts, default=0) - margin), max(stops, default=0) + margin))
    inside, truth = inside[tuple(part)], truth[tuple(part)]
    return inside, truth, np.abs(signed_depth_mm(inside, spacing)) <= radius, tuple(part)


def _foreground(labels: np.ndarray, label: int | None) -> np.ndarray:
    return labels > 0 if label is None else labels == label


def _auc(values: np.ndarray, positive: np.ndarray) -> float:
    n_positive = int(np.count_nonzero(positive))
    n_negative = positive.size - n_positive
    if n_positive == 0 or n_negative == 0:
        return math.nan
    distinct, rank = np.unique(values, return_inverse=True)
    positives = np.bincount(rank[positive], minlength=distinct.size)
    negatives = np.bincount(rank[~positive], minlength=distinct.size)
    lower_negatives = np.cumsum(negatives) - negatives / 2  # ties count half
    return float(positives @ lower_negatives / (n_positive * n_negative))


def _dice(kept: int, total: int, missed: int, predicted: np.ndarray, true: np.ndarray) -> float:
    """Dice with a labelling of the band; the other counts are of voxels beyond it: in both, in the mask, in the
    reference.
    """
    size = total + missed + int(np.count_nonzero(predicted)) + int(np.count_nonzero(true))
    return 2 * (kept + int(np.count_nonzero(predicted & true))) / size if size else math.nan
