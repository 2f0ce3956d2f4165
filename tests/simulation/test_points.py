from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial import cKDTree

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.simulation.points import label_surface, sample_area, simulate_points
from nnunet_weak.surface.mesh import closest_points, farthest_points, signed_volume, surface_area


def box_label() -> sitk.Image:
    """A box of 6 x 8 x 4 voxels (x, y, z) that touches the image's border, and one loose voxel."""
    array = np.zeros((7, 12, 15), dtype=np.uint8)
    array[0:4, 2:10, 5:11] = 2
    array[6, 0, 0] = 2
    label = sitk.GetImageFromArray(array)
    label.SetSpacing((0.5, 1.0, 3.0))
    label.SetOrigin((10.0, -20.0, 30.0))
    label.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, -1))
    return label


LABEL = box_label()


def test_surface_is_closed_outward_in_mm_and_of_the_largest_component() -> None:
    vertices, faces = label_surface(LABEL, 2)
    # Half way between voxel centres the box is 6 x 8 x 4 voxels, less its cut corners and edges.
    assert 0.85 * 6 * 8 * 4 * 1.5 < signed_volume(vertices, faces) < 6 * 8 * 4 * 1.5
    corner = np.array(LABEL.TransformContinuousIndexToPhysicalPoint((4.5, 1.5, -0.5)))
    opposite = np.array(LABEL.TransformContinuousIndexToPhysicalPoint((10.5, 9.5, 3.5)))
    np.testing.assert_allclose(vertices.min(axis=0), np.minimum(corner, opposite))
    np.testing.assert_allclose(vertices.max(axis=0), np.maximum(corner, opposite))


@pytest.mark.parametrize("sampling", ["spread", "random", "clumped"])
def test_points_lie_on_the_surface_and_the_seed_decides(sampling: str) -> None:
    points = simulate_points(LABEL, 20, 2, sampling=sampling, seed=3)  # type: ignore[arg-type]
    assert points.shape == (20, 3)
    vertices, faces = label_surface(LABEL, 2)
    assert closest_points(points, vertices, faces, n_faces=100).distance.max() < 1e-9
    again = simulate_points(LABEL, 20, 2, sampling=sampling, seed=3)  # type: ignore[arg-type]
    other = simulate_points(LABEL, 20, 2, sampling=sampling, seed=4)  # type: ignore[arg-type]
    np.testing.assert_array_equal(points, again)
    assert not np.array_equal(points, other)


def test_spread_points_are_farther_apart_than_random_and_clumped_ones() -> None:
    def nearest(sampling: str) -> float:
        points = simulate_points(LABEL, 20, 2, sampling=sampling)  # type: ignore[arg-type]
        return float(cKDTree(points).query(points, k=2)[0][:, 1].mean())

    assert nearest("spread") > 1.3 * nearest("random") > 1.3 * nearest("clumped")


def test_noise_has_the_standard_deviation_asked_for_per_axis() -> None:
    exact, noisy = (simulate_points(LABEL, 400, 2, noise_mm=noise, seed=5) for noise in (0.0, 0.5))
    np.testing.assert_allclose((noisy - exact).std(axis=0), 0.5, rtol=0.15)


def test_area_samples_are_uniform() -> None:
    # Two triangles, one three times the other: a quarter and three quarters of the points; uniform within.
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [3, 0, 0]])
    faces = np.array([[0, 1, 2], [1, 3, 2]])
    assert surface_area(vertices, faces) == pytest.approx(1.5)
    points = sample_area(vertices, faces, 20000, np.random.default_rng(0))
    np.testing.assert_allclose(points.mean(axis=0), [1.0, 1 / 3, 0], atol=0.02)


def test_farthest_points_by_hand() -> None:
    candidates = np.array([[0.0, 0, 0], [1, 0, 0], [10, 0, 0], [5, 0, 0]])
    np.testing.assert_array_equal(farthest_points(candidates, 3)[:, 0], [10, 0, 5])


def test_a_label_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"it holds \[0, 2\]"):
        simulate_points(LABEL, 5, 1)
