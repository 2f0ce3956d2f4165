"""Volumes are (z, y, x), anisotropic and not cubic, so that swapped axes fail."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.evaluation.metrics import evaluate_case, surface_distances

SPACING = (4.0, 0.5, 1.5)


def box(shape, *ranges):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*r) for r in ranges)] = True
    return mask


def blobs(seed, shape=(9, 17, 13), share=0.3):
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    return noise > np.quantile(noise, 1 - share)


def oracle(a, b, spacing):
    """Directed distances by comparing all pairs, with a surface found voxel by voxel."""

    def surface(mask):
        voxels = set(map(tuple, np.argwhere(mask)))
        steps = [step for step in np.vstack([np.eye(mask.ndim, dtype=int), -np.eye(mask.ndim, dtype=int)])]
        return np.array([v for v in sorted(voxels) if any(tuple(np.add(v, step)) not in voxels for step in steps)])

    points_a, points_b = surface(a) * spacing, surface(b) * spacing
    pairs = np.linalg.norm(points_a[:, None] - points_b[None], axis=-1)
    return pairs.min(axis=1), pairs.min(axis=0)


@pytest.mark.parametrize("seed", range(6))
def test_equals_comparison_of_all_pairs(seed):
    a, b = blobs(seed), blobs(seed + 100, share=0.2)
    found = surface_distances(a, b, SPACING)
    a_to_b, b_to_a = oracle(a, b, np.array(SPACING))
    np.testing.assert_allclose(found.a_to_b_mm, a_to_b, atol=1e-9)
    np.testing.assert_allclose(found.b_to_a_mm, b_to_a, atol=1e-9)
    assert found.hausdorff_mm(95) == pytest.approx(max(np.percentile(a_to_b, 95), np.percentile(b_to_a, 95)))
    pooled = np.concatenate([a_to_b, b_to_a])
    assert found.assd_mm() == pytest.approx(pooled.mean())
    assert found.nsd(1.5) == pytest.approx(np.mean(pooled <= 1.5 + 1e-5))


def ellipsoid(shape, centre, radii):
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    return sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)) <= 1


def test_agrees_with_simpleitk():
    a = ellipsoid((12, 40, 24), (5, 18, 11), (4, 14, 7))
    b = ellipsoid((12, 40, 24), (6, 21, 12), (4, 12, 8))
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (a, b)]
    for image in images:
        image.SetSpacing(SPACING[::-1])
    found = surface_distances(a, b, SPACING)
    hausdorff = sitk.HausdorffDistanceImageFilter()
    hausdorff.Execute(*images)
    assert found.hausdorff_mm(100) == pytest.approx(hausdorff.GetHausdorffDistance(), abs=1e-4)

    contours = [sitk.LabelContour(image, fullyConnected=False) for image in images]
    maps = [sitk.SignedMaurerDistanceMap(c, squaredDistance=False, useImageSpacing=True) for c in contours]
    on = [sitk.GetArrayFromImage(contour) > 0 for contour in contours]
    away = [np.maximum(sitk.GetArrayFromImage(each), 0) for each in maps]
    pooled = np.concatenate([away[1][on[0]], away[0][on[1]]])
    assert found.assd_mm() == pytest.approx(pooled.mean(), abs=1e-4)

    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images)
    row = evaluate_case(a.astype(np.uint8), b.astype(np.uint8), {"organ": 1}, SPACING)[0]
    assert row.dice == pytest.approx(overlap.GetDiceCoefficient())
    assert row.iou == pytest.approx(overlap.GetJaccardCoefficient())


def test_values_by_hand():
    """Two voxels of reference, one of them and one beside it predicted; along y, 0.5 mm apart.

    reference   . R R . .
    prediction  . . P . P
    """
    reference, prediction = np.zeros((2, 5, 3), np.uint8), np.zeros((2, 5, 3), np.uint8)
    reference[1, 1:3, 1] = 1
    prediction[1, [2, 4], 1] = 1
    row = evaluate_case(prediction, reference, {"organ": 1}, SPACING, nsd_tolerance_mm=0.5)[0]
    assert row.status == "measured"
    assert row.dice == pytest.approx(0.5)
    assert row.iou == pytest.approx(1 / 3)
    # Prediction to reference: 0, 1.0 mm; reference to prediction: 0.5, 0 mm.
    assert row.hd95_mm == pytest.approx(0.95)
    assert row.assd_mm == pytest.approx(1.5 / 4)
    assert row.nsd == pytest.approx(3 / 4)
    assert row.reference_mm3 == row.prediction_mm3 == pytest.approx(2 * 4.0 * 0.5 * 1.5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_thin_plate_moved_across_itself(axis):
    """Every surface voxel of a one-voxel plate is as far away as the plate was moved: HD95 = ASSD = k spacings."""
    shape, k = (9, 11, 10), 3
    ranges = [(1, 8), (1, 9), (1, 7)]
    plate, moved = (box(shape, *(ranges[:axis] + [(at, at + 1)] + ranges[axis + 1 :])) for at in (2, 2 + k))
    found = surface_distances(plate, moved, SPACING)
    assert found.hausdorff_mm() == pytest.approx(k * SPACING[axis])
    assert found.assd_mm() == pytest.approx(k * SPACING[axis])
    assert found.nsd(k * SPACING[axis]) == 1
    assert found.nsd(k * SPACING[axis] - 0.01) == 0


def test_hd95_is_the_larger_direction_and_not_pooled():
    """A far fleck weighs on its own mask's percentile; pooled with the other mask's zeros it would vanish."""
    reference = box((4, 40, 12), (1, 3), (1, 11), (1, 3))
    prediction = box((4, 40, 12), (1, 3), (1, 6), (1, 3)) | box((4, 40, 12), (1, 3), (38, 39), (1, 3))
    found = surface_distances(prediction, reference, (1, 1, 1))
    assert found.hausdorff_mm() == max(np.percentile(found.a_to_b_mm, 95), np.percentile(found.b_to_a_mm, 95)) == 28
    pooled = np.percentile(np.concatenate([found.a_to_b_mm, found.b_to_a_mm]), 95)
    assert pooled != found.hausdorff_mm()


def test_symmetric_and_zero_for_equal_masks():
    a, b = blobs(1), blobs(2)
    there, back = surface_distances(a, b, SPACING), surface_distances(b, a, SPACING)
    assert (there.hausdorff_mm(), there.assd_mm(), there.nsd(1)) == (back.hausdorff_mm(), back.assd_mm(), back.nsd(1))
    same = surface_distances(a, a, SPACING)
    assert (same.hausdorff_mm(), same.assd_mm(), same.nsd(0)) == (0, 0, 1)


def test_a_mask_that_fills_the_image_has_a_surface_at_its_border():
    full = np.ones((3, 4, 5), bool)
    found = surface_distances(full, full, SPACING)
    assert found.a_to_b_mm.size == 60 - 1 * 2 * 3


def test_tolerance_holds_for_spacings_from_float32_headers():
    spacing = (1.0, 1.0, float(np.float32(0.2)))  # ten of them are 2.00000003 mm
    a, b = box((3, 3, 20), (1, 2), (1, 2), (2, 3)), box((3, 3, 20), (1, 2), (1, 2), (12, 13))
    assert surface_distances(a, b, spacing).nsd(2.0) == 1


EMPTY = np.zeros((3, 5, 7), np.uint8)
ONE = EMPTY.copy()
ONE[1, 2, 3] = 1
DIAGONAL_MM = math.sqrt((2 * 4.0) ** 2 + (4 * 0.5) ** 2 + (6 * 1.5) ** 2)


def test_both_empty_is_undefined():
    row = evaluate_case(EMPTY, EMPTY, {"organ": 1}, SPACING)[0]
    assert row.status == "both empty"
    assert all(math.isnan(value) for value in (row.dice, row.iou, row.hd95_mm, row.assd_mm, row.nsd))


@pytest.mark.parametrize(("p", "r", "status"), [(EMPTY, ONE, "prediction empty"), (ONE, EMPTY, "reference empty")])
def test_one_empty_is_as_bad_as_can_be(p, r, status):
    row = evaluate_case(p, r, {"organ": 1}, SPACING)[0]
    assert (row.status, row.dice, row.iou, row.nsd) == (status, 0, 0, 0)
    assert row.hd95_mm == row.assd_mm == pytest.approx(DIAGONAL_MM)


def test_ignored_voxels_leave_dice_and_blank_the_surface():
    reference, prediction = EMPTY.copy(), EMPTY.copy()
    reference[1, 1:3, 2] = 1
    reference[2] = 9
    prediction[1, 2:4, 2] = 1
    prediction[2] = 1  # not annotated, so it does not count
    row = evaluate_case(prediction, reference, {"organ": 1}, SPACING, ignore_label=9)[0]
    assert (row.status, row.dice, row.iou) == ("surface undefined", 0.5, pytest.approx(1 / 3))
    assert all(math.isnan(value) for value in (row.hd95_mm, row.assd_mm, row.nsd))
    assert row.prediction_mm3 == row.reference_mm3 == pytest.approx(6)


def test_labels_are_independent_and_regions_join_values():
    reference, prediction = np.zeros((4, 9, 7), np.uint8), np.zeros((4, 9, 7), np.uint8)
    reference[1:3, 1:4, 2:5], reference[1:3, 4:7, 2:5] = 1, 300 % 256
    prediction[1:3, 1:5, 2:5], prediction[1:3, 5:7, 2:5] = 1, 300 % 256
    rows = {row.label: row for row in evaluate_case(prediction, reference, {"a": 1, "b": 44, "ab": (1, 44)}, SPACING)}
    assert rows["a"].dice == pytest.approx(2 * 18 / (18 + 24))
    assert rows["b"].dice == pytest.approx(2 * 12 / (18 + 12))
    assert (rows["ab"].dice, rows["ab"].hd95_mm, rows["ab"].nsd) == (1, 0, 1)


def test_refuses_what_does_not_fit():
    with pytest.raises(InvalidInputError, match="differ in shape"):
        evaluate_case(np.ones((2, 3, 4), int), np.ones((4, 3, 2), int), {"organ": 1}, SPACING)
    with pytest.raises(InvalidInputError, match="each of the 3 axes"):
        evaluate_case(ONE, ONE, {"organ": 1}, (1.0, 2.0))
    with pytest.raises(InvalidInputError, match="float"):
        evaluate_case(ONE.astype(float), ONE, {"organ": 1}, SPACING)
