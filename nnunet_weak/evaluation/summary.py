"""Mean and standard deviation of every method, label by label and over all labels."""

from __future__ import annotations

import math

import pandas as pd

from nnunet_weak.evaluation.definitions import METRICS

MEAN_OVER_LABELS = "mean over labels"
ONE_EMPTY, BOTH_EMPTY = ("prediction empty", "reference empty"), ("both empty",)


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and sample standard deviation over cases (never over patients), blank values left out.

    Args:
        frame: From `evaluate_folders`.

    Returns:
        One row for each method and label: method, label, cases (with a value of Dice), one_empty, both_empty, and
        METRIC_mean and METRIC_sd for every metric. A last row for each method, labelled `MEAN_OVER_LABELS`, has the
        mean of the labels' means, as nnU-Net's `foreground_mean`; its standard deviations are blank.
    """
    counted = frame.assign(one_empty=frame["status"].isin(ONE_EMPTY), both_empty=frame["status"].isin(BOTH_EMPTY))
    statistics = {"cases": ("dice", "count"), "one_empty": ("one_empty", "sum"), "both_empty": ("both_empty", "sum")}
    for metric in METRICS:
        statistics |= {f"{metric.key}_mean": (metric.key, "mean"), f"{metric.key}_sd": (metric.key, "std")}
    parts = []
    for method, of_method in counted.groupby("method", sort=False):
        labels = of_method.groupby("label", sort=False).agg(**statistics)
        overall = labels.mean()
        overall[[f"{metric.key}_sd" for metric in METRICS]] = math.nan
        overall["cases"] = of_method["case"].nunique()
        overall[["one_empty", "both_empty"]] = labels[["one_empty", "both_empty"]].sum()
        labels.loc[MEAN_OVER_LABELS] = overall
        labels.insert(0, "method", method)
        parts.append(labels.reset_index(names="label"))
    counts = dict.fromkeys(("cases", "one_empty", "both_empty"), int)
    return pd.concat(parts, ignore_index=True).astype(counts)


def summary_table(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary with `mean +- sd` cells, labels together, for people to read."""
    order = {label: position for position, label in enumerate(summary["label"].unique())}
    if len(order) == 2:
        summary = summary[summary["label"] != MEAN_OVER_LABELS]  # of a single label, it would only repeat it
    rows = summary.sort_values("label", key=lambda column: column.map(order), kind="stable")
    table = rows[["label", "method", "cases", "one_empty", "both_empty"]]
    table = table.rename(columns=lambda name: name.replace("_", " "))
    for metric in METRICS:
        cells = zip(rows[f"{metric.key}_mean"], rows[f"{metric.key}_sd"], strict=True)
        table[metric.title] = [_mean_sd(mean, sd, 3 if metric.higher_is_better else 2) for mean, sd in cells]
    return table


def _mean_sd(mean: float, sd: float, digits: int) -> str:
    if math.isnan(mean):
        return "-"
    return f"{mean:.{digits}f}" + ("" if math.isnan(sd) else f" +- {sd:.{digits}f}")
