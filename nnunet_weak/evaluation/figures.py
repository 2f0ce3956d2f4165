"""Pictures of the report, as PNG bytes: the metrics' distributions, and slices with the two outlines."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.evaluation.definitions import Metric
from nnunet_weak.images.read import geometry_difference

# Blue, orange, ... of Okabe and Ito, distinct for colour-blind readers too.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
REFERENCE_COLOUR, PREDICTION_COLOUR = "#56B4E9", "#E69F00"


def distribution_png(frame: pd.DataFrame, metric: Metric) -> bytes:
    """Box with all cases as dots for each label and method; `frame` is from `evaluate_folders`."""
    labels, methods = list(frame["label"].unique()), list(frame["method"].unique())
    figure = Figure(figsize=(max(4.0, 1.2 + 0.45 * len(labels) * (len(methods) + 0.6)), 3.2), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(methods)
    random = np.random.default_rng(0)
    box: dict[str, Any] = {"showfliers": False, "medianprops": {"color": "black"}}
    for (label, method), rows in frame.dropna(subset=[metric.key]).groupby(["label", "method"], sort=False):
        values, number = rows[metric.key].to_numpy(float), methods.index(method)
        centre = labels.index(label) + (number - (len(methods) - 1) / 2) * width
        axes.boxplot(values, positions=[centre], widths=0.8 * width, manage_ticks=False, **box)
        jitter = random.uniform(-0.25, 0.25, values.size) * width
        axes.scatter(centre + jitter, values, s=9, color=COLOURS[number % len(COLOURS)], alpha=0.7, linewidths=0)
    for number, method in enumerate(methods):
        axes.scatter([], [], s=20, color=COLOURS[number % len(COLOURS)], label=_plain(method))
    axes.set_xticks(
        range(len(labels)), [_plain(label) for label in labels], rotation=30 if max(map(len, labels)) > 8 else 0
    )
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.set_ylabel(metric.title)
    axes.grid(axis="y", alpha=0.3)
    if len(methods) > 1:
        figure.legend(loc="outside upper center", ncols=len(methods), frameon=False, fontsize=8)
    return _png(figure)


def slice_png(image: sitk.Image, reference: sitk.Image, prediction: sitk.Image, values: Sequence[int]) -> bytes:
    """Axial slice where the two masks differ most, with both outlines; the patient's right is on the left.

    Args:
        image: Image to draw on.
        reference: Label map.
        prediction: Label map on the same grid.
        values: Values of the label.

    Raises:
        InvalidInputError: The image is on another grid.
    """
    if difference := geometry_difference(reference, image):
        raise InvalidInputError(f"the image is not on the reference's grid: {difference}")
    image, reference, prediction = (sitk.DICOMOrient(each, "LPS") for each in (image, reference, prediction))
    r, p = (np.isin(sitk.GetArrayFromImage(each), values) for each in (reference, prediction))
    z = int(np.argmax(np.count_nonzero(r ^ p, axis=(1, 2))))
    pixels = sitk.GetArrayFromImage(image)[z].astype(float)
    rows, columns = _window(r[z] | p[z])
    spacing_x, spacing_y = image.GetSpacing()[:2]
    figure = Figure(figsize=(3.6, 3.6), layout="constrained")
    axes = figure.subplots()
    low, high = np.percentile(pixels, (0.5, 99.5))
    axes.imshow(pixels, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=spacing_y / spacing_x)
    _outline(axes, r[z], REFERENCE_COLOUR)
    _outline(axes, p[z], PREDICTION_COLOUR)
    axes.set_xlim(*columns)
    axes.set_ylim(*rows[::-1])
    axes.set_axis_off()
    axes.set_title(f"axial slice {z + 1} of {len(r)}", fontsize=8)
    return _png(figure)


def _outline(axes: Axes, mask: np.ndarray, colour: str) -> None:
    if mask.any():
        # Padded, so that an outline closes at the image's border; level 0.5 runs half-way between the voxel centres.
        y, x = (np.arange(-1, n + 1) for n in mask.shape)
        axes.contour(x, y, np.pad(mask, 1).astype(float), [0.5], colors=colour, linewidths=1.2)


def _window(mask: np.ndarray) -> list[tuple[float, float]]:
    """Rows and columns around a mask with as much again as context, within the image."""
    spans = [np.flatnonzero(mask.any(axis=1 - axis)) for axis in (0, 1)]
    if not spans[0].size:
        return [(-0.5, n - 0.5) for n in mask.shape]
    margin = max(10, max(int(np.ptp(span)) for span in spans) // 2)
    sides = zip(spans, mask.shape, strict=True)
    return [(max(-0.5, span[0] - margin), min(n - 0.5, span[-1] + margin)) for span, n in sides]


def _plain(name: str) -> str:
    return name.replace("$", r"\$")  # Matplotlib would set it as a formula, or fail


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()
