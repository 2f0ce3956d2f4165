from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from surface_shapes import RADII, bent, ellipsoid_points, iou, unit

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.surface.fit import fit_surface
from nnunet_weak.surface.mesh import closest_points, face_vectors, farthest_points, icosphere, signed_volume
from nnunet_weak.surface.point_checks import distinct_points


def test_ellipsoid_and_bean_are_recovered() -> None:
    directions, faces = icosphere(4)
    points = ellipsoid_points(25)
    assert iou(fit_surface(points).vertices_mm, directions * RADII, faces) > 0.93
    assert iou(fit_surface(bent(points)).vertices_mm, bent(directions * RADII), faces) > 0.85
    # More points, better template.
    assert iou(fit_surface(bent(ellipsoid_points(125))).vertices_mm, bent(directions * RADII), faces) > 0.95


def test_sphere_from_ten_points_has_its_volume() -> None:
    points = farthest_points(unit(np.random.default_rng(2).normal(size=(500, 3))) * 10, 10)
    assert fit_surface(points).volume_mm3 == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.35)


def test_surface_is_closed_outward_and_goes_through_the_points() -> None:
    points = bent(ellipsoid_points(50))
    fit = fit_surface(points)
    edges = np.sort(np.concatenate([fit.faces[:, [0, 1]], fit.faces[:, [1, 2]], fit.faces[:, [2, 0]]]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    assert fit.volume_mm3 == pytest.approx(signed_volume(fit.vertices_mm, fit.faces)) and fit.volume_mm3 > 0
    np.testing.assert_allclose(face_vectors(fit.vertices_mm, fit.faces).sum(axis=0), 0, atol=1e-9)
    assert fit.residuals_mm.shape == (50,)
    assert fit.residuals_mm.max() < 0.5
    np.testing.assert_allclose(
        fit.residuals_mm, closest_points(points, fit.vertices_mm, fit.faces, n_faces=50).distance, atol=1e-6
    )


def test_pose_size_and_order_of_the_points_do_not_matter() -> None:
    points = bent(ellipsoid_points(30))
    fit = fit_surface(points)
    rotation = Rotation.from_euler("xyz", [0.3, 1.1, -2.0]).as_matrix()
    rng = np.random.default_rng(3)
    moved = fit_surface(3 * rng.permutation(points) @ rotation.T + [100.0, -200.0, 5.0])
    assert moved.volume_mm3 == pytest.approx(27 * fit.volume_mm3, rel=0.01)
    # A mirrored cloud has no right-handed principal axes: its mesh must not come out inside out.
    assert fit_surface(points * [-1, 1, 1]).volume_mm3 == pytest.approx(fit.volume_mm3, rel=0.02)


def test_stiffness_smooths_and_noise_lets_the_surface_pass_by_the_points() -> None:
    rng = np.random.default_rng(4)
    points = ellipsoid_points(250) + rng.normal(0, 0.7, (250, 3))
    exact, soft = fit_surface(points), fit_surface(points, noise_mm=0.7)
    assert exact.residuals_mm.mean() < soft.residuals_mm.mean() < 0.7
    truth, faces = icosphere(4)[0] * RADII, icosphere(4)[1]
    assert iou(soft.vertices_mm, truth, faces) > iou(exact.vertices_mm, truth, faces)

    def roughness(stiffness: float) -> float:
        fit = fit_surface(points[:100], stiffness=stiffness)
        normals = face_vectors(fit.vertices_mm, fit.faces)
        return float(np.linalg.norm(normals, axis=1).sum() / fit.volume_mm3 ** (2 / 3))

    assert roughness(1.0) < 0.9 * roughness(0.05)


def test_duplicates_count_once_and_keep_their_residuals() -> None:
    points = ellipsoid_points(25)
    doubled = np.concatenate([points, points[:5] + 0.01])
    fit = fit_surface(doubled)
    assert len(fit.residuals_mm) == 30
    assert any("5 of 30 points repeat" in warning for warning in fit.warnings)
    np.testing.assert_allclose(fit.vertices_mm, fit_surface(points).vertices_mm)


def test_distinct_points_keep_the_first_of_each_cluster() -> None:
    points = np.array([[0.0, 0, 0], [5, 0, 0], [0.05, 0, 0], [np.nan, 0, 0], [5, 0.09, 0], [9, 0, 0]])
    assert distinct_points(points).tolist() == [0, 1, 5]


def test_even_points_give_no_warning() -> None:
    assert fit_surface(ellipsoid_points(25)).warnings == ()


def test_one_sided_points_are_told_where_to_add_more() -> None:
    points = ellipsoid_points(120)
    fit = fit_surface(points[points[:, 0] < 6])
    (warning,) = [warning for warning in fit.warnings if "missing on one side" in warning]
    assert fit.gap_location_mm[0] > 4
    assert f"{fit.gap_location_mm[0]:.1f}" in warning


def test_clumped_points_are_reported() -> None:
    rng = np.random.default_rng(5)
    points = np.repeat(ellipsoid_points(10), 4, axis=0) + rng.normal(0, 0.4, (40, 3))
    assert any("clumped" in warning for warning in fit_surface(points).warnings)


FLAT = np.column_stack([np.random.default_rng(6).normal(size=(20, 2)) * 10, np.zeros(20)])


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (ellipsoid_points(3), "at least 4 distinct points; got 3"),
        (np.zeros((10, 3)), "at least 4 distinct points; got 1"),
        (FLAT, "in one plane"),
        (FLAT * [1, 0, 0], "on one line"),
        (np.full((5, 3), np.nan), "not finite"),
        (np.zeros((5, 2)), "shape \\(5, 2\\)"),
        (np.zeros((0, 3)), "got 0"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_the_reason(points: np.ndarray, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        fit_surface(points)


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(InvalidInputError) as error:
        fit_surface(FLAT, stiffness=0, noise_mm=-1)
    assert len(error.value.problems) == 3


def test_four_points_are_enough() -> None:
    fit = fit_surface([[10, 0, 0], [-10, 0, 5], [0, 10, -5], [0, -8, -8]])
    assert fit.volume_mm3 > 0 and any("rough guess" in warning for warning in fit.warnings)


@pytest.mark.parametrize("seed", range(6))
def test_few_random_points_do_not_turn_the_surface_inside_out(seed: int) -> None:
    # 8 random points on a long object once gave a surface of negative volume.
    directions = unit(np.random.default_rng(seed).normal(size=(8, 3)))
    assert fit_surface(bent(directions * RADII)).volume_mm3 > 500


def test_stray_click_is_named() -> None:
    points = ellipsoid_points(60)
    points[7] *= 2.5
    (warning,) = [warning for warning in fit_surface(points).warnings if "stray" in warning]
    assert "1 of 60" in warning and f"({points[7][0]:.1f}, {points[7][1]:.1f}, {points[7][2]:.1f})" in warning
    assert fit_surface(ellipsoid_points(60)).warnings == ()


def test_inset_surfaces_lie_inside_of_the_points() -> None:
    points = farthest_points(unit(np.random.default_rng(2).normal(size=(5000, 3))) * 10, 200)
    fit = fit_surface(points)
    for distance in (3.0, -2.0):
        moved = fit.inset(distance)
        assert np.linalg.norm(moved.vertices_mm, axis=1) == pytest.approx(10 - distance, rel=0.02)
        assert moved.volume_mm3 == pytest.approx(signed_volume(moved.vertices_mm, moved.faces))
        assert np.array_equal(moved.residuals_mm, fit.residuals_mm)
    assert fit.inset(0.0) is fit
    for distance in (10.5, np.nan, np.inf):
        with pytest.raises(InvalidInputError, match="nothing is left of an object of"):
            fit.inset(distance)
