"""An evaluation as CSV and JSON: figures together with the definitions that they follow."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nnunet_weak.evaluation.definitions import METRICS, definitions
from nnunet_weak.images.atomic import atomic_file
from nnunet_weak.tables import csv_text

COLUMNS = ["case", "label", "method", "status", *(metric.key for metric in METRICS), "prediction_mm3", "reference_mm3"]


@dataclass(frozen=True)
class Evaluation:
    """Results of one evaluation.

    Attributes:
        cases: From `evaluate_folders`.
        summary: From `summarise`.
        comparisons: Rows of `compare`, may be empty.
        settings: method, methods (name to folder), reference, labels (name to values), nsd_tolerance_mm, version, and
            other entries of the record.
    """

    cases: pd.DataFrame
    summary: pd.DataFrame
    comparisons: pd.DataFrame
    settings: Mapping[str, Any]

    @property
    def definitions(self) -> dict[str, str]:
        """Definition of every figure by its title."""
        return definitions(f"{self.settings['nsd_tolerance_mm']:g} mm")

    def csv(self) -> str:
        """One row for each case, label and method."""
        return csv_text(COLUMNS, self.cases[COLUMNS].itertuples(index=False))

    def json(self) -> str:
        """Settings, definitions, summary, tests and cases in one file; `null` where a value is not defined."""
        content = {
            "settings": self.settings,
            "definitions": self.definitions,
            "summary": _records(self.summary),
            "comparisons": _records(self.comparisons),
            "cases": _records(self.cases[COLUMNS]),
        }
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_texts(folder: Path, contents: Mapping[str, str]) -> None:
    """Write files of a folder, all of them or none; the folder is created."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        for name, text in contents.items():
            partial = files.enter_context(atomic_file(folder / name))
            partial.write_text(text, encoding="utf-8", newline="")


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            str(key): None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in row.items()
        }
        for row in frame.to_dict("records")
    ]
