from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.simulation.slices import full_contour_length_mm, simulate_slices


def label() -> sitk.Image:
    array = np.zeros((5, 9, 14), dtype=np.uint8)
    array[1:4, 2:8, 3:12] = 1
    array[2:4, 2:5, 3:12] = 2
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.5, 1.0, 4.0))
    return image


@pytest.mark.parametrize("n_slices", [1, 2, 3, 7, 18])
def test_slices_hold_the_labels_and_the_rest_is_ignored(n_slices: int) -> None:
    dense = sitk.GetArrayFromImage(label())
    found = simulate_slices(label(), n_slices, 3, seed=1)
    sparse = sitk.GetArrayFromImage(found.label)
    assert len(set(found.slices)) == n_slices
    annotated = np.zeros(dense.shape, dtype=bool)
    for axis, index in found.slices:
        assert np.take(dense, index, axis=axis).any()
        annotated[(slice(None),) * axis + (index,)] = True
    np.testing.assert_array_equal(sparse[annotated], dense[annotated])
    assert (sparse[~annotated] == 3).all()
    assert found.label.GetSpacing() == label().GetSpacing()


def test_planes_take_turns_and_give_their_turn_up_when_empty() -> None:
    assert sorted(axis for axis, _ in simulate_slices(label(), 6, 3).slices) == [0, 0, 1, 1, 2, 2]
    # 3 + 6 + 9 slices hold an object.
    assert [sum(axis == plane for axis, _ in simulate_slices(label(), 18, 3).slices) for plane in range(3)] == [3, 6, 9]


def test_seed_decides_the_slices() -> None:
    assert simulate_slices(label(), 5, 3, seed=2).slices == simulate_slices(label(), 5, 3, seed=2).slices
    assert len({simulate_slices(label(), 5, 3, seed=seed).slices for seed in range(5)}) > 1


def test_contour_length_by_hand() -> None:
    array = np.zeros((3, 6, 7), dtype=np.uint8)
    array[1, 2:4, 1:6] = 1
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.5, 2.0, 4.0))
    # Marching squares around 5 x 2 pixels of 0.5 x 2 mm: straight sides of 4 and 1 pixels twice, and four cut corners.
    expected = 2 * (4 * 0.5 + 1 * 2.0) + 4 * np.hypot(0.25, 1.0)
    assert full_contour_length_mm(image) == pytest.approx(expected)
    found = simulate_slices(image, 8, 2)  # every slice of the three planes that holds the object
    in_rows = 2 * (2 * (4 * 0.5) + 4 * np.hypot(0.25, 2.0))
    in_columns = 5 * (2 * (1 * 2.0) + 4 * np.hypot(1.0, 2.0))
    assert found.contour_length_mm == pytest.approx(expected + in_rows + in_columns)
    corner = np.hypot(0.5, 0.5)
    assert found.contour_length_vox == pytest.approx(10 + 4 * corner + 2 * (8 + 4 * corner) + 5 * (2 + 4 * corner))


def test_object_at_the_border_has_a_closed_outline() -> None:
    image = sitk.GetImageFromArray(np.ones((1, 3, 4), dtype=np.uint8))
    assert full_contour_length_mm(image) == pytest.approx(2 * (3 + 2) + 4 * np.hypot(0.5, 0.5))


def test_large_ignore_label_does_not_overflow() -> None:
    assert sitk.GetArrayFromImage(simulate_slices(label(), 1, 300).label).max() == 300


def test_bad_requests_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="between 1 and 18"):
        simulate_slices(label(), 19, 3)
    with pytest.raises(InvalidInputError, match="between 1 and 18"):
        simulate_slices(label(), 0, 3)
    with pytest.raises(InvalidInputError, match="occurs in the label map"):
        simulate_slices(label(), 1, 2)
