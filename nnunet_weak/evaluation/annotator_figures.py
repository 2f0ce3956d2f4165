"""Pictures of annotators' transition matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

_VIEWS = ("learned by the head", "drawn where predicted", "agreement (STAPLE)")


def save_matrices(path: Path, matrices: Mapping[str, Sequence[NDArray[Any] | None]], labels: Sequence[str]) -> None:
    """Draw a row of matrices for each annotation map.

    Args:
        path: PNG file to write.
        matrices: Title of each row, and its matrices, axes (drawn, class): learned, observed, agreement.
        labels: Class names.
    """
    size = 1.1 + 0.55 * len(labels)
    figure = Figure(figsize=(3 * size, len(matrices) * size + 0.4), layout="constrained")
    rows = figure.subplots(len(matrices), len(_VIEWS), squeeze=False)
    for axes_of_row, (name, row) in zip(rows, matrices.items(), strict=True):
        for axes, matrix, view in zip(axes_of_row, row, _VIEWS, strict=True):
            if matrix is None:
                axes.axis("off")
                continue
            _matrix(axes, matrix, labels)
            axes.set_title(view, fontsize=8)
        axes_of_row[0].set_ylabel(f"{name}\ndrawn", fontsize=8)
    figure.savefig(path, dpi=130)


def save_deviations(path: Path, deviations: Mapping[str, Sequence[NDArray[Any]]], classes: int) -> None:
    """Draw for each annotation map a slice: image, drawing, prediction, and 1 - A_kk of the predicted class.

    Args:
        path: PNG file to write.
        deviations: Title of each row, and its four slices.
        classes: Number of classes.
    """
    figure = Figure(figsize=(12, 3 * len(deviations)), layout="constrained")
    rows = figure.subplots(len(deviations), 4, squeeze=False)
    for axes_of_row, (name, (image, drawing, prediction, deviation)) in zip(rows, deviations.items(), strict=True):
        panels: list[tuple[str, NDArray[Any], dict[str, Any]]] = [
            (name, image, {"cmap": "gray"}),
            ("drawn (black: blank)", np.ma.masked_equal(drawing, 0) - 1, {"cmap": "viridis", "vmax": classes - 1}),
            ("predicted", prediction, {"cmap": "viridis", "vmax": classes - 1}),
            ("1 - A_kk of the predicted class k", deviation, {"cmap": "magma", "vmax": max(deviation.max(), 0.05)}),
        ]
        for axes, (title, array, options) in zip(axes_of_row, panels, strict=True):
            low = {} if options["cmap"] == "gray" else {"vmin": 0}
            picture = axes.imshow(array, **options, **low, interpolation="nearest")
            axes.set_facecolor("black")
            axes.set_title(title, fontsize=8)
            axes.set_xticks([])
            axes.set_yticks([])
        figure.colorbar(picture, ax=axes_of_row[-1])
    figure.savefig(path, dpi=110)


def _matrix(axes: Axes, matrix: NDArray[Any], labels: Sequence[str]) -> None:
    axes.imshow(matrix, vmin=0, vmax=1, cmap="Blues")
    for m, k in np.ndindex(matrix.shape):
        value = matrix[m, k]
        text = "-" if np.isnan(value) else f"{value:.2f}"
        axes.text(k, m, text, ha="center", va="center", fontsize=7, color="white" if value > 0.6 else "black")
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.set_xlabel("class", fontsize=8)
