"""Averages of surfaces through the same points."""

from __future__ import annotations

import numpy as np
import pytest
from surface_shapes import bent, ellipsoid_points

from nnunet_weak.surface.average import average_surface
from nnunet_weak.surface.fit import SurfaceFit, fit_surface
from nnunet_weak.surface.mesh import closest_points, icosphere

DIRECTIONS, FACES = icosphere(4)
POINTS = 12 * icosphere(1)[0]


def ball(radius: float, centre=(0.0, 0.0, 0.0), warnings=()) -> SurfaceFit:
    return SurfaceFit.of(POINTS, POINTS, radius * DIRECTIONS + np.array(centre), FACES, warnings)


def radii(fit: SurfaceFit) -> np.ndarray:
    return np.linalg.norm(fit.vertices_mm, axis=1)


def test_of_two_it_lies_between_them():
    average = average_surface([ball(10), ball(14)], POINTS)
    np.testing.assert_allclose(radii(average), 12, atol=0.1)
    assert average.volume_mm3 == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.01)  # positive: faces look outwards
    np.testing.assert_allclose(average.residuals_mm, 0, atol=0.1)
    assert 2000 < len(average.vertices_mm) < 8000


def test_of_three_one_that_is_quite_wrong_is_outvoted():
    average = average_surface([ball(10), ball(40, (5.0, 0.0, 0.0)), ball(10.5)], POINTS)
    np.testing.assert_allclose(radii(average), 10.5, atol=0.2)


def test_a_single_one_stays():
    assert average_surface([one := ball(10)], POINTS) is one


def test_surfaces_apart_leave_the_one_with_the_fewest_warnings():
    warned, other = ball(3, (30.0, 0.0, 0.0), ["a", "b", "c"]), ball(3, (-30.0, 0.0, 0.0))
    assert average_surface([warned, other], POINTS) is other


def test_it_goes_through_the_points():
    points = bent(ellipsoid_points(25))
    fits = [fit_surface(points), fit_surface(points, stiffness=100.0)]
    average = average_surface(fits, points)
    assert average.residuals_mm.max() < 0.5
    np.testing.assert_allclose(
        average.residuals_mm, closest_points(points, average.vertices_mm, average.faces).distance, atol=1e-9
    )
    assert average.warnings in [fit.warnings for fit in fits]
