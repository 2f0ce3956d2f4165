from __future__ import annotations

import numpy as np

from nnunet_weak.simulation.rough_drawing import drawn_counts, transition_matrix_of


def test_counts_by_hand():
    annotation, truth = np.array([[[0, 1, 2, 2, 3]]]), np.array([[[1, 0, 1, 2, 2]]])
    counts = drawn_counts(annotation, truth, 3)
    assert counts.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    assert transition_matrix_of(counts).tolist() == [[1, 0, 0], [0, 1, 0.5], [0, 0, 0.5]]
    assert transition_matrix_of(np.zeros((2, 2), int)).tolist() == [[1, 0], [0, 1]]
