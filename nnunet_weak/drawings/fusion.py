"""Fusion of several annotators' maps into one: the baselines of RefineSeg's transition matrices.

Maps are positive drawings, encoded 0 = blank, k + 1 = class k, all of one shape; blank voxels have no vote. SimpleITK's
label voting and multi-label STAPLE know no missing votes: they would take "blank" for a class.

Reference: Dawid and Skene, Applied Statistics 1979; Warfield et al. (STAPLE), IEEE TMI 2004.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX_ITERATIONS = 100
_TOLERANCE = 1e-6
_INITIAL_DIAGONAL = 0.9
_LEAST_PROBABILITY = 1e-300


def majority_vote(annotations: Sequence[NDArray[np.integer]], num_classes: int) -> NDArray[Any]:
    """Take the class with the most votes at each voxel; blank where nobody drew and where the vote is a tie."""
    votes, pattern_of_voxel, _ = _vote_patterns(annotations, num_classes)
    counts = votes.sum(1)
    is_tie = (counts == counts.max(1, keepdims=True)).sum(1) > 1
    fused = np.where(is_tie, 0, counts.argmax(1) + 1)
    return fused[pattern_of_voxel].reshape(annotations[0].shape).astype(annotations[0].dtype)


def staple(annotations: Sequence[NDArray[np.integer]], num_classes: int) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Multi-label STAPLE with missing votes: expectation maximisation over the truth and each annotator's matrix.

    Class frequencies start from the votes and are estimated too.

    Args:
        annotations: One map for each annotator.
        num_classes: L, background included.

    Returns:
        The fused map: the most probable class + 1 of each voxel, 0 where nobody drew. And p(drawn m | true k) of each
        annotator, axes (annotator, m, k).
    """
    votes, pattern_of_voxel, count = _vote_patterns(annotations, num_classes)
    drawn = votes.any((1, 2))
    weight = count * drawn
    off_diagonal = (1 - _INITIAL_DIAGONAL) / max(num_classes - 1, 1)
    initial = np.where(np.eye(num_classes, dtype=bool), _INITIAL_DIAGONAL, off_diagonal)
    matrices = np.stack([initial] * len(annotations))
    frequency = np.einsum("p,pam->m", weight, votes)
    frequency /= max(frequency.sum(), 1)
    posterior = _posterior(votes, matrices, frequency)
    for _ in range(_MAX_ITERATIONS):
        previous = matrices
        joint = np.einsum("pam,pk->amk", weight[:, None, None] * votes, posterior, optimize=True)
        total = joint.sum(1, keepdims=True)
        matrices = np.where(total > 0, joint / np.maximum(total, _LEAST_PROBABILITY), previous)
        frequency = weight @ posterior / max(weight.sum(), 1)
        posterior = _posterior(votes, matrices, frequency)
        if np.abs(matrices - previous).max() < _TOLERANCE:
            break
    fused = np.where(drawn, posterior.argmax(1) + 1, 0)[pattern_of_voxel]
    return fused.reshape(annotations[0].shape).astype(annotations[0].dtype), matrices


def _posterior(
    votes: NDArray[np.float64], matrices: NDArray[np.float64], frequency: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probability of each true class for each pattern of votes, (patterns, L)."""
    log_matrices = np.log(np.maximum(matrices, _LEAST_PROBABILITY))
    log_posterior = np.einsum("pam,amk->pk", votes, log_matrices, optimize=True)
    log_posterior += np.log(np.maximum(frequency, _LEAST_PROBABILITY))
    posterior = np.exp(log_posterior - log_posterior.max(1, keepdims=True))
    return posterior / posterior.sum(1, keepdims=True)


def _vote_patterns(
    annotations: Sequence[NDArray[np.integer]], num_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """Distinct patterns of votes, one-hot (patterns, annotators, L); pattern of each voxel; voxels of each pattern."""
    shapes = {annotation.shape for annotation in annotations}
    if len(shapes) != 1:
        raise ValueError(f"one or more annotation maps of one shape are needed, got the shapes {sorted(shapes)}")
    drawn = [annotation.ravel().astype(np.int64) for annotation in annotations]
    code = np.zeros_like(drawn[0])
    for one in drawn:  # renumbered after each annotator, which keeps the codes small for any number of annotators
        code = np.unique(code * (one.max(initial=0) + 1) + one, return_inverse=True)[1]
    _, first, pattern_of_voxel, count = np.unique(code, return_index=True, return_inverse=True, return_counts=True)
    patterns = np.stack([one[first] for one in drawn], axis=1)
    return (patterns[..., None] == np.arange(1, num_classes + 1)).astype(float), pattern_of_voxel, count
