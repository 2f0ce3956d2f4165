from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.simulation.slices import simulate_slices


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
    found = simulate_slices(label(), 3, n_slices=n_slices, seed=1)
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
    assert sorted(axis for axis, _ in simulate_slices(label(), 3, n_slices=6).slices) == [0, 0, 1, 1, 2, 2]
    # 3 + 6 + 9 slices hold an object.
    assert [
        sum(axis == plane for axis, _ in simulate_slices(label(), 3, n_slices=18).slices) for plane in range(3)
    ] == [3, 6, 9]


def test_seed_decides_the_slices() -> None:
    assert (
        simulate_slices(label(), 3, n_slices=5, seed=2).slices == simulate_slices(label(), 3, n_slices=5, seed=2).slices
    )
    assert len({simulate_slices(label(), 3, n_slices=5, seed=seed).slices for seed in range(5)}) > 1


def test_contour_length_by_hand() -> None:
    array = np.zeros((3, 6, 7), dtype=np.uint8)
    array[1, 2:4, 1:6] = 1
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.5, 2.0, 4.0))
    # Marching squares around 5 x 2 pixels of 0.5 x 2 mm: straight sides of 4 and 1 pixels twice, and four cut corners.
    expected = 2 * (4 * 0.5 + 1 * 2.0) + 4 * np.hypot(0.25, 1.0)
    found = simulate_slices(image, 2, n_slices=8)  # every slice of the three planes that holds the object
    in_rows = 2 * (2 * (4 * 0.5) + 4 * np.hypot(0.25, 2.0))
    in_columns = 5 * (2 * (1 * 2.0) + 4 * np.hypot(1.0, 2.0))
    assert found.contour_length_mm == pytest.approx(expected + in_rows + in_columns)
    corner = np.hypot(0.5, 0.5)
    assert found.contour_length_vox == pytest.approx(10 + 4 * corner + 2 * (8 + 4 * corner) + 5 * (2 + 4 * corner))


def test_object_at_the_border_has_a_closed_outline() -> None:
    image = sitk.GetImageFromArray(np.ones((1, 3, 4), dtype=np.uint8))
    corners = 4 * np.hypot(0.5, 0.5)
    lengths = 2 * (3 + 2) + 3 * (2 * 3) + 4 * (2 * 2) + 8 * corners  # one slice across z, three across y, four across x
    assert simulate_slices(image, 2, n_slices=8).contour_length_vox == pytest.approx(lengths)


def test_as_many_slices_as_come_nearest_to_an_effort() -> None:
    counts = []
    for effort in (1, 30, 60, 100, 1e6):
        found = simulate_slices(label(), 3, effort_vox=effort, seed=4)
        counts.append(len(found.slices))
        assert found.slices == simulate_slices(label(), 3, n_slices=counts[-1], seed=4).slices
        for n_slices in {max(counts[-1] - 1, 1), min(counts[-1] + 1, 18)}:
            other = simulate_slices(label(), 3, n_slices=n_slices, seed=4).contour_length_vox
            assert abs(found.contour_length_vox - effort) <= abs(other - effort)
    assert counts[0] == 1 and counts[-1] == 18 and counts == sorted(counts)


def test_large_ignore_label_does_not_overflow() -> None:
    assert sitk.GetArrayFromImage(simulate_slices(label(), 300, n_slices=1).label).max() == 300


def test_bad_requests_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="1 to 18"):
        simulate_slices(label(), 3, n_slices=19)
    with pytest.raises(InvalidInputError, match="1 to 18"):
        simulate_slices(label(), 3, n_slices=0)
    with pytest.raises(InvalidInputError, match="occurs in the label map"):
        simulate_slices(label(), 2, n_slices=1)
