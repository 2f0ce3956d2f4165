"""Tables of the documentation from files of results, one for each data set.

    python -m benchmarks.tables --results benchmarks/results --baseline full-Stock

Seeds of a row are averaged case by case; of Dice the standard deviation of the seeds' means is given.
p: Wilcoxon's signed-rank test of Dice against the baseline over patients, the smallest over labels after Holm's
correction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.data import patient_of
from nnunet_weak.evaluation.paired_tests import compare
from nnunet_weak.options import option, parse

METRICS = {"dice": ("Dice", 3), "hd95_mm": ("HD95 (mm)", 1), "assd_mm": ("ASSD (mm)", 2), "nsd": ("NSD", 3)}


@dataclass(frozen=True, kw_only=True)
class Options:
    results: Path = option(metavar="DIR", help="folder of results")
    baseline: str = option(default="", metavar="ANNOTATION-TRAINER", help="row to test against (default: no tests)")


def print_tables(results: Iterable[Mapping[str, Any]], baseline: str = "") -> None:
    """Print a table in Markdown for each data set."""
    results = list(results)
    for data in dict.fromkeys(result["row"]["data"] for result in results):
        own = [result for result in results if result["row"]["data"] == data]
        print(f"\n**{data}**\n\n{table(own, baseline)}")
        if all("metrics_largest_component" in result for result in own):
            print(f"\nThe largest component of each class:\n\n{table(own, baseline, 'metrics_largest_component')}")


def table(results: list[Mapping[str, Any]], baseline: str = "", metrics: str = "metrics") -> str:
    """One row for each annotation and trainer: Dice of each label, means of the metrics, p."""
    titles, dice_of_seeds, parts = {}, {}, []
    for result in results:
        row = result["row"]
        method = f"{row['annotation']}-{row['trainer']}"
        titles[method] = result["annotation"], row["trainer"] or "none"
        parts.append(pd.DataFrame(result[metrics]).assign(method=method))
        dice_of_seeds.setdefault(method, []).append(parts[-1].groupby("label")["dice"].mean().mean())
    baseline = baseline if baseline in titles else ""
    columns = list(METRICS)
    frame = pd.concat(parts).groupby(["method", "case", "label"], sort=False)[columns].mean().reset_index()
    patients = {case: str(patient_of(case)) for case in frame["case"]}
    labels = list(frame["label"].unique())
    shown = labels if len(labels) > 1 else []
    heads = ["learned from", "trainer", "seeds", *(f"Dice {label}" for label in shown)]
    heads += [title for title, _ in METRICS.values()] + (["p"] if baseline else [])
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for method, title in titles.items():
        own = frame[frame["method"] == method]
        means = own.groupby("label")[columns].mean()
        seeds = dice_of_seeds[method]
        cells = [*title, str(len(seeds)), *(f"{means['dice'][label]:.3f}" for label in shown)]
        measured = {key: f"{means[key].mean():.{digits}f}" for key, (_, digits) in METRICS.items()}
        if len(seeds) > 1:
            measured["dice"] += f" (SD {pd.Series(seeds).std():.3f})"
        cells += measured.values()
        if baseline:
            tested = compare(frame, method, baseline, "dice", patients) if method != baseline else None
            cells.append("" if tested is None else f"{tested['p_holm'].min():.2g}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    options = parse(Options, None, description=__doc__)
    print_tables([json.loads(path.read_text()) for path in sorted(options.results.glob("*.json"))], options.baseline)


if __name__ == "__main__":
    main()
