"""The surface of an annotated object, as the template of others: one closed mesh of the largest piece of a label map.

Vertices are LPS mm, rows (V, 3); faces are rows (F, 3) of vertex indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy  # its parts are loaded where they are first used
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.read import read_label_map
from nnunet_weak.surface.mesh_files import MOST_VERTICES
from nnunet_weak.surface.rasterise import index_to_world

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_FEWEST_VERTICES, _WANTED_VERTICES = 3000, 4000  # finer than a mesh file's need be: thin parts must not vanish
_LEVEL = 0.5
_BLUR_VOXELS = 0.7  # of the grid that is meshed: steps between voxels are no shape
_ROUNDS = 8


class MissingObjectError(InvalidInputError):
    """A label map without any voxel of the object."""


def surface_of_labels(path: Path, values: Sequence[int]) -> tuple[FloatArray, IntArray]:
    """Mesh the largest piece of an object, at a resolution that gives 3000 to 5000 vertices.

    Args:
        path: A label map.
        values: Of the object in it.

    Returns:
        Vertices and faces.

    Raises:
        MissingObjectError: It holds none of the values.
        InvalidInputError: It cannot be read, or the object is too small.
    """
    image = read_label_map(path)
    labels = sitk.GetArrayFromImage(image)
    pieces, _ = scipy.ndimage.label(np.isin(labels, list(values)))
    if not pieces.any():
        present = ", ".join(map(str, np.unique(labels)[:10].tolist()))
        raise MissingObjectError(
            f"{path}: holds no voxel of the value {' or '.join(map(str, values))}, but {present} "
            "(remedy: say which values the class has, --classes liver=1,2 for example)"
        )
    number = int(np.bincount(pieces[pieces > 0]).argmax())
    box = scipy.ndimage.find_objects(pieces)[number - 1]
    inside = np.pad(pieces[box] == number, 1)
    low = np.array([side.start for side in box])
    voxel_mm = np.array(image.GetSpacing()[::-1])
    z, y, x = (np.array(inside.shape) - 2) * voxel_mm
    step_mm = float(np.sqrt(2 * (z * y + y * x + x * z) / _WANTED_VERTICES))
    for _ in range(_ROUNDS):
        vertices, faces = _mesh(inside, step_mm / voxel_mm)
        if _FEWEST_VERTICES <= len(vertices) <= MOST_VERTICES:
            return index_to_world((vertices + low - 1)[:, ::-1], image), faces
        step_mm *= float(np.clip(np.sqrt(max(len(vertices), 1) / _WANTED_VERTICES), 0.25, 4))
    raise InvalidInputError(
        f"{path}: its object of {int(inside.sum())} voxels has no surface of {_FEWEST_VERTICES} to {MOST_VERTICES} "
        "vertices (remedy: choose an annotated case with a larger object, or a mesh)"
    )


def _mesh(inside: NDArray[np.bool_], steps: FloatArray) -> tuple[FloatArray, IntArray]:
    """Largest piece of the isosurface of a smoothed mask, on a grid of so many voxels' width; vertices in voxels."""
    from skimage.measure import marching_cubes

    margin = 3 * steps
    size = np.ceil((np.array(inside.shape) - 1 + 2 * margin) / steps).astype(int) + 1
    fine = scipy.ndimage.gaussian_filter(inside.astype(np.float32), np.maximum(steps - 1, 0) / 2)  # before thinning out
    sampled = scipy.ndimage.affine_transform(fine, steps, -margin, output_shape=tuple(size), order=1)
    smooth = scipy.ndimage.gaussian_filter(sampled, _BLUR_VOXELS)
    pieces, count = scipy.ndimage.label(smooth > _LEVEL)
    if not count:
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    largest = pieces == np.bincount(pieces[pieces > 0]).argmax()
    smooth[(pieces > 0) & ~largest] = _LEVEL - 1e-3
    vertices, faces, _, _ = marching_cubes(smooth, _LEVEL)
    return vertices * steps - margin, faces.astype(np.int64)
