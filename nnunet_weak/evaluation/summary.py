"""Mean and standard deviation of every method, label by label and over all labels."""

from __future__ import annotations

import pandas as pd

from nnunet_weak.evaluation.metrics import METRICS

MEAN_OVER_LABELS = "mean over labels"


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and sample standard deviation over cases (never over patients), blank values left out.

    Args:
        frame: From `evaluate_folders`.

    Returns:
        One row for each method and label: method, label, cases (with a value of Dice), one_empty, both_empty, and
        METRIC_mean and METRIC_sd for every metric. A last row for each method, labelled `MEAN_OVER_LABELS`, has the
        mean of the labels' means, as nnU-Net's `foreground_mean`; its standard deviations are blank.
    """
    keys = [metric.key for metric in METRICS]
    rows = []
    for method, of_method in frame.groupby("method", sort=False):
        of_labels = []
        for label, values in of_method.groupby("label", sort=False):
            row = {"method": method, "label": label, **_counts(values)}
            for key in keys:
                row[f"{key}_mean"], row[f"{key}_sd"] = values[key].mean(), values[key].std()
            of_labels.append(row)
        overall = {
            "method": method,
            "label": MEAN_OVER_LABELS,
            **_counts(of_method),
            "cases": of_method["case"].nunique(),
        }
        means = pd.DataFrame(of_labels)
        for key in keys:
            overall[f"{key}_mean"], overall[f"{key}_sd"] = means[f"{key}_mean"].mean(), float("nan")
        rows += [*of_labels, overall]
    return pd.DataFrame(rows)


def _counts(values: pd.DataFrame) -> dict[str, int]:
    return {
        "cases": int(values["dice"].notna().sum()),
        "one_empty": int(values["status"].isin(["prediction empty", "reference empty"]).sum()),
        "both_empty": int((values["status"] == "both empty").sum()),
    }
