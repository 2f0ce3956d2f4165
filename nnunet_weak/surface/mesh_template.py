"""A mesh as the template instead of the sphere: an average organ, or any closed surface of the wanted shape.

The sphere's energy is diagonal in spherical harmonics. On a mesh their place is taken by the eigenfunctions of its
Laplace-Beltrami operator, scaled to the area of the unit sphere, so that the same weights mean the same stiffness. The
energy is that of the displacement from the template: where there are no points, the template's shape stays.

    place the template on the points (rotation, scale, translation) -> attach each point to the closest place of the
    surface, solve for the displacement of least energy, repeat with less and less smoothing

A template need not be of genus 0: a ring stays a ring.

Vertices are rows (V, 3); a file's unit and position do not matter, and neither does its coordinate system, as LPS and
RAS differ by a rotation.

Reference: Vallet and Levy, "Spectral geometry processing with manifold harmonics", Eurographics 2008.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import scipy  # its parts are loaded where they are first used
from numpy.typing import NDArray

from nnunet_weak.images.header import IMAGE_ENDINGS
from nnunet_weak.surface.label_map_mesh import surface_of_labels
from nnunet_weak.surface.mesh import signed_volume, surface_area
from nnunet_weak.surface.mesh_files import check_closed, read_mesh

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MODES = 300
_PLACING_ROUNDS = 15


@dataclass(frozen=True)
class MeshTemplate:
    """A closed mesh with its harmonics. Treat the arrays as read-only.

    Attributes:
        name: Of its file.
        vertices: Centred, at mean distance 1 from the centre, shape (V, 3).
        faces: Outward oriented, shape (F, 3).
        harmonics: Values of the Laplace-Beltrami eigenfunctions at the vertices but for the constant one, of mean
            square 1 over the surface, shape (V, M).
        eigenvalues: On the mesh scaled to the area 4 pi, where a sphere has l (l + 1); ascending, shape (M,).
    """

    name: str
    vertices: FloatArray
    faces: IntArray
    harmonics: FloatArray
    eigenvalues: FloatArray

    @classmethod
    def of(cls, vertices: FloatArray, faces: IntArray, name: str = "template") -> MeshTemplate:
        """Check a mesh, and compute its harmonics.

        Raises:
            InvalidInputError: It is not one closed surface with consistently oriented faces.
        """
        vertices = np.asarray(vertices, dtype=float)
        check_closed(vertices, faces, name)
        if signed_volume(vertices, faces) < 0:
            faces = faces[:, ::-1]
        centred = vertices - vertices.mean(axis=0)
        local = centred / np.linalg.norm(centred, axis=1).mean()
        harmonics, eigenvalues = _harmonics(local, faces, min(MODES, len(local) - 2))
        return cls(name, local, faces, harmonics, eigenvalues)

    def placed(self, points: FloatArray) -> FloatArray:
        """Vertices after the rotation, scale and translation that bring them closest to points on the surface.

        Every way to lay the principal axes of the template on those of the points is tried, then the best is refined by
        iterated closest points.
        """
        tree = scipy.spatial.cKDTree(self.vertices)
        placements = []
        for rotation in _axis_rotations(self.vertices, points):
            centre = points.mean(axis=0)
            scale = float(np.linalg.norm(points - centre, axis=1).mean())
            for _ in range(_PLACING_ROUNDS):
                _, nearest = tree.query((points - centre) @ rotation / scale)
                rotation, scale, centre = _similarity(self.vertices[nearest], points)
            distance, _ = tree.query((points - centre) @ rotation / scale)
            placements.append((scale * np.sqrt((distance**2).mean()), rotation, scale, centre))
        _, rotation, scale, centre = min(placements, key=lambda placement: placement[0])
        return scale * self.vertices @ rotation.T + centre


@lru_cache(maxsize=4)
def read_template(path: Path, values: tuple[int, ...] = (1,)) -> MeshTemplate:
    """Read a mesh, or an annotated case, and bring it to a workable resolution.

    Args:
        path: STL, PLY, OBJ, VTK or VTP of one closed surface, which needs the extra `mesh` (PyVista); or a label map.
        values: Of the object in a label map.

    Returns:
        The template, with 600 to 5000 vertices.

    Raises:
        InvalidInputError: No such file, neither mesh nor label map, not one closed surface, no such object; PyVista is
            not installed.
    """
    is_label_map = path.name.casefold().endswith(IMAGE_ENDINGS)
    return MeshTemplate.of(*(surface_of_labels(path, values) if is_label_map else read_mesh(path)), path.name)


def _harmonics(vertices: FloatArray, faces: IntArray, count: int) -> tuple[FloatArray, FloatArray]:
    """The first eigenfunctions of the cotangent Laplacian after the constant one, and their eigenvalues."""
    area = surface_area(vertices, faces)
    stiffness, mass = _laplacian(vertices, faces)
    # Shifted below 0, as the constant's eigenvalue is 0 and the matrix singular there.
    eigenvalues, functions = scipy.sparse.linalg.eigsh(
        stiffness, count + 1, scipy.sparse.diags(mass), sigma=-1e-3 / area, which="LM"
    )
    order = np.argsort(eigenvalues)[1:]
    scaled = np.maximum(eigenvalues[order], 0) * area / (4 * np.pi)
    return functions[:, order] * np.sqrt(area), scaled


def _laplacian(vertices: FloatArray, faces: IntArray) -> tuple[scipy.sparse.csr_matrix, FloatArray]:
    """Cotangent stiffness matrix and the area of each vertex."""
    adjacency = scipy.sparse.csr_matrix((len(vertices),) * 2)
    for corner in range(3):
        i, j, k = np.roll(faces, -corner, axis=1).T
        to_j, to_k = vertices[j] - vertices[i], vertices[k] - vertices[i]
        twice_area = np.linalg.norm(np.cross(to_j, to_k), axis=1)
        cotangent = (to_j * to_k).sum(axis=1) / np.maximum(twice_area, 1e-12)
        adjacency += scipy.sparse.coo_matrix((cotangent / 2, (j, k)), shape=adjacency.shape).tocsr()
    adjacency += adjacency.T
    mass = np.bincount(faces.ravel(), np.repeat(twice_area / 6, 3), minlength=len(vertices)).astype(float)
    return scipy.sparse.diags(np.asarray(adjacency.sum(axis=1)).ravel()) - adjacency, mass


def _axis_rotations(vertices: FloatArray, points: FloatArray) -> FloatArray:
    """Rotations that lay the principal axes of the vertices on those of the points, in all 24 ways; (24, 3, 3)."""
    own, theirs = (np.linalg.svd(cloud - cloud.mean(axis=0), full_matrices=False)[2] for cloud in (vertices, points))
    own[2] *= np.sign(np.linalg.det(own))
    theirs[2] *= np.sign(np.linalg.det(theirs))
    return theirs.T @ scipy.spatial.transform.Rotation.create_group("O").as_matrix() @ own


def _similarity(source: FloatArray, target: FloatArray) -> tuple[FloatArray, float, FloatArray]:
    """Rotation R, scale s and translation t of least squares: target = s R source + t (Umeyama 1991)."""
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    u, singular, vt = np.linalg.svd((target - target_mean).T @ (source - source_mean))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u * signs @ vt
    scale = float((singular * signs).sum() / ((source - source_mean) ** 2).sum())
    return rotation, scale, target_mean - scale * rotation @ source_mean
