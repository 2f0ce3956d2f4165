"""Rows of a table, each trained, predicted and measured, and kept as a file of results.

ROW.json holds the metrics of every held-out case, the date, the commit, the schedule. A row that has its file is done;
anything else continues where it stopped.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from benchmarks.annotations import ANNOTATIONS
from benchmarks.runs import HERE, DataFolder, Row, RunOptions
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.atomic import atomic_file
from nnunet_weak.options import record_of


def run_rows(rows: Sequence[Row], options: RunOptions) -> dict[Row, dict[str, Any]]:
    """Train, predict and measure rows one after the other, each with every seed; returns the results."""
    results = {}
    wanted = [
        row
        for first in rows
        for row in (Row(first.data, first.annotation, first.trainer, seed) for seed in options.seeds)
        if not options.rows or any(text in row.name for text in options.rows)
    ]
    for row in wanted:
        path = options.results / f"{row.name}.json"
        if path.exists():
            results[row] = json.loads(path.read_text())
            if results[row]["schedule"] != record_of(options):
                raise InvalidInputError(f"{path}: has another schedule (remedy: choose other --results)")
            continue
        print(f"\n=== {row.name}", flush=True)
        start = time.perf_counter()
        folder = DataFolder(options, row.data)
        predictions = ANNOTATIONS[row.annotation].predict(folder, row)
        results[row] = {
            "row": asdict(row),
            "annotation": ANNOTATIONS[row.annotation].title,
            "date": time.strftime("%Y-%m-%d"),
            "commit": commit_of_this(),
            "versions": {name: version(name) for name in ("nnunet_weak", "nnunetv2", "torch")},
            "schedule": record_of(options),
            "cases": folder.counts,
            "seconds": round(time.perf_counter() - start),
            "metrics": folder.evaluate(row.name, predictions),
        }
        if folder.data.one_component:
            kept = folder.largest_components(row.name, predictions)
            results[row]["metrics_largest_component"] = folder.evaluate(f"{row.name}-largest", kept)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as partial:
            partial.write_text(json.dumps(results[row], indent=1) + "\n")
    return results


def commit_of_this() -> str:
    """The commit of the scripts, for files of results."""
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
