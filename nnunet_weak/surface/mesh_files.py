"""Mesh files, read by PyVista in a process of its own.

Its readers are VTK's, which end the process where a damaged file claims more memory than there is.

Vertices are rows (V, 3), in the unit and the coordinate system of the file; faces are rows (F, 3) of vertex indices.
"""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import scipy  # its parts are loaded where they are first used
from numpy.typing import NDArray

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.parallel import run_apart
from nnunet_weak.surface.mesh import signed_volume

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MESH_ENDINGS = (".obj", ".ply", ".stl", ".vtk", ".vtp")
FEWEST_VERTICES, MOST_VERTICES = 600, 5000
_MEMORY_BYTES = 2 << 30


def read_mesh(path: Path) -> tuple[FloatArray, IntArray]:
    """Read one closed surface and bring it to 600 to 5000 vertices.

    Args:
        path: STL, PLY, OBJ, VTK or VTP.

    Returns:
        Vertices and faces.

    Raises:
        InvalidInputError: No such file, not a mesh, not one closed surface; PyVista is not installed.
    """
    if path.suffix.casefold() not in MESH_ENDINGS:
        endings = ", ".join(MESH_ENDINGS)
        raise InvalidInputError(
            f"{path}: a template is a mesh, which ends in one of {endings}, or a label map (remedy: export it as one)"
        )
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file (remedy: check the template's path)")
    try:
        return run_apart(read_mesh_here, path, memory_bytes=_MEMORY_BYTES)
    except BrokenProcessPool:
        what = "it is damaged, or takes more than 2 GB of memory"
        raise InvalidInputError(
            f"{path}: cannot be read as a mesh: {what} (remedy: export it again, coarser)"
        ) from None


def read_mesh_here(path: Path) -> tuple[FloatArray, IntArray]:
    """As `read_mesh`, for an existing file with one of the endings, in this process, which the file may end."""
    try:
        import pyvista

        surface = pyvista.read(path).extract_surface(algorithm=None).triangulate().clean()
        if surface.n_points == 0 or surface.n_cells == 0:
            raise InvalidInputError(f"{path}: holds no triangles (remedy: export a surface, not points or a volume)")
        check_closed(np.asarray(surface.points, float), surface.regular_faces.astype(np.int64), path.name)
        if surface.n_points > MOST_VERTICES:
            surface = surface.decimate_pro(1 - 0.98 * MOST_VERTICES / surface.n_points, preserve_topology=True).clean()
        while surface.n_points < FEWEST_VERTICES:
            surface = surface.subdivide(1, "linear").clean()
        return np.asarray(surface.points, float), surface.regular_faces.astype(np.int64)
    except InvalidInputError:
        raise
    except ImportError:
        remedy = "pip install 'nnunet_weak[mesh]'"
        raise InvalidInputError(f"{path}: needs PyVista, which is not installed (remedy: {remedy})") from None
    except Exception as error:  # every reader and filter has its own exceptions
        raise InvalidInputError(f"{path}: cannot be read as a mesh: {error} (remedy: export it again)") from error


def check_closed(vertices: FloatArray, faces: IntArray, name: str) -> None:
    """Refuse a mesh that is not one closed surface with consistently oriented faces.

    Raises:
        InvalidInputError: Such a mesh, under this name.
    """
    if len(faces) == 0 or faces.min() < 0 or faces.max() >= len(vertices):
        raise InvalidInputError(f"{name}: its triangles name vertices that it does not have (remedy: export it again)")
    problems = []
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    _, uses = np.unique(np.sort(directed, axis=1), axis=0, return_counts=True)
    if (uses != 2).any():
        problems.append(f"{(uses != 2).sum()} of its {len(uses)} edges do not lie between two triangles: it has holes")
    elif len(np.unique(directed, axis=0)) < len(directed):
        problems.append("neighbouring triangles face in opposite directions")
    matrix = scipy.sparse.coo_matrix((np.ones(len(directed)), directed.T), shape=(len(vertices),) * 2)
    pieces = scipy.sparse.csgraph.connected_components(matrix, directed=False, return_labels=False)
    if pieces > 1:
        problems.append(f"it has {pieces} pieces that are not connected")
    if not problems and not abs(signed_volume(vertices, faces)) > 0:
        problems.append("it encloses no volume")
    if problems:
        raise InvalidInputError(
            f"{name}: a template must be one closed surface, but " + "; ".join(problems) + " (remedy: close holes and "
            "keep the largest piece, for example with 3D Slicer's Surface Toolbox)"
        )
