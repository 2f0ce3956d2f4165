"""Checks of surface points before a fit, and warnings for the annotator after it.

Positions are LPS mm, rows of arrays of shape (N, 3).
"""

from __future__ import annotations

import numpy as np
import scipy  # its parts are loaded where they are first used
from numpy.typing import NDArray

from nnunet_weak.errors import Problems

FloatArray = NDArray[np.float64]

MIN_POINTS = 4
#: The fit solves for all points at once, with some matrices of 8 bytes for each pair of them.
MOST_POINTS = 5000
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


def check_points(given: FloatArray, stiffness: float, noise_mm: float) -> tuple[FloatArray, list[str]]:
    """Distinct points, and warnings about repeated and few points.

    Raises:
        InvalidInputError: Bad options, or points that bound no volume; everything in one list.
    """
    problems = Problems()
    if not (np.isfinite(stiffness) and stiffness > 0):
        problems.add("stiffness", f"must be a positive number; got {stiffness}", "use 1 for the default")
    if not (np.isfinite(noise_mm) and noise_mm >= 0):
        problems.add("noise_mm", f"must be 0 or a positive number of mm; got {noise_mm}", "use 0 for exact points")
    if given.ndim != 2 or given.shape[1] != 3:
        problems.add("points", f"must be rows of three coordinates, shape (N, 3); got shape {given.shape}")
        problems.raise_if_any("Surface fit")
    if len(given) > MOST_POINTS:
        what = f"a surface is fitted to at most {MOST_POINTS} points; got {len(given)}"
        problems.add("points", what, "keep some of them, evenly spread; hundreds are more than enough")
        problems.raise_if_any("Surface fit")
    infinite = np.flatnonzero(~np.isfinite(given).all(axis=1))
    if infinite.size:
        rows = ", ".join(map(str, infinite[:10]))
        problems.add("points", f"{infinite.size} of {len(given)} are not finite (rows {rows})", "remove or redo them")
    points = given[distinct_points(given)]
    repeated = len(given) - infinite.size - len(points)
    repeats = f"{repeated} of {len(given)} points repeat another one within {DUPLICATE_DISTANCE_MM} mm and count once."
    if len(points) < MIN_POINTS:
        what = f"a closed surface needs at least {MIN_POINTS} distinct points; got {len(points)}"
        remedy = f"click at least {RECOMMENDED_POINTS} points all around the object, its tips first"
        problems.add("points", f"{what}. {repeats}" if repeated else what, remedy)
    elif (extent := np.linalg.svd(points - points.mean(axis=0), compute_uv=False))[2] < MIN_FLATNESS * extent[0]:
        shape = "on one line" if extent[1] < MIN_FLATNESS * extent[0] else "in one plane"
        extents = ", ".join(f"{value:.3g}" for value in extent)
        problems.add(
            "points",
            f"all {len(points)} lie {shape} (extents {extents} mm, root sum of squares; the smallest must be at least "
            f"{MIN_FLATNESS:.0%} of the largest), so they bound no volume",
            "click on several slices, or in more than one of the three views",
        )
    problems.raise_if_any("Surface fit")
    warnings = [repeats] if repeated else []
    if len(points) < RECOMMENDED_POINTS:
        rule = f"{RECOMMENDED_POINTS} or more are better."
        warnings.append(f"Only {len(points)} distinct points: the surface is a rough guess. {rule}")
    return points, warnings


def distinct_points(points_mm: FloatArray) -> NDArray[np.int64]:
    """Rows of the finite points that do not repeat an earlier one within 0.1 mm, in order."""
    rows = np.flatnonzero(np.isfinite(points_mm).all(axis=1))
    if len(rows) < 2:
        return rows
    tree = scipy.spatial.cKDTree(points_mm[rows])
    dropped = np.zeros(len(rows), bool)
    for number, point in enumerate(points_mm[rows]):
        if not dropped[number]:
            near = np.array(tree.query_ball_point(point, DUPLICATE_DISTANCE_MM))
            dropped[near[near > number]] = True
    return rows[~dropped]


def stray_warnings(points: FloatArray, matrix: FloatArray, coefficients: FloatArray, scale_mm: float) -> list[str]:
    """Name points that lie far from where the surface through all others would put them.

    For a solve with a kernel matrix, leaving out point i moves the surface there by c_i / (K^-1)_ii.

    Args:
        points: LPS mm, shape (N, 3).
        matrix: Kernel matrix with smoothing on the diagonal, shape (N, N).
        coefficients: Its solution, shape (N, 3).
        scale_mm: Unit of the frame in which it was solved.
    """
    if len(points) < MIN_POINTS_FOR_STRAY:
        return []
    apart_mm = np.linalg.norm(coefficients / np.diag(np.linalg.inv(matrix))[:, None], axis=1) * scale_mm
    stray = np.flatnonzero(apart_mm > STRAY * np.median(apart_mm))
    if not stray.size:
        return []
    named = ", ".join(f"{_place(points[row])} by {apart_mm[row]:.1f} mm" for row in stray[:10])
    return [f"{len(stray)} of {len(points)} points disagree with the others, LPS mm: {named}. Check for stray clicks."]


def spread_warnings(points: FloatArray, area: float, gap_location: FloatArray, gap: float) -> list[str]:
    """Say where clicks are missing, if the largest gap is wide for so many points."""
    spacing = float(np.sqrt(area / len(points)))
    warnings = []
    if gap > WIDE_GAP * spacing:
        warnings.append(
            f"Points are missing on one side: the surface at {_place(gap_location)} LPS mm is {gap:.1f} mm from the "
            f"nearest point, while {len(points)} evenly spread points would leave at most about {spacing:.1f} mm. Add "
            f"points there first."
        )
    ratio = spacing_ratio(points, area)
    if ratio < CLUMPED:
        warnings.append(
            f"Points are clumped: the nearest neighbour is on average {ratio * spacing:.1f} mm away, {ratio:.0%} of "
            f"what the area allows; the surface was stiffened. Tips and extremes first, then fill gaps; the widest is "
            f"at {_place(gap_location)} LPS mm."
        )
    return warnings


def spacing_ratio(points: FloatArray, area: float) -> float:
    """Mean distance to the nearest other point, relative to the side of each point's share of the area."""
    distances, _ = scipy.spatial.cKDTree(points).query(points, k=2)
    return float(distances[:, 1].mean() / np.sqrt(area / len(points)))


def _place(point: FloatArray) -> str:
    return "(" + ", ".join(f"{value:.1f}" for value in point) + ")"
