"""Outlines drawn by hand around a structure in a slice: off the edge, wobbling, made of straight strokes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from nnunet_weak.simulation.annotators import Annotator
from nnunet_weak.simulation.smooth_fields import smooth_field

_CORE = 0.8
"""Share of the half-thickness beyond which an outline never shrinks on average."""


def rough_polygons(
    part: NDArray[np.bool_],
    spacing_mm: NDArray[np.float64],
    offset: float,
    annotator: Annotator,
    random: np.random.Generator,
) -> list[NDArray[np.float64]]:
    """Closed polygons along the edge of one part of a structure in one slice, as a hand would draw them.

    Args:
        part: the part; what lies outside the array counts as outside the part.
        spacing_mm: pixel size.
        offset: mean distance to the edge as a share of the local half-thickness, to which the annotator's margin is
            added; inside if positive, else outside.
        annotator: how steady and how thorough the hand is.
        random: source of randomness.

    Returns:
        Corners in mm, the first repeated at the end; with several polygons (a ring) the even-odd rule tells what lies
        between them.
    """
    part = np.pad(part, 2)
    half_pixel = spacing_mm.min() / 2
    inside_mm, outside_mm = distance_mm(~part, spacing_mm), distance_mm(part, spacing_mm)
    signed_mm = np.where(part, inside_mm - half_pixel, half_pixel - outside_mm)
    half_thickness_mm = _half_thickness_mm(part, inside_mm, spacing_mm)
    if offset < 0:
        away_mm = offset * half_thickness_mm - annotator.margin_mm
        away_mm = np.minimum(away_mm, -1.5 * spacing_mm.max())  # nobody circles a thin structure closer than that
    else:
        # Where the margin would leave nothing of a thin structure, its core is drawn.
        away_mm = np.minimum(offset * half_thickness_mm + annotator.margin_mm, max(offset, _CORE) * half_thickness_mm)
    scale_mm = max(float(half_thickness_mm.max()), 2 * spacing_mm.max())
    wobble_mm = np.hypot(annotator.unsteadiness * away_mm, annotator.tremor_px * spacing_mm.max())
    wobble_mm = wobble_mm * patches(part.shape, spacing_mm, 3.5 * scale_mm, random)
    field = (signed_mm - away_mm - wobble_mm) / half_thickness_mm
    field[[0, -1]] = field[:, [0, -1]] = -1  # closes outlines at the border of the image
    polygons = []
    for contour in measure.find_contours(field, 0):
        tolerance_mm = annotator.corner_cutting * float(np.median(half_thickness_mm[part])) + half_pixel
        polygon_mm = measure.approximate_polygon((contour - 2) * spacing_mm, tolerance_mm)
        if len(polygon_mm) > 3:
            polygons.append(polygon_mm)
    areas = [abs(rows[:-1] @ columns[1:] - rows[1:] @ columns[:-1]) for rows, columns in (one.T for one in polygons)]
    # One part, one shape: splinters that a wobbling outline cuts off are not drawn separately.
    return [polygon for polygon, area in zip(polygons, areas, strict=True) if area > 0.1 * max(areas)]


def distance_mm(
    target: NDArray[np.bool_], spacing_mm: Sequence[float] | NDArray[np.float64], *, beyond: float = np.inf
) -> NDArray[np.float64]:
    """Distance of every voxel to the nearest one of the target; `beyond` everywhere if there is none."""
    if not target.any():
        return np.full(target.shape, beyond)
    return ndimage.distance_transform_edt(~target, spacing_mm)


def patches(
    shape: Sequence[int],
    spacing_mm: Sequence[float] | NDArray[np.float64],
    wavelength_mm: float,
    random: np.random.Generator,
) -> NDArray[np.floating]:
    """Smooth random field in 2d or 3d, mean 0, standard deviation 1, nearly Gaussian."""
    axes = np.ogrid[tuple(slice(size) for size in shape)]
    position_mm = [np.asarray(axis * step, np.float32) for axis, step in zip(axes, spacing_mm, strict=True)]
    position_mm += [np.zeros(1, np.float32)] * (3 - len(position_mm))
    return smooth_field(random, wavelength_mm)(position_mm)


def _half_thickness_mm(
    part: NDArray[np.bool_], inside_mm: NDArray[np.float64], spacing_mm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Radius of the largest disc that fits into the part and covers the pixel; outside, that of the nearest pixel."""
    thickness = np.full(part.shape, inside_mm[part].min())
    for radius in np.linspace(thickness.max(), inside_mm.max(), 8)[1:]:
        covered = distance_mm(inside_mm >= radius * (1 - 1e-6), spacing_mm) < radius
        thickness[covered] = radius
    nearest = ndimage.distance_transform_edt(~part, spacing_mm, return_distances=False, return_indices=True)
    return thickness[tuple(nearest)]
