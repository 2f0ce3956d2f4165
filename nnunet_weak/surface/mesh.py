"""Triangle meshes: the icosphere, area, volume, closest points, and files for looking at them.

Vertices are rows (V, 3) in LPS mm; faces are rows (F, 3) of vertex indices, counter-clockwise seen from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, cKDTree

from nnunet_weak.errors import InvalidInputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MESH_SUFFIXES = (".obj", ".ply", ".vtk")


@dataclass(frozen=True)
class ClosestPoints:
    """Closest places of a mesh to N points: distance (N,), position (N, 3), face (N,), barycentric weights (N, 3)."""

    distance: FloatArray
    position: FloatArray
    face: IntArray
    weights: FloatArray


@lru_cache(maxsize=4)
def icosphere(subdivisions: int) -> tuple[FloatArray, IntArray]:
    """Unit sphere of 10 * 4^subdivisions + 2 nearly evenly spread vertices, outward oriented. Treat as read-only."""
    golden = (1 + 5**0.5) / 2
    corners = [(-1, golden, 0), (1, golden, 0), (-1, -golden, 0), (1, -golden, 0)]
    vertices = np.array([corner[-shift:] + corner[:-shift] for shift in (0, 1, 2) for corner in corners], dtype=float)
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    faces = _hull_faces(vertices)
    for _ in range(subdivisions):
        edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        unique, inverse = np.unique(edges, axis=0, return_inverse=True)
        middles = vertices[unique].sum(axis=1)
        middles /= np.linalg.norm(middles, axis=1, keepdims=True)
        ab, bc, ca = (inverse.reshape(3, -1) + len(vertices)).astype(np.int64)
        a, b, c = faces.T
        quarters = ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))
        faces = np.concatenate([np.stack(quarter, axis=1) for quarter in quarters])
        vertices = np.concatenate([vertices, middles])
    vertices.setflags(write=False)
    faces.setflags(write=False)
    return vertices, faces


def face_vectors(vertices: FloatArray, faces: IntArray) -> FloatArray:
    """Outward normal of each face, as long as its area; shape (F, 3)."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    return np.cross(b - a, c - a) / 2


