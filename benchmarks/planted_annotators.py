"""Annotators with a planted confusion, whose transition matrix is known: the test of whether a method finds it.

Label maps have axes (z, y, x), 0 = background; drawings are encoded 0 = blank, k + 1 = class k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from nnunet_weak.simulation.rough_outlines import distance_mm, patches


@dataclass(frozen=True)
class Confusion:
    """A planted mistake: class `true` within `reach_mm` of class `drawn` is drawn as `drawn`.

    `Confusion(0, 3, 4.0)` leaks class 3 into the background; `Confusion(1, 2, 3.0)` and `Confusion(2, 1, 3.0)`
    together swap two classes near their border. `share` of the voxels within reach are affected, in coherent patches.
    """

    true: int
    drawn: int
    reach_mm: float
    share: float = 1.0


def draw_planted(
    label_map: NDArray[np.integer],
    spacing_mm: Sequence[float],
    confusions: Sequence[Confusion],
    *,
    num_classes: int,
    seed: int,
    blank_share: float = 0.0,
) -> NDArray[np.integer]:
    """Draw every voxel, with known mistakes: the planted annotator of an experiment on transition matrices.

    All confusions refer to the true labels; a later one overrides an earlier one where both apply. The annotator's true
    matrix is `transition_matrix_of` the counts of drawn and true classes.

    Args:
        label_map: dense labels, axes (z, y, x).
        spacing_mm: voxel size along the same axes.
        confusions: the mistakes.
        num_classes: `L`, background included.
        seed: same seed, same drawing.
        blank_share: share of voxels left blank, in coherent patches, independent of the class.
    """
    annotation = (label_map + 1).astype(np.uint8 if num_classes < 255 else np.uint16)
    for number, confusion in enumerate(confusions):
        near = distance_mm(label_map == confusion.drawn, spacing_mm) <= confusion.reach_mm
        field = patches(label_map.shape, spacing_mm, 6 * confusion.reach_mm, np.random.default_rng([seed, number + 1]))
        hit = (label_map == confusion.true) & near & (field <= special.ndtri(confusion.share))
        annotation[hit] = confusion.drawn + 1
    if blank_share:
        wavelength_mm = 0.5 * float(np.median(np.array(label_map.shape) * spacing_mm))
        field = patches(label_map.shape, spacing_mm, wavelength_mm, np.random.default_rng([seed, 0]))
        annotation[field < special.ndtri(blank_share)] = 0
    return annotation


def transition_matrix_of(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """`p(drawn m | true k)` from counts with axes (m, k); a column without counts becomes that of the identity."""
    total = counts.sum(axis=0)
    return np.where(total > 0, counts / np.maximum(total, 1), np.eye(len(counts)))
