from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from nnunet_weak.simulation.annotators import ANNOTATORS, Annotator
from nnunet_weak.simulation.drawings import draw_negative, draw_positive, drawn_counts

SPACING_MM = (6.0, 1.5, 1.0)
STEADY = Annotator(margin_mm=0, unsteadiness=0, tremor_px=0, overlook=0, overlook_small=0, corner_cutting=0)


def heart(shape: tuple[int, int, int] = (5, 44, 60)) -> np.ndarray:
    """A disc (3) in a ring (2) beside a smaller disc (1), empty in the first slice; round in mm, not in voxels."""
    z, y, x = np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, SPACING_MM, strict=True)], indexing="ij")
    to_center = np.hypot(y - 33, x - 36)
    labels = np.zeros(shape, np.int64)
    labels[np.hypot(y - 33, x - 12) < 8] = 1
    labels[to_center < 17] = 2
    labels[to_center < 11] = 3
    labels[z == 0] = 0
    return labels


def positive(annotator: Annotator = STEADY, labels: np.ndarray | None = None, seed: int = 0, **options):
    labels = heart() if labels is None else labels
    return draw_positive(labels, SPACING_MM, annotator, num_classes=4, seed=seed, **options)


def negative(annotator: Annotator = STEADY, labels: np.ndarray | None = None, seed: int = 0, **options):
    labels = heart() if labels is None else labels
    return draw_negative(labels, SPACING_MM, annotator, num_classes=4, seed=seed, **options)


def test_same_seed_same_drawing_other_seed_another():
    typical = ANNOTATORS["typical"]
    first, again, other = positive(typical), positive(typical), positive(typical, seed=1)
    assert np.array_equal(first.annotation, again.annotation) and first.corners == again.corners
    assert not np.array_equal(first.annotation, other.annotation)


def test_a_slice_is_drawn_the_same_whatever_lies_in_the_others():
    labels = heart()
    without_last = labels.copy()
    without_last[-1] = 0
    a, b = positive(ANNOTATORS["typical"], labels), positive(ANNOTATORS["typical"], without_last)
    assert np.array_equal(a.annotation[:-1], b.annotation[:-1])


def test_a_steady_hand_makes_no_error_and_leaves_the_stated_share_blank():
    drawing = positive(replace(STEADY, erosion=0.5))
    assert drawing.error_rate == 0
    assert set(np.unique(drawing.annotation)) == {0, 1, 2, 3, 4}
    # Half the radius of a disc is a quarter of its area; half the half-thickness of a ring is half of its area.
    assert drawing.coverage[3] == pytest.approx(0.25, abs=0.07)
    assert drawing.coverage[2] == pytest.approx(0.5, abs=0.1)


def test_contour_length_of_a_disc_is_its_circumference_in_mm():
    labels = np.where(heart() == 1, 1, 0)[1:2]
    drawing = draw_positive(labels, SPACING_MM, replace(STEADY, erosion=0.25), num_classes=2, seed=0)
    # The loop of the background runs 1.6 mm outside the radius of 8 mm.
    assert drawing.contour_length_mm == pytest.approx(2 * np.pi * (6 + 9.6), rel=0.1)
    assert (drawing.annotation > 0).sum() == drawing.counts.sum()


@pytest.mark.parametrize("name", ANNOTATORS)
def test_annotators_are_mostly_right_and_leave_voxels_blank(name):
    drawings = [positive(ANNOTATORS[name], seed=seed) for seed in range(5)]
    assert 0 < np.mean([d.error_rate for d in drawings]) < 0.03
    assert 0.1 < np.mean([d.coverage[1:] for d in drawings]) < 0.9


def test_haste_costs_less_and_is_wrong_more_often():
    effort, errors = {}, {}
    for name, annotator in ANNOTATORS.items():
        drawings = [positive(annotator, seed=seed) for seed in range(5)]
        effort[name] = sum(d.corners for d in drawings)
        errors[name] = np.mean([d.error_rate for d in drawings])
    assert effort["careful"] > effort["typical"] > effort["hasty"]
    assert errors["careful"] < errors["typical"] < errors["hasty"]


def test_every_nth_slice_leaves_the_others_blank_yet_meets_a_target():
    labels = heart()
    labels[:4] = 0  # the only target lies in the last slice
    drawing = positive(replace(STEADY, every_nth_slice=4), labels)
    assert np.flatnonzero(drawing.annotation.any(axis=(1, 2))).tolist() == [0, 4]
    assert drawing.coverage[3] > 0


