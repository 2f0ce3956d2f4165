from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from nnunet_weak.evaluation.paired_tests import compare, holm
from nnunet_weak.evaluation.summary import summarise


def frame_of(values):
    """Frame from {label: {method: [dice of case 0, 1, ...]}}."""
    rows = []
    for label, methods in values.items():
        for method, dices in methods.items():
            for case, dice in enumerate(dices):
                status = "both empty" if math.isnan(dice) else "measured"
                metrics = {"iou": dice, "hd95_mm": dice, "assd_mm": dice, "nsd": dice}
                rows.append(
                    {"case": f"c{case}", "label": label, "method": method, "status": status, "dice": dice, **metrics}
                )
    return pd.DataFrame(rows)


def test_holm_by_hand():
    # Sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2 (raised to 0.06), 0.2 * 1
    np.testing.assert_allclose(holm([0.03, 0.01, 0.2, 0.02]), [0.06, 0.04, 0.2, 0.06])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1, 1])
    np.testing.assert_allclose(holm([math.nan, 0.02, 0.03]), [math.nan, 0.04, 0.04])
    assert holm([]).size == 0


def test_six_gains_give_the_smallest_exact_p():
    """All of 2^6 sign patterns are equally likely, two of them are as extreme: p = 2/64."""
    base = np.full(6, 0.5)
    frame = frame_of({"organ": {"new": base + [0.01, 0.02, 0.03, 0.04, 0.05, 0.06], "old": base}})
    row = compare(frame, "new", "old", "dice").iloc[0]
    assert (row["pairs"], row["p"], row["p_holm"]) == (6, pytest.approx(2 / 64), pytest.approx(2 / 64))
    assert row["median_difference"] == pytest.approx(0.035)


def test_equals_scipy_and_corrects_over_labels():
    random = np.random.default_rng(3)
    values = {label: {"new": random.normal(0.05, 0.1, 15), "old": random.normal(0, 0.1, 15)} for label in "abc"}
    table = compare(frame_of(values), "new", "old", "dice")
    expected = [wilcoxon(np.round(v["new"] - v["old"], 12)).pvalue for v in values.values()]
    np.testing.assert_allclose(table["p"], expected)
    np.testing.assert_allclose(table["p_holm"], holm(expected))
    back = compare(frame_of(values), "old", "new", "dice")
    np.testing.assert_allclose(back["p"], table["p"])
    np.testing.assert_allclose(back["median_difference"], -table["median_difference"])


def test_equal_methods_give_one_and_absent_structures_are_no_pairs():
    same = compare(frame_of({"organ": {"new": [0.1, 0.2], "old": [0.1, 0.2]}}), "new", "old", "dice").iloc[0]
    assert (same["p"], same["median_difference"]) == (1, 0)
    none = compare(frame_of({"organ": {"new": [math.nan], "old": [math.nan]}}), "new", "old", "dice").iloc[0]
    assert none["pairs"] == 0 and math.isnan(none["p"]) and math.isnan(none["p_holm"])
    half = compare(frame_of({"organ": {"new": [0.3, 0.4, 0.5], "old": [0.1, math.nan, 0.1]}}), "new", "old", "dice")
    assert half.iloc[0]["pairs"] == 2


def test_patients_are_averaged_first():
    frame = frame_of({"organ": {"new": [0.9, 0.7, 0.6, 0.4], "old": [0.5, 0.7, 0.5, 0.4]}})
    row = compare(frame, "new", "old", "dice", {"c0": "p", "c1": "p", "c2": "q", "c3": "r"}).iloc[0]
    assert row["pairs"] == 3
    assert row["median_difference"] == pytest.approx(0.1)  # of 0.2, 0.1, 0.0


def test_summary_means_labels_not_rows():
    """Label a has three cases, b one (absent in the others): each label counts the same in the overall mean."""
    summary = summarise(frame_of({"a": {"m": [0.2, 0.4, 0.6]}, "b": {"m": [1.0, math.nan, math.nan]}}))
    a, b, overall = (row for _, row in summary.iterrows())
    assert (a["dice_mean"], a["dice_sd"], a["cases"]) == (pytest.approx(0.4), pytest.approx(0.2), 3)
    assert (b["dice_mean"], b["cases"], b["both_empty"]) == (1, 1, 2) and math.isnan(b["dice_sd"])
    assert overall["dice_mean"] == pytest.approx(0.7)
