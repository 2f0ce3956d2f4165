from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak.dataset.annotations import ErrorType
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.read import geometry_difference
from nnunet_weak.simulation.phantoms import REGIONS, Phantom, make_phantom, save_preview
from nnunet_weak.simulation.scores import simulate_scores

CASES = 24


@cache
def phantoms() -> tuple[Phantom, ...]:
    return tuple(make_phantom([3, index]) for index in range(CASES))


def arrays(phantom: Phantom) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(sitk.GetArrayFromImage(part) for part in (phantom.image, phantom.labels, phantom.initial_mask))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_the_same_seed_gives_the_same_voxels_and_geometry():
    one, again, other = make_phantom(5, (30, 26, 36)), make_phantom(5, (30, 26, 36)), make_phantom(6, (30, 26, 36))
    for first, second in zip(arrays(one), arrays(again), strict=True):
        assert np.array_equal(first, second)
    assert geometry_difference(one.image, again.image, tolerance=0) == ""
    assert geometry_difference(one.image, other.image) != ""


def test_all_three_volumes_share_one_anisotropic_grid():
    for phantom in phantoms():
        assert geometry_difference(phantom.image, phantom.labels, tolerance=0) == ""
        assert geometry_difference(phantom.image, phantom.initial_mask, tolerance=0) == ""
        x, y, z = phantom.image.GetSpacing()
        assert 1.2 < x < 2 and 1.2 < y < 2 and 1.7 < z < 2.6 and z > 1.08 * max(x, y)
    assert phantoms()[0].image.GetPixelID() == sitk.sitkInt16
    assert phantoms()[0].labels.GetPixelID() == phantoms()[0].initial_mask.GetPixelID() == sitk.sitkUInt8


def test_sizes_fields_of_view_and_directions_vary():
    sizes = {phantom.image.GetSize() for phantom in phantoms()}
    assert len(sizes) > CASES // 2
    assert all(size[0] <= 48 and size[1] <= 44 and size[2] <= 64 for size in sizes)
    oblique = sum(not np.allclose(np.reshape(p.image.GetDirection(), (3, 3)), np.eye(3)) for p in phantoms())
    assert 0 < oblique < CASES
    shown = {tuple(np.unique(sitk.GetArrayFromImage(phantom.labels))) for phantom in phantoms()}
    assert (0, 1, 2, 3) in shown and (0, 1, 2) in shown and (0, 2, 3) in shown


