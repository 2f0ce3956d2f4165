"""Fit a user's mesh to a few unordered points, instead of the sphere; see `mesh_template` for how.

Positions are LPS mm, rows of arrays of shape (N, 3).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnunet_weak.surface.fit import FIRST_SMOOTHING, SMOOTHINGS, SurfaceFit, single_blas_thread
from nnunet_weak.surface.mesh import closest_points
from nnunet_weak.surface.mesh_template import MeshTemplate
from nnunet_weak.surface.point_checks import check_points, stray_warnings
from nnunet_weak.surface.sphere_kernel import solve_bordered

FloatArray = NDArray[np.float64]

# Tension, membrane and thin plate of the displacement, on a template of area 4 pi.
_TENSION, _PLATE = 5.0, 0.12


@single_blas_thread()
def fit_mesh(
    points_mm: ArrayLike, template: MeshTemplate, *, stiffness: float = 1.0, noise_mm: float = 0.0
) -> SurfaceFit:
    """Place a mesh on points on the surface of one object, and bend it until it goes through them.

    Args:
        points_mm: at least 4, better 10 and more, in any order, LPS mm, shape (N, 3).
        template: the mesh.
        stiffness: factor on the bending weight of the displacement. More than 1 keeps more of the template's shape.
        noise_mm: standard deviation of the clicks per axis. 0: the surface goes through the points.

    Returns:
        The surface, on the template's triangles, with the residual of every point and warnings.

    Raises:
        InvalidInputError: too few distinct points, points in one plane or on one line, not finite, bad options.
    """
    given = np.asarray(points_mm, dtype=float)
    points, warnings = check_points(given, stiffness, noise_mm)
    placed = template.placed(points)
    energies = _TENSION + template.eigenvalues + _PLATE * stiffness * template.eigenvalues**2
    basis = template.harmonics / np.sqrt(4 * np.pi * energies)
    vertices, amplitude = placed, np.inf
    for rho in SMOOTHINGS:
        closest = closest_points(points, vertices, template.faces)
        attached = closest.interpolate(basis, template.faces)
        wanted = points - closest.interpolate(placed, template.faces)
        kernel = attached @ attached.T
        # As in the sphere's fit: the displacement is the mean of a Gaussian process of covariance amplitude * K.
        largest = float(kernel.diagonal().max())
        ridge = max(rho, min(noise_mm**2 / amplitude, FIRST_SMOOTHING)) * largest
        coefficients, translation = solve_bordered(kernel, wanted, ridge)
        amplitude = max(float(np.vdot(wanted, coefficients)) / wanted.size * largest, 1e-12)
        vertices = placed + basis @ (attached.T @ coefficients) + translation
    matrix = attached @ attached.T + ridge * np.eye(len(points))
    warnings += stray_warnings(points, matrix, coefficients, 1.0)
    return SurfaceFit.of(given, points, vertices, template.faces, warnings)
