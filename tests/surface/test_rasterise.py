from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from nnunet_weak.simulation.points import mask_surface
from nnunet_weak.surface.mesh import icosphere
from nnunet_weak.surface.rasterise import rasterise, rasterise_index, world_to_index


def grid(flip: bool = False) -> sitk.Image:
    image = sitk.Image((19, 26, 11), sitk.sitkInt16)
    image.SetSpacing((0.7, 1.3, 2.9))
    image.SetOrigin((-30.0, 12.0, 99.0))
    direction = Rotation.from_euler("xyz", [0.4, -0.7, 2.0]).as_matrix()
    if flip:
        direction[:, 0] *= -1  # a left-handed grid
    image.SetDirection(direction.ravel())
    return image


@pytest.mark.parametrize("flip", [False, True])
def test_ellipsoid_on_an_oblique_anisotropic_grid_is_exact_at_voxel_centres(flip: bool) -> None:
    image = grid(flip)
    directions, faces = icosphere(3)
    radii = np.array([5.0, 9.0, 12.0])
    centre = np.array(image.TransformContinuousIndexToPhysicalPoint((9.2, 12.7, 5.1)))
    mask = rasterise(directions * radii + centre, faces, image)
    assert (mask.GetSpacing(), mask.GetOrigin(), mask.GetDirection()) == (
        image.GetSpacing(),
        image.GetOrigin(),
        image.GetDirection(),
    )
    # The mesh is convex: a centre is inside where it is behind every face.
    hull = ConvexHull(directions * radii)
    zyx = np.stack(np.meshgrid(*map(np.arange, image.GetSize()[::-1]), indexing="ij"), axis=-1).reshape(-1, 3)
    world = np.array([image.TransformIndexToPhysicalPoint(index[::-1].tolist()) for index in zyx]) - centre
    inside = (world @ hull.equations[:, :3].T + hull.equations[:, 3]).max(axis=1) < 0
    np.testing.assert_array_equal(sitk.GetArrayFromImage(mask).ravel().astype(bool), inside)
    assert inside.sum() > 500


@pytest.mark.parametrize("flip", [False, True])
def test_marching_cubes_round_trip_is_exact(flip: bool) -> None:
    rng = np.random.default_rng(0)
    blob = rng.normal(size=(11, 26, 19)).astype(np.float32)
    label = sitk.GetImageFromArray(
        (sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(blob), 2.0)) > 0).astype(
            np.uint8
        )
    )
    label.CopyInformation(grid(flip))
    vertices, faces = mask_surface(sitk.GetArrayFromImage(label) > 0, label)
    mask = rasterise(vertices, faces, label)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(label))


BOX = np.array([[x, y, z] for x in (0, 10) for y in (0, 10) for z in (0, 10)], dtype=float)


def test_box_on_voxel_centres_counts_each_centre_once() -> None:
    # Without breaking ties along the rays too, the box with integer corners has 1029 voxels.
    faces = ConvexHull(BOX).simplices.astype(np.int64)
    assert rasterise_index(BOX, faces, (12, 13, 14)).sum() == 1000


def test_what_is_outside_the_grid_is_cut_off() -> None:
    faces = ConvexHull(BOX).simplices.astype(np.int64)
    assert rasterise_index(BOX - [4.5, 0.5, 0.5], faces, (12, 13, 14)).sum() == 6 * 10 * 10
    assert rasterise_index(BOX + [7.5, 0.5, 0.5], faces, (12, 13, 14)).sum() == 4 * 10 * 10
    # All around the grid: every voxel is inside, though no crossing is.
    assert rasterise_index(BOX * 4 - 15, faces, (4, 5, 6)).all()
    for shift in ([100, 0, 0], [-100, 0, 0], [0, 100, 0], [0, 0, -100]):
        assert not rasterise_index(BOX + shift, faces, (12, 13, 14)).any()


def test_world_to_index_is_simpleitks() -> None:
    image = grid(flip=True)
    points = np.random.default_rng(1).normal(size=(5, 3)) * 20
    expected = [image.TransformPhysicalPointToContinuousIndex(point) for point in points.tolist()]
    np.testing.assert_allclose(world_to_index(points, image), expected, atol=1e-9)
