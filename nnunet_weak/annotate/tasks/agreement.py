"""How far raters agree: weighted kappa of the qualities, kappa of the error types, and Bland-Altman's limits.

Pairs of raters, for all regions together and for each, from the scores of regions that both rated.

References: Cohen, "Weighted kappa", Psychological Bulletin 1968; Bland and Altman, Lancet 1986.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from nnunet_weak.annotate.records.states import StateFolder
from nnunet_weak.annotate.study import Study

ALL = "all regions"
Scores = Mapping[tuple[str, str], tuple[int, str]]
"""Quality and error type by case and region."""

_LIMIT = 1.96


def agreement(states: StateFolder, study: Study) -> list[dict[str, Any]]:
    """A row for each pair of raters and region; no row without a pair of raters."""
    scores = {rater: _scores_of(rater, states, study) for rater in states.annotators()}
    rows = []
    for one, other in combinations(scores, 2):
        for region in (ALL, *study.region_names):
            both = [key for key in scores[one] if key in scores[other] and region in (ALL, key[1])]
            if both:
                rows.append(
                    {
                        "raters": [one, other],
                        "region": region,
                        **_compared([scores[one][key] for key in both], [scores[other][key] for key in both]),
                    }
                )
    return rows


def _scores_of(rater: str, states: StateFolder, study: Study) -> Scores:
    found = {}
    for case in study.images:
        for region, entry in states.read(case, rater).content.get("regions", {}).items():
            if entry["quality"] is not None and entry["error"] is not None and not entry["cannot_judge"]:
                found[case, region] = (entry["quality"], entry["error"])
    return found


def _compared(one: Sequence[tuple[int, str]], other: Sequence[tuple[int, str]]) -> dict[str, Any]:
    from sklearn.metrics import cohen_kappa_score

    a, b = ([quality for quality, _ in scores] for scores in (one, other))
    errors = [[error for _, error in scores] for scores in (one, other)]
    difference = np.subtract(a, b)
    deviation = float(difference.std(ddof=1)) if len(difference) > 1 else math.nan
    mean = float(difference.mean())
    values = {
        "kappa_quality": _kappa(cohen_kappa_score, a, b, labels=range(6), weights="quadratic"),
        "kappa_error": _kappa(cohen_kappa_score, *errors),
        "same_quality": float((difference == 0).mean()),
        "mean_difference": mean,
        "lower_limit": mean - _LIMIT * deviation,
        "upper_limit": mean + _LIMIT * deviation,
    }
    return {"count": len(a), **{name: None if math.isnan(value) else value for name, value in values.items()}}


def _kappa(score: Any, a: Sequence[Any], b: Sequence[Any], **options: Any) -> float:
    if len(set(a) | set(b)) < 2:
        return math.nan  # both always say the same: chance alone would agree as well
    return float(score(a, b, **options))
