"""Quality scores and error types simulated from reference segmentations: what a rater would write down for SCORE.

The rule, for each region by itself:

1. `under` voxels lie in the reference's region and not in the mask's, `over` voxels the other way round. A voxel that
   the mask gives to a neighbouring region is thus under-segmentation of the one and over-segmentation of the other.
2. Their volume over the area of the region's surface is the mean distance, in mm, between the two surfaces. It does not
   depend on the size of the organ or of the voxels, and is what one sees in the viewer: how thick the wrong layer is.
3. Quality is 5 minus that distance over `mm_per_point`, rounded to half points, not below 0.
4. Quality 5 has error type `none`. Below, the type is `over` if at least three quarters of the wrong volume are
   over-segmentation, `under` if at most a quarter is, `both` in between.

A region that neither segmentation has is not scored (the field of view may not show it). Arrays are (z, y, x), spacing
likewise. People who score are neither exact nor of one mind: `Rater` adds their errors.

Reference:
    SCORE, section 2, "Weak supervision from quality scores": q_k from 0 to 5, l_k in {-1, 0, 1, 2}. The paper's scores
    were given by people; the rule is ours.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_weak.dataset.annotations import BEST_QUALITY, ErrorType, RegionScore, error_name
from nnunet_weak.errors import InvalidInputError

Labels = Mapping[str, int | Sequence[int]]

ONE_SIDED = 0.75
"""Share of over-segmentation in the wrong volume from which on a region is `over`; `under` up to 1 minus it."""


class SurfaceError(NamedTuple):
    """How the surface of a region differs from the reference's.

    Attributes:
        mean_distance_mm: Mean thickness of the wrong layer; infinite where one of the two regions is empty.
        over_share: Share of over-segmentation in the wrong volume; 0.5 where nothing is wrong.
    """

    mean_distance_mm: float
    over_share: float


def simulate_scores(
    reference: NDArray[np.integer],
    mask: NDArray[np.integer],
    labels: Labels,
    spacing_mm: Sequence[float],
    *,
    mm_per_point: float = 0.5,
    step: float = 0.5,
    rater: Rater | None = None,
) -> dict[str, RegionScore]:
    """Score each region of a mask by the rule at the top of this module.

    Args:
        reference: Label map held to be true, (D, H, W).
        mask: Label map to be scored, same grid.
        labels: Label value, or values that count as one, of each region by name; the same for both maps.
        spacing_mm: Voxel size along each array axis (z, y, x).
        mm_per_point: Mean distance of the surfaces that costs one point.
        step: Scores are multiples of this; it divides 5.
        rater: Whose errors are added; None gives the exact scores.

    Returns:
        Score by region name, in the order of `labels`, without the regions that are absent from both maps.

    Raises:
        InvalidInputError: The maps differ in shape.
    """
    scores: dict[str, RegionScore] = {}
    for name, error in surface_errors(reference, mask, labels, spacing_mm).items():
        quality = BEST_QUALITY - error.mean_distance_mm / mm_per_point
        if rater is not None and error.mean_distance_mm > 0:
            quality += rater.quality_error()
        quality = float(np.clip(np.rint(max(quality, 0.0) / step) * step, 0.0, BEST_QUALITY))
        kind = _error_type(quality, error.over_share)
        judged = kind if rater is None else rater.judge_error(kind)
        # Nobody takes a region that is missing, or not in the image, for another error.
        scores[name] = RegionScore(quality, judged if math.isfinite(error.mean_distance_mm) else kind)
    return scores


class Rater:
    """Errors of a person who scores; they depend on seed, case and number of the rater only.

    A flawless region is always scored 5, and quality 5 always goes with no error.

    Args:
        sd: Standard deviation, in points, of the error of the quality before rounding.
        wrong_errors: Probability that the error type of a region with errors is one of the two wrong ones.
        seed: Of all raters and cases.
        case: Name of the case.
        number: Number of the rater.
    """

    def __init__(self, sd: float, wrong_errors: float, seed: int, case: str, number: int) -> None:
        self.sd, self.wrong_errors = sd, wrong_errors
        self._quality_rng, self._error_rng = np.random.default_rng([seed, zlib.crc32(case.encode()), number]).spawn(2)

    def quality_error(self) -> float:
        """Error of the quality of the next region."""
        return self._quality_rng.normal(0.0, self.sd)

    def judge_error(self, true: ErrorType) -> ErrorType:
        """Error type that the rater notes for the next region."""
        wrong, choice = self._error_rng.random(), int(self._error_rng.integers(2))
        if true == ErrorType.NONE or wrong >= self.wrong_errors:
            return true
        return [kind for kind in (ErrorType.UNDER, ErrorType.OVER, ErrorType.BOTH) if kind != true][choice]


def surface_errors(
    reference: NDArray[np.integer], mask: NDArray[np.integer], labels: Labels, spacing_mm: Sequence[float]
) -> dict[str, SurfaceError]:
    """Error of each region that at least one of the two maps has.

    Faces that the border of the image cuts are not counted as surface. Arguments and exceptions as `simulate_scores`.
    """
    if reference.shape != mask.shape:
        raise InvalidInputError(
            f"reference of shape {reference.shape}, mask of shape {mask.shape} (remedy: the same grid for both)"
        )
    errors: dict[str, SurfaceError] = {}
    for name, values in labels.items():
        true, given = np.isin(reference, values), np.isin(mask, values)
        boxes = ndimage.find_objects((true | given).view(np.uint8))
        if not boxes:
            continue
        # Three voxels are more than the blur of the surface reaches.
        box = tuple(slice(max(side.start - 3, 0), side.stop + 3) for side in boxes[0])
        true, given = true[box], given[box]
        over_voxels, wrong_voxels = int((given & ~true).sum()), int((given ^ true).sum())
        if not wrong_voxels:
            errors[name] = SurfaceError(0.0, 0.5)
            continue
        wrong_mm3 = wrong_voxels * float(np.prod(spacing_mm))
        both = true.any() and given.any()
        area_mm2 = np.mean([surface_area_mm2(region, spacing_mm) for region in (true, given)]) if both else 0.0
        errors[name] = SurfaceError(
            float(wrong_mm3 / area_mm2) if area_mm2 > 0 else float("inf"), over_voxels / wrong_voxels
        )
    return errors


def surface_area_mm2(region: NDArray[np.bool_], spacing_mm: Sequence[float]) -> float:
    """Area of a region's surface inside the image, within a few percent at any orientation.

    By the coarea formula: the integral of the gradient's magnitude of the slightly blurred region. Counting voxel faces
    would overstate oblique surfaces by up to 73 %. Structures thinner than two voxels are understated.
    """
    blurred = ndimage.gaussian_filter(region.astype(np.float32), 0.7, mode="nearest")
    axes = [axis for axis in range(region.ndim) if region.shape[axis] > 1]
    gradients = [np.gradient(blurred, spacing_mm[axis], axis=axis) for axis in axes]
    squared = sum((gradient**2 for gradient in gradients), start=np.zeros_like(blurred))
    return float(np.sqrt(squared).sum(dtype=np.float64) * np.prod(spacing_mm))


def score_rows(case: str, scores: Mapping[str, RegionScore], rater: str | None = None) -> list[dict[str, str | float]]:
    """Scores of one case as rows of the table that the converter reads."""
    rater_column: dict[str, str | float] = {} if rater is None else {"rater": rater}
    return [
        {"case": case, "region": region, "quality": score.quality, "error": error_name(score.error), **rater_column}
        for region, score in scores.items()
    ]


def score_summary(rows: Iterable[Mapping[str, str | float]], regions: Sequence[str]) -> str:
    """Table of the mean quality and the counts of error types of each region, as text."""
    table = pd.DataFrame(list(rows), columns=["case", "region", "quality", "error"])
    lines = []
    for label, part in [*((name, table[table.region == name]) for name in regions), ("all", table)]:
        spread = f"{part.quality.mean():.2f} ({part.quality.min():g}-{part.quality.max():g})" if len(part) else "-"
        counts = {error_name(kind): int((part.error == error_name(kind)).sum()) for kind in ErrorType}
        lines.append({"region": label, "scores": len(part), "quality mean (range)": spread, **counts})
    return pd.DataFrame(lines).to_string(index=False)


def _error_type(quality: float, over_share: float) -> ErrorType:
    if quality == BEST_QUALITY:
        return ErrorType.NONE
    if over_share >= ONE_SIDED:
        return ErrorType.OVER
    return ErrorType.UNDER if over_share <= 1 - ONE_SIDED else ErrorType.BOTH
