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

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import ConvexHull, cKDTree
from threadpoolctl import ThreadpoolController

from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.surface.mesh import (
    closest_points,
    faces_around_vertices,
    icosphere,
    signed_volume,
    surface_area,
)
from nnunet_weak.surface.sphere_kernel import (
    MAX_DEGREE,
    SphereKernel,
    SphereMap,
    optimise_attachments,
    solve_map,
)

FloatArray = NDArray[np.float64]

MIN_POINTS = 4
RECOMMENDED_POINTS = 10
DUPLICATE_DISTANCE_MM = 0.1
#: Smallest extent of the points relative to their largest; below it they lie in one plane.
MIN_FLATNESS = 0.02
#: A gap wider than this times the mean spacing of the points is reported.
WIDE_GAP = 1.6
#: A mean distance to the nearest other point below this times the mean spacing is reported.
CLUMPED = 0.4
#: A point farther from where the others put it than this times the median of all points is reported, from so many
#: points on: clean points stayed below 12 in 90 clouds of 50 and more, most clicks 15 mm off a hippocampus did not.
STRAY, MIN_POINTS_FOR_STRAY = 12.0, 30

_ATTACHMENT_ROUNDS = 12
_FIRST_SMOOTHING, _SMOOTHING = 0.3, 1e-3
_COARSE_SUBDIVISIONS = 3
# Few, badly spread points can turn a supple surface inside out; a stiffer one stays open.
_RETRY_STIFFNESS = (1.0, 10.0, 100.0)
_PLAUSIBLE_SHARE_OF_HULL = 0.25


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
        warnings: what the annotator should know, in sentences.
        frame: of the fit, and `surface`, the map from the sphere in it: what `image_evidence` goes on from.
    """

    vertices_mm: FloatArray
    faces: NDArray[np.int64]
    residuals_mm: FloatArray
    volume_mm3: float
    gap_location_mm: FloatArray
    gap_mm: float
    warnings: tuple[str, ...]
    frame: LocalFrame = field(repr=False)
    surface: SphereMap = field(repr=False)


def fit_surface(
    points_mm: ArrayLike, *, stiffness: float = 1.0, noise_mm: float = 0.0, subdivisions: int = 4
) -> SurfaceFit:
    """Deform the spherical template onto points on the surface of one object of genus 0.

    Args:
        points_mm: at least 4, better 10 and more, in any order, LPS mm, shape (N, 3).
        stiffness: factor on the bending weight. More than 1 gives smoother surfaces, less follows the points' detail.
        noise_mm: standard deviation of the clicks per axis. 0: the surface goes through the points. More lets it pass
            by them.
        subdivisions: of the icosphere that the surface is returned on, 2 to 6: 4 gives 2562 vertices, 5 gives 10242.

    Returns:
        The surface with the residual of every point and warnings.

    Raises:
        InvalidInputError: too few distinct points, points in one plane or on one line, not finite, bad options.
    """
    given = np.asarray(points_mm, dtype=float)
    points = _checked_points(given, stiffness, noise_mm, subdivisions)
    warnings = _duplicate_warnings(given, points)
    with single_blas_thread():
        frame = LocalFrame.of(points)
        directions, faces = icosphere(subdivisions)
        hull_volume = ConvexHull(points).volume
        for factor in _RETRY_STIFFNESS:
            surface = _fit_map(frame.to_local(points), factor * stiffness, noise_mm / frame.scale_mm)
            vertices = frame.to_world(surface(np.asarray(directions)))
            volume = signed_volume(vertices, faces)
            if volume > _PLAUSIBLE_SHARE_OF_HULL * hull_volume:
                break
    if factor != _RETRY_STIFFNESS[0]:
        warnings.append(
            f"The points left the surface so free that it folded over; its stiffness was raised {factor:g} times. More "
            f"points, spread evenly, would help."
        )
    if not volume > 0:
        raise InvalidInputError(
            f"The surface through {len(points)} points encloses no volume ({volume:.3g} mm3). The points must lie on "
            f"the surface of one closed object without holes. Check that points of several objects were not mixed."
        )
    distances, _ = cKDTree(points).query(vertices)
    farthest = int(distances.argmax())
    warnings += _spread_warnings(points, surface_area(vertices, faces), vertices[farthest], float(distances[farthest]))
    residuals = closest_points(given, vertices, faces, _rings(subdivisions), n_rings=2).distance
    warnings += _stray_warnings(points, surface, frame.scale_mm)
    return SurfaceFit(
        vertices_mm=vertices,
        faces=np.array(faces),
        residuals_mm=residuals,
        volume_mm3=volume,
        gap_location_mm=vertices[farthest],
        gap_mm=float(distances[farthest]),
        warnings=tuple(warnings),
        frame=frame,
        surface=surface,
    )


def _fit_map(points: FloatArray, stiffness: float, noise: float) -> SphereMap:
    """The whole recipe in the local frame."""
    convexity = _convexity(points)
    kernel = _kernel(len(points), stiffness, convexity)
    directions, faces = icosphere(_COARSE_SUBDIVISIONS)
    radii = np.sqrt(3 * (points**2).mean(axis=0))
    vertices = directions * np.maximum(radii, 0.05 * radii.max())
    surface, vertices = _attach(
        kernel, points, vertices, np.geomspace(_FIRST_SMOOTHING, _SMOOTHING, _ATTACHMENT_ROUNDS)
    )

    clumping = _clumping_factor(points, surface_area(vertices, faces))
    if clumping > 1.02:
        kernel = _kernel(len(points), stiffness * clumping, convexity)
        surface, vertices = _attach(kernel, points, vertices, np.geomspace(0.03, _SMOOTHING, 4))

    rho = _smoothing(surface, points, noise)
    # Many points settle sooner: the last 20 steps would cost 30 ms at 250 points for .002 of IoU.
    steps = 60 if len(points) <= 125 else 40
    attachments = optimise_attachments(kernel, surface.attachments, points, rho, steps)
    return solve_map(kernel, attachments, points, rho)


def _attach(
    kernel: SphereKernel, points: FloatArray, vertices: FloatArray, smoothings: FloatArray
) -> tuple[SphereMap, FloatArray]:
    """Attach the points to the closest places of the surface and solve, with less and less smoothing."""
    directions, faces = icosphere(_COARSE_SUBDIVISIONS)
    for rho in smoothings:
        closest = closest_points(points, vertices, faces, _rings(_COARSE_SUBDIVISIONS))
        attachments = np.einsum("nk,nkd->nd", closest.weights, directions[faces[closest.face]])
        attachments /= np.linalg.norm(attachments, axis=1, keepdims=True)
        surface = solve_map(kernel, attachments, points, float(rho))
        vertices = surface(directions)
    return surface, vertices


def _kernel(n_points: int, stiffness: float, convexity: float) -> SphereKernel:
    """Weights of the energy for so many points, alpha = 1; they were chosen on hippocampi and have a flat optimum.

    Convex clouds of points (`convexity` 1) get the thin plate, which bulges between the points as convex objects do, in
    place of the tension, which cuts corners.
    """
    degrees = np.arange(1, MAX_DEGREE + 1)
    eigenvalue = degrees * (degrees + 1.0)
    if n_points < RECOMMENDED_POINTS:
        # A few points fix little more than an ellipsoid: a supple surface through them collapses to spikes.
        stiffness *= 10
    if n_points <= 15:
        return SphereKernel.from_degree_energies(eigenvalue**0.6 * (1 + stiffness * (eigenvalue / 10) ** 3))
    a0, beta = (5.0, 0.12) if n_points <= 30 else (3.0, max(4 / n_points, 0.016))
    factor = 30.0**convexity
    return SphereKernel.from_degree_energies(a0 / factor + eigenvalue + beta * factor * stiffness * eigenvalue**2)


def _convexity(points: FloatArray) -> float:
    """1 where all points lie on their convex hull, 0 where 8 % or more lie clearly inside."""
    hull = ConvexHull(points)
    depth = -(points @ hull.equations[:, :3].T + hull.equations[:, 3]).max(axis=1)
    inside = float((depth > 0.02 * np.ptp(points, axis=0).max()).mean())
    return min(max((0.08 - inside) / 0.08, 0.0), 1.0)


def _spacing_ratio(points: FloatArray, area: float) -> float:
    """Mean distance to the nearest other point, relative to the side of each point's share of the area."""
    distances, _ = cKDTree(points).query(points, k=2)
    return float(distances[:, 1].mean() / np.sqrt(area / len(points)))


