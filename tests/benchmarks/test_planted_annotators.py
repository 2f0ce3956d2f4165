from __future__ import annotations

import numpy as np
import pytest

from benchmarks.planted_annotators import Confusion, draw_planted, transition_matrix_of
from nnunet_weak.simulation.drawings import drawn_counts

SPACING_MM = (6.0, 1.5, 1.0)


def heart(shape: tuple[int, int, int] = (5, 44, 60)) -> np.ndarray:
    """A disc (3) in a ring (2) beside a smaller disc (1), empty in the first slice; round in mm, not in voxels."""
    z, y, x = np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, SPACING_MM, strict=True)], indexing="ij")
    to_center = np.hypot(y - 33, x - 36)
    labels = np.zeros(shape, np.int64)
    labels[np.hypot(y - 33, x - 12) < 8] = 1
    labels[to_center < 17] = 2
    labels[to_center < 11] = 3
    labels[z == 0] = 0
    return labels


def test_planted_matrix_is_what_the_counts_say():
    labels = heart()
    drawing = draw_planted(labels, SPACING_MM, [Confusion(0, 1, 3.0), Confusion(3, 2, 2.5)], num_classes=4, seed=0)
    changed = drawing - 1 != labels
    assert set(zip(labels[changed], drawing[changed] - 1, strict=True)) == {(0, 1), (3, 2)}
    matrix = transition_matrix_of(drawn_counts(drawing, labels, 4))
    np.testing.assert_allclose(matrix.sum(axis=0), 1)
    assert matrix[1, 0] == pytest.approx((changed & (labels == 0)).sum() / (labels == 0).sum())
    assert matrix[2, 3] > 0.1 and matrix[1, 1] == matrix[2, 2] == 1


def test_planted_swap_reaches_as_far_as_stated_in_mm():
    labels = np.zeros((2, 9, 12), np.int64)
    labels[:, :, :6], labels[:, :, 6:] = 1, 2
    drawing = draw_planted(labels, SPACING_MM, [Confusion(1, 2, 2.0), Confusion(2, 1, 2.0)], num_classes=3, seed=0)
    assert drawing[0, 4].tolist() == [2, 2, 2, 2, 3, 3, 2, 2, 3, 3, 3, 3]


def test_planted_share_and_blanks_are_met_on_average():
    labels = heart()
    shares, blanks = [], []
    for seed in range(40):
        drawing = draw_planted(
            labels, SPACING_MM, [Confusion(3, 2, 99.0, share=0.3)], num_classes=4, seed=seed, blank_share=0.4
        )
        shares.append(transition_matrix_of(drawn_counts(drawing, labels, 4))[2, 3])
        blanks.append((drawing == 0).mean())
    assert np.mean(shares) == pytest.approx(0.3, abs=0.1)
    assert np.mean(blanks) == pytest.approx(0.4, abs=0.1)


def test_matrix_of_counts_by_hand():
    annotation, truth = np.array([[[0, 1, 2, 2, 3]]]), np.array([[[1, 0, 1, 2, 2]]])
    assert transition_matrix_of(drawn_counts(annotation, truth, 3)).tolist() == [[1, 0, 0], [0, 1, 0.5], [0, 0, 0.5]]
    assert transition_matrix_of(np.zeros((2, 2), int)).tolist() == [[1, 0], [0, 1]]
