"""Rasterise closed triangle meshes onto image grids, exactly at the voxel centres.

A voxel belongs to the object where the winding number of the mesh around its centre is not zero. Rays run along the
first image axis; each crossing of the mesh changes the winding number of the voxels behind it by one, up or down. The
image may be oblique, anisotropic, or flipped.

World positions are LPS mm; arrays are indexed (z, y, x) as SimpleITK's.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray

from nnunet_weak.images.read import with_geometry_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Added to the vertices so that no vertex, edge or face goes exactly through a voxel centre; in voxels, distinct per
# axis.
_TIE_BREAK_VOX = np.array([1.13e-7, 1.71e-7, 2.37e-7])


def rasterise(vertices_mm: ArrayLike, faces: ArrayLike, reference_image: sitk.Image) -> sitk.Image:
    """Mask of the inside of a closed mesh on the grid of an image.

    Args:
        vertices_mm: LPS mm, shape (V, 3).
        faces: vertex indices, shape (F, 3); either orientation.
        reference_image: 3D image that gives the grid; its values are not used.

    Returns:
        A uint8 image, 1 inside. Parts beyond the image are cut off; the mask may be empty.
    """
    index_vox = world_to_index(np.asarray(vertices_mm, dtype=float), reference_image)
    mask = rasterise_index(index_vox, np.asarray(faces, dtype=np.int64), reference_image.GetSize())
    return with_geometry_of(mask, reference_image)


def world_to_index(points_mm: FloatArray, image: sitk.Image) -> FloatArray:
    """Continuous voxel indices (x, y, z) of LPS mm positions; voxel centres are at the integers. Shape (N, 3)."""
    direction = np.array(image.GetDirection()).reshape(3, 3)
    matrix = direction * np.array(image.GetSpacing())
    return np.linalg.solve(matrix, (points_mm - np.array(image.GetOrigin())).T).T


def index_to_world(index_vox: FloatArray, image: sitk.Image) -> FloatArray:
    """LPS mm positions of continuous voxel indices (x, y, z): the inverse of `world_to_index`. Shape (N, 3)."""
    direction = np.array(image.GetDirection()).reshape(3, 3)
    return index_vox * np.array(image.GetSpacing()) @ direction.T + np.array(image.GetOrigin())


def rasterise_index(vertices_vox: FloatArray, faces: IntArray, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Mask of shape (z, y, x) of a mesh given in continuous voxel indices (x, y, z), on a grid of `size` (x, y, z)."""
    mask = np.zeros(size[::-1], dtype=np.uint8)
    box, inside = rasterise_box(vertices_vox, faces, size)
    mask[box] = inside
    return mask


def rasterise_box(
    vertices_vox: FloatArray, faces: IntArray, size: tuple[int, ...]
) -> tuple[tuple[slice, slice, slice], NDArray[np.bool_]]:
    """As `rasterise_index`, only the part of the grid that the mesh reaches: where that is (z, y, x), and its mask."""
    vertices = vertices_vox + _TIE_BREAK_VOX
    low = np.maximum(np.ceil(vertices.min(axis=0)), 0).astype(np.int64)
    high = np.minimum(np.floor(vertices.max(axis=0)), np.array(size) - 1).astype(np.int64)
    if (high < low).any():
        return (slice(0), slice(0), slice(0)), np.zeros((0, 0, 0), dtype=bool)
    extent = high - low + 1
    crossing_x, ray, sign = _crossings(vertices - low, faces, extent)
    # Crossings before the grid count for all of the ray, those behind it for none.
    first_behind = np.maximum(np.ceil(crossing_x), 0).astype(np.int64)
    counted = first_behind < extent[0]
    # One byte per voxel: a large organ in a large scan spans tens of millions of voxels.
    winding = np.zeros(extent[::-1], dtype=np.int8)
    np.add.at(winding.reshape(-1), ray[counted] * extent[0] + first_behind[counted], sign[counted])
    np.cumsum(winding, axis=2, dtype=np.int8, out=winding)
    z, y, x = (slice(int(first), int(last) + 1) for first, last in zip(low[::-1], high[::-1], strict=True))
    return (z, y, x), winding != 0


def _crossings(
    vertices: FloatArray, faces: IntArray, extent: IntArray
) -> tuple[FloatArray, IntArray, NDArray[np.int8]]:
    """Where rays along x through the voxel centres (y, z) cross the mesh: x, ray number z * ny + y, direction."""
    corners = vertices[faces]
    plane = corners[:, :, 1:]
    low = np.maximum(np.ceil(plane.min(axis=1)), 0).astype(np.int64)
    high = np.minimum(np.floor(plane.max(axis=1)), extent[1:] - 1).astype(np.int64)
    shape = np.maximum(high - low + 1, 0)
    count = shape.prod(axis=1)
    face = np.repeat(np.arange(len(faces)), count)
    within = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count)
    y = low[face, 0] + within % np.maximum(shape[face, 0], 1)
    z = low[face, 1] + within // np.maximum(shape[face, 0], 1)

    edges = [_edge_function(plane[:, i], plane[:, j], face, y, z) for i, j in ((1, 2), (2, 0), (0, 1))]
    edge_values, left_of = zip(*edges, strict=True)
    left = np.stack(left_of)
    crossed = left.all(axis=0) | ~left.any(axis=0)
    weights = np.stack(edge_values)[:, crossed]
    face = face[crossed]
    x = np.einsum("km,mk->m", weights, corners[face, :, 0]) / weights.sum(axis=0)
    # Seen along +x a face whose projection is counter-clockwise faces +x: the ray leaves there.
    sign = np.where(left[0, crossed], np.int8(-1), np.int8(1))
    return x, z[crossed] * extent[1] + y[crossed], sign


def _edge_function(
    start: FloatArray, end: FloatArray, face: IntArray, y: IntArray, z: IntArray
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Twice the signed area of (start, end, ray), and whether the ray is left of the edge.

    Endpoints are sorted first, so that the two faces at an edge compute the very same number and no ray slips between
    them.
    """
    swap = (start[:, 0] > end[:, 0]) | ((start[:, 0] == end[:, 0]) & (start[:, 1] > end[:, 1]))
    first = np.where(swap[:, None], end, start)
    along = np.where(swap[:, None], start, end) - first
    value = along[face, 0] * (z - first[face, 1]) - along[face, 1] * (y - first[face, 0])
    swapped = swap[face]
    return np.where(swapped, -value, value), (value > 0) != swapped