def _clumping_factor(points: FloatArray, area: float) -> float:
    """Unevenly spread points leave wide gaps to fill: stiffen the plate."""
    return float(np.clip((0.85 / _spacing_ratio(points, area)) ** 2, 1, 5))


def _smoothing(surface: SphereMap, points: FloatArray, noise: float) -> float:
    """Smoothing that lets the surface miss the points by the noise, relative to K(1).

    The map is the mean of a Gaussian process of covariance amplitude * K; the amplitude is what makes the energy of the
    points typical.
    """
    if noise == 0:
        return _SMOOTHING
    amplitude = np.vdot(points, surface.coefficients) / points.size
    return float(np.clip(noise**2 / (amplitude * surface.kernel.at_zero_angle), _SMOOTHING, 0.3))


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """One BLAS thread: more make these small solves ten times slower."""
    with _blas_threads().limit(limits=1):
        yield


@lru_cache(maxsize=4)
def _rings(subdivisions: int) -> NDArray[np.int64]:
    directions, faces = icosphere(subdivisions)
    return faces_around_vertices(faces, len(directions))


@lru_cache(maxsize=1)
def _blas_threads() -> ThreadpoolController:
    # Finding the loaded BLAS libraries takes milliseconds: once is enough.
    return ThreadpoolController()


