from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_weak.dataset.annotations import ErrorType, RegionScore
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.simulation.scores import (
    Rater,
    score_rows,
    score_summary,
    simulate_scores,
    surface_area_mm2,
    surface_errors,
)

SPACING_MM = (2.5, 1.0, 1.5)
SHAPE = (24, 60, 44)


def ball(radius_mm: float, centre_mm: tuple[float, float, float] = (30, 30, 33)) -> np.ndarray:
    axes = np.meshgrid(*(np.arange(n) * s for n, s in zip(SHAPE, SPACING_MM, strict=True)), indexing="ij")
    return sum((axis - c) ** 2 for axis, c in zip(axes, centre_mm, strict=True)) < radius_mm**2


def score(reference: np.ndarray, mask: np.ndarray, **options) -> RegionScore:
    return simulate_scores(reference.astype(np.uint8), mask.astype(np.uint8), {"bone": 1}, SPACING_MM, **options)[
        "bone"
    ]


def test_area_of_a_ball_on_an_anisotropic_grid():
    assert surface_area_mm2(ball(18), SPACING_MM) == pytest.approx(4 * np.pi * 18**2, rel=0.03)


def test_area_of_a_cylinder_counts_no_faces_at_the_images_border():
    axes = np.meshgrid(*(np.arange(n) * s for n, s in zip(SHAPE, SPACING_MM, strict=True)), indexing="ij")
    cylinder = (axes[1] - 30) ** 2 + (axes[2] - 33) ** 2 < 12**2  # from the first slice to the last one
    assert surface_area_mm2(cylinder, SPACING_MM) == pytest.approx(2 * np.pi * 12 * SHAPE[0] * 2.5, rel=0.03)


@pytest.mark.parametrize(("radius_mm", "error"), [(16.5, ErrorType.UNDER), (19.5, ErrorType.OVER)])
def test_a_shifted_surface_costs_its_distance(radius_mm: float, error: ErrorType):
    found = surface_errors(ball(18).astype(int), ball(radius_mm).astype(int), {"bone": 1}, SPACING_MM)["bone"]
    assert found.mean_distance_mm == pytest.approx(1.5, rel=0.06)  # the grid is coarser than the shift
    # 1.5 mm at 0.5 mm per point: 3 points off; at 1 mm per point: 1.5 off.
    assert score(ball(18), ball(radius_mm)) == RegionScore(2.0, error)
    assert score(ball(18), ball(radius_mm), mm_per_point=1.0) == RegionScore(3.5, error)


def test_the_distance_does_not_depend_on_the_size_of_the_region():
    small, large = (
        surface_errors(ball(r).astype(int), ball(r + 1.5).astype(int), {"bone": 1}, SPACING_MM)["bone"] for r in (8, 20)
    )
    assert small.mean_distance_mm == pytest.approx(large.mean_distance_mm, rel=0.12)


def test_a_displaced_region_has_both_errors():
    result = score(ball(15), ball(15, (30, 33, 33)))
    assert result.error == ErrorType.BOTH and 1 <= result.quality <= 3.5


def test_a_flawless_region_has_quality_5_and_no_error():
    assert score(ball(15), ball(15)) == RegionScore(5.0, ErrorType.NONE)


def test_a_flaw_too_small_for_half_a_point_counts_as_none():
    mask = ball(15)
    mask[tuple(np.argwhere(mask)[0])] = False
    assert score(ball(15), mask) == RegionScore(5.0, ErrorType.NONE)
    assert score(ball(15), mask, step=0.001).error == ErrorType.UNDER


def test_quality_does_not_fall_below_0():
    assert score(ball(12), ball(25)) == RegionScore(0.0, ErrorType.OVER)


