"""Lay a template on a few points on a surface of its kind: iterated closest points, from both sides.

The template's nearest vertex to each point is no guide on its own: a template that has grown until all points lie
beside one of its flat sides passes close by every one of them. So vertices that are spread evenly over the template
look for their nearest point, too. As points are few, those distances never vanish, and draw the template inwards; they
find the place, and count for little once it is found.

    lay the principal axes on each other, in every way -> rotation, scale, translation -> the best -> stretch a little

Five annotated mandibles as templates of eight others, bent through 25 points each (`mesh_fit`): Dice .52 to .79 by
template, .73 on average; by the nearest vertices alone .13 to .75, .58. Four hippocampi: .86, .84; through 10 points
.80, .77.

Rows of arrays are positions, shape (N, 3).

References: Besl and McKay, "A method for registration of 3-D shapes", IEEE PAMI 1992; Umeyama, "Least-squares
estimation of transformation parameters between two point patterns", IEEE PAMI 1991.
"""

from __future__ import annotations

import numpy as np
import scipy  # its parts are loaded where they are first used
from numpy.typing import NDArray

from nnunet_weak.surface.mesh import farthest_points

FloatArray = NDArray[np.float64]

_ROUNDS, _STRETCHING_ROUNDS = 15, 10
_VERTICES_PER_POINT, _MOST_VERTICES = 4, 250
_FIRST, _LAST, _STRETCHING = 1.0, 0.1, 0.5  # weight of the vertices' nearest points, against the points' vertices
_RIDGE = 0.1  # of the template's extent: how much a stretch has to gain


def register(vertices: FloatArray, points: FloatArray) -> FloatArray:
    """The vertices of a template, of any pose and size, where they fit the points best.

    Args:
        vertices: Of the template, shape (V, 3).
        points: On all sides of the surface, not in one plane, shape (N, 3).

    Returns:
        The vertices after rotation, scale, translation and a slight linear stretch, shape (V, 3).
    """
    spread = farthest_points(vertices, min(_VERTICES_PER_POINT * len(points), _MOST_VERTICES, len(vertices)))
    trees = scipy.spatial.cKDTree(vertices), scipy.spatial.cKDTree(points)
    placements = [_place(vertices, spread, points, trees, start) for start in _axis_rotations(vertices, points)]
    _, matrix, shift = min(placements, key=lambda placement: placement[0])
    return _stretch(vertices @ matrix.T + shift, spread @ matrix.T + shift, points)


def _place(
    vertices: FloatArray,
    spread: FloatArray,
    points: FloatArray,
    trees: tuple[scipy.spatial.cKDTree, scipy.spatial.cKDTree],
    rotation: FloatArray,
) -> tuple[float, FloatArray, FloatArray]:
    """Closest points, from a rotation on: how far apart both sides stay, matrix (rotation and scale), translation."""
    template, clicks = trees
    scale = _size(points) / _size(vertices)
    shift = points.mean(axis=0) - scale * rotation @ vertices.mean(axis=0)

    def pairs() -> tuple[FloatArray, FloatArray]:
        _, vertex = template.query((points - shift) @ rotation / scale)
        _, click = clicks.query(scale * spread @ rotation.T + shift)
        return np.concatenate([vertices[vertex], spread]), np.concatenate([points, points[click]])

    for weight in np.linspace(_FIRST, _LAST, _ROUNDS):
        rotation, scale, shift = _similarity(*pairs(), _weights(len(points), len(spread), weight))
    (source, target), matrix = pairs(), scale * rotation
    apart = ((source @ matrix.T + shift - target) ** 2).sum(axis=1)
    return float(_weights(len(points), len(spread), _FIRST) @ apart), matrix, shift


def _stretch(vertices: FloatArray, spread: FloatArray, points: FloatArray) -> FloatArray:
    """Closest points by a linear map near the identity: patients differ in width and height."""
    clicks = scipy.spatial.cKDTree(points)
    weights = _weights(len(points), len(spread), _STRETCHING)
    for _ in range(_STRETCHING_ROUNDS):
        _, vertex = scipy.spatial.cKDTree(vertices).query(points)
        _, click = clicks.query(spread)
        source, target = np.concatenate([vertices[vertex], spread]), np.concatenate([points, points[click]])
        centre, shift = weights @ source, weights @ (target - source)
        centred = source - centre
        ridge = _RIDGE * (weights @ (centred**2).sum(axis=1)) / 3 * np.eye(3)
        change = np.linalg.solve(centred.T * weights @ centred + ridge, centred.T * weights @ (target - source - shift))
        vertices, spread = (place + (place - centre) @ change + shift for place in (vertices, spread))
    return vertices


def _weights(n_points: int, n_vertices: int, of_vertices: float) -> FloatArray:
    """Of the pairs of points, then of those of vertices, which weigh so much in all against 1; together 1."""
    weights = np.repeat([1 / n_points, of_vertices / n_vertices], [n_points, n_vertices])
    return weights / weights.sum()


def _axis_rotations(vertices: FloatArray, points: FloatArray) -> FloatArray:
    """Rotations that lay the principal axes of the vertices on those of the points, in all 24 ways; (24, 3, 3)."""
    own, theirs = (np.linalg.svd(cloud - cloud.mean(axis=0), full_matrices=False)[2] for cloud in (vertices, points))
    own[2] *= np.sign(np.linalg.det(own))
    theirs[2] *= np.sign(np.linalg.det(theirs))
    return theirs.T @ scipy.spatial.transform.Rotation.create_group("O").as_matrix() @ own


def _size(positions: FloatArray) -> float:
    """Mean distance from the centre."""
    return float(np.linalg.norm(positions - positions.mean(axis=0), axis=1).mean())


def _similarity(source: FloatArray, target: FloatArray, weights: FloatArray) -> tuple[FloatArray, float, FloatArray]:
    """Rotation R, scale s and translation t of least squares, target = s R source + t (Umeyama 1991)."""
    source_mean, target_mean = (weights @ cloud for cloud in (source, target))
    centred = source - source_mean
    u, singular, vt = np.linalg.svd((target - target_mean).T * weights @ centred)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u * signs @ vt
    scale = float((singular * signs).sum() / (weights @ (centred**2).sum(axis=1)))
    return rotation, scale, target_mean - scale * rotation @ source_mean
