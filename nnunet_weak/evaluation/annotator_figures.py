"""A picture of annotators' transition matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnunet_weak.images.atomic import atomic_file

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
            else:
                axes.set_title(view, fontsize=8)
                _draw(axes, matrix, labels)
        axes_of_row[0].set_ylabel(f"{name}\ndrawn", fontsize=8)
    with atomic_file(path) as partial:
        figure.savefig(partial, dpi=130)


def _draw(axes: Axes, matrix: NDArray[Any], labels: Sequence[str]) -> None:
    axes.imshow(matrix, vmin=0, vmax=1, cmap="Blues")
    for m, k in np.ndindex(matrix.shape):
        value = matrix[m, k]
        text = "-" if np.isnan(value) else f"{value:.2f}"
        axes.text(k, m, text, ha="center", va="center", fontsize=7, color="white" if value > 0.6 else "black")
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7)
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.set_xlabel("class", fontsize=8)
