"""Propagation of drawings into blank voxels along the image: Grady's random walker, slice by slice.

Every blank voxel takes the class whose drawn voxels are most likely to be reached first by a random walker that starts
there and crosses edges of the image rarely. Maps are encoded 0 = blank, k + 1 = class k; arrays are (z, y, x).

References: Grady, "Random Walks for Image Segmentation", IEEE TPAMI 2006; Can et al., "Learning to Segment Medical
Images with Scribble-Supervision Alone", DLMIA 2018, who fill scribbles with it before training.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose
from typing import Any

import numpy as np
import scipy  # its parts are loaded where they are first used
from numpy.typing import NDArray

from nnunet_weak.drawings.fusion import majority_vote

RANDOM_WALKER = "random_walker"
"""Name of the annotation map."""
SECOND_ROUND = "second_round"
"""Name of the map of a second round: what the walker and a model say alike."""
FILLED_MAPS = (RANDOM_WALKER, SECOND_ROUND)
"""Maps that are no annotator's."""
EDGE_WEIGHT = 150.0
"""beta of Grady's weights exp(-beta (g_i - g_j)^2), for intensities g with a standard deviation of 1 in each slice;
several channels add their squares, divided by the root of their number."""
_SAME_SPACING = 1e-3


def propagate_random_walker(
    channels: Sequence[NDArray[Any]],
    positive: Sequence[NDArray[np.integer]],
    negative: Sequence[NDArray[np.integer]],
    num_classes: int,
    spacing_mm: Sequence[float],
    axis: int | None = None,
) -> NDArray[Any]:
    """Fill the blank voxels of drawings.

    Voxels on which annotators disagree count as blank. Slices (see `slice_axis`) with fewer than two classes remain as
    they are, since nothing says where a target ends there. A class that a negative map excludes from a voxel is not
    assigned there, unless a positive one draws it.

    Args:
        channels: The image, one array for each channel.
        positive: Positive maps, at least one.
        negative: Negative maps, c + 1 = "not class c".
        num_classes: L, background included.
        spacing_mm: Voxel spacing (z, y, x).
        axis: Axis across the slices, where it is known (default: `slice_axis`).

    Returns:
        A positive map; blank in slices with fewer than two classes and at voxels from which all classes are excluded.
    """
    drawn = majority_vote(positive, num_classes)
    axis = slice_axis(drawn, spacing_mm) if axis is None else axis
    in_plane = np.delete(spacing_mm, axis)
    image = np.moveaxis(np.stack(channels, axis=-1), axis, 0)
    result = np.moveaxis(drawn, axis, 0).copy()
    excluding = [np.moveaxis(one, axis, 0) for one in negative]
    for index, seeds in enumerate(result):
        if len(np.unique(seeds[seeds > 0])) < 2 or seeds.all():
            continue
        # Walkers never leave this box: everything beyond one voxel around the blank ones is drawn.
        (box,) = scipy.ndimage.find_objects(scipy.ndimage.binary_dilation(seeds == 0, np.ones((3, 3))).astype(np.uint8))
        deviation = image[index].std((0, 1))
        standard = (image[index][box] - image[index].mean((0, 1))) / np.where(deviation > 0, deviation, 1)
        classes = np.unique(seeds[box][seeds[box] > 0])
        reached = _probabilities(standard, seeds[box], in_plane / in_plane.min())
        for one in excluding:
            reached[one[index][box] == classes[:, None, None]] = 0
        filled = np.where(reached.max(0) > 0, classes[reached.argmax(0)], 0)
        seeds[box] = np.where(seeds[box] > 0, seeds[box], filled)
    return np.ascontiguousarray(np.moveaxis(result, 0, axis))


def slice_axis(drawn: NDArray[np.integer], spacing_mm: Sequence[float]) -> int:
    """Axis across the drawn slices: the one whose spacing differs from the others', else with the fewest drawn slices.

    Args:
        drawn: A map, (z, y, x).
        spacing_mm: Voxel spacing (z, y, x).
    """
    if 1 in drawn.shape:
        return drawn.shape.index(1)
    others = ((1, 2), (0, 2), (0, 1))
    alone = [axis for axis, (a, b) in enumerate(others) if isclose(spacing_mm[a], spacing_mm[b], rel_tol=_SAME_SPACING)]
    if len(alone) == 1:
        return alone[0]
    return min(range(3), key=lambda axis: int((drawn > 0).any(others[axis]).sum()))


def _probabilities(
    image: NDArray[np.float64], seeds: NDArray[np.integer], spacing: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probability that each of the drawn classes is reached first, (classes, y, x)."""
    from skimage.segmentation import random_walker

    if len(np.unique(seeds[seeds > 0])) == 1:
        return np.ones((1, *seeds.shape))
    if image.std() == 0:  # a checkerboard stands for a uniform image: all steps are equally likely
        image = np.indices(seeds.shape).sum(0)[..., None] % 2.0
    return random_walker(
        image,
        seeds.astype(np.int64),
        beta=10 * image.std() * EDGE_WEIGHT,  # scikit-image divides beta by ten standard deviations
        mode="bf",
        return_full_prob=True,
        channel_axis=-1,
        spacing=spacing,
    )
