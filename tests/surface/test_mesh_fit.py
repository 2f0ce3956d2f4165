"""A user's mesh as the template."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from surface_shapes import RADII, bent, ellipsoid_points, iou

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.surface.fit import fit_surface
from nnunet_weak.surface.image_evidence import follow_image
from nnunet_weak.surface.mesh import face_vectors, farthest_points, icosphere, signed_volume, write_ply
from nnunet_weak.surface.mesh_files import read_mesh_here
from nnunet_weak.surface.mesh_fit import fit_mesh
from nnunet_weak.surface.mesh_template import MeshTemplate, read_template

# VTK ends the process that reads it.
ENDLESS = """<VTKFile type="PolyData" version="0.1" byte_order="LittleEndian"><PolyData>
<Piece NumberOfPoints="99999999999" NumberOfPolys="0"><Points><DataArray type="Float32" NumberOfComponents="3"
format="ascii">0 0 0</DataArray></Points></Piece></PolyData></VTKFile>"""


@pytest.fixture(scope="module")
def bean() -> MeshTemplate:
    directions, faces = icosphere(3)
    return MeshTemplate.of(bent(directions * RADII), faces)


def torus(around: int = 48, across: int = 20, radius: float = 20.0, tube: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    u, v = np.meshgrid(np.arange(around), np.arange(across), indexing="ij")
    longitude, latitude = 2 * np.pi * u / around, 2 * np.pi * v / across
    reach = radius + tube * np.cos(latitude)
    vertices = np.stack([reach * np.cos(longitude), reach * np.sin(longitude), tube * np.sin(latitude)], -1)

    def index(i, j):
        return (i % around) * across + j % across

    a, b, c, d = index(u, v), index(u + 1, v), index(u + 1, v + 1), index(u, v + 1)
    faces = np.concatenate([np.stack(part, -1).reshape(-1, 3) for part in ((a, b, c), (a, c, d))])
    return vertices.reshape(-1, 3), faces


def test_harmonics_of_the_sphere_have_its_eigenvalues():
    template = MeshTemplate.of(*icosphere(4))
    expected = np.repeat([2.0, 6.0, 12.0, 20.0], [3, 5, 7, 9])
    np.testing.assert_allclose(template.eigenvalues[:24], expected, rtol=0.02)
    mean_square = (template.harmonics[:, :24] ** 2).mean(axis=0)
    np.testing.assert_allclose(mean_square, 1, rtol=0.05)


def test_a_template_of_the_right_shape_needs_few_points(bean):
    directions, faces = icosphere(3)
    truth, points = bent(directions * RADII), bent(ellipsoid_points(10))
    assert iou(fit_mesh(points, bean).vertices_mm, truth, faces) > 0.79
    assert iou(fit_mesh(points, bean).vertices_mm, truth, faces) > iou(fit_surface(points).vertices_mm, truth, faces)


def test_another_shape_is_bent_through_the_points(bean):
    directions, faces = icosphere(3)
    points = farthest_points(directions * 12, 125)
    fit = fit_mesh(points, bean)
    assert fit.residuals_mm.max() < 0.2 and fit.volume_mm3 == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.05)


def test_pose_and_size_do_not_matter(bean):
    points = bent(ellipsoid_points(25))
    rotation = Rotation.from_euler("xyz", [0.3, 1.1, -2.0]).as_matrix()
    moved = fit_mesh(3 * points @ rotation.T + [100.0, -200.0, 5.0], bean)
    assert moved.volume_mm3 == pytest.approx(27 * fit_mesh(points, bean).volume_mm3, rel=1e-3)


def test_stiffness_keeps_the_template_and_noise_passes_by_the_points(bean):
    noisy = bent(ellipsoid_points(125)) + np.random.default_rng(0).normal(0, 1, (125, 3))
    truth, faces = bean.placed(bent(ellipsoid_points(125))), bean.faces
    followed, passed, stiff = (
        fit_mesh(noisy, bean),
        fit_mesh(noisy, bean, noise_mm=1.0),
        fit_mesh(noisy, bean, stiffness=1e4),
    )
    assert followed.residuals_mm.mean() < passed.residuals_mm.mean()
    for smooth in (passed, stiff):
        assert iou(smooth.vertices_mm, truth, faces) > iou(followed.vertices_mm, truth, faces)


def test_a_ring_stays_a_ring():
    vertices, faces = torus()
    template = MeshTemplate.of(vertices, faces)
    points = farthest_points(torus(radius=30.0, tube=7.0)[0] * [1.0, 0.8, 1.0], 100)
    fit = fit_mesh(points, template)
    assert len(fit.vertices_mm) - 3 * len(fit.faces) / 2 + len(fit.faces) == 0  # Euler characteristic of a torus
    assert fit.residuals_mm.max() < 0.5
    assert fit.volume_mm3 == pytest.approx(0.8 * 2 * np.pi**2 * 30 * 7**2, rel=0.1)
    assert np.linalg.norm(fit.vertices_mm[:, :2], axis=1).min() > 10, "the hole is still there"


@pytest.mark.parametrize("ending", [".stl", ".ply", ".obj", ".vtk", ".vtp"])
def test_files_of_all_kinds_give_the_same_surface(tmp_path, bean, ending):
    pyvista = pytest.importorskip("pyvista")
    path = tmp_path / f"bean{ending}"
    surface = pyvista.PolyData.from_regular_faces(bean.vertices, bean.faces)
    surface.save(path)
    vertices, faces = read_mesh_here(path)
    assert len(vertices) == len(bean.vertices)
    assert abs(signed_volume(vertices, faces)) == pytest.approx(signed_volume(bean.vertices, bean.faces), rel=1e-3)


def test_inside_out_fine_and_coarse_meshes_are_made_workable(tmp_path):
    pytest.importorskip("pyvista")
    for subdivisions, fewest, most in ((5, 4000, 5000), (2, 600, 1000)):
        vertices, faces = icosphere(subdivisions)
        path = tmp_path / f"sphere{subdivisions}.ply"
        write_ply(path, vertices * RADII, faces[:, ::-1])
        template = read_template(path)
        assert fewest <= len(template.vertices) <= most
        assert signed_volume(template.vertices, template.faces) > 0
        assert (face_vectors(template.vertices, template.faces) * template.vertices[template.faces[:, 0]]).sum() > 0


def _open(vertices, faces):
    return vertices, faces[1:]


def _two(vertices, faces):
    return np.concatenate([vertices, vertices + 5]), np.concatenate([faces, faces + len(vertices)])


def _twisted(vertices, faces):
    return vertices, np.concatenate([faces[:1, ::-1], faces[1:]])


@pytest.mark.parametrize(
    "make, message",
    [(_open, "it has holes"), (_two, "2 pieces"), (_twisted, "opposite directions")],
)
def test_open_or_inconsistent_surfaces_are_refused(make, message):
    with pytest.raises(InvalidInputError, match=message):
        MeshTemplate.of(*make(*icosphere(2)), "liver.stl")


def test_unreadable_files_are_refused(tmp_path):
    for name, content, message in (
        ("missing.stl", None, "no such file"),
        ("volume.txt", "", "ends in one of"),
        ("broken.ply", "ply\nnothing", "holds no triangles|cannot be read"),
        ("endless.vtp", ENDLESS, "endless.vtp: cannot be read as a mesh: it is damaged, or takes more than 2 GB"),
    ):
        path = Path(tmp_path / name)
        if content is not None:
            path.write_text(content)
        with pytest.raises(InvalidInputError, match=message):
            read_template(path)


def test_image_evidence_is_for_the_sphere(bean):
    import SimpleITK as sitk

    points = bent(ellipsoid_points(25))
    with pytest.raises(InvalidInputError, match="fitted from the sphere"):
        follow_image(fit_mesh(points, bean), points, sitk.Image(8, 8, 8, sitk.sitkFloat32))
