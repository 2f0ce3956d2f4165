"""A coarse drawing together with what it cost and how right it is.

Drawings are encoded 0 = blank, k + 1 = class k, as in the whole package. Counts and transition matrices have axes
(m, k): drawn class, true class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RoughDrawing:
    """One drawing with what it cost and how right it is.

    Attributes:
        annotation: 0 = blank, k + 1 = class k; same shape as the label map.
        kind: ``"positive"`` ("this is class k") or ``"negative"`` ("this is not class k").
        counts: number of voxels drawn m whose true class is k, axes (m, k), ``(L, L)``.
        class_voxels: number of voxels of each true class, ``(L,)``.
        contour_length_mm: length of all outlines drawn.
        corners: number of their corners, that is, mouse clicks.
    """

    annotation: NDArray[Any]
    kind: Literal["positive", "negative"]
    counts: NDArray[np.int64]
    class_voxels: NDArray[np.int64]
    contour_length_mm: float = 0.0
    corners: int = 0

    @property
    def drawn_voxels(self) -> int:
        """Number of voxels that are not blank."""
        return int(self.counts.sum())

    @property
    def coverage(self) -> NDArray[np.float64]:
        """Share of the voxels of each true class that carry a statement, ``(L,)``; NaN for a class that is absent."""
        with np.errstate(invalid="ignore"):
            return self.counts.sum(axis=0) / self.class_voxels

    @property
    def error_rate(self) -> float:
        """Share of the drawn voxels whose statement is wrong; 0 for an empty drawing."""
        right = np.trace(self.counts) if self.kind == "positive" else self.counts.sum() - np.trace(self.counts)
        return 1 - float(right) / self.drawn_voxels if self.drawn_voxels else 0.0

    @property
    def class_error_rates(self) -> NDArray[np.float64]:
        """Share of wrong voxels among those drawn as each class m, ``(L,)``; NaN for a class that is not drawn."""
        with np.errstate(invalid="ignore"):
            same_class = np.diag(self.counts) / self.counts.sum(axis=1)
        return 1 - same_class if self.kind == "positive" else same_class

    @property
    def transition_matrix(self) -> NDArray[np.float64]:
        """``p(drawn m | true k)`` over the drawn voxels, axes (m, k); a column of the identity where k is not drawn."""
        return transition_matrix_of(self.counts)


def drawn_counts(
    annotation: NDArray[np.integer], label_map: NDArray[np.integer], num_classes: int
) -> NDArray[np.int64]:
    """Number of voxels drawn m whose true class is k, axes (m, k); blank voxels are left out."""
    drawn = annotation > 0
    pairs = (annotation[drawn].astype(np.int64) - 1) * num_classes + label_map[drawn]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def transition_matrix_of(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """``p(drawn m | true k)`` from counts with axes (m, k); a column without counts becomes that of the identity."""
    total = counts.sum(axis=0)
    return np.where(total > 0, counts / np.maximum(total, 1), np.eye(len(counts)))


def blank_drawing(shape: tuple[int, ...], num_classes: int) -> NDArray[Any]:
    """An empty drawing, in the smallest type that can hold its codes."""
    return np.zeros(shape, np.uint8 if num_classes < 255 else np.uint16)
