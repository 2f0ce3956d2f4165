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
likewise.

Reference:
    SCORE, section 2, "Weak supervision from quality scores": q_k from 0 to 5, l_k in {-1, 0, 1, 2}. The paper's scores
    were given by people; the rule is ours.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_weak.dataset.annotations import BEST_QUALITY, ErrorType, RegionScore, error_name
from nnunet_weak.errors import InvalidInputError, Problems

Labels = Mapping[str, int | Sequence[int]]

#: One-sided from here on: share of over-segmentation in the wrong volume that makes a region `over` (and 1 minus it
# `under`).
ONE_SIDED = 0.75


@dataclass(frozen=True)
class SurfaceError:
    """How a region of a mask differs from the reference.

    Attributes:
        under_mm3: Volume that is missing.
        over_mm3: Volume that is too much.
        area_mm2: Area of the surface, mean of both segmentations.
    """

    under_mm3: float
    over_mm3: float
    area_mm2: float

    @property
    def mean_distance_mm(self) -> float:
        """Mean thickness of the wrong layer; infinite where one of the two is empty."""
        wrong = self.under_mm3 + self.over_mm3
        if wrong == 0:
            return 0.0
        return wrong / self.area_mm2 if self.area_mm2 > 0 else float("inf")

    @property
    def over_share(self) -> float:
        """Share of over-segmentation in the wrong volume; 0.5 where nothing is wrong."""
        wrong = self.under_mm3 + self.over_mm3
        return self.over_mm3 / wrong if wrong > 0 else 0.5


def simulate_scores(
    reference: NDArray[np.integer],
    mask: NDArray[np.integer],
    labels: Labels,
    spacing_mm: Sequence[float],
    *,
    mm_per_point: float = 0.5,
    step: float = 0.5,
    rater_noise: float = 0.0,
    rng: np.random.Generator | None = None,
) -> dict[str, RegionScore]:
    """Score each region of a mask by the rule at the top of this module.

    Args:
        reference: Label map held to be true, (D, H, W).
        mask: Label map to be scored, same grid.
        labels: Label value, or values that count as one, of each region by name; the same for both maps.
        spacing_mm: Voxel size along each array axis (z, y, x).
        mm_per_point: Mean distance of the surfaces that costs one point.
        step: Scores are multiples of this.
        rater_noise: Standard deviation, in points, of what a rater adds to the quality before rounding. A fifth of it
            is the standard
            deviation of what is added to the share of over-segmentation. A flawless region is always scored 5.
        rng: Source of the noise; needed only with `rater_noise`.

    Returns:
        Score by region name, in the order of `labels`, without the regions that are absent from both maps.

    Raises:
        InvalidInputError: The maps differ in shape, or an option is out of range.
    """
    check_scoring_options(mm_per_point, step, rater_noise)
    if rater_noise and rng is None:
        raise InvalidInputError(
            "rater_noise needs a random number generator (remedy: rng=numpy.random.default_rng(seed))"
        )
    scores: dict[str, RegionScore] = {}
    for name, error in surface_errors(reference, mask, labels, spacing_mm).items():
        quality = BEST_QUALITY - error.mean_distance_mm / mm_per_point
        over_share = error.over_share
        if rater_noise and rng is not None and error.mean_distance_mm > 0:
            quality += rng.normal(0.0, rater_noise)
            over_share += rng.normal(0.0, rater_noise / 5)
        quality = float(np.clip(np.rint(max(quality, 0.0) / step) * step, 0.0, BEST_QUALITY))
        scores[name] = RegionScore(quality, _error_type(quality, over_share))
    return scores


def surface_errors(
    reference: NDArray[np.integer], mask: NDArray[np.integer], labels: Labels, spacing_mm: Sequence[float]
) -> dict[str, SurfaceError]:
    """Wrong volumes and surface area of each region that at least one of the two maps has.

    Faces that the border of the image cuts are not counted as surface. Arguments and exceptions as `simulate_scores`.
    """
    if reference.shape != mask.shape:
        raise InvalidInputError(
            f"reference of shape {reference.shape}, mask of shape {mask.shape} (remedy: the same grid for both)"
        )
    if len(spacing_mm) != reference.ndim or min(spacing_mm) <= 0:
        raise InvalidInputError(f"spacing {tuple(spacing_mm)} mm (remedy: {reference.ndim} positive numbers)")
    voxel_mm3 = float(np.prod(spacing_mm))
    errors: dict[str, SurfaceError] = {}
    for name, values in labels.items():
        true, given = np.isin(reference, values), np.isin(mask, values)
        box = _bounding_box(true | given)
        if box is None:
            continue
        true, given = true[box], given[box]
        areas = [surface_area_mm2(region, spacing_mm) for region in (true, given) if region.any()]
        complete = len(areas) == 2
        errors[name] = SurfaceError(
            under_mm3=float((true & ~given).sum()) * voxel_mm3,
            over_mm3=float((given & ~true).sum()) * voxel_mm3,
            area_mm2=float(np.mean(areas)) if complete else 0.0,
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


def rater_rng(seed: int, case: str, rater: int) -> np.random.Generator:
    """Random numbers of one rater for one case, whatever other cases and raters there are."""
    return np.random.default_rng([seed, zlib.crc32(case.encode()), rater])


def check_scoring_options(mm_per_point: float, step: float, rater_noise: float) -> None:
    """Check the options of `simulate_scores`.

    Raises:
        InvalidInputError: Options out of range; all of them in one list.
    """
    problems = Problems()
    if not 0 < mm_per_point < float("inf"):
        problems.add("mm per point", f"{mm_per_point:g} is not a positive number")
    if not 0 < step <= BEST_QUALITY or abs(BEST_QUALITY / step - round(BEST_QUALITY / step)) > 1e-9:
        problems.add("step", f"{step:g} does not divide the scale from 0 to 5", "0.5 or 1, for example")
    if not 0 <= rater_noise < float("inf"):
        problems.add("rater noise", f"{rater_noise:g} is not 0 or a positive number")
    problems.raise_if_any()


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
    names = [error_name(member) for member in ErrorType]
    lines = []
    for label, part in [*((name, table[table.region == name]) for name in regions), ("all", table)]:
        counts = part.error.value_counts()
        spread = f"{part.quality.mean():.2f} ({part.quality.min():g}-{part.quality.max():g})" if len(part) else "-"
        lines.append(
            {
                "region": label,
                "scores": len(part),
                "quality mean (range)": spread,
                **{n: int(counts.get(n, 0)) for n in names},
            }
        )
    return pd.DataFrame(lines).to_string(index=False)


def _error_type(quality: float, over_share: float) -> ErrorType:
    if quality == BEST_QUALITY:
        return ErrorType.NONE
    if over_share >= ONE_SIDED:
        return ErrorType.OVER
    return ErrorType.UNDER if over_share <= 1 - ONE_SIDED else ErrorType.BOTH


def _bounding_box(region: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    """Box with a margin of three voxels, more than the blur of the surface reaches; None where the region is empty."""
    box = []
    for axis in range(region.ndim):
        hit = np.flatnonzero(region.any(axis=tuple(other for other in range(region.ndim) if other != axis)))
        if not len(hit):
            return None
        box.append(slice(max(int(hit[0]) - 3, 0), int(hit[-1]) + 4))
    return tuple(box)
