"""What tells a good mask from a bad one where there is no reference: features of each region of a case.

A SCORE network has learned to correct masks, so how much it changes one, where it is uncertain, and whether the
boundary prior agrees with the mask say how good the mask was. Arrays are (z, y, x), spacing likewise, in mm. The band
of a region holds the voxels within `BAND_VOX` of its boundary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from nnunet_weak.priors.assessment import band_auc
from nnunet_weak.priors.neighbourhood import signed_depth_mm

BAND_VOX = 2.0

FEATURES = {
    "refined_dice": "Dice of the mask and its refinement",
    "shift_mm": "mean signed distance from the mask's surface to the refinement's: positive where that lies outside",
    "distance_mm": "mean distance from the mask's surface to the refinement's",
    "moved_boundary": "share of the mask's surface that moved by more than a voxel",
    "grown": "voxels that the refinement adds, as a share of the mask",
    "shrunk": "voxels that the refinement removes, as a share of the mask",
    "entropy": "mean entropy of the softmax in the band, as a share of its maximum",
    "confidence": "mean probability of the region inside the mask",
    "prior_auc": "probability that the prior is higher in a voxel of the band inside the mask than in one outside",
    "components": "number of connected components",
    "largest_component": "share of the largest component",
    "log_volume_mm3": "natural logarithm of the volume",
    "volume_z": "distance of that from the cohort's median, in robust standard deviations",
    "components_z": "distance of the number of components from the cohort's median, likewise",
}
"""Every feature and what it is; the last two need the cohort."""

COHORT_FEATURES = {"volume_z": "log_volume_mm3", "components_z": "components"}
_MAD_TO_SD = 1.4826  # of a normal distribution


def region_features(
    number: int,
    initial: np.ndarray,
    refined: np.ndarray,
    probabilities: np.ndarray,
    prior: np.ndarray | None,
    spacing_mm: Sequence[float],
) -> dict[str, float] | None:
    """Features of region `number` of a case that need no other case; None where the mask is empty.

    Args:
        number: Its label.
        initial: Initial mask, 0 = background, k = region k.
        refined: Refined label map.
        probabilities: Softmax, `(K + 1, D, H, W)`.
        prior: Boundary prior; None without one.
        spacing_mm: Voxel size.
    """
    boxes = ndimage.find_objects(((initial == number) | (refined == number)).view(np.uint8))
    if not boxes or not (initial == number).any():
        return None
    box = tuple(slice(max(0, side.start - 3), side.stop + 3) for side in boxes[0])
    mask, after = initial[box] == number, refined[box] == number
    size = int(mask.sum())
    common = int((mask & after).sum())
    band = np.abs(signed_depth_mm(mask, (1.0, 1.0, 1.0))) <= BAND_VOX
    shift, distance, moved = _surface_shift(mask, after, spacing_mm)
    inside = probabilities[(slice(None), *box)]
    labelled, components = ndimage.label(mask, np.ones((3, 3, 3)))
    return {
        "refined_dice": 2 * common / (size + int(after.sum())),
        "shift_mm": shift,
        "distance_mm": distance,
        "moved_boundary": moved,
        "grown": (int(after.sum()) - common) / size,
        "shrunk": (size - common) / size,
        "entropy": _entropy(inside[:, band]),
        "confidence": float(inside[number][mask].mean()),
        "prior_auc": math.nan if prior is None else band_auc(prior[box][band], mask[band]),
        "components": float(components),
        "largest_component": float(np.bincount(labelled[mask]).max() / size),
        "log_volume_mm3": math.log(size * float(np.prod(spacing_mm))),
    }


def add_cohort_features(rows: Sequence[Mapping[str, float]], regions: Sequence[str]) -> list[dict[str, float]]:
    """Add the features that compare a region with the same region of all cases.

    Args:
        rows: Features of each row.
        regions: Region of each row.
    """
    completed = [dict(row) for row in rows]
    for name, source in COHORT_FEATURES.items():
        for region in set(regions):
            members = [row for row, of in zip(completed, regions, strict=True) if of == region]
            values = np.array([row[source] for row in members])
            centre = np.median(values)
            spread = _MAD_TO_SD * float(np.median(np.abs(values - centre))) or float(values.std()) or 1.0
            for row, value in zip(members, values, strict=True):
                row[name] = float((value - centre) / spread)
    return completed


def features_to_json(features: Mapping[str, float]) -> dict[str, float | None]:
    """The features of a region as JSON, in which NaN is null."""
    return {name: value if math.isfinite(value) else None for name, value in features.items()}


def features_from_json(content: Mapping[str, float | None]) -> dict[str, float]:
    """What `features_to_json` made."""
    return {name: math.nan if value is None else float(value) for name, value in content.items()}


def _surface_shift(mask: np.ndarray, after: np.ndarray, spacing_mm: Sequence[float]) -> tuple[float, float, float]:
    """Mean signed and absolute distance of the mask's surface to the refinement's, in mm, and the share that moved."""
    surface = mask & ~ndimage.binary_erosion(mask, border_value=1)
    if not surface.any():  # the mask fills its box
        surface = mask
    if not after.any():
        size_mm = float(np.cbrt(mask.sum() * np.prod(spacing_mm)))
        return -size_mm, size_mm, 1.0
    farthest_mm = float(np.linalg.norm(np.multiply(mask.shape, spacing_mm)))
    before, now = (signed_depth_mm(each, tuple(spacing_mm))[surface] for each in (mask, after))
    moved = np.clip(now, -farthest_mm, farthest_mm) - np.clip(before, -farthest_mm, farthest_mm)
    return float(moved.mean()), float(np.abs(moved).mean()), float((np.abs(moved) > max(spacing_mm)).mean())


def _entropy(probabilities: np.ndarray) -> float:
    if not probabilities.size:
        return math.nan
    clipped = np.clip(probabilities, 1e-7, 1)
    return float(-(clipped * np.log(clipped)).sum(0).mean() / math.log(len(clipped)))
