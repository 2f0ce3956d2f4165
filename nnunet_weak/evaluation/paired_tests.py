"""Paired comparison of two methods on the same cases: Wilcoxon's signed-rank test, corrected after Holm over labels.

Reference: Wilcoxon, Biometrics Bulletin 1 (1945); Holm, Scandinavian Journal of Statistics 6 (1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from nnunet_weak.errors import Problems
from nnunet_weak.evaluation.metrics import METRICS

TEST_DEFINITION = (
    "Two-sided Wilcoxon signed-rank test of method minus baseline over the cases (or patients) where both have a "
    "value; pairs without a difference are dropped (Wilcoxon's rule). p_holm is corrected after Holm over the labels, "
    "for each metric and baseline on its own; several baselines or metrics are not corrected for."
)


def compare(
    frame: pd.DataFrame, method: str, baseline: str, metric: str, patients: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Test one metric of two methods label by label.

    Args:
        frame: From `evaluate_folders`.
        method: Name of the method in the frame.
        baseline: Name of the method to compare it with.
        metric: Column, `dice` for example.
        patients: Case to patient. Values are averaged over a patient's cases first, since these are not independent;
            only cases that both methods have a value for enter.

    Returns:
        One row for each label: label, metric, method, baseline, pairs, median_difference (method minus baseline), p,
        p_holm.

    Raises:
        InvalidInputError: Unknown method or metric, or a case without a patient.
    """
    _check(frame, (method, baseline), metric, patients)
    rows = []
    for label in frame["label"].unique():
        values = frame[frame["label"] == label].pivot(index="case", columns="method", values=metric)
        pairs = values.reindex(columns=[method, baseline]).astype(float).dropna()
        if patients is not None:
            pairs = pairs.groupby(pairs.index.map(dict(patients))).mean()
        # Differences that are equal but for rounding have to tie, and an equal pair has to be exactly 0.
        differences = np.round((pairs[method] - pairs[baseline]).to_numpy(), 12)
        rows.append(
            {
                "label": label,
                "metric": metric,
                "method": method,
                "baseline": baseline,
                "pairs": len(differences),
                "median_difference": float(np.median(differences)) if len(differences) else float("nan"),
                "p": _signed_rank_p(differences),
            }
        )
    table = pd.DataFrame(rows)
    table["p_holm"] = holm(table["p"].to_numpy())
    return table


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


def _signed_rank_p(differences: np.ndarray) -> float:
    if not len(differences):
        return float("nan")
    if not differences.any():
        return 1.0
    return float(wilcoxon(differences, zero_method="wilcox").pvalue)


def _check(frame: pd.DataFrame, methods: Sequence[str], metric: str, patients: Mapping[str, str] | None) -> None:
    problems = Problems()
    known = list(frame["method"].unique())
    for name in methods:
        if name not in known:
            problems.add(f"method {name}", f"not evaluated; there are {', '.join(known)}")
    allowed = [m.key for m in METRICS]
    if metric not in allowed:
        problems.add(f"metric {metric}", f"unknown; there are {', '.join(allowed)}")
    if patients is not None:
        both = set.intersection(*(set(frame["case"][frame["method"] == name]) for name in methods))
        without = sorted(both - set(patients))
        if without:
            problems.add(
                "patients",
                f"no patient for {len(without)} cases: {', '.join(without)}",
                "add a line case,patient for each",
            )
    problems.raise_if_any("comparison")
