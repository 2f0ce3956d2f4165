"""An evaluation as terminal text, CSV and JSON: figures together with the definitions that they follow."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunet_weak.evaluation.metrics import EMPTY_MASK_POLICY, METRICS, SURFACE_DEFINITION
from nnunet_weak.evaluation.paired_tests import TEST_DEFINITION
from nnunet_weak.evaluation.summary import MEAN_OVER_LABELS

CSV_COLUMNS = [
    "case",
    "label",
    "method",
    "status",
    *(metric.key for metric in METRICS),
    "prediction_mm3",
    "reference_mm3",
]
COUNTS_DEFINITION = (
    "cases: cases with a value; 'one empty': of these, cases where one mask is empty (penalised); 'both empty': "
    "further cases, left out. "
    "+- is the standard deviation over cases."
)


def definitions(nsd_tolerance_mm: float) -> dict[str, str]:
    """What every figure means, by its title."""
    return {
        **{metric.title: metric.definition for metric in METRICS},
        "NSD tolerance": f"{nsd_tolerance_mm:g} mm, inclusive",
        "Surface": SURFACE_DEFINITION,
        **{f"If {condition}": rule for condition, rule in EMPTY_MASK_POLICY.items()},
        "Table": COUNTS_DEFINITION,
        "Test": TEST_DEFINITION,
    }


def summary_table(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary with `mean +- sd` cells, labels together, for people to read."""
    order = {label: position for position, label in enumerate(summary["label"].unique())}
    if summary["label"].nunique() == 2:
        summary = summary[summary["label"] != MEAN_OVER_LABELS]  # of a single label, it would only repeat it
    rows = summary.sort_values("label", key=lambda column: column.map(order), kind="stable")
    table = rows[["label", "method", "cases", "one_empty", "both_empty"]].rename(
        columns=lambda name: name.replace("_", " ")
    )
    for metric in METRICS:
        digits = 3 if metric.higher_is_better else 2
        cells = zip(rows[f"{metric.key}_mean"], rows[f"{metric.key}_sd"], strict=True)
        table[metric.title] = [_mean_sd(mean, sd, digits) for mean, sd in cells]
    return table


def comparison_table(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The paired tests with rounded cells and titles, for people to read."""
    by_key = {metric.key: metric for metric in METRICS}
    table = comparisons[["metric", "label", "baseline", "pairs"]].copy()
    table["metric"] = [by_key[key].title for key in comparisons["metric"]]
    differences = zip(comparisons["metric"], comparisons["median_difference"], strict=True)
    table["median difference"] = [_signed(by_key[key], value) for key, value in differences]
    table["p"] = [_p_value(p) for p in comparisons["p"]]
    table["p (Holm)"] = [_p_value(p) for p in comparisons["p_holm"]]
    return table


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """One row for each case, label and method."""
    write_in_place(path, frame[CSV_COLUMNS].to_csv(index=False))


def write_json(
    path: Path, frame: pd.DataFrame, summary: pd.DataFrame, comparisons: pd.DataFrame, settings: Mapping[str, Any]
) -> None:
    """Settings, definitions, summary, tests and cases in one file; `null` where a value is not defined."""
    content = {
        "settings": dict(settings),
        "definitions": definitions(settings["nsd_tolerance_mm"]),
        "summary": _records(summary),
        "comparisons": _records(comparisons),
        "cases": _records(frame[CSV_COLUMNS]),
    }
    write_in_place(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_in_place(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows = frame.to_dict("records")
    return [
        {str(k): None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()} for row in rows
    ]


def _mean_sd(mean: float, sd: float, digits: int) -> str:
    if np.isnan(mean):
        return "-"
    return f"{mean:.{digits}f}" + ("" if np.isnan(sd) else f" +- {sd:.{digits}f}")


def _signed(metric: Any, value: float) -> str:
    if np.isnan(value):
        return "-"
    verdict = "" if value == 0 else " better" if (value > 0) == metric.higher_is_better else " worse"
    return f"{value:+.4f}{verdict}"


def _p_value(p: float) -> str:
    return "-" if np.isnan(p) else "<0.0001" if p < 1e-4 else f"{p:.4f}"
