"""Paired comparison of two methods on the same cases: Wilcoxon's signed-rank test, corrected after Holm over labels.

Reference: Wilcoxon, Biometrics Bulletin 1 (1945); Holm, Scandinavian Journal of Statistics 6 (1979).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from nnunet_weak.evaluation.definitions import METRICS, Metric


def compare(
    frame: pd.DataFrame, method: str, baseline: str, metric: str, patients: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Test one metric of two methods label by label.

    Args:
        frame: From `evaluate_folders`.
        method: Name of the method in the frame.
        baseline: Name of the method to compare it with.
        metric: Column, `dice` for example.
        patients: Case to patient, for every case. Values are averaged over a patient's cases first, since these are
            not independent; only cases that both methods have a value for enter.

    Returns:
        One row for each label: label, metric, method, baseline, pairs, median_difference (method minus baseline), p,
        p_holm.
    """
    rows = []
    for label in frame["label"].unique():
        values = frame[frame["label"] == label].pivot(index="case", columns="method", values=metric)
        pairs = values.reindex(columns=[method, baseline]).astype(float).dropna()
        if patients is not None:
            pairs = pairs.groupby(pairs.index.map(dict(patients))).mean()
        # Differences that are equal but for rounding have to tie, and an equal pair has to be exactly 0.
        differences = np.round((pairs[method] - pairs[baseline]).to_numpy(), 12)
        if not differences.size:
            median, p = math.nan, math.nan
        else:
            median = float(np.median(differences))
            p = float(wilcoxon(differences).pvalue) if differences.any() else 1.0
        rows.append((label, metric, method, baseline, len(differences), median, p))
    columns = ["label", "metric", "method", "baseline", "pairs", "median_difference", "p"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(p_holm=holm(table["p"].to_numpy()))


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's step-down correction: the k-th smallest of m p-values times m - k + 1, never falling, at most 1.

    NaN stands for no test: it stays NaN and does not count.
    """
    p = np.asarray(p_values, float)
    corrected = np.full(p.shape, np.nan)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * factors))
    return corrected


def comparison_table(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The paired tests with rounded cells and titles, for people to read."""
    metrics = [next(metric for metric in METRICS if metric.key == key) for key in comparisons["metric"]]
    table = comparisons[["metric", "label", "baseline", "pairs"]].assign(metric=[metric.title for metric in metrics])
    differences = zip(metrics, comparisons["median_difference"], strict=True)
    table["median difference"] = [_difference(metric, value) for metric, value in differences]
    table["p"] = comparisons["p"].map(_p_value)
    table["p (Holm)"] = comparisons["p_holm"].map(_p_value)
    return table


def _difference(metric: Metric, value: float) -> str:
    if math.isnan(value):
        return "-"
    verdict = "" if value == 0 else " better" if (value > 0) == metric.higher_is_better else " worse"
    return f"{value:+.4f}{verdict}"


def _p_value(p: float) -> str:
    return "-" if math.isnan(p) else "<0.0001" if p < 1e-4 else f"{p:.4f}"
