"""Preview of a case, to check the conversion by eye: every annotation map on the image.

Rows are up to three of the slices in which a target was drawn, columns are the maps. Classes are coloured, background
is blue, blank voxels show the image. A negative map colours the classes that a voxel is *not*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from nnunet_weak.drawings.random_walker import slice_axis

_MOST_SLICES = 3
_BACKGROUND, _OPACITY = "#3b528b", 0.55
_DISTINCT = (1, 2, 3, 4, 5, 6, 7, 8, 9)  # of matplotlib's ten colours; the first is a blue


def draw_preview(path: Path, image: sitk.Image, maps: Mapping[str, NDArray[np.integer]], labels: Sequence[str]) -> None:
    """Draw the preview of a case.

    Args:
        path: File to write, `CASE.png`.
        image: First channel of the case.
        maps: Maps by title, 0 = blank, k + 1 = class k, (z, y, x); at least one.
        labels: Class names, background first.
    """
    array, spacing_mm = sitk.GetArrayViewFromImage(image), image.GetSpacing()[::-1]
    axis = slice_axis(np.maximum.reduce(list(maps.values())), spacing_mm)
    height, width = np.delete(spacing_mm, axis)
    chosen = _slices(maps, axis)
    palette = [_BACKGROUND, *_colours(len(labels) - 1)]
    figure = Figure(figsize=(2.6 * (len(maps) + 1), 2.7 * len(chosen) + 0.6), facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    shown: dict[str, Any] = {"aspect": height / width, "interpolation": "nearest"}
    colours = {"cmap": ListedColormap(palette), "vmin": -0.5, "vmax": len(labels) - 0.5, "alpha": _OPACITY}
    for row, index in zip(figure.subplots(len(chosen), len(maps) + 1, squeeze=False), chosen, strict=True):
        plane = array.take(index, axis)
        dark, bright = np.percentile(plane.astype(np.float64), (1, 99))
        titles = [f"slice {index}", *maps]
        for axes, title in zip(row, titles, strict=True):
            axes.imshow(plane, cmap="gray", vmin=dark, vmax=max(bright, dark + 1e-6), **shown)
            axes.set_axis_off()
            if axis != 0:
                axes.invert_yaxis()  # head up
            axes.set_title(title, color="white", fontsize=8)
            if title in maps:
                classes = maps[title].take(index, axis).astype(np.int64) - 1
                axes.imshow(np.ma.masked_less(classes, 0), **colours, **shown)
    figure.suptitle(path.stem, color="white", fontsize=11)
    handles = [Patch(color=colour, label=label) for colour, label in zip(palette, labels, strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, labelcolor="white", frameon=False, fontsize=8)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=90, metadata={"Software": None})


def _slices(maps: Mapping[str, NDArray[np.integer]], axis: int) -> list[int]:
    """Choose slices evenly among those with a target in some map, or with anything if there is no target."""
    highest = np.max([one.max(tuple(other for other in range(3) if other != axis)) for one in maps.values()], axis=0)
    drawn = np.flatnonzero(highest >= min(2, highest.max()))
    shares = (np.arange(_MOST_SLICES) + 0.5) / _MOST_SLICES
    return sorted({int(drawn[int(share * len(drawn))]) for share in shares})


def _colours(count: int) -> list[Any]:
    if count <= len(_DISTINCT):
        return [colormaps["tab10"](index) for index in _DISTINCT[:count]]
    return list(colormaps["turbo"](np.linspace(0.2, 1, count)))
