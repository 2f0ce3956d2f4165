"""Drawings carried on into what was left blank, along the image: Grady's random walker, slice by slice.

Every blank voxel takes the class whose drawn voxels a random walker starting there reaches first, if it steps easily
between voxels that look alike and hardly across an edge. Maps are encoded 0 = blank, k + 1 = class k; arrays are
(z, y, x).

References: Grady, "Random Walks for Image Segmentation", IEEE TPAMI 2006; Can et al., "Learning to Segment Medical
Images with Scribble-Supervision Alone", DLMIA 2018, who fill scribbles with it before they train.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isclose
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_weak.drawings.fusion import majority_vote

RANDOM_WALKER = "random_walker"
"""Name of the annotation map, which nobody drew."""
EDGE_WEIGHT = 150.0
_SAME_SPACING = 1e-3


def carry_on_drawings(
    channels: Sequence[NDArray[Any]],
    positive: Sequence[NDArray[np.integer]],
    negative: Sequence[NDArray[np.integer]],
    num_classes: int,
    spacing_mm: Sequence[float],
    *,
    edge_weight: float = EDGE_WEIGHT,
) -> NDArray[Any]:
    """Fill the blanks of drawings.

    Slices lie across the axis with a spacing of its own, or else the one with the fewest slices that were drawn in. One
    with fewer than two classes in it stays as it is: nothing says where a target ends there. Where annotators disagree
    nobody has drawn. A class that a negative map excludes from a voxel is not taken there, unless a positive one draws
    it.

    Args:
        channels: The image, one array for each channel.
        positive: Positive maps, at least one.
        negative: Negative maps, c + 1 = "not class c".
        num_classes: ``L``, background included.
        spacing_mm: Voxel spacing (z, y, x).
        edge_weight: beta of Grady's weights ``exp(-beta (g_i - g_j)^2)``, for intensities g with a standard deviation
            of 1 in each slice; several channels add their squares, divided by the root of their number.

    Returns:
        A positive map. Blank are slices with fewer than two classes, but for what was drawn in them, and voxels where
        all classes are excluded.
    """
    drawn = majority_vote(positive, num_classes)
    axis = slice_axis(drawn, spacing_mm)
    in_plane = [spacing for index, spacing in enumerate(spacing_mm) if index != axis]
    relative_spacing = np.array(in_plane) / min(in_plane)
    image = np.moveaxis(np.stack(channels, axis=-1), axis, 0)
    result = np.moveaxis(drawn, axis, 0).copy()
    excluding = [np.moveaxis(one, axis, 0) for one in negative]
    for index, seeds in enumerate(result):
        classes = np.unique(seeds[seeds > 0])
        if len(classes) > 1 and (seeds == 0).any():
            reached = _probabilities(image[index], seeds, classes, relative_spacing, edge_weight)
            for one in excluding:
                reached[one[index] == classes[:, None, None]] = 0
            taken = np.where(reached.max(0) > 0, classes[reached.argmax(0)], 0)
            result[index] = np.where(seeds > 0, seeds, taken)
    return np.ascontiguousarray(np.moveaxis(result, 0, axis))


def slice_axis(drawn: NDArray[np.integer], spacing_mm: Sequence[float]) -> int:
    """Axis across the slices that were drawn in: the one with a spacing of its own, else with the fewest drawn in.

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
    image: NDArray[Any],
    seeds: NDArray[np.integer],
    classes: NDArray[np.integer],
    spacing: NDArray[np.float64],
    edge_weight: float,
) -> NDArray[np.float64]:
    """Probability that each class is reached first, ``(len(classes), y, x)``; 0 outside of the box of all blanks."""
    from skimage.segmentation import random_walker

    # Walkers never leave this box: beyond a voxel around the blanks all is drawn.
    (box,) = ndimage.find_objects(ndimage.binary_dilation(seeds == 0, np.ones((3, 3))).astype(np.uint8))
    deviation = image.std((0, 1))
    standard = (image[box] - image.mean((0, 1))) / np.where(deviation > 0, deviation, 1)
    scale = standard.std()
    if scale == 0:  # flat: every step is as easy as the other, as on this checkerboard
        standard = np.indices(standard.shape[:2]).sum(0)[..., None] % 2.0
        scale = standard.std()
    inside = seeds[box].astype(np.int64)
    present = np.unique(inside[inside > 0])
    if len(present) == 1:
        reached = np.ones((1, *inside.shape))
    else:
        # The library divides its beta by ten standard deviations of what it is given.
        reached = random_walker(
            standard,
            inside,
            beta=10 * scale * edge_weight,
            mode="bf",
            return_full_prob=True,
            channel_axis=-1,
            spacing=spacing,
        )
    probabilities = np.zeros((len(classes), *seeds.shape))
    probabilities[(np.searchsorted(classes, present), *box)] = reached
    return probabilities
