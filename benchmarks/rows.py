"""Rows of a table, each trained, predicted and measured, and kept as a file of results.

ROW.json holds the metrics of every held-out case, the date, the commit, the schedule. A row that has its file is done;
anything else continues where it stopped.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.annotations import ANNOTATIONS
from benchmarks.runs import HERE, DataFolder, Row, RunOptions
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.atomic import atomic_file
from nnunet_weak.options import record_of


def run_rows(rows: Sequence[Row], options: RunOptions) -> dict[Row, dict[str, Any]]:
    """Train, predict and measure rows, each with every seed; returns the results.

    Raises:
        SystemExit: Rows failed; all others have been run.
    """
    wanted, clock, failed = choose(rows, options), Clock(options.minutes), []

    def run_in_time(row: Row) -> dict[str, Any] | None:
        path = options.results / f"{row.name}.json"
        if path.exists():
            return _kept(path, options)
        if not clock.has_time_for(row.data):
            print(f"\n=== {row.name}: no time left", flush=True)
            return None
        print(f"\n=== {row.name}", flush=True)
        try:
            with clock.measure(row.data):
                return _run(row, path, options)
        except (Exception, SystemExit) as error:
            print(f"\n=== {row.name} failed: {error}", flush=True)
            failed.append(row.name)
            return None

    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(run_in_time, wanted))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
    return {row: result for row, result in zip(wanted, results, strict=True) if result}


def choose(rows: Sequence[Row], options: RunOptions) -> list[Row]:
    """The rows asked for, with their seeds, in the order of `--rows`."""
    every = [Row(row.data, row.annotation, row.trainer, seed) for row in rows for seed in options.seeds]
    if not options.rows:
        return every
    wanted = [row for text in options.rows for row in every if text in row.name]
    return list(dict.fromkeys(wanted))


class Clock:
    """The time that rows of a data set take, and whether one more ends in time."""

    def __init__(self, minutes: float | None) -> None:
        self._end = math.inf if minutes is None else time.perf_counter() + 60 * minutes
        self._seconds: dict[str, list[float]] = {}

    def has_time_for(self, data: str) -> bool:
        """Whether a row that takes as long as this data's do (median so far) ends in time."""
        return time.perf_counter() + statistics.median(self._seconds.get(data, [0.0])) < self._end

    @contextmanager
    def measure(self, data: str) -> Iterator[None]:
        """Measure a row that ends without an error."""
        start = time.perf_counter()
        yield
        self._seconds.setdefault(data, []).append(time.perf_counter() - start)


def _kept(path: Path, options: RunOptions) -> dict[str, Any]:
    result = json.loads(path.read_text())
    if result["schedule"] != record_of(options):
        raise InvalidInputError(f"{path}: has another schedule (remedy: choose other --results)")
    return result


def _run(row: Row, path: Path, options: RunOptions) -> dict[str, Any]:
    start = time.perf_counter()
    folder = DataFolder(options, row.data, row.name)
    predictions = ANNOTATIONS[row.annotation].predict(folder, row)
    result = {
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
        result["metrics_largest_component"] = folder.evaluate(f"{row.name}-largest", kept)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(result, indent=1) + "\n")
    return result


def commit_of_this() -> str:
    """The commit of the scripts, for files of results."""
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
