from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from nnunet_weak.surface.trust import trusted_labels


def brute_force(labels, image, points_mm, slope):
    """The rule voxel by voxel, the distance to the surface by the nearest voxel of an edge and half a step."""
    index = np.argwhere(np.ones_like(labels, bool))
    world = np.array([image.TransformIndexToPhysicalPoint([int(i) for i in place[::-1]]) for place in index])
    edge = []
    for place in index:
        for axis in range(3):
            for step in (-1, 1):
                other = place.copy()
                other[axis] += step
                if 0 <= other[axis] < labels.shape[axis] and labels[tuple(other)] != labels[tuple(place)]:
                    edge.append(tuple(place))
    edge_world = np.array([image.TransformIndexToPhysicalPoint([int(i) for i in place[::-1]]) for place in set(edge)])
    depth = np.linalg.norm(world[:, None] - edge_world, axis=2).min(1) + min(image.GetSpacing()) / 2
    distance = np.linalg.norm(world[:, None] - points_mm, axis=2).min(1)
    doubted = depth <= slope * np.sqrt(np.maximum(distance**2 - depth**2, 0))
    return np.where(doubted.reshape(labels.shape), 0, labels + 1)


def slanted_case():
    labels = np.zeros((6, 9, 12), np.uint8)
    labels[1:5, 2:7, 2:6] = 1
    labels[2:5, 3:7, 6:9] = 2
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing((0.8, 1.0, 2.0))
    image.SetOrigin((5.0, -3.0, 11.0))
    image.SetDirection((0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    corners = [(2, 2, 1), (5, 6, 4), (8, 6, 4), (2, 6, 1)]
    return labels, image, np.array([image.TransformIndexToPhysicalPoint(corner) for corner in corners])


def test_equals_the_rule_voxel_by_voxel():
    labels, image, points = slanted_case()
    for slope in (0.2, 0.41, 1.0):  # at 0.4 a voxel lies on the limit itself
        expected = brute_force(labels, image, points, slope)
        assert np.array_equal(trusted_labels(labels, image, points, 12.0, slope), expected)
        assert (expected == 0).any()


def test_voxels_at_a_point_are_trusted_and_the_gap_between_is_not():
    labels, image, points = slanted_case()
    trusted = trusted_labels(labels, image, points, 12.0)
    assert trusted[1, 2, 2] == 2 and trusted[0, 0, 0] == 1
    assert trusted[3, 4, 8] == 0, "on the surface, far from every point"


def test_slope_0_trusts_everything_and_an_empty_template_too():
    labels, image, points = slanted_case()
    assert np.array_equal(trusted_labels(labels, image, points, 12.0, 0.0), labels + 1)
    assert (trusted_labels(labels * 0, image, points, 12.0) == 1).all()
