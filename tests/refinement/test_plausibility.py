from __future__ import annotations

import math

import numpy as np
import pytest

from nnunet_weak.refinement.plausibility import Bounds, RegionChange, keep_empty_regions, measure_changes

SHAPE = (3, 4, 5)


def test_changes_are_counted_by_region():
    initial, refined = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    initial[0, 0], refined[0, 0, 2:] = 1, 1  # loses 2 of 5 voxels
    initial[1, :2], refined[1, 1:3] = 2, 2  # moves by a row: 5 of 10 in common
    head, shaft, ulna = measure_changes(initial, refined, ("head", "shaft", "ulna"))
    assert head == RegionChange("head", 5, 3, 3)
    assert (head.volume_ratio, head.moved_share, head.dice) == (0.6, 0.4, 0.75)
    assert (shaft.volume_ratio, shaft.moved_share, shaft.dice) == (1, 1, 0.5)
    assert math.isnan(ulna.dice) and math.isnan(ulna.volume_ratio)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (RegionChange("head", 100, 200, 100), "100% of its voxels moved"),
        (RegionChange("head", 100, 174, 100), ""),
        (RegionChange("head", 100, 201, 100), "2 times its volume"),
        (RegionChange("head", 100, 49, 49), "0.49 times its volume"),
        (RegionChange("head", 100, 50, 50), ""),
        (RegionChange("head", 100, 0, 0), "0 times its volume"),
        (RegionChange("head", 100, 100, 60), "80% of its voxels moved"),
        (RegionChange("head", 0, 100, 0), ""),  # another rule: it is kept empty
        (RegionChange("head", 0, 0, 0), ""),
    ],
)
def test_bounds(change: RegionChange, expected: str):
    reason = change.why_implausible(Bounds())
    assert (expected in reason) if expected else reason == ""


def test_an_empty_region_gets_its_labels_back():
    initial, refined = np.zeros(SHAPE, np.uint8), np.ones(SHAPE, np.uint8)
    initial[0], refined[1], refined[0, 0] = 1, 2, 2  # region 2 is new, and takes some of region 1
    regions = ("head", "shaft")
    assert keep_empty_regions(initial, refined, measure_changes(initial, refined, regions), ()) == ["shaft"]
    accepted = np.where(refined == 0, 2, refined)
    changes = measure_changes(initial, accepted, regions)
    assert keep_empty_regions(initial, accepted, changes, ("shaft",)) == [] and (accepted == 2).any()
    expected = np.ones(SHAPE, np.uint8)
    expected[1] = 0
    assert np.array_equal(refined, expected)
