"""Fit a closed surface to a few unordered points: the template of Weak-Net.

An annotator clicks N points on the surface of an object. The template, a sphere, is deformed by an active surface
model until it goes through them, with as little membrane and thin-plate energy as possible (`sphere_kernel` has the
energy). It is fitted in mm, so anisotropic voxels need no care.

    c, axes, radii of the points -> ellipsoid -> attach each point to the closest place of the surface, solve, repeat
    -> slide the attachments to the least energy -> evaluate on a fine icosphere

Deviations from the paper, which follows the points with forces: the attraction is part of the linear solve, i.e. the
steady state is computed instead of approached, and where a point attaches is optimised too. Both are worth far more
than any choice of weights.

Positions are LPS mm, rows of arrays of shape (N, 3).

Reference: Weak-Net, section 3.2 and Fig. 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import scipy  # its parts are loaded where they are first used
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import ThreadpoolController

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.surface.mesh import closest_points, icosphere, signed_volume, surface_area, vertex_normals
from nnunet_weak.surface.point_checks import (
    RECOMMENDED_POINTS,
    check_points,
    spacing_ratio,
    spread_warnings,
    stray_warnings,
)
from nnunet_weak.surface.sphere_kernel import DEGREES, SphereKernel, SphereMap, optimise_attachments, solve_map

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FIRST_SMOOTHING, SMOOTHING = 0.3, 1e-3
#: Of the rounds in which points are attached; smoothing relative to the largest value of the kernel.
SMOOTHINGS = np.geomspace(FIRST_SMOOTHING, SMOOTHING, 12)
SUBDIVISIONS, _COARSE_SUBDIVISIONS = 4, 3  # 2562 vertices, and 642 while points are attached
# Few, badly spread points can turn a supple surface inside out; a stiffer one stays open.
_RETRY_STIFFNESS = (1.0, 10.0, 100.0)
_PLAUSIBLE_SHARE_OF_HULL = 0.25
_BLAS = ThreadpoolController()  # here, as finding the loaded BLAS libraries takes milliseconds


@dataclass(frozen=True)
class LocalFrame:
    """Right-handed principal axes of the points, at mean radius 1, so that the fit sees neither pose nor size."""

    centre_mm: FloatArray
    axes: FloatArray
    scale_mm: float

    @classmethod
    def of(cls, points: FloatArray) -> LocalFrame:
        """Frame of points in LPS mm."""
        centre = points.mean(axis=0)
        centred = points - centre
        axes = np.linalg.svd(centred, full_matrices=False)[2]
        if np.linalg.det(axes) < 0:
            # A reflection would turn the mesh inside out.
            axes[2] *= -1
        return cls(centre, axes, float(np.linalg.norm(centred, axis=1).mean()))

    def to_local(self, points: FloatArray) -> FloatArray:
        """LPS mm to this frame."""
        return (points - self.centre_mm) @ self.axes.T / self.scale_mm

    def to_world(self, points: FloatArray) -> FloatArray:
        """This frame to LPS mm."""
        return points @ self.axes * self.scale_mm + self.centre_mm


@dataclass(frozen=True)
class SurfaceFit:
    """A closed surface through points.

    Attributes:
        vertices_mm: LPS mm, shape (V, 3).
        faces: vertex indices, counter-clockwise from outside, shape (F, 3).
        residuals_mm: distance of each point given to the surface, shape (N,).
        volume_mm3: enclosed volume, > 0.
        gap_location_mm: place of the surface farthest from any point: the best place for the next click, shape (3,).
        gap_mm: distance from there to the nearest point.
        warnings: sentences for the annotator.
        frame: of the fit, and `surface`, the map from the sphere in it: the starting point of `image_evidence`. None
            where the template was not the sphere.
    """

    vertices_mm: FloatArray
    faces: IntArray
    residuals_mm: FloatArray
    volume_mm3: float
    gap_location_mm: FloatArray
    gap_mm: float
    warnings: tuple[str, ...]
    frame: LocalFrame | None = field(default=None, repr=False)
    surface: SphereMap | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, given: FloatArray, points: FloatArray, vertices: FloatArray, faces: IntArray, warnings: Sequence[str]
    ) -> SurfaceFit:
        """Measure a surface that was fitted to the distinct ones of the points given.

        Raises:
            InvalidInputError: it encloses no volume.
        """
        volume = signed_volume(vertices, faces)
        if not volume > 0:
            raise InvalidInputError(
                f"The surface through {len(points)} points encloses no volume ({volume:.3g} mm3). The points must lie "
                f"on the surface of one closed object without holes. Check that points of several objects were not "
                f"mixed."
            )
        distances, _ = scipy.spatial.cKDTree(points).query(vertices)
        gap = vertices[distances.argmax()]
        spread = spread_warnings(points, surface_area(vertices, faces), gap, float(distances.max()))
        residuals = closest_points(given, vertices, faces).distance
        return cls(vertices, faces, residuals, volume, gap, float(distances.max()), (*warnings, *spread))

    def inset(self, distance_mm: float) -> SurfaceFit:
        """The surface moved inwards along its normals, outwards if negative; all that is said of the points stays.

        Raises:
            InvalidInputError: nothing is left of the object.
        """
        if not distance_mm:
            return self
        vertices = self.vertices_mm - distance_mm * vertex_normals(self.vertices_mm, self.faces)
        volume = signed_volume(vertices, self.faces) if np.isfinite(distance_mm) else np.nan
        if not (volume > 0 and (volume < self.volume_mm3) == (distance_mm > 0)):
            raise InvalidInputError(
                f"{distance_mm:g} mm inside of the surface through its points nothing is left of an object of "
                f"{self.volume_mm3:.3g} mm3 (remedy: a smaller --inset-mm)"
            )
        return replace(self, vertices_mm=vertices, volume_mm3=volume)


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """One BLAS thread: more make these small solves ten times slower."""
    with _BLAS.limit(limits=1):
        yield


@single_blas_thread()
def fit_surface(points_mm: ArrayLike, *, stiffness: float = 1.0, noise_mm: float = 0.0) -> SurfaceFit:
    """Deform the spherical template onto points on the surface of one object of genus 0.

    Takes 15 to 70 ms for 25 to 250 points.

    Args:
        points_mm: at least 4, better 10 and more, in any order, LPS mm, shape (N, 3).
        stiffness: factor on the bending weight. More than 1 gives smoother surfaces, less follows the points' detail.
        noise_mm: standard deviation of the clicks per axis. 0: the surface goes through the points. More lets it pass
            by them.

    Returns:
        The surface, of 2562 vertices, with the residual of every point and warnings.

    Raises:
        InvalidInputError: too few distinct points, points in one plane or on one line, not finite, bad options.
    """
    given = np.asarray(points_mm, dtype=float)
    points, warnings = check_points(given, stiffness, noise_mm)
    frame = LocalFrame.of(points)
    directions, faces = icosphere(SUBDIVISIONS)
    plausible_volume = _PLAUSIBLE_SHARE_OF_HULL * scipy.spatial.ConvexHull(points).volume
    for factor in _RETRY_STIFFNESS:
        surface = _fit_map(frame.to_local(points), factor * stiffness, noise_mm / frame.scale_mm)
        vertices = frame.to_world(surface(directions))
        if signed_volume(vertices, faces) > plausible_volume:
            break
    if factor > 1:
        warnings.append(
            f"The points left the surface so free that it folded over; its stiffness was raised {factor:g} times. More "
            f"points, spread evenly, would help."
        )
    fit = SurfaceFit.of(given, points, vertices, faces, warnings)
    stray = stray_warnings(points, surface.matrix(SMOOTHING), surface.coefficients, frame.scale_mm)
    return replace(fit, warnings=(*fit.warnings, *stray), frame=frame, surface=surface)


def _fit_map(points: FloatArray, stiffness: float, noise: float) -> SphereMap:
    """The whole recipe in the local frame."""
    hull = scipy.spatial.ConvexHull(points)
    depth = -(points @ hull.equations[:, :3].T + hull.equations[:, 3]).max(axis=1)
    inside = float((depth > 0.02 * np.ptp(points, axis=0).max()).mean())
    # 1 where all points lie on their convex hull, 0 where 8 % or more lie clearly inside.
    convexity = min(max((0.08 - inside) / 0.08, 0.0), 1.0)
    kernel = _kernel(len(points), stiffness, convexity)
    radii = np.sqrt(3 * (points**2).mean(axis=0))
    ellipsoid = icosphere(_COARSE_SUBDIVISIONS)[0] * np.maximum(radii, 0.05 * radii.max())
    surface, area = _attach(kernel, points, ellipsoid, SMOOTHINGS)
    # Unevenly spread points leave wide gaps to fill: stiffen the plate.
    clumping = float(np.clip((0.85 / spacing_ratio(points, area)) ** 2, 1, 5))
    if clumping > 1.02:
        kernel = _kernel(len(points), stiffness * clumping, convexity)
        start = surface(icosphere(_COARSE_SUBDIVISIONS)[0])
        surface, _ = _attach(kernel, points, start, np.geomspace(0.03, SMOOTHING, 4))
    # The map is the mean of a Gaussian process of covariance amplitude * K; the amplitude is what makes the energy of
    # the points typical. Smoothing, relative to K(1), lets the surface miss the points by the noise.
    amplitude = np.vdot(points, surface.coefficients) / points.size
    rho = float(np.clip(noise**2 / (amplitude * kernel.at_zero_angle), SMOOTHING, FIRST_SMOOTHING))
    # Many points settle sooner: the last 20 steps would cost 30 ms at 250 points for .002 of IoU.
    steps = 60 if len(points) <= 125 else 40
    attachments = optimise_attachments(kernel, surface.attachments, points, rho, steps)
    return solve_map(kernel, attachments, points, rho)


def _attach(
    kernel: SphereKernel, points: FloatArray, vertices: FloatArray, smoothings: FloatArray
) -> tuple[SphereMap, float]:
    """Attach the points to the closest places of the surface and solve, with less and less smoothing.

    Returns:
        The map and its area.
    """
    directions, faces = icosphere(_COARSE_SUBDIVISIONS)
    for rho in smoothings:
        closest = closest_points(points, vertices, faces, n_faces=4)  # further rounds correct a miss
        attachments = closest.interpolate(directions, faces)
        attachments /= np.linalg.norm(attachments, axis=1, keepdims=True)
        surface = solve_map(kernel, attachments, points, float(rho))
        vertices = surface(directions)
    return surface, surface_area(vertices, faces)


def _kernel(n_points: int, stiffness: float, convexity: float) -> SphereKernel:
    """Weights of the energy for so many points, alpha = 1; they were chosen on hippocampi and have a flat optimum.

    Convex clouds of points (`convexity` 1) get the thin plate, which bulges between the points as convex objects do, in
    place of the tension, which cuts corners.
    """
    eigenvalue = DEGREES * (DEGREES + 1)
    if n_points < RECOMMENDED_POINTS:
        # A few points fix little more than an ellipsoid: a supple surface through them collapses to spikes.
        stiffness *= 10
    if n_points <= 15:
        return SphereKernel.from_degree_energies(eigenvalue**0.6 * (1 + stiffness * (eigenvalue / 10) ** 3))
    a0, beta = (5.0, 0.12) if n_points <= 30 else (3.0, max(4 / n_points, 0.016))
    factor = 30.0**convexity
    return SphereKernel.from_degree_energies(a0 / factor + eigenvalue + beta * factor * stiffness * eigenvalue**2)