def test_slices_follow_the_largest_spacing_or_the_axis_asked_for():
    labels = heart()
    turned = draw_positive(np.moveaxis(labels, 0, 2), (*SPACING_MM[1:], SPACING_MM[0]), STEADY, num_classes=4, seed=0)
    assert np.array_equal(np.moveaxis(turned.annotation, 2, 0), positive().annotation)
    sparse = replace(STEADY, every_nth_slice=5)
    across = positive(sparse, slice_axis=2)
    assert (across.annotation > 0).any(axis=(0, 1)).sum() == labels.shape[2] // 5


def test_small_parts_are_overlooked_and_then_become_background():
    labels = heart()
    labels[1, 2:4, 2:4] = 1
    drawing = positive(replace(STEADY, overlook_small=1.0), labels)
    assert (drawing.annotation[1, 2:4, 2:4] == 1).all()
    assert drawing.counts[0, 1] == 4 and drawing.counts[1:].sum() - np.trace(drawing.counts[1:, 1:]) == 0
    assert (positive(STEADY, labels).annotation[1, 2:4, 2:4] != 1).all()


@pytest.mark.parametrize("margin_mm", [1.5, 4.0])
def test_a_margin_keeps_both_sides_of_every_edge_blank_yet_draws_the_core_of_thin_structures(margin_mm: float):
    labels = heart()
    drawing = positive(replace(STEADY, margin_mm=margin_mm), labels)
    for k, radius_mm in ((1, 8), (3, 11)):
        strip = labels == k
        inner = ndimage.distance_transform_edt(strip, (1e6, *SPACING_MM[1:])) > margin_mm + 0.25 * radius_mm + 1.5
        assert not drawing.annotation[strip & ~inner].all() and drawing.annotation[inner].all()
    edge = ndimage.binary_dilation(labels != np.roll(labels, 1, axis=2)) & (labels > 0)
    assert (drawing.annotation[edge] > 0).mean() < 0.2 * (positive(STEADY, labels).annotation[edge] > 0).mean() + 0.05
    assert drawing.error_rate == 0 and (drawing.coverage[1:] > 0.03).all(), "a fifth of the radius"
    assert drawing.coverage[0] < positive(STEADY, labels).coverage[0]


def test_a_negative_drawing_says_not_c_everywhere_but_at_and_around_c():
    labels, drawing = heart(), negative()
    for k in (1, 2, 3):
        assert not (drawing.annotation[labels == k] == k + 1).any()
    assert drawing.error_rate == 0 and drawing.coverage[0] > 0.95
    assert (drawing.annotation[2, 22, 34:39] == 2 + 1).all()  # inside the ring: "not the ring", not "not the far disc"
    assert set(drawing.annotation[:, 0, 0]) == {2, 3, 4}  # far background: the classes take turns
    only_the_disc = np.where(labels == 1, 1, 0)
    single = draw_negative(only_the_disc, SPACING_MM, STEADY, num_classes=2, seed=0)
    assert set(np.unique(single.annotation)) == {0, 2} and not single.annotation[labels == 1].any()
    # Loops run 1.6 mm outside the radius of 8 mm, in four slices.
    assert single.contour_length_mm == pytest.approx(4 * 2 * np.pi * 9.6, rel=0.1)


def test_a_negative_drawing_of_an_unsteady_hand_has_some_errors():
    drawing = negative(ANNOTATORS["hasty"])
    assert 0 < drawing.error_rate < 0.05
    assert drawing.error_rate == pytest.approx(np.trace(drawing.counts) / drawing.counts.sum())


def test_empty_case_is_background_at_no_cost():
    drawing = positive(ANNOTATORS["typical"], np.zeros((3, 8, 9), np.int64))
    assert (drawing.annotation == 1).all() and drawing.contour_length_mm == 0
    assert np.isnan(drawing.coverage[1])


@pytest.mark.parametrize("seed", range(5))
def test_single_voxels_and_structures_at_the_border_can_be_drawn(seed):
    labels = np.zeros((3, 8, 9), np.int64)
    labels[1, 0, 0], labels[1, 4, 4], labels[2, :, :4] = 1, 2, 3
    drawing = positive(replace(ANNOTATORS["hasty"], every_nth_slice=1), labels, seed=seed)
    assert drawing.annotation.shape == labels.shape
    negative(ANNOTATORS["hasty"], labels, seed=seed)


def test_unexpected_labels_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match="ignore label must be removed"):
        positive(STEADY, np.full((2, 3, 4), 4))


def test_counts_by_hand():
    annotation, truth = np.array([[[0, 1, 2, 2, 3]]]), np.array([[[1, 0, 1, 2, 2]]])
    assert drawn_counts(annotation, truth, 3).tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
