"""Triangle meshes: the icosphere, area, volume, closest points, and PLY files.

Vertices are rows (V, 3) in LPS mm; faces are rows (F, 3) of vertex indices, counter-clockwise seen from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import scipy  # its parts are loaded where they are first used
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class ClosestPoints:
    """Closest places of a mesh to N points: distance (N,), face (N,), barycentric weights of its corners (N, 3)."""

    distance: FloatArray
    face: IntArray
    weights: FloatArray

    def interpolate(self, values: FloatArray, faces: IntArray) -> FloatArray:
        """Linear interpolation of values at the vertices, (V, D), at the places: (N, D)."""
        return np.einsum("nk,nkd->nd", self.weights, values[faces[self.face]])


@lru_cache(maxsize=4)
def icosphere(subdivisions: int) -> tuple[FloatArray, IntArray]:
    """Unit sphere of 10 * 4^subdivisions + 2 nearly evenly spread vertices, outward oriented. Treat as read-only."""
    golden = (1 + 5**0.5) / 2
    corners = [(-1, golden, 0), (1, golden, 0), (-1, -golden, 0), (1, -golden, 0)]
    vertices = np.array([corner[-shift:] + corner[:-shift] for shift in (0, 1, 2) for corner in corners], dtype=float)
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    faces = scipy.spatial.ConvexHull(vertices).simplices.astype(np.int64)
    inward = np.linalg.det(vertices[faces]) < 0
    faces[inward] = faces[inward][:, ::-1]
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


def closest_points(points: FloatArray, vertices: FloatArray, faces: IntArray, n_faces: int = 6) -> ClosestPoints:
    """Closest places of the mesh, searched in the faces whose centres are nearest to each point.

    On a mesh of well-shaped triangles this is the closest place; on badly stretched ones the distance may come out a
    little too large, never too small.

    Args:
        points: shape (N, 3).
        vertices: shape (V, 3).
        faces: shape (F, 3).
        n_faces: how many faces to search for each point.
    """
    width = min(n_faces, len(faces))
    centres = (vertices[faces[:, 0]] + vertices[faces[:, 1]] + vertices[faces[:, 2]]) / 3
    tree = scipy.spatial.cKDTree(centres, balanced_tree=False, compact_nodes=False)
    candidates = tree.query(points, k=width)[1].ravel()
    weights, squared = _closest_in_triangles(np.repeat(points, width, axis=0), vertices[faces[candidates]])
    best = squared.reshape(-1, width).argmin(axis=1) + width * np.arange(len(points))
    return ClosestPoints(np.sqrt(squared[best]), candidates[best], weights[best])


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


def write_ply(path: Path, vertices: FloatArray, faces: IntArray) -> None:
    """Write a mesh in LPS mm as ASCII PLY, with the comment by which 3D Slicer knows the coordinate system."""
    lines = ["ply", "format ascii 1.0", "comment SPACE=LPS", f"element vertex {len(vertices)}"]
    lines += [f"property double {axis}" for axis in "xyz"]
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    lines += [" ".join(f"{value:.6g}" for value in vertex) for vertex in vertices]
    lines += [f"3 {a} {b} {c}" for a, b, c in faces]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _closest_in_triangles(points: FloatArray, corners: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Place of a triangle closest to each point: barycentric weights and squared distance.

    Args:
        points: shape (M, 3).
        corners: shape (M, 3 corners, 3).
    """
    tiny = np.finfo(float).tiny
    # Foot of the perpendicular on the plane, from the normal equations; it counts where it lies in the triangle.
    ab, ac, ap = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], points - corners[:, 0]
    ab_ab, ab_ac, ac_ac, ap_ab, ap_ac = _dot(ab, ab), _dot(ab, ac), _dot(ac, ac), _dot(ap, ab), _dot(ap, ac)
    determinant = np.maximum(ab_ab * ac_ac - ab_ac**2, tiny)
    b, c = (ac_ac * ap_ab - ab_ac * ap_ac) / determinant, (ab_ab * ap_ac - ab_ac * ap_ab) / determinant
    weights = np.stack([1 - b - c, b, c], axis=1)
    squared = np.where((weights >= 0).all(axis=1), _squared_distance(weights, points, corners), np.inf)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        edge = corners[:, end] - corners[:, start]
        share = np.clip(_dot(points - corners[:, start], edge) / np.maximum(_dot(edge, edge), tiny), 0, 1)
        on_edge = np.zeros_like(weights)
        on_edge[:, start], on_edge[:, end] = 1 - share, share
        apart = _squared_distance(on_edge, points, corners)
        nearer = apart < squared
        weights[nearer], squared[nearer] = on_edge[nearer], apart[nearer]
    return weights, squared


def _squared_distance(weights: FloatArray, points: FloatArray, corners: FloatArray) -> FloatArray:
    apart = np.einsum("mk,mkd->md", weights, corners) - points
    return _dot(apart, apart)


def _dot(left: FloatArray, right: FloatArray) -> FloatArray:
    return np.einsum("ij,ij->i", left, right)
