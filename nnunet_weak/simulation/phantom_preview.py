"""Picture of some phantoms: two slices each, with the true outline and the initial mask's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunet_weak.simulation.phantoms import Phantom

_WINDOW_HU = (-250, 1100)
_COLOURS = {"truth": "#35d07f", "initial mask": "#ff5a4f"}


def save_preview(phantoms: Sequence[tuple[str, Phantom]], path: Path) -> None:
    """Write a montage as PNG: for each case a coronal, a sagittal and an axial slice through the bone.

    Args:
        phantoms: Names and cases.
        path: File to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    columns = min(4, len(phantoms))
    rows = -(-len(phantoms) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.7 * rows), facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.atleast_1d(figure.subplots(rows, 3 * columns, squeeze=False)).reshape(-1, 3)
    for group in axes[len(phantoms) :]:
        for axis in group:
            axis.set_axis_off()
    for group, (name, phantom) in zip(axes, phantoms, strict=False):
        image = sitk.GetArrayFromImage(phantom.image)
        outlines = [sitk.GetArrayFromImage(part) > 0 for part in (phantom.labels, phantom.initial_mask)]
        spacing_mm = phantom.image.GetSpacing()[::-1]
        # Slices through the widest place, where an end and its joint are seen.
        planes = [(axis, int(outlines[0].sum(axis=tuple({0, 1, 2} - {axis})).argmax())) for axis in (1, 2, 0)]
        for axis, (normal, index) in zip(group, planes, strict=True):
            height, width = (spacing_mm[other] for other in range(3) if other != normal)
            axis.imshow(
                _slice(image, normal, index),
                cmap="gray",
                vmin=_WINDOW_HU[0],
                vmax=_WINDOW_HU[1],
                aspect=height / width,
                origin="upper" if normal == 0 else "lower",
                interpolation="nearest",
            )
            for outline, colour in zip(outlines, _COLOURS.values(), strict=True):
                plane = _slice(outline, normal, index)
                if plane.any() and not plane.all():
                    axis.contour(plane, levels=[0.5], colors=colour, linewidths=0.9)
            axis.set_axis_off()
        group[0].set_title(name, color="white", fontsize=10, loc="left")
    handles = [Line2D([], [], color=colour, label=label) for label, colour in _COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, labelcolor="white", frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _slice(array: NDArray[np.generic], normal: int, index: int) -> NDArray[np.generic]:
    return np.take(array, index, axis=normal)
