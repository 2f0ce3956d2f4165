"""A picture of each case, on which a person sees a bad fit at once: three planes through every object.

The template's outline is yellow, the reference's (where there is one) cyan. Points within half a slice of the plane
are filled, those within two slices hollow; points that the surface misses by more than a voxel are red.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnunet_weak.points.templates import FittedObject, Templates
from nnunet_weak.surface.rasterise import world_to_index

MOST_OBJECTS = 8
"""On one preview: the ones whose points fit worst."""

_MARGIN_MM = 8.0
_PLANES = ("across z", "across y", "across x")
_TEMPLATE, _REFERENCE, _POINT, _STRAY = "#ffd400", "#00d5ff", "#41e06b", "#ff3b30"


def draw_preview(
    path: Path, name: str, image: sitk.Image, templates: Templates, reference: NDArray[np.uint8] | None = None
) -> None:
    """Draw the preview of a case.

    Args:
        path: PNG file to write.
        name: The case.
        image: Its first channel.
        templates: What was fitted.
        reference: Reference classes, (z, y, x).
    """
    worst = sorted(templates.fitted, key=lambda one: -float(one.fit.residuals_mm.max()))[:MOST_OBJECTS]
    figure = Figure(figsize=(9, 3.2 * len(worst) + 0.4), facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(worst), 3, squeeze=False)
    array = sitk.GetArrayViewFromImage(image)
    for row, one in zip(axes, worst, strict=True):
        _draw_object(row, one, image, array, templates.labels, reference)
    shown = (
        f"{name}: the {len(worst)} worst of {len(templates.fitted)} objects"
        if len(worst) < len(templates.fitted)
        else name
    )
    figure.suptitle(shown, color="white", fontsize=11)
    figure.savefig(path, dpi=90, metadata={"Software": None})


def _draw_object(
    row: NDArray[np.object_],
    one: FittedObject,
    image: sitk.Image,
    array: NDArray[np.generic],
    labels: NDArray[np.uint8],
    reference: NDArray[np.uint8] | None,
) -> None:
    spacing = np.array(image.GetSpacing())[::-1]
    vertices = world_to_index(one.fit.vertices_mm, image)[:, ::-1]
    points = world_to_index(np.asarray(one.points.points_mm), image)[:, ::-1]
    margin = np.ceil(_MARGIN_MM / spacing)
    shape = np.array(array.shape)
    low = np.clip(np.floor(vertices.min(0) - margin), 0, shape - 1).astype(int)
    high = np.clip(np.ceil(vertices.max(0) + margin), low, shape - 1).astype(int) + 1
    centre = np.clip(np.round(points.mean(0)), low, high - 1).astype(int)
    box = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    dark, bright = np.percentile(box.astype(np.float64), (1, 99))
    stray = one.fit.residuals_mm > spacing.min()
    for normal, axis in enumerate(row):
        rows, columns = (other for other in range(3) if other != normal)
        window = tuple(int(centre[other]) if other == normal else slice(low[other], high[other]) for other in range(3))
        extent = (low[columns] - 0.5, high[columns] - 0.5, high[rows] - 0.5, low[rows] - 0.5)
        axis.imshow(
            array[window],
            cmap="gray",
            vmin=dark,
            vmax=max(bright, dark + 1e-6),
            extent=extent,
            aspect=spacing[rows] / spacing[columns],
            interpolation="nearest",
        )
        for classes, colour in ((labels, _TEMPLATE), (reference, _REFERENCE)):
            plane = None if classes is None else classes[window]
            for value in () if plane is None else np.unique(plane[plane > 0]):
                axis.contour(
                    np.arange(low[columns], high[columns]),
                    np.arange(low[rows], high[rows]),
                    plane == value,
                    levels=[0.5],
                    colors=colour,
                    linewidths=1.0,
                )
        away = np.abs(points[:, normal] - centre[normal])
        for near, filled in ((away <= 0.5, True), ((away > 0.5) & (away <= 2), False)):
            for chosen, colour in ((near & ~stray, _POINT), (near & stray, _STRAY)):
                face = colour if filled else "none"
                axis.scatter(points[chosen, columns], points[chosen, rows], s=22, facecolors=face, edgecolors=colour)
        axis.set_xlim(extent[0], extent[1])
        axis.set_ylim((extent[3], extent[2]) if normal else (extent[2], extent[3]))  # head up, front up
        axis.set_title(_PLANES[normal], color="white", fontsize=8)
        axis.set_axis_off()
    residuals = one.fit.residuals_mm
    row[0].set_title(
        f"{one.points.title}: {len(points)} points,\n"
        f"off by {residuals.mean():.2g} mm, at most {residuals.max():.2g} mm",
        color=_STRAY if stray.any() else "white",
        fontsize=8,
    )
