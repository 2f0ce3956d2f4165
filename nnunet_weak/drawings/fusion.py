"""Fusing several annotators' maps into one: the baselines that RefineSeg's transition matrices compete with.

Maps are positive drawings, encoded 0 = blank, k + 1 = class k, all of one shape; blank voxels have no vote. SimpleITK's
label voting and multi-label STAPLE know no missing votes, they would take "blank" for a class that annotators see, so
both are written here for votes that may be missing.

Reference: Dawid and Skene, Applied Statistics 1979; Warfield et al. (STAPLE), IEEE TMI 2004.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class StapleResult:
    """Fused map and what the annotators are like.

    Attributes:
        annotation: most probable class + 1 per voxel; 0 where every annotator left a blank.
        transition_matrices: per annotator ``p(drawn m | true k)``, axes (annotator, m, k).
    """

    annotation: NDArray[Any]
    transition_matrices: NDArray[np.float64]


def majority_vote(annotations: Sequence[NDArray[np.integer]], num_classes: int) -> NDArray[Any]:
    """Class with the most votes per voxel; blank where nobody votes and where the vote is a tie."""
    patterns, of_voxel, _ = _vote_patterns(annotations)
    counts = np.stack([(patterns == k).sum(axis=1) for k in range(1, num_classes + 1)], axis=1)
    winner = counts.argmax(axis=1) + 1
    winner[(counts == counts.max(axis=1, keepdims=True)).sum(axis=1) > 1] = 0
    return winner[of_voxel].reshape(annotations[0].shape).astype(annotations[0].dtype)


def staple(
    annotations: Sequence[NDArray[np.integer]],
    num_classes: int,
    *,
    max_iterations: int = 100,
    tolerance: float = 1e-6,
    initial_diagonal: float = 0.9,
) -> StapleResult:
    """Multi-label STAPLE with missing votes: expectation maximisation over the truth and each annotator's matrix.

    Class frequencies start from the votes and are estimated too. Voxels with equal votes are handled as one, so the
    time hardly depends on the number of voxels.

    Args:
        annotations: one map per annotator.
        num_classes: ``L``, background included.
        max_iterations: upper limit of iterations.
        tolerance: stop when no matrix entry changes by more.
        initial_diagonal: every annotator's assumed rate of right votes at the start.
    """
    patterns, of_voxel, weight = _vote_patterns(annotations)
    somebody_voted = patterns.any(axis=1)
    off_diagonal = (1 - initial_diagonal) / max(num_classes - 1, 1)
    matrices = np.full((len(annotations), num_classes, num_classes), off_diagonal)
    matrices[:, np.arange(num_classes), np.arange(num_classes)] = initial_diagonal
    frequency = np.array([(weight[:, None] * (patterns == k)).sum() for k in range(1, num_classes + 1)], float)
    frequency /= max(frequency.sum(), 1.0)
    weight = weight * somebody_voted
    posterior = _posterior(patterns, matrices, frequency)
    for _ in range(max_iterations):
        previous, matrices = matrices, matrices.copy()
        for annotator, vote in enumerate(patterns.T):
            counts = np.stack([((vote == m) * weight) @ posterior for m in range(1, num_classes + 1)])
            total = counts.sum(axis=0)
            seen = total > 0
            matrices[annotator][:, seen] = counts[:, seen] / total[seen]
        if weight.sum():
            frequency = weight @ posterior / weight.sum()
        posterior = _posterior(patterns, matrices, frequency)
        if np.abs(matrices - previous).max() < tolerance:
            break
    fused = np.where(somebody_voted, posterior.argmax(axis=1) + 1, 0)
    return StapleResult(fused[of_voxel].reshape(annotations[0].shape).astype(annotations[0].dtype), matrices)


def _posterior(
    patterns: NDArray[np.integer], matrices: NDArray[np.float64], frequency: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probability of each true class per pattern of votes, ``(patterns, L)``."""
    log_posterior = np.log(np.maximum(frequency, 1e-300))[None].repeat(len(patterns), axis=0)
    for vote, log_matrix in zip(patterns.T, np.log(np.maximum(matrices, 1e-300)), strict=True):
        drawn = vote > 0
        log_posterior[drawn] += log_matrix[vote[drawn] - 1]
    posterior = np.exp(log_posterior - log_posterior.max(axis=1, keepdims=True))
    return posterior / posterior.sum(axis=1, keepdims=True)


def _vote_patterns(
    annotations: Sequence[NDArray[np.integer]],
) -> tuple[NDArray[np.integer], NDArray[np.intp], NDArray[np.intp]]:
    """Different combinations of votes ``(patterns, annotators)``, the one of every voxel, and how often each occurs."""
    shapes = {annotation.shape for annotation in annotations}
    if len(shapes) != 1:
        raise ValueError(f"one or more annotation maps of one shape are needed, got the shapes {sorted(shapes)}")
    votes = [annotation.ravel().astype(np.int64) for annotation in annotations]
    code = np.zeros_like(votes[0])
    for vote in votes:
        # Renumbering after each annotator keeps the codes small however many annotators there are.
        code = np.unique(code * (vote.max(initial=0) + 1) + vote, return_inverse=True)[1]
    _, first, of_voxel, count = np.unique(code, return_index=True, return_inverse=True, return_counts=True)
    return np.stack([vote[first] for vote in votes], axis=1), of_voxel, count