def _checked_points(given: FloatArray, stiffness: float, noise_mm: float, subdivisions: int) -> FloatArray:
    """Distinct points, or an error with everything that is wrong."""
    problems = Problems()
    if not (np.isfinite(stiffness) and stiffness > 0):
        problems.add("stiffness", f"must be a positive number; got {stiffness}", "use 1 for the default")
    if not (np.isfinite(noise_mm) and noise_mm >= 0):
        problems.add("noise_mm", f"must be 0 or a positive number of mm; got {noise_mm}", "use 0 for exact points")
    if not 2 <= subdivisions <= 6:
        problems.add("subdivisions", f"must be 2 to 6; got {subdivisions}", "use 4 for the default")
    if given.ndim != 2 or given.shape[1] != 3:
        problems.add("points", f"must be rows of three coordinates, shape (N, 3); got shape {given.shape}")
        problems.raise_if_any("Surface fit")
    finite = np.isfinite(given).all(axis=1)
    if not finite.all():
        rows = ", ".join(str(row) for row in np.flatnonzero(~finite)[:10])
        problems.add("points", f"{(~finite).sum()} of {len(given)} are not finite (rows {rows})", "remove or redo them")
    points = given[distinct_points(given)]
    if len(points) < MIN_POINTS:
        doubles = len(given) - len(points)
        problems.add(
            "points",
            f"a closed surface needs at least {MIN_POINTS} distinct points; got {len(points)}"
            + (f" ({doubles} more repeat them within {DUPLICATE_DISTANCE_MM} mm or are not finite)" if doubles else ""),
            f"click at least {RECOMMENDED_POINTS} points all around the object, its tips first",
        )
    else:
        extent = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
        if extent[2] < MIN_FLATNESS * extent[0]:
            shape = "on one line" if extent[1] < MIN_FLATNESS * extent[0] else "in one plane"
            problems.add(
                "points",
                f"all {len(points)} lie {shape} (extents {extent[0]:.3g}, {extent[1]:.3g}, {extent[2]:.3g} mm, root "
                f"sum of squares; the smallest must be at least {MIN_FLATNESS:.0%} of the largest), so they bound no "
                f"volume",
                "click on several slices, or in more than one of the three views",
            )
    problems.raise_if_any("Surface fit")
    return points


def distinct_points(points_mm: FloatArray) -> NDArray[np.int64]:
    """Rows of the finite points that do not repeat an earlier one within 0.1 mm, in order."""
    rows = np.flatnonzero(np.isfinite(points_mm).all(axis=1))
    if len(rows) < 2:
        return rows
    pairs = cKDTree(points_mm[rows]).query_pairs(DUPLICATE_DISTANCE_MM, output_type="ndarray")
    dropped: set[int] = set()
    for earlier, later in sorted(map(tuple, pairs.tolist())):
        if earlier not in dropped:
            dropped.add(later)
    return np.array([row for number, row in enumerate(rows) if number not in dropped], dtype=np.int64)


def _duplicate_warnings(given: FloatArray, points: FloatArray) -> list[str]:
    warnings = []
    if len(points) < len(given):
        warnings.append(
            f"{len(given) - len(points)} of {len(given)} points repeat another one within {DUPLICATE_DISTANCE_MM} mm "
            f"and count once."
        )
    if len(points) < RECOMMENDED_POINTS:
        warnings.append(
            f"Only {len(points)} distinct points: the surface is a rough guess. {RECOMMENDED_POINTS} or more are "
            f"better."
        )
    return warnings


def _stray_warnings(points: FloatArray, surface: SphereMap, scale_mm: float) -> list[str]:
    """Name points far from where the others would put them: left out one at a time, in closed form."""
    if len(points) < MIN_POINTS_FOR_STRAY:
        return []
    matrix = surface.kernel(surface.attachments @ surface.attachments.T)
    matrix.flat[:: len(points) + 1] += _SMOOTHING * surface.kernel.at_zero_angle
    apart_mm = np.linalg.norm(surface.coefficients / np.diag(np.linalg.inv(matrix))[:, None], axis=1) * scale_mm
    stray = np.flatnonzero(apart_mm > STRAY * np.median(apart_mm))
    if not len(stray):
        return []
    named = ", ".join(
        "(" + ", ".join(f"{value:.1f}" for value in points[row]) + f") by {apart_mm[row]:.1f} mm" for row in stray[:10]
    )
    return [f"{len(stray)} of {len(points)} points disagree with the others, LPS mm: {named}. Check for stray clicks."]


def _spread_warnings(points: FloatArray, area: float, gap_location: FloatArray, gap: float) -> list[str]:
    """Say where clicks are missing, if the largest gap is wide for so many points."""
    spacing = float(np.sqrt(area / len(points)))
    place = "(" + ", ".join(f"{value:.1f}" for value in gap_location) + ")"
    warnings = []
    if gap > WIDE_GAP * spacing:
        warnings.append(
            f"Points are missing on one side: the surface at {place} LPS mm is {gap:.1f} mm from the nearest point, "
            f"while {len(points)} evenly spread points would leave at most about {spacing:.1f} mm. Add points there "
            f"first."
        )
    ratio = _spacing_ratio(points, area)
    if ratio < CLUMPED:
        warnings.append(
            f"Points are clumped: the nearest neighbour is on average {ratio * spacing:.1f} mm away, {ratio:.0%} of "
            f"what the area allows; the surface was stiffened. Tips and extremes first, then fill gaps; the widest is "
            f"at {place} LPS mm."
        )
    return warnings
