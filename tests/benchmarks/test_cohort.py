from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.cohort import Options, run
from benchmarks.quality import rank


@pytest.mark.slow
def test_a_small_cohort_in_parts_of_which_one_is_killed(tmp_path: Path):
    found = run(tmp_path, Options(scans=16, parts=2, size=(40, 36, 36)))
    assert found.equal
    assert found.kept >= 2 and found.repeated == 0


def test_orders_of_masks():
    dice = np.linspace(0.5, 0.95, 10)
    perfect, opposite = rank(dice, dice), rank(-dice, dice)
    assert (perfect.spearman, perfect.auc, perfect.found) == (pytest.approx(1), 1, 1)
    assert (opposite.spearman, opposite.auc, opposite.found) == (pytest.approx(-1), 0, 0)
    half = rank(np.array([0, 9, 1, 2, 3, 4, 5, 6, 7, 8.0]), dice)
    assert half.found == 0.5