def test_three_quarters_on_one_side_decide_the_error_type():
    # A plate of 10 x 20 x 20 voxels; whole layers of 400 voxels are added above and removed below.
    reference = np.zeros((30, 40, 40), dtype=np.uint8)
    reference[10:20, 10:30, 10:30] = 1

    def error(added: int, removed: int) -> ErrorType:
        mask = np.zeros_like(reference)
        mask[10 + removed : 20 + added, 10:30, 10:30] = 1
        return simulate_scores(reference, mask, {"plate": 1}, (1, 1, 1))["plate"].error

    assert error(3, 1) == ErrorType.OVER
    assert error(1, 3) == ErrorType.UNDER
    assert error(2, 1) == error(1, 2) == error(1, 1) == ErrorType.BOTH


def test_a_region_missing_on_one_side_is_unusable_and_on_both_sides_not_scored():
    empty, full = np.zeros((6, 8, 9), dtype=np.uint8), np.zeros((6, 8, 9), dtype=np.uint8)
    full[2:4, 2:6, 3:6] = 2
    labels = {"head": 1, "shaft": 2}
    assert simulate_scores(full, empty, labels, SPACING_MM) == {"shaft": RegionScore(0.0, ErrorType.UNDER)}
    assert simulate_scores(empty, full, labels, SPACING_MM) == {"shaft": RegionScore(0.0, ErrorType.OVER)}
    assert simulate_scores(empty, empty, labels, SPACING_MM) == {}


def test_a_border_between_regions_that_is_moved_is_over_for_one_and_under_for_the_other():
    reference = np.zeros((30, 20, 20), dtype=np.uint8)
    reference[3:15, 5:15, 5:15] = 1
    reference[15:27, 5:15, 5:15] = 2
    mask = reference.copy()
    mask[15:18, 5:15, 5:15] = 1
    scores = simulate_scores(reference, mask, {"head": 1, "shaft": 2}, (1, 1, 1))
    assert scores["head"].error == ErrorType.OVER and scores["shaft"].error == ErrorType.UNDER
    assert scores["head"].quality == scores["shaft"].quality < 5
    # As one region of two labels nothing is wrong.
    assert simulate_scores(reference, mask, {"bone": [1, 2]}, (1, 1, 1))["bone"] == RegionScore(5.0, ErrorType.NONE)


def test_spacing_matters():
    reference, mask = np.zeros((20, 20, 20), dtype=np.uint8), np.zeros((20, 20, 20), dtype=np.uint8)
    reference[5:15, 5:15, 5:15] = 1
    mask[4:16, 5:15, 5:15] = 1  # one slice too many at both ends
    thin = simulate_scores(reference, mask, {"a": 1}, (0.5, 1, 1))["a"].quality
    thick = simulate_scores(reference, mask, {"a": 1}, (4, 1, 1))["a"].quality
    assert thin > thick


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    step=st.sampled_from([0.25, 0.5, 1.0]),
    noise=st.sampled_from([0.0, 0.7]),
    offset=st.integers(0, 3),
)
def test_scores_stay_on_the_scale_and_none_goes_with_5(seed: int, step: float, noise: float, offset: int):
    rng = np.random.default_rng(seed)
    reference = rng.integers(0, 3, size=(4, 6, 5))
    mask = np.roll(reference, offset, axis=1)
    rater = Rater(noise, 0.15, seed, "case", 1)
    for found in simulate_scores(reference, mask, {"a": 1, "b": 2}, SPACING_MM, step=step, rater=rater).values():
        assert 0 <= found.quality <= 5
        assert found.quality / step == round(found.quality / step)
        assert (found.quality == 5) == (found.error == ErrorType.NONE)


def test_swapping_reference_and_mask_swaps_over_and_under():
    rng = np.random.default_rng(1)
    one, other = ball(14), ball(15) & (rng.random(SHAPE) > 0.02)
    labels = {"bone": 1}
    forth = surface_errors(one.astype(int), other.astype(int), labels, SPACING_MM)["bone"]
    back = surface_errors(other.astype(int), one.astype(int), labels, SPACING_MM)["bone"]
    assert forth.over_share == pytest.approx(1 - back.over_share)
    assert forth.mean_distance_mm == pytest.approx(back.mean_distance_mm)