def vertex_normals(vertices: FloatArray, faces: IntArray) -> FloatArray:
    """Area-weighted unit normal of each vertex, shape (V, 3)."""
    per_face = face_vectors(vertices, faces)
    corner_weights = np.repeat(per_face, 3, axis=0).T
    normals = np.stack([np.bincount(faces.ravel(), axis, minlength=len(vertices)) for axis in corner_weights], axis=1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return normals / np.where(length > 0, length, 1)


def surface_area(vertices: FloatArray, faces: IntArray) -> float:
    """Area in the square of the vertices' unit."""
    return float(np.linalg.norm(face_vectors(vertices, faces), axis=1).sum())


def signed_volume(vertices: FloatArray, faces: IntArray) -> float:
    """Enclosed volume of a closed mesh; negative where it is inside out."""
    centred = vertices - vertices.mean(axis=0)
    return float(np.einsum("ij,ij->", centred[faces[:, 0]], face_vectors(vertices, faces))) / 3


def faces_around_vertices(faces: IntArray, n_vertices: int) -> IntArray:
    """Faces that touch each vertex, shape (V, largest valence); shorter rows repeat their last face."""
    corner_vertex = faces.ravel()
    order = np.argsort(corner_vertex, kind="stable")
    counts = np.bincount(corner_vertex, minlength=n_vertices)
    start = np.cumsum(counts) - counts
    column = np.minimum(np.arange(counts.max())[None, :], np.maximum(counts - 1, 0)[:, None])
    return (order // 3)[np.minimum(start[:, None] + column, len(order) - 1)]


def closest_points(
    points: FloatArray, vertices: FloatArray, faces: IntArray, rings: IntArray | None = None, n_rings: int = 1
) -> ClosestPoints:
    """Closest places of the mesh, searched in the faces around each point's nearest vertices.

    On a mesh of well-shaped triangles this is the closest place; on badly stretched ones the distance may come out a
    little too large, never too small.

    Args:
        points: shape (N, 3).
        vertices: shape (V, 3).
        faces: shape (F, 3).
        rings: `faces_around_vertices`, if at hand.
        n_rings: how many nearest vertices to look around.
    """
    if rings is None:
        rings = faces_around_vertices(faces, len(vertices))
    _, nearest = cKDTree(vertices, balanced_tree=False, compact_nodes=False).query(points, k=n_rings)
    candidates = rings[nearest].reshape(len(points), -1)
    width = candidates.shape[1]
    corners = vertices[faces[candidates.ravel()]]
    weights = _closest_weights(np.repeat(points, width, axis=0), corners[:, 0], corners[:, 1], corners[:, 2])
    position = np.einsum("mk,mkd->md", weights, corners)
    squared = ((position.reshape(len(points), width, 3) - points[:, None]) ** 2).sum(axis=2)
    best = squared.argmin(axis=1)
    row = np.arange(len(points))
    flat = row * width + best
    return ClosestPoints(np.sqrt(squared[row, best]), position[flat], candidates[row, best], weights[flat])


def write_mesh(path: str | Path, vertices: FloatArray, faces: IntArray) -> None:
    """Write a mesh for looking at it: `.obj`, `.ply` or `.vtk` (ASCII), in LPS mm.

    3D Slicer reads LPS where the file says so: `.vtk` and `.ply` carry the comment it looks for.
    """
    path = Path(path)
    if path.suffix.lower() not in MESH_SUFFIXES:
        raise InvalidInputError(
            f"Mesh file name must end in one of {', '.join(MESH_SUFFIXES)}; got {path.name!r}. Rename the output."
        )
    corners = [" ".join(f"{value:.6g}" for value in vertex) for vertex in vertices]
    if path.suffix.lower() == ".obj":
        lines = ["# SPACE=LPS"] + [f"v {corner}" for corner in corners]
        lines += [f"f {a} {b} {c}" for a, b, c in faces + 1]
    elif path.suffix.lower() == ".ply":
        lines = ["ply", "format ascii 1.0", "comment SPACE=LPS", f"element vertex {len(vertices)}"]
        lines += [f"property double {axis}" for axis in "xyz"]
        lines += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", *corners]
        lines += [f"3 {a} {b} {c}" for a, b, c in faces]
    else:
        lines = ["# vtk DataFile Version 3.0", "surface;SPACE=LPS", "ASCII", "DATASET POLYDATA"]
        lines += [f"POINTS {len(vertices)} double", *corners, f"POLYGONS {len(faces)} {4 * len(faces)}"]
        lines += [f"3 {a} {b} {c}" for a, b, c in faces]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _hull_faces(vertices: FloatArray) -> IntArray:
    faces = ConvexHull(vertices).simplices.astype(np.int64)
    inward = np.einsum("ij,ij->i", face_vectors(vertices, faces), vertices[faces[:, 0]]) < 0
    faces[inward] = faces[inward][:, ::-1]
    return faces


def _closest_weights(points: FloatArray, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    """Barycentric weights of the place of triangle abc closest to each point, all (M, 3)."""
    ab, ac, ap = b - a, c - a, points - a
    ab_ab, ab_ac, ac_ac = _dot(ab, ab), _dot(ab, ac), _dot(ac, ac)
    ap_ab, ap_ac = _dot(ap, ab), _dot(ap, ac)
    determinant = ab_ab * ac_ac - ab_ac**2
    tiny = np.finfo(float).tiny
    weight_b = (ac_ac * ap_ab - ab_ac * ap_ac) / np.maximum(determinant, tiny)
    weight_c = (ab_ab * ap_ac - ab_ac * ap_ab) / np.maximum(determinant, tiny)
    inside = (weight_b >= 0) & (weight_c >= 0) & (weight_b + weight_c <= 1) & (determinant > 0)

    on_ab = np.clip(ap_ab / np.maximum(ab_ab, tiny), 0, 1)
    on_ac = np.clip(ap_ac / np.maximum(ac_ac, tiny), 0, 1)
    bc_bc = ab_ab - 2 * ab_ac + ac_ac
    on_bc = np.clip((ap_ac - ap_ab - ab_ac + ab_ab) / np.maximum(bc_bc, tiny), 0, 1)
    # Squared distance to each edge up to the common |ap|^2.
    to_ab = on_ab * (on_ab * ab_ab - 2 * ap_ab)
    to_ac = on_ac * (on_ac * ac_ac - 2 * ap_ac)
    b_bc, c_bc = 1 - on_bc, on_bc
    to_bc = b_bc**2 * ab_ab + 2 * b_bc * c_bc * ab_ac + c_bc**2 * ac_ac - 2 * (b_bc * ap_ab + c_bc * ap_ac)
    edge = np.stack([to_ab, to_ac, to_bc]).argmin(axis=0)
    zero = np.zeros_like(on_ab)
    weight_b = np.where(inside, weight_b, np.choose(edge, [on_ab, zero, b_bc]))
    weight_c = np.where(inside, weight_c, np.choose(edge, [zero, on_ac, c_bc]))
    return np.stack([1 - weight_b - weight_c, weight_b, weight_c], axis=1)


def _dot(left: FloatArray, right: FloatArray) -> FloatArray:
    return np.einsum("ij,ij->i", left, right)
