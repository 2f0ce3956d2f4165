"""Whether a refinement is more plausible than the initial mask, told without a reference.

A SCORE network corrects a band around the boundary of a mask. A region that it makes several times as large or as
small, or of which it moves most voxels, was not corrected but replaced: the network met a mask or an image unlike those
of its training. A region that the initial mask does not have is accepted only where somebody says that the mask lacks
it: elsewhere nothing tells an invention from a find. Label maps are (z, y, x), 0 = background, k = region k.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a plausible refinement does not exceed.

    Attributes:
        volume_factor: Volume after by volume before, and the inverse.
        moved_share: Voxels that left or joined a region, as a share of its initial volume.
    """

    volume_factor: float = 2.0
    moved_share: float = 0.75


@dataclass(frozen=True)
class RegionChange:
    """What a refinement did to one region, in voxels."""

    region: str
    initial: int
    refined: int
    common: int

    @property
    def dice(self) -> float:
        """Dice of before and after; NaN where both are empty."""
        total = self.initial + self.refined
        return 2 * self.common / total if total else math.nan

    @property
    def volume_ratio(self) -> float:
        """Volume after by volume before; NaN where there was none."""
        return self.refined / self.initial if self.initial else math.nan

    @property
    def moved_share(self) -> float:
        """Voxels that left or joined, as a share of the initial volume; NaN where there was none."""
        return (self.initial + self.refined - 2 * self.common) / self.initial if self.initial else math.nan

    def why_implausible(self, bounds: Bounds) -> str:
        """Which bound is exceeded; empty where none is, and for a region that was empty."""
        if not self.initial:
            return ""
        ratio = self.volume_ratio
        if not 1 / bounds.volume_factor <= ratio <= bounds.volume_factor:
            return f"{self.region} has {ratio:.2g} times its volume"
        if self.moved_share > bounds.moved_share:
            return f"{self.region} has {self.moved_share:.0%} of its voxels moved"
        return ""


def measure_changes(initial: np.ndarray, refined: np.ndarray, regions: Sequence[str]) -> list[RegionChange]:
    """Count voxels of every region before, after, and in both."""
    size = len(regions) + 1
    counts = np.zeros(size * size, np.int64)
    for before, after in zip(initial, refined, strict=True):  # an index of the whole volume would take 8 bytes a voxel
        pairs = before.ravel().astype(np.int64) * size + after.ravel()
        counts += np.bincount(pairs, minlength=size * size)
    table = counts.reshape(size, size)
    return [
        RegionChange(name, int(table[number].sum()), int(table[:, number].sum()), int(table[number, number]))
        for number, name in enumerate(regions, start=1)
    ]


def keep_empty_regions(
    initial: np.ndarray, refined: np.ndarray, changes: Sequence[RegionChange], may_appear: Sequence[str]
) -> list[str]:
    """Undo, in place, what a refinement drew of regions that are empty in the initial mask.

    Args:
        initial: Initial mask, whose labels these voxels get back.
        refined: Refined label map.
        changes: From `measure_changes`.
        may_appear: Regions that are accepted all the same.

    Returns:
        Names of the regions that were taken out.
    """
    new = [
        number
        for number, change in enumerate(changes, start=1)
        if change.refined and not change.initial and change.region not in may_appear
    ]
    if new:
        np.copyto(refined, initial, where=np.isin(refined, new), casting="unsafe")
    return [changes[number - 1].region for number in new]