def test_raters_scatter_around_the_rule_but_never_fault_a_flawless_region():
    reference, mask = ball(15), ball(16)
    drawn = [score(reference, mask, rater=Rater(0.5, 0, 0, "case", number)).quality for number in range(60)]
    assert np.mean(drawn) == pytest.approx(5 - 1 / 0.5, abs=0.3)
    assert 0.3 < np.std(drawn) < 0.75
    for number in range(9):
        assert score(reference, reference, rater=Rater(2, 1, 0, "case", number)).error == ErrorType.NONE


def test_no_rater_takes_a_missing_region_for_another_error():
    nothing = np.zeros_like(ball(15))
    for number in range(20):
        rater = Rater(2, 1, 0, "case", number)
        assert score(ball(15), nothing, rater=rater) == RegionScore(0, ErrorType.UNDER)
        assert score(nothing, ball(15), rater=rater) == RegionScore(0, ErrorType.OVER)


def test_a_rater_without_errors_scores_by_the_rule():
    assert score(ball(15), ball(16), rater=Rater(0, 0, 0, "case", 1)) == score(ball(15), ball(16))


def test_the_share_of_wrong_error_types_is_the_one_asked_for():
    rater = Rater(1, 0.15, 0, "case", 1)
    judged = [rater.judge_error(ErrorType.OVER) for _ in range(4000)]
    shares = {kind: judged.count(kind) / 4000 for kind in ErrorType}
    assert shares[ErrorType.OVER] == pytest.approx(0.85, abs=0.02) and shares[ErrorType.NONE] == 0
    assert shares[ErrorType.UNDER] == pytest.approx(0.075, abs=0.015)


def test_a_raters_numbers_depend_on_seed_case_and_rater_only():
    def errors(*who: object) -> list[float]:
        rater = Rater(1, 0.15, *who)  # type: ignore[arg-type]
        return [rater.quality_error() for _ in range(3)]

    assert errors(0, "case_01", 1) == errors(0, "case_01", 1)
    for other in ((1, "case_01", 1), (0, "case_02", 1), (0, "case_01", 2)):
        assert errors(*other) != errors(0, "case_01", 1)


def test_surface_error_without_errors_or_surface():
    whole, none = ball(15).astype(int), np.zeros(SHAPE, int)
    assert surface_errors(whole, whole, {"bone": 1}, SPACING_MM) == {"bone": (0, 0.5)}
    assert surface_errors(none, whole, {"bone": 1}, SPACING_MM) == {"bone": (float("inf"), 1)}


def test_rows_name_the_error_and_the_rater():
    scores = {"head": RegionScore(3.5, ErrorType.UNDER), "shaft": RegionScore(5.0, ErrorType.NONE)}
    assert score_rows("a", scores) == [
        {"case": "a", "region": "head", "quality": 3.5, "error": "under"},
        {"case": "a", "region": "shaft", "quality": 5.0, "error": "none"},
    ]
    assert score_rows("a", scores, "anna")[0]["rater"] == "anna"


def test_summary_counts_each_region_and_all():
    rows = score_rows("a", {"head": RegionScore(3.0, ErrorType.UNDER)})
    rows += score_rows("b", {"head": RegionScore(4.0, ErrorType.OVER)})
    lines = [line.split() for line in score_summary(rows, ["head", "tail"]).splitlines()]
    assert lines[0][-4:] == ["under", "none", "over", "both"]
    assert lines[1] == ["head", "2", "3.50", "(3-4)", "1", "0", "1", "0"]
    assert lines[2] == ["tail", "0", "-", "0", "0", "0", "0"]
    assert lines[3][:3] == ["all", "2", "3.50"]


def test_different_grids_are_refused():
    with pytest.raises(InvalidInputError, match="same grid"):
        simulate_scores(np.zeros((2, 3, 4), int), np.zeros((2, 4, 3), int), {"a": 1}, SPACING_MM)
