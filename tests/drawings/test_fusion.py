from __future__ import annotations

import numpy as np
import pytest

from nnunet_weak.drawings.fusion import majority_vote, staple


def test_majority_by_hand():
    #              clear, one blank, tie, all blank, one voter
    a = np.array([[[2, 0, 1, 0, 3]]], np.uint8)
    b = np.array([[[2, 1, 2, 0, 0]]], np.uint8)
    c = np.array([[[1, 1, 0, 0, 0]]], np.uint8)
    fused = majority_vote([a, b, c], 3)
    assert fused.tolist() == [[[2, 1, 0, 0, 3]]] and fused.dtype == np.uint8


def annotators(matrices: list[np.ndarray], blank_share: float, seed: int = 0):
    random = np.random.default_rng(seed)
    truth = random.choice(3, size=(9, 20, 31), p=[0.5, 0.3, 0.2])
    maps = []
    for matrix in matrices:
        cumulative = matrix.cumsum(axis=0)[:, truth]
        drawn = (random.random(truth.shape) > cumulative).sum(axis=0) + 1
        maps.append(np.where(random.random(truth.shape) < blank_share, 0, drawn).astype(np.uint8))
    return truth, maps


GOOD = np.full((3, 3), 0.05) + 0.85 * np.eye(3)
SWAPS_1_AND_2 = np.array([[0.9, 0.1, 0.1], [0.05, 0.2, 0.7], [0.05, 0.7, 0.2]])


def test_staple_finds_the_planted_matrices_despite_blanks():
    planted = [GOOD, GOOD, SWAPS_1_AND_2]
    _, maps = annotators(planted, blank_share=0.3)
    np.testing.assert_allclose(staple(maps, 3)[1], planted, atol=0.06)


def test_staple_beats_the_majority_where_most_annotators_share_a_mistake_of_low_value():
    truth, maps = annotators([GOOD, GOOD, SWAPS_1_AND_2], blank_share=0.3)
    fused, voted = staple(maps, 3)[0], majority_vote(maps, 3)
    assert (fused == truth + 1).mean() > (voted == truth + 1).mean() + 0.05


def test_staple_of_agreeing_annotators_changes_nothing_and_keeps_blanks():
    _, maps = annotators([np.eye(3)], blank_share=0.4)
    fused, matrices = staple([maps[0], maps[0]], 3)
    assert np.array_equal(fused, maps[0])
    np.testing.assert_allclose(matrices, [np.eye(3)] * 2, atol=1e-3)


def test_blank_maps_stay_blank_and_finite():
    blank = np.zeros((2, 3, 4), np.uint8)
    fused, matrices = staple([blank, blank], 3)
    assert not fused.any() and np.isfinite(matrices).all()
    assert not majority_vote([blank, blank], 3).any()


def test_many_annotators_do_not_overflow_the_numbering_of_votes():
    truth, maps = annotators([GOOD] * 45, blank_share=0.5)  # 4^45 combinations
    assert (staple(maps, 3)[0] == truth + 1).mean() > 0.999


def test_maps_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        majority_vote([np.zeros((2, 3)), np.zeros((3, 2))], 2)
