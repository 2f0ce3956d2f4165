"""From the cells of a score table to what each person said of each region."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nnunet_weak.dataset.annotations import BEST_QUALITY
from nnunet_weak.errors import Problems
from nnunet_weak.scores.columns import Columns
from nnunet_weak.scores.scale import Scale
from nnunet_weak.scores.table_files import Grid
from nnunet_weak.scores.words import (
    ERROR_NAMES,
    NONE,
    NotUnderstoodError,
    cell_text,
    is_blank,
    parse_error,
    parse_quality,
)


@dataclass(frozen=True)
class Rating:
    """One person's score of one region, with the label of its row; the quality is NaN where the cell was refused."""

    row: str
    case: str
    region: str
    rater: str
    quality: float
    error: int


def read_ratings(
    grid: Grid, columns: Columns, scale: Scale, where: str, regions: Sequence[str] | None, problems: Problems
) -> list[Rating]:
    """The scores of all rows; what is wrong with a row is added to `problems`."""
    ratings = []
    for row in grid.rows:
        cells = [*row.cells, *([None] * (len(grid.header) - len(row.cells)))]
        place = f"{where}, {row.label}"
        if len(row.cells) > len(grid.header) and not grid.sheet:
            problems.add(
                place,
                f"{len(row.cells)} cells, but the header has {len(grid.header)}",
                "put quotes around cells with the delimiter in them; where decimals have commas, delimit by semicolons",
            )
            continue
        case = cell_text(cells[columns.case])
        scored = [
            (region, pair)
            for region, pair in columns.pairs.items()
            if not all(is_blank(cells[column]) for column in pair)
        ]
        if scored and not case:
            problems.add(place, "scores without a case", "write the case's name into every row")
            continue
        for region, pair in scored:
            if columns.layout == "long":
                region = cell_text(cells[columns.region]) if columns.region is not None else (regions or [""])[0]
                if not region:
                    problems.add(place, f"{case}: a score without a region", "write the region's name into every row")
                    continue
            value = _score(cells, pair, grid.header, f"({case}, {region})", place, scale, problems)
            rater = cell_text(cells[columns.rater]) if columns.rater is not None else ""
            # Also of a cell that was reported: its names are still to be checked, and nothing is combined then.
            ratings.append(Rating(row.label, case, region, rater, *(value or (math.nan, NONE))))
    return ratings


def _score(
    cells: Sequence[Any],
    pair: tuple[int, int],
    header: Sequence[str],
    who: str,
    place: str,
    scale: Scale,
    problems: Problems,
) -> tuple[float, int] | None:
    quality_cell, error_cell = (cells[column] for column in pair)
    at_quality, at_error = (f"{place}, column '{header[column]}' {who}" for column in pair)
    before = len(problems)
    raw: float | None = None
    error: int | None = None
    if is_blank(quality_cell):
        problems.add(
            at_quality, f"no quality, but the error is '{cell_text(error_cell)}'", "add the score, or clear the error"
        )
    else:
        try:
            raw = parse_quality(quality_cell, max(scale.best, scale.worst))
        except NotUnderstoodError as reason:
            problems.add(at_quality, f"quality '{cell_text(quality_cell)}': {reason}")
    if raw is not None and raw not in scale:
        low, high = sorted((scale.best, scale.worst))
        problems.add(
            at_quality,
            f"quality {raw:g} is outside {low:g} to {high:g}",
            "correct the score, or state the scale as BEST:WORST",
        )
        raw = None
    if not is_blank(error_cell):
        try:
            error = parse_error(error_cell)
        except NotUnderstoodError as reason:
            problems.add(at_error, f"error '{cell_text(error_cell)}': {reason}")
    if raw is None or len(problems) > before:
        return None
    quality = scale.to_quality(raw)
    best = quality == BEST_QUALITY
    if error is None and not best:
        problems.add(at_error, f"quality {raw:g} without an error type", "state under, over or both")
    elif error == NONE and not best:
        problems.add(
            at_error,
            f"no error, but the quality is {raw:g}",
            f"state under, over or both, or give the best score, {scale.best:g}",
        )
    elif error and best:
        problems.add(
            at_error,
            f"error '{ERROR_NAMES[error]}', but the quality is {raw:g}, the best",
            "set the error to none, or lower the quality",
        )
    if len(problems) > before:
        return None
    return quality, NONE if error is None else error