def test_directions_are_rotations():
    for phantom in phantoms():
        direction = np.reshape(phantom.image.GetDirection(), (3, 3))
        np.testing.assert_allclose(direction @ direction.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(direction) == pytest.approx(1)


def test_initial_masks_have_the_dice_of_a_coarse_model():
    values = []
    for phantom in phantoms():
        _, labels, mask = arrays(phantom)
        values.append(dice(labels > 0, mask > 0))
        assert values[-1] == pytest.approx(phantom.dice, abs=0.01)
    assert min(values) > 0.81 and max(values) < 0.91
    assert 0.83 < np.mean(values) < 0.89


def test_every_error_type_occurs_as_a_rater_would_see_it():
    seen = [
        score.error
        for phantom in phantoms()
        for score in simulate_scores(*arrays(phantom)[1:], REGIONS, phantom.image.GetSpacing()[::-1]).values()
    ]
    for error in ErrorType:
        assert seen.count(error) >= 3, error


@pytest.mark.parametrize("asked", [ErrorType.UNDER, ErrorType.OVER, ErrorType.NONE])
def test_the_mask_of_a_region_errs_in_the_direction_asked_for(asked: ErrorType):
    added = removed = volume = 0
    for phantom in phantoms():
        _, labels, mask = arrays(phantom)
        for name, value in REGIONS.items():
            if phantom.errors[name] == asked:
                added += ((mask == value) & (labels != value)).sum()
                removed += ((mask != value) & (labels == value)).sum()
                volume += (labels == value).sum()
    assert volume > 0
    if asked == ErrorType.UNDER:
        assert removed > 4 * added
    elif asked == ErrorType.OVER:
        assert added > 4 * removed
    else:  # only what spills over from the neighbouring region
        assert added + removed < 0.06 * volume


def test_some_masks_leak_into_the_bone_across_the_joint():
    leaking = 0
    for phantom in phantoms():
        image, labels, mask = arrays(phantom)
        distance = sitk.GetArrayFromImage(
            sitk.SignedMaurerDistanceMap(phantom.labels > 0, squaredDistance=False, useImageSpacing=True)
        )
        # Dense voxels well away from the bone itself can only be those of a neighbour.
        leaking += ((mask > 0) & (image > 350) & (distance > 2.5)).sum() > 5
    assert leaking >= 3


def test_intensities_are_those_of_ct():
    for phantom in phantoms():
        image, labels, _ = arrays(phantom)
        assert image.min() >= -1024 and image.max() < 2000
        bone = labels > 0
        shaft = image[labels == REGIONS["shaft"]]
        assert np.percentile(shaft, 95) > 900, "cortical bone"
        assert np.percentile(shaft, 2) < 150, "marrow"
        for end in ("proximal", "distal"):
            inside = image[labels == REGIONS[end]]
            if inside.size > 2000:
                assert 150 < np.median(inside) < 700, "spongy bone with a thin shell"
        outside = image[~bone]
        assert (outside < -900).any(), "air around the limb"
        soft = outside[(outside > -200) & (outside < 200)]
        assert ((soft > 0) & (soft < 110)).mean() > 0.25, "muscle"
        assert ((soft > -160) & (soft < -50)).mean() > 0.1, "fat"


def test_the_true_boundary_is_where_the_bone_becomes_visible():
    # Otherwise no method could correct the masks from the image.
    for phantom in phantoms()[:8]:
        image, labels, _ = arrays(phantom)
        truth = sitk.GetImageFromArray((labels > 0).astype(np.uint8))
        rim_inside = labels * (1 - sitk.GetArrayFromImage(sitk.BinaryErode(truth, (1, 1, 1), sitk.sitkCross))) > 0
        rim_outside = (sitk.GetArrayFromImage(sitk.BinaryDilate(truth, (1, 1, 1), sitk.sitkCross)) > 0) & (labels == 0)
        assert np.median(image[rim_inside]) > np.median(image[rim_outside]) + 250


def test_the_bone_lies_inside_the_body():
    for phantom in phantoms():
        image, labels, _ = arrays(phantom)
        near = sitk.GetArrayFromImage(sitk.BinaryDilate(phantom.labels > 0, (2, 2, 2), sitk.sitkBall)) > 0
        assert (image[near] > -500).all()


def test_labels_are_one_piece_with_the_shaft_between_the_ends():
    for phantom in phantoms():
        components = sitk.ConnectedComponent(phantom.labels > 0)
        assert int(sitk.GetArrayViewFromImage(components).max()) == 1
        _, labels, _ = arrays(phantom)
        rows = {value: np.argwhere(labels == value)[:, 0].mean() for value in np.unique(labels) if value}
        order = [rows[value] for value in (3, 2, 1) if value in rows]
        assert order == sorted(order)


def test_a_larger_size_shows_the_same_bone():
    small, large = make_phantom(12, (32, 30, 42)), make_phantom(12, (64, 60, 84))
    assert (small.errors, small.dice) == (large.errors, large.dice)
    volumes = []
    for phantom in (small, large):
        _, labels, _ = arrays(phantom)
        volumes.append([(labels == value).sum() * np.prod(phantom.image.GetSpacing()) for value in (1, 2, 3)])
    np.testing.assert_allclose(*volumes, rtol=0.06, atol=60)


def test_the_smallest_size_works():
    for seed in range(8):
        _, labels, mask = arrays(make_phantom(seed, (16, 16, 16)))
        assert labels.any() and mask.any()


@pytest.mark.parametrize("size", [(15, 44, 64), (48, 44)])
def test_a_size_that_cannot_hold_a_bone_is_refused(size: tuple[int, ...]):
    with pytest.raises(InvalidInputError, match="at least 16"):
        make_phantom(0, size)


def test_preview_is_a_png(tmp_path):
    path = tmp_path / "preview.png"
    save_preview([("a", phantoms()[0]), ("b", phantoms()[1])], path)
    image = sitk.ReadImage(str(path))
    assert image.GetSize()[0] > 500 and image.GetNumberOfComponentsPerPixel() in (3, 4)
