from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.segmentation import random_walker

from nnunet_weak.drawings.random_walker import propagate_random_walker

ISOTROPIC = (1.0, 1.0, 1.0)
BACKGROUND, TARGET, OTHER = 1, 2, 3


def half_bright(shape=(1, 9, 20), edge=13):
    """An image with an edge, background drawn in its first column and the target in its last."""
    image = np.zeros(shape, np.float32)
    image[..., edge:] = 1
    drawn = np.zeros(shape, np.uint8)
    drawn[..., 0], drawn[..., -1] = BACKGROUND, TARGET
    return image, drawn


def noisy(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_the_border_lies_on_the_edge_of_the_image_not_halfway_between_the_drawings():
    image, drawn = half_bright()
    filled = propagate_random_walker([image], [drawn], [], 2, ISOTROPIC)
    expected = np.where(image > 0, TARGET, BACKGROUND)
    assert np.array_equal(filled, expected) and filled.dtype == drawn.dtype


def test_without_an_edge_the_border_lies_halfway():
    _, drawn = half_bright()
    filled = propagate_random_walker([np.full(drawn.shape, 7.0)], [drawn], [], 2, ISOTROPIC)
    assert (filled[..., :10] == BACKGROUND).all() and (filled[..., 10:] == TARGET).all()


def test_intensities_may_be_scaled_and_shifted():
    image = noisy((2, 12, 15))
    _, drawn = half_bright(image.shape)
    once = propagate_random_walker([image], [drawn], [], 2, ISOTROPIC)
    again = propagate_random_walker([1000 * image - 300], [drawn], [], 2, ISOTROPIC)
    assert np.array_equal(once, again)
    assert not np.array_equal(once, propagate_random_walker([noisy(image.shape, 1)], [drawn], [], 2, ISOTROPIC))


def test_equals_the_library_on_whole_slices():
    """Only the box around the blanks is solved, which changes nothing."""
    random = np.random.default_rng(0)
    image = ndimage.gaussian_filter(random.normal(size=(1, 40, 50)), 2)
    drawn = np.full(image.shape, BACKGROUND, np.uint8)
    drawn[0, 8:30, 10:41] = 0
    drawn[0, 12:15, 14:30], drawn[0, 22:26, 20:35], drawn[0, 35, 45] = TARGET, OTHER, 4  # the last is outside the box
    filled = propagate_random_walker([image], [drawn], [], 4, ISOTROPIC)
    standard = (image[0] - image[0].mean()) / image[0].std()
    assert np.array_equal(filled[0], random_walker(standard, drawn[0].astype(int), beta=1500, mode="bf"))


def test_a_class_that_is_excluded_is_not_taken_and_what_is_drawn_stays():
    image, drawn = half_bright()
    negative = np.zeros_like(drawn)
    negative[0, 4, 10:] = TARGET  # also where the target is drawn
    filled = propagate_random_walker([image], [drawn], [negative], 2, ISOTROPIC)
    assert (filled[0, 4, 10:19] == BACKGROUND).all() and filled[0, 4, 19] == TARGET
    others = np.arange(9) != 4
    assert np.array_equal(filled[0, others], np.where(image > 0, TARGET, BACKGROUND)[0, others])


def test_where_every_class_is_excluded_it_stays_blank():
    image, drawn = half_bright()
    negatives = [np.zeros_like(drawn), np.zeros_like(drawn)]
    negatives[0][0, 2, 5], negatives[1][0, 2, 5] = BACKGROUND, TARGET
    filled = propagate_random_walker([image], [drawn], negatives, 2, ISOTROPIC)
    assert np.argwhere(filled == 0).tolist() == [[0, 2, 5]]


def test_slices_with_fewer_than_two_classes_stay_as_they_are():
    image, drawn = half_bright((4, 9, 20))
    drawn[1] = 0
    drawn[2][drawn[2] == TARGET] = 0
    filled = propagate_random_walker([image], [drawn], [], 2, (8.0, 1.0, 1.0))
    assert np.array_equal(filled[1:3], drawn[1:3])
    assert (filled[[0, 3]] > 0).all()


def test_where_annotators_disagree_the_image_decides():
    image, anna = half_bright()
    ben = anna.copy()
    anna[0, 3, 4:8], ben[0, 3, 4:8] = BACKGROUND, TARGET
    filled = propagate_random_walker([image], [anna, ben], [], 2, ISOTROPIC)
    assert (filled[0, 3, 4:8] == BACKGROUND).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_of_isotropic_images_are_those_that_were_drawn_in(axis):
    """Every third slice across an axis is drawn; the others stay blank, whatever the axis."""
    image, drawn = half_bright((7, 9, 20))
    drawn[[1, 2, 4, 5]] = 0
    drawn[..., 5:9] = drawn[..., :1]
    drawn[..., 14:18] = drawn[..., -1:]
    filled = propagate_random_walker([np.moveaxis(image, 0, axis)], [np.moveaxis(drawn, 0, axis)], [], 2, ISOTROPIC)
    assert np.array_equal(np.moveaxis(filled, axis, 0), np.where(drawn.any((1, 2), keepdims=True), image + 1, 0))


def test_slices_lie_across_the_axis_with_a_spacing_of_its_own():
    random = np.random.default_rng(3)
    image = random.normal(size=(10, 11, 12))
    drawn = random.choice([0, 0, 0, BACKGROUND, TARGET], size=image.shape).astype(np.uint8)
    for spacing_mm in (1.0, 5.0, 1.0), (1.0, 0.5, 1.0):
        filled = propagate_random_walker([image], [drawn], [], 2, spacing_mm)
        slices = [propagate_random_walker([image[:, [y]]], [drawn[:, [y]]], [], 2, spacing_mm) for y in range(11)]
        assert np.array_equal(filled, np.concatenate(slices, axis=1))


def test_an_edge_may_show_in_any_channel():
    image, drawn = half_bright()
    filled = propagate_random_walker([np.zeros_like(image), image], [drawn], [], 2, ISOTROPIC)
    assert np.array_equal(filled, np.where(image > 0, TARGET, BACKGROUND))
