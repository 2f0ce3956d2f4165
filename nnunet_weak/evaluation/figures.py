"""Pictures of the report, as PNG bytes: the metrics' distributions, and slices with the two outlines."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.evaluation.metrics import Metric
from nnunet_weak.images.read import geometry_difference

# Blue, orange, ... of Okabe and Ito, told apart with colour-blind eyes too.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
REFERENCE_COLOUR, PREDICTION_COLOUR = "#56B4E9", "#E69F00"


def distribution_png(frame: pd.DataFrame, metric: Metric) -> bytes:
    """Box with all cases as dots for each label and method.

    Args:
        frame: From `evaluate_folders`.
        metric: What to draw.
    """
    labels, methods = list(frame["label"].unique()), list(frame["method"].unique())
    figure = Figure(figsize=(max(4.0, 1.2 + 0.45 * len(labels) * (len(methods) + 0.6)), 3.2), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(methods)
    random = np.random.default_rng(0)
    for m, method in enumerate(methods):
        colour = COLOURS[m % len(COLOURS)]
        for position, label in enumerate(labels):
            rows = frame[(frame["label"] == label) & (frame["method"] == method)]
            values = rows[metric.key].dropna().to_numpy(float)
            if not values.size:
                continue
            centre = position + (m - (len(methods) - 1) / 2) * width
            axes.boxplot(
                values,
                positions=[centre],
                widths=0.8 * width,
                showfliers=False,
                manage_ticks=False,
                medianprops={"color": "black"},
            )
            jitter = random.uniform(-0.25, 0.25, values.size) * width
            axes.scatter(centre + jitter, values, s=9, color=colour, alpha=0.7, linewidths=0)
        axes.scatter([], [], s=20, color=colour, label=method)
    axes.set_xticks(range(len(labels)), labels, rotation=30 if max(map(len, labels)) > 8 else 0)
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
    difference = geometry_difference(reference, image)
    if difference:
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
        rows, columns = mask.shape
        axes.contour(
            np.arange(-1, columns + 1),
            np.arange(-1, rows + 1),
            np.pad(mask, 1).astype(float),
            [0.5],
            colors=colour,
            linewidths=1.2,
        )


def _window(mask: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """Rows and columns around a mask with as much again as context, within the image."""
    if not mask.any():
        return (-0.5, mask.shape[0] - 0.5), (-0.5, mask.shape[1] - 0.5)
    ranges = [np.flatnonzero(mask.any(axis=1 - axis))[[0, -1]] for axis in (0, 1)]
    margin = max(10, max(int(high - low) for low, high in ranges) // 2)
    rows, columns = (
        (max(-0.5, low - margin), min(n - 0.5, high + margin))
        for (low, high), n in zip(ranges, mask.shape, strict=True)
    )
    return rows, columns


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()
