"""The surface of a label map's object as a template."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from surface_shapes import RADII, bent, ellipsoid_points

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.surface.label_map_mesh import surface_of_labels
from nnunet_weak.surface.mesh import icosphere, signed_volume
from nnunet_weak.surface.mesh_files import MOST_VERTICES
from nnunet_weak.surface.mesh_fit import fit_mesh
from nnunet_weak.surface.mesh_template import MeshTemplate, read_template, template_files
from nnunet_weak.surface.rasterise import rasterise

SPACING, ORIGIN = (0.8, 1.1, 2.5), (-30.0, 12.0, 100.0)
DIRECTION = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def label_map(path: Path, radius_mm: float, scale: float = 1.0, value: int = 3) -> Path:
    """A ball of a value, a far smaller one of the same, and one of another value."""
    z, y, x = np.meshgrid(
        *(np.arange(size) * mm for size, mm in zip((24, 60, 60), SPACING[::-1], strict=True)), indexing="ij"
    )
    labels = np.zeros(x.shape, np.uint8)
    labels[(x - 24) ** 2 + (y - 30) ** 2 + (z - 30) ** 2 <= radius_mm**2] = value
    labels[(x - 42) ** 2 + (y - 55) ** 2 + (z - 30) ** 2 <= 3**2] = value
    labels[(x - 6) ** 2 + (y - 55) ** 2 + (z - 10) ** 2 <= 5**2] = value + 1
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing([scale * mm for mm in SPACING])
    image.SetOrigin(ORIGIN)
    image.SetDirection(DIRECTION)
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("scale", [1.0, 8.0, 0.05])
def test_the_surface_is_that_of_the_largest_piece_in_mm(tmp_path, scale):
    path = label_map(tmp_path / "case.nii.gz", 15.0, scale)
    vertices, faces = surface_of_labels(path, [3])
    assert 3000 <= len(vertices) <= MOST_VERTICES
    assert abs(signed_volume(vertices, faces)) == pytest.approx(4 / 3 * np.pi * (15 * scale) ** 3, rel=0.05)
    centre = sitk.ReadImage(str(path)).TransformContinuousIndexToPhysicalPoint([24 / 0.8, 30 / 1.1, 30 / 2.5])
    np.testing.assert_allclose(vertices.mean(axis=0), centre, atol=0.5 * scale)
    MeshTemplate.of(vertices, faces)  # closed, one piece


def test_an_annotated_case_is_a_template(tmp_path):
    grid = sitk.Image(70, 70, 40, sitk.sitkUInt8)
    grid.SetOrigin((-35.0, -35.0, -20.0))
    directions, faces = icosphere(4)
    truth = rasterise(bent(directions * RADII), faces, grid)
    sitk.WriteImage(truth, str(tmp_path / "case_07.nii.gz"))
    fit = fit_mesh(bent(ellipsoid_points(10)), read_template(tmp_path / "case_07.nii.gz"))
    found, true = (sitk.GetArrayFromImage(one) > 0 for one in (rasterise(fit.vertices_mm, fit.faces, grid), truth))
    assert (found & true).sum() / (found | true).sum() > 0.8


def test_a_label_map_without_the_object_is_refused(tmp_path):
    path = label_map(tmp_path / "case.nii.gz", 15.0)
    with pytest.raises(InvalidInputError, match="holds no voxel of the value 7, but 0, 3, 4"):
        surface_of_labels(path, [7])


def test_of_many_files_five_are_taken(tmp_path):
    for number in range(12):
        (tmp_path / f"case_{number:02d}.nii.gz").touch()
    (tmp_path / ".hidden.nii.gz").touch()
    (tmp_path / "notes.txt").touch()
    assert [path.name[5:7] for path in template_files(tmp_path)] == ["01", "03", "06", "08", "10"]
    (tmp_path / "case_00.ply").touch()
    assert template_files(tmp_path / "case_00.ply") == [tmp_path / "case_00.ply"]


def test_a_missing_label_map_is_named(tmp_path):
    with pytest.raises(InvalidInputError, match="case_9.nii.gz"):
        read_template(tmp_path / "case_9.nii.gz")
