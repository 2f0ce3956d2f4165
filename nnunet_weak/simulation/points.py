"""Surface points simulated from dense labels: what an annotator would click for Weak-Net.

Points are drawn on the marching-cubes surface of a label, in mm, so voxel size and orientation do not matter. Arrays
of image values are indexed (z, y, x); points are LPS mm, shape (N, 3).

Reference: Weak-Net, section 4.3 (simulated annotations; effort = number of points).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import marching_cubes

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.surface.mesh import farthest_points
from nnunet_weak.surface.rasterise import index_to_world

FloatArray = NDArray[np.float64]
Sampling = Literal["spread", "random", "clumped"]

_CANDIDATES_PER_POINT = 50
"""Area samples per point that farthest-point sampling chooses from."""


def simulate_points(
    label: sitk.Image,
    n_points: int,
    value: int = 1,
    *,
    sampling: Sampling = "spread",
    noise_mm: float = 0.0,
    seed: int = 0,
) -> FloatArray:
    """Draw points on the surface of the largest component of a label.

    Args:
        label: label map.
        n_points: how many, >= 1.
        value: the label to annotate.
        sampling: `spread` as a careful annotator does, tips and extremes first and then the gaps (farthest-point
            sampling of area samples); `random` uniform over the area; `clumped` on one side and close together, as a
            hurried one does.
        noise_mm: standard deviation per axis of Gaussian click noise; 0 leaves the points exactly on the surface.
        seed: the same seed gives the same points.

    Returns:
        Points in LPS mm, shape (n_points, 3).

    Raises:
        InvalidInputError: the label does not occur.
    """
    rng = np.random.default_rng(seed)
    vertices, faces = label_surface(label, value)
    if sampling == "random":
        points = sample_area(vertices, faces, n_points, rng)
    else:
        candidates = sample_area(vertices, faces, _CANDIDATES_PER_POINT * n_points, rng)
        if sampling == "clumped":
            candidates = _nearest_third(candidates, rng)
            points = candidates[rng.choice(len(candidates), n_points, replace=False)]
        else:
            points = farthest_points(candidates, n_points)
    return points + rng.normal(0, noise_mm, points.shape)


def label_surface(label: sitk.Image, value: int = 1) -> tuple[FloatArray, NDArray[np.int64]]:
    """Closed surface of the largest component of a label, with its holes filled.

    It runs half way between voxel centres inside and outside.

    Returns:
        Vertices in LPS mm of shape (V, 3) and faces of shape (F, 3), outward oriented.

    Raises:
        InvalidInputError: the label does not occur.
    """
    mask = sitk.GetArrayViewFromImage(label) == value
    if not mask.any():
        present = np.unique(sitk.GetArrayViewFromImage(label))[:12].tolist()
        raise InvalidInputError(f"Label {value} does not occur in the image; it holds {present}. Name one of these.")
    components, _ = ndimage.label(mask)
    largest = components == np.bincount(components.ravel())[1:].argmax() + 1
    return mask_surface(ndimage.binary_fill_holes(largest), label)


def mask_surface(mask: NDArray[np.bool_], grid: sitk.Image) -> tuple[FloatArray, NDArray[np.int64]]:
    """Closed surface of a mask (z, y, x) on a grid, as `label_surface` returns it."""
    # Without the border an object at the edge of the image would have an open surface.
    vertices_zyx, faces, _, _ = marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5)
    vertices = index_to_world(vertices_zyx[:, ::-1].astype(float) - 1, grid)
    faces = faces.astype(np.int64)
    a, b, c = (vertices[faces[:, corner]] - vertices.mean(axis=0) for corner in range(3))
    if np.einsum("ij,ij->", a, np.cross(b, c)) < 0:
        faces = faces[:, ::-1]
    return vertices, faces


def sample_area(vertices: FloatArray, faces: NDArray[np.int64], n_points: int, rng: np.random.Generator) -> FloatArray:
    """Points distributed uniformly over the area of a mesh, shape (n_points, 3)."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    face = rng.choice(len(faces), n_points, p=area / area.sum())
    # The square root makes the density uniform over the triangle.
    root, other = np.sqrt(rng.random((n_points, 1))), rng.random((n_points, 1))
    return (1 - root) * a[face] + root * (1 - other) * b[face] + root * other * c[face]


def _nearest_third(candidates: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The third of the candidates that is nearest to one of them."""
    centre = candidates[rng.integers(len(candidates))]
    order = np.argsort(np.linalg.norm(candidates - centre, axis=1), kind="stable")
    return candidates[order[: max(len(candidates) // 3, 1)]]
