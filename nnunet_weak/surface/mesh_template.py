"""A mesh as the template instead of the sphere: an average organ, or any closed surface of the wanted shape.

The sphere's energy is diagonal in spherical harmonics. On a mesh their place is taken by the eigenfunctions of its
Laplace-Beltrami operator, scaled to the area of the unit sphere, so that the same weights mean the same stiffness. The
energy is that of the displacement from the template: where there are no points, the template's shape stays.

    lay the template on the points (`registration`) -> attach each point to the closest place of the
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

from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.header import IMAGE_ENDINGS
from nnunet_weak.surface.fit import single_blas_thread
from nnunet_weak.surface.label_map_mesh import MissingObjectError, surface_of_labels
from nnunet_weak.surface.mesh import signed_volume, surface_area
from nnunet_weak.surface.mesh_files import MESH_ENDINGS, check_closed, read_mesh
from nnunet_weak.surface.registration import register

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MODES = 300
_MOST_OF_A_FOLDER = 5  # more take longer and are hardly better


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
        """The vertices where they fit points on a surface best, see `registration`."""
        return register(self.vertices, points)


def template_files(path: Path) -> list[Path]:
    """A file itself, or the label maps and meshes of a folder; of more than five, five spread evenly over their names.

    Raises:
        InvalidInputError: There are none in the folder.
    """
    if not path.is_dir():
        return [path]
    endings = (*IMAGE_ENDINGS, *MESH_ENDINGS)
    visible = [file for file in sorted(path.iterdir()) if not file.name.startswith(".")]
    found = [file for file in visible if file.name.casefold().endswith(endings)]
    if not found:
        raise InvalidInputError(
            f"{path}: holds neither label maps nor meshes (remedy: give a file, or a folder of files that end in "
            f"{', '.join(endings)})"
        )
    if len(found) > _MOST_OF_A_FOLDER:
        places = (2 * np.arange(_MOST_OF_A_FOLDER) + 1) * len(found) // (2 * _MOST_OF_A_FOLDER)
        return [found[place] for place in places]
    return found


def read_templates(path: Path, values: tuple[int, ...] = (1,)) -> list[MeshTemplate]:
    """Read a file, or those of a folder but for label maps without the object; see `template_files`, `read_template`.

    Raises:
        InvalidInputError: As of `read_template`; or no file of the folder has the object.
    """
    found, problems, missing = [], Problems(), []
    for file in template_files(path):
        try:
            found.append(read_template(file, values))
        except MissingObjectError as error:
            missing.append(error)
        except InvalidInputError as error:
            problems.extend(error)
    problems.raise_if_any()
    if not found:
        raise missing[0]
    return found


@lru_cache(maxsize=64)  # of 12 MB each
def read_template(path: Path, values: tuple[int, ...] = (1,)) -> MeshTemplate:
    """Read a mesh, or an annotated case, and bring it to a workable resolution.

    Args:
        path: STL, PLY, OBJ, VTK or VTP of one closed surface, which needs the extra `mesh` (PyVista); or a label map.
        values: Of the object in a label map.

    Returns:
        The template, with 600 to 5000 vertices.

    Raises:
        MissingObjectError: A label map without the object.
        InvalidInputError: No such file, neither mesh nor label map, not one closed surface; PyVista is not installed.
    """
    is_label_map = path.name.casefold().endswith(IMAGE_ENDINGS)
    return MeshTemplate.of(*(surface_of_labels(path, values) if is_label_map else read_mesh(path)), path.name)


@single_blas_thread()
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
