"""Surface points simulated from dense labels: what an annotator would click for Weak-Net.

Points are drawn on the marching-cubes surface of a label, in mm, so voxel size and orientation do not matter. Arrays
of image values are indexed (z, y, x); points are LPS mm, shape (N, 3).

Reference: Weak-Net, section 4.3 (simulated annotations; effort = number of points).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import marching_cubes

from nnunet_weak.errors import InvalidInputError

FloatArray = NDArray[np.float64]
Sampling = Literal["spread", "random", "clumped"]

#: Area samples per point that farthest-point sampling chooses from.
_CANDIDATES_PER_POINT = 50


@dataclass(frozen=True)
class SimulatedPoints:
    """Points on one object.

    Attributes:
        points_mm: LPS mm, shape (N, 3).
        sampling: how the places were chosen.
        noise_mm: standard deviation of the click noise per axis.
        seed: of the random numbers.
    """

    points_mm: FloatArray
    sampling: Sampling
    noise_mm: float
    seed: int

    @property
    def effort(self) -> int:
        """Annotation effort as in the paper: the number of points."""
        return len(self.points_mm)


def label_surface(
    label: sitk.Image, value: int = 1, *, largest_component: bool = True
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Closed surface of a label, by marching cubes half way between inside and outside voxel centres.

    Args:
        label: label map.
        value: the label whose surface is wanted.
        largest_component: take the largest face-connected component only, with its holes filled, i.e. one closed
            surface.

    Returns:
        Vertices in LPS mm of shape (V, 3) and faces of shape (F, 3), outward oriented.

    Raises:
        InvalidInputError: the label does not occur.
    """
    mask = sitk.GetArrayViewFromImage(label) == value
    if not mask.any():
        raise InvalidInputError(
            f"Label {value} does not occur in the image; labels there: {_some_values(label)}. Name one that occurs."
        )
    if largest_component:
        components, _ = ndimage.label(mask)
        mask = components == np.bincount(components.ravel())[1:].argmax() + 1
        mask = ndimage.binary_fill_holes(mask)
    # Without the border an object at the edge of the image would have an open surface.
    vertices_zyx, faces, _, _ = marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5)
    index_vox = vertices_zyx[:, ::-1].astype(float) - 1
    direction = np.array(label.GetDirection()).reshape(3, 3)
    vertices = index_vox * np.array(label.GetSpacing()) @ direction.T + np.array(label.GetOrigin())
    faces = faces.astype(np.int64)
    a, b, c = (vertices[faces[:, corner]] - vertices.mean(axis=0) for corner in range(3))
    if np.einsum("ij,ij->", a, np.cross(b, c)) < 0:
        faces = faces[:, ::-1]
    return vertices, faces


def simulate_points(
    label: sitk.Image,
    n_points: int,
    value: int = 1,
    *,
    sampling: Sampling = "spread",
    noise_mm: float = 0.0,
    seed: int = 0,
) -> SimulatedPoints:
    """Draw points on the surface of the largest component of a label.

    Args:
        label: label map.
        n_points: how many, >= 1.
        value: the label to annotate.
        sampling: `spread` as a careful annotator does, tips and extremes first and then the gaps (farthest-point
            sampling of area samples); `random` uniform over the area; `clumped` on one side and close together, as a
            hurried one does.
        noise_mm: standard deviation per axis of Gaussian click noise.
        seed: of the random numbers; the same seed gives the same points.

    Raises:
        InvalidInputError: unknown sampling, no point asked for, label not there.
    """
    if sampling not in get_args(Sampling):
        raise InvalidInputError(f"sampling must be one of {', '.join(get_args(Sampling))}; got {sampling!r}.")
    if n_points < 1:
        raise InvalidInputError(f"n_points must be at least 1; got {n_points}.")
    if not noise_mm >= 0:
        raise InvalidInputError(f"noise_mm must not be negative; got {noise_mm}.")
    rng = np.random.default_rng(seed)
    vertices, faces = label_surface(label, value)
    if sampling == "random":
        points = sample_area(vertices, faces, n_points, rng)
    else:
        candidates = sample_area(vertices, faces, _CANDIDATES_PER_POINT * n_points, rng)
        if sampling == "clumped":
            candidates = _clump(candidates, rng)
            points = candidates[rng.choice(len(candidates), n_points, replace=False)]
        else:
            points = farthest_points(candidates, n_points)
    return SimulatedPoints(points + rng.normal(0, noise_mm, points.shape), sampling, noise_mm, seed)


def sample_area(vertices: FloatArray, faces: NDArray[np.int64], n_points: int, rng: np.random.Generator) -> FloatArray:
    """Points distributed uniformly over the area of a mesh, shape (n_points, 3)."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    face = rng.choice(len(faces), n_points, p=area / area.sum())
    # The square root makes the density uniform over the triangle.
    root, other = np.sqrt(rng.random((n_points, 1))), rng.random((n_points, 1))
    return (1 - root) * a[face] + root * (1 - other) * b[face] + root * other * c[face]


def farthest_points(candidates: FloatArray, n_points: int) -> FloatArray:
    """Farthest-point sampling, begun at the candidate farthest from their centre. Shape (n_points, 3)."""
    distance = np.linalg.norm(candidates - candidates.mean(axis=0), axis=1)
    chosen = [int(distance.argmax())]
    distance = np.full(len(candidates), np.inf)
    for _ in range(n_points - 1):
        difference = candidates - candidates[chosen[-1]]
        np.minimum(distance, np.einsum("ij,ij->i", difference, difference), out=distance)
        chosen.append(int(distance.argmax()))
    return candidates[chosen]


def _clump(candidates: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The third of the candidates that is nearest to one of them."""
    centre = candidates[rng.integers(len(candidates))]
    order = np.argsort(np.linalg.norm(candidates - centre, axis=1), kind="stable")
    return candidates[order[: max(len(candidates) // 3, 1)]]


def _some_values(label: sitk.Image) -> str:
    values = np.unique(sitk.GetArrayViewFromImage(label))
    return ", ".join(f"{value:g}" for value in values[:12]) + (", ..." if len(values) > 12 else "")
