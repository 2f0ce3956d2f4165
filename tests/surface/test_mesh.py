from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnunet_weak.surface.mesh import (
    closest_points,
    face_vectors,
    icosphere,
    signed_volume,
    surface_area,
    vertex_normals,
    write_ply,
)

TETRAHEDRON = np.array([[0.0, 0, 0], [3, 0, 0], [0, 2, 0], [0, 0, 1]])
TETRAHEDRON_FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def test_tetrahedron_by_hand() -> None:
    assert signed_volume(TETRAHEDRON, TETRAHEDRON_FACES) == pytest.approx(1.0)  # 3 * 2 * 1 / 6
    assert signed_volume(TETRAHEDRON, TETRAHEDRON_FACES[:, ::-1]) == pytest.approx(-1.0)
    # Three right-angled faces, and the slanted one by Pythagoras for areas.
    assert surface_area(TETRAHEDRON, TETRAHEDRON_FACES) == pytest.approx(3 + 1.5 + 1 + np.sqrt(9 + 2.25 + 1))
    np.testing.assert_allclose(face_vectors(TETRAHEDRON, TETRAHEDRON_FACES)[0], [0, 0, -3])


@pytest.mark.parametrize("subdivisions", [0, 1, 3])
def test_icosphere(subdivisions: int) -> None:
    vertices, faces = icosphere(subdivisions)
    assert len(vertices) == 10 * 4**subdivisions + 2 == len(faces) // 2 + 2
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 1)
    assert (vertex_normals(vertices, faces) * vertices).sum(axis=1).min() > 0.99
    assert 0 < signed_volume(vertices, faces) < 4 / 3 * np.pi


def test_closest_points_on_face_edge_corner_and_inside() -> None:
    points = np.array([[0.5, 0.4, -2.0], [1.5, -1.0, -1.0], [5.0, -1.0, -1.0], [0.1, 0.5, 0.2]])
    found = closest_points(points, TETRAHEDRON, TETRAHEDRON_FACES)
    np.testing.assert_allclose(found.distance, [2.0, np.sqrt(2), np.sqrt(6), 0.1])
    places = found.interpolate(TETRAHEDRON, TETRAHEDRON_FACES)
    np.testing.assert_allclose(places, [[0.5, 0.4, 0], [1.5, 0, 0], [3, 0, 0], [0, 0.5, 0.2]], atol=1e-12)


def test_ply_holds_every_vertex_and_face_and_the_coordinate_system(tmp_path: Path) -> None:
    path = tmp_path / "surface.ply"
    write_ply(path, TETRAHEDRON + 0.25, TETRAHEDRON_FACES)
    lines = path.read_text().splitlines()
    assert "comment SPACE=LPS" in lines and lines.count("3.25 0.25 0.25") == 1
    for a, b, c in TETRAHEDRON_FACES:
        assert f"3 {a} {b} {c}" in lines
