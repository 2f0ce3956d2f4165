"""The average of surfaces through the same points: what is peculiar to one template, the others outvote.

At each node of a grid the median of the signed distances to the surfaces is taken, and the average surface is where
that is 0; so it goes where all of them go, through the points.

Dice with the truth on training cases, 25 points each: hippocampi from 5 annotated ones .865 (sphere .823, one of them
.837), mandibles from 5 .806 (.428, .497, as one of the five is cut off; with the mean .798), from 2 .816 (.420, .787).

Reference: Rohlfing and Maurer, "Shape-based averaging", IEEE Transactions on Image Processing 2007.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy  # its parts are loaded where they are first used
from numpy.typing import NDArray

from nnunet_weak.surface.fit import SurfaceFit
from nnunet_weak.surface.mesh import closest_points, signed_volume
from nnunet_weak.surface.rasterise import rasterise_index

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_WANTED_VERTICES = 4000
_MARGIN, _EXACT_WITHIN = 2, 3.0  # steps of the grid
_NODES_AT_ONCE = 100_000


def average_surface(fits: Sequence[SurfaceFit], points_mm: FloatArray) -> SurfaceFit:
    """Average surfaces that were fitted to the same points.

    Args:
        fits: At least one; in LPS mm.
        points_mm: What they were fitted to, shape (N, 3).

    Returns:
        The average surface, of about 4000 vertices, with the residuals of the points; gap and warnings are those of the
        fit with the fewest. A single fit stays as it is, and where no place is inside of most surfaces, the fit with
        the fewest warnings is returned.
    """
    best = min(fits, key=lambda fit: len(fit.warnings))
    if len(fits) == 1:
        return best
    every = np.concatenate([fit.vertices_mm for fit in fits])
    low, high = every.min(axis=0), every.max(axis=0)
    x, y, z = high - low
    step = float(np.sqrt(2 * (x * y + y * z + z * x) / _WANTED_VERTICES))
    origin = low - _MARGIN * step
    size = tuple(int(count) for count in np.ceil((high - low) / step) + 2 * _MARGIN + 1)
    depth = np.median([_depth((fit.vertices_mm - origin) / step, fit.faces, size) for fit in fits], axis=0)
    if not (depth > 0).any():
        return best
    from skimage.measure import marching_cubes

    vertices, faces, _, _ = marching_cubes(depth, 0.0)
    vertices_mm, faces = vertices[:, ::-1].astype(float) * step + origin, faces.astype(np.int64)
    volume_mm3 = signed_volume(vertices_mm, faces)
    faces = faces if volume_mm3 > 0 else faces[:, ::-1]
    residuals_mm = closest_points(points_mm, vertices_mm, faces).distance
    return replace(best, vertices_mm=vertices_mm, faces=faces, residuals_mm=residuals_mm, volume_mm3=abs(volume_mm3))


def _depth(vertices: FloatArray, faces: IntArray, size: tuple[int, ...]) -> NDArray[np.float64]:
    """How far inside of a surface the nodes of a grid lie, shape (z, y, x), exact near the surface; in steps."""
    inside = rasterise_index(vertices, faces, size).astype(bool)
    nodes = np.stack(np.meshgrid(*map(np.arange, size[::-1]), indexing="ij"), axis=-1).reshape(-1, 3)[:, ::-1]
    distance, _ = scipy.spatial.cKDTree(vertices).query(nodes)
    near = np.flatnonzero(distance < _EXACT_WITHIN)
    for rows in np.array_split(near, len(near) // _NODES_AT_ONCE + 1):
        distance[rows] = closest_points(nodes[rows].astype(float), vertices, faces).distance
    return np.where(inside, 1, -1) * distance.reshape(inside.shape)
