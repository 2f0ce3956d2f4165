"""Ellipsoids and bent ellipsoids, and points on them, for tests of surfaces."""

from __future__ import annotations

import numpy as np

from nnunet_weak.surface.mesh import farthest_points
from nnunet_weak.surface.rasterise import rasterise_index

RADII = np.array([20.0, 12.0, 8.0])


def ellipsoid_points(n_points: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return farthest_points(unit(rng.normal(size=(50 * n_points, 3))) * RADII, n_points)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def bent(points: np.ndarray) -> np.ndarray:
    """A bean: the long axis bent into an arc."""
    angle = points[:, 0] / 20
    radius = 20 + points[:, 1]
    return np.stack([radius * np.sin(angle), radius * np.cos(angle) - 20, points[:, 2]], axis=1)


def iou(vertices: np.ndarray, truth: np.ndarray, faces: np.ndarray) -> float:
    shift = np.array([40.0, 40.0, 20.0])
    one, other = (rasterise_index(mesh + shift, faces, (80, 80, 40)).astype(bool) for mesh in (vertices, truth))
    return float((one & other).sum() / (one | other).sum())
