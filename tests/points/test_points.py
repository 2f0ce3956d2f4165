from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.points.placement import check_points_in_image
from nnunet_weak.points.points import ObjectPoints, PointSet, names_of_label


def image_at(origin: tuple[float, float, float]) -> sitk.Image:
    image = sitk.Image((20, 30, 10), sitk.sitkUInt8)
    image.SetSpacing((1.0, 0.5, 3.0))
    image.SetOrigin(origin)
    return image


INSIDE = np.array([[55.0, 105.0, 12.0], [60.0, 110.0, 20.0], [65.0, 112.0, 30.0], [52.0, 101.0, 15.0]])
IMAGE = image_at((50.0, 100.0, 10.0))


def point_set(points: np.ndarray) -> PointSet:
    return PointSet((ObjectPoints(points, "liver"),))


def test_points_inside_give_no_warning() -> None:
    assert check_points_in_image(point_set(INSIDE), IMAGE) == []


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (INSIDE * [-1, -1, 1], "RAS and LPS were mixed up"),
        (INSIDE * [-1, 1, 1], "With x negated"),
        (INSIDE * [1, -1, 1], "With y negated"),
        (INSIDE * [1, 1, -1], "With z negated"),
        (np.array([[3.0, 4, 5], [10, 20, 8], [1, 2, 3]]), "voxel indices"),
        (INSIDE + 1000, "same physical space"),
    ],
)
def test_points_elsewhere_are_refused_and_explained(points: np.ndarray, reason: str) -> None:
    before = points.copy()
    with pytest.raises(InvalidInputError, match=reason) as error:
        check_points_in_image(point_set(points), IMAGE, "case_07.csv")
    assert "case_07.csv, liver" in str(error.value)
    np.testing.assert_array_equal(points, before)


def test_single_points_outside_are_named_in_a_warning() -> None:
    points = np.concatenate([INSIDE, [[49.0, 105.0, 12.0]]])
    (warning,) = check_points_in_image(point_set(points), IMAGE)
    assert "1 of 5" in warning and "(point 5)" in warning


def test_outer_half_of_the_border_voxels_is_inside() -> None:
    points = np.concatenate([INSIDE, [[49.6, 99.8, 8.6], [69.4, 114.7, 38.4]]])
    assert check_points_in_image(point_set(points), IMAGE) == []


def test_all_objects_are_checked_before_anything_is_raised() -> None:
    points = PointSet((ObjectPoints(-INSIDE, "a"), ObjectPoints(INSIDE, "b"), ObjectPoints(INSIDE + 500, "c")))
    with pytest.raises(InvalidInputError) as error:
        check_points_in_image(points, IMAGE)
    assert len(error.value.problems) == 2


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("liver-12", ("liver", "")),
        ("liver", ("liver", "")),
        ("synapse#a-1", ("synapse", "a")),
        ("synapse#2", ("synapse", "2")),
        ("L3", ("L3", "")),  # a vertebra, not point 3 of L
        ("lung_left-3", ("lung_left", "")),
    ],
)
def test_names_of_label(label: str, names: tuple[str, str]) -> None:
    assert names_of_label(label) == names


def test_points_are_frozen_and_their_labels_complete() -> None:
    source = INSIDE.copy()
    one = ObjectPoints(source)
    source[0] = 0
    assert one.points_mm[0, 0] == 55
    with pytest.raises(ValueError, match="read-only"):
        one.points_mm[0, 0] = 1
    with pytest.raises(ValueError, match="2 labels for 4 points"):
        ObjectPoints(INSIDE, labels=("a", "b"))


def test_effort_is_the_number_of_points_of_all_objects() -> None:
    points = PointSet((ObjectPoints(INSIDE, "a"), ObjectPoints(INSIDE[:2], "a", "2")))
    assert points.n_points == len(points.points_mm) == 6
    assert PointSet(()).points_mm.shape == (0, 3)
