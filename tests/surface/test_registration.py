"""A template laid on points: whatever its pose, and never grown past them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from surface_shapes import RADII, bent, ellipsoid_points, iou

from nnunet_weak.surface.mesh import icosphere
from nnunet_weak.surface.registration import register

DIRECTIONS, FACES = icosphere(3)
BEAN = bent(DIRECTIONS * RADII)


def half_bean() -> np.ndarray:
    """A bean whose one half is cut off, as by the edge of a scan: flat there, and of the wrong size."""
    vertices = BEAN.copy()
    vertices[:, 0] = np.minimum(vertices[:, 0], 0)
    return vertices


@pytest.mark.parametrize("seed", range(5))
def test_pose_and_size_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    rotation, scale, shift = Rotation.random(random_state=seed).as_matrix(), rng.uniform(0.2, 5), rng.normal(0, 100, 3)
    points = bent(ellipsoid_points(50))
    placed = register(scale * BEAN @ rotation.T + shift, points)
    assert iou(placed, BEAN, FACES) > 0.9


def test_a_template_does_not_grow_past_the_points():
    points = bent(ellipsoid_points(25))
    placed = register(half_bean(), points)
    assert np.linalg.norm(np.ptp(placed, axis=0)) < 1.2 * np.linalg.norm(np.ptp(points, axis=0))
    assert cKDTree(points).query(placed)[0].max() < 20, "every part of the template has points near it"


def test_another_build_is_stretched():
    wide = register(BEAN, points := bent(ellipsoid_points(50)) * [1.0, 1.0, 1.4])
    extents = np.ptp(wide, axis=0) / np.ptp(BEAN, axis=0)
    assert extents[2] / extents[0] == pytest.approx(1.4, rel=0.1)
    assert iou(wide, BEAN * [1.0, 1.0, 1.4], FACES) > 0.9
    assert cKDTree(wide).query(points)[0].mean() < 1.0
