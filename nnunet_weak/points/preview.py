"""A picture of each case, on which a person sees a bad fit at once: three planes through every object.

The template's outline is yellow, the reference's (where there is one) cyan. Points within half a slice of the plane
are filled, those within two slices hollow; points that the surface misses by more than a voxel are red.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnunet_weak.points.templates import Template
from nnunet_weak.surface.rasterise import world_to_index

MOST_OBJECTS = 8
"""On one preview: the ones whose points fit worst."""

_MARGIN_MM = 8.0
_PLANES = ("across z", "across y", "across x")
_TEMPLATE, _REFERENCE, _POINT, _STRAY = "#ffd400", "#00d5ff", "#41e06b", "#ff3b30"


def draw_preview(
    path: Path,
    name: str,
    image: sitk.Image,
    templates: Sequence[Template],
    labels: NDArray[np.uint8],
    reference: NDArray[np.uint8] | None,
) -> None:
    """Draw the preview of a case into a PNG file: its templates' label map and, if there is one, its reference."""
    worst = sorted(templates, key=lambda one: -float(one.fit.residuals_mm.max()))[:MOST_OBJECTS]
    figure = Figure(figsize=(9, 3.2 * len(worst) + 0.4), facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    outlines = [(labels, _TEMPLATE)] + ([] if reference is None else [(reference, _REFERENCE)])
    for axes, one in zip(figure.subplots(len(worst), 3, squeeze=False), worst, strict=True):
        _draw_object(axes, one, image, outlines)
    shown = f": the {len(worst)} worst of {len(templates)} objects"
    figure.suptitle(name + (shown if len(worst) < len(templates) else ""), color="white", fontsize=11)
    figure.savefig(path, dpi=90, metadata={"Software": None})


def _draw_object(
    axes: NDArray[np.object_], one: Template, image: sitk.Image, outlines: list[tuple[NDArray[np.uint8], str]]
) -> None:
    array = sitk.GetArrayViewFromImage(image)
    spacing = np.array(image.GetSpacing())[::-1]
    vertices, points = (world_to_index(place, image)[:, ::-1] for place in (one.fit.vertices_mm, one.points.points_mm))
    residuals = one.fit.residuals_mm
    stray = residuals > spacing.min()
    margin, last = np.ceil(_MARGIN_MM / spacing), np.array(array.shape) - 1
    low = np.clip(np.floor(vertices.min(0) - margin), 0, last).astype(int)
    high = np.clip(np.ceil(vertices.max(0) + margin), low, last).astype(int) + 1
    box = tuple(slice(start, end) for start, end in zip(low, high, strict=True))
    centre = np.clip(np.round(points.mean(0)), low, high - 1).astype(int)
    dark, bright = np.percentile(array[box].astype(np.float64), (1, 99))
    for normal, panel in enumerate(axes):
        rows, columns = (other for other in range(3) if other != normal)
        plane = tuple(int(centre[normal]) if axis == normal else slice(low[axis], high[axis]) for axis in range(3))
        left, right, top, bottom = low[columns] - 0.5, high[columns] - 0.5, low[rows] - 0.5, high[rows] - 0.5
        panel.imshow(
            array[plane],
            cmap="gray",
            vmin=dark,
            vmax=max(bright, dark + 1e-6),
            extent=(left, right, bottom, top),
            aspect=spacing[rows] / spacing[columns],
            interpolation="nearest",
        )
        grid = np.arange(low[columns], high[columns]), np.arange(low[rows], high[rows])
        for labels, colour in outlines:
            for label in np.unique(labels[plane][labels[plane] > 0]):
                panel.contour(*grid, labels[plane] == label, levels=[0.5], colors=colour, linewidths=1.0)
        away = np.abs(points[:, normal] - centre[normal])
        for near, filled in ((away <= 0.5, True), ((away > 0.5) & (away <= 2), False)):
            for chosen, colour in ((near & ~stray, _POINT), (near & stray, _STRAY)):
                face = colour if filled else "none"
                panel.scatter(points[chosen, columns], points[chosen, rows], s=22, facecolors=face, edgecolors=colour)
        panel.set(xlim=(left, right), ylim=(top, bottom) if normal else (bottom, top))  # head up, front up
        panel.set_title(_PLANES[normal], color="white", fontsize=8)
        panel.set_axis_off()
    axes[0].set_title(
        f"{one.points.title}: {len(points)} points,\n"
        f"off by {residuals.mean():.2g} mm, at most {residuals.max():.2g} mm",
        color=_STRAY if stray.any() else "white",
        fontsize=8,
    )
