"""From the rows of a score table to what each rater said of each region."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from nnunet_weak.dataset.annotations import BEST_QUALITY, ErrorType, RegionScore, error_name
from nnunet_weak.errors import Problems
from nnunet_weak.scores.cells import Scale, UnreadableCellError, cell_text, is_blank, parse_error, parse_quality
from nnunet_weak.scores.columns import Columns
from nnunet_weak.scores.options import ScoreConversion
from nnunet_weak.scores.table_files import Grid

Value = TypeVar("Value")
_MOST_SHOWN = 100  # characters of a cell


@dataclass(frozen=True)
class Rating:
    """One rater's score of one region of one case.

    Attributes:
        row: Label of the row.
        case: The case, as written in the table.
        region: The region, as written in the table.
        rater: The rater; empty where the table has no column for it.
        score: The score; None where its cells were refused.
    """

    row: str
    case: str
    region: str
    rater: str
    score: RegionScore | None


def read_ratings(
    options: ScoreConversion, grid: Grid, columns: Columns, source: str, problems: Problems
) -> list[Rating]:
    """Read the scores of all rows; everything that is wrong with a row is added to `problems`.

    Args:
        options: Scale of the scores, and the regions.
        grid: The table.
        columns: Its columns.
        source: Name of the table for messages.
        problems: Takes the problems.
    """
    ratings = []
    for row, given in grid.rows:
        place = f"{source}, {row}"
        if len(given) > len(grid.header) and not grid.sheet:
            problems.add(
                place,
                f"{len(given)} cells, but the header has {len(grid.header)}",
                "put quotes around cells with the delimiter in them; where decimals have commas, delimit by semicolons",
            )
            continue
        cells = given + [None] * (len(grid.header) - len(given))
        case = cell_text(cells[columns.case])
        rater = "" if columns.rater is None else cell_text(cells[columns.rater])
        for region, pair in columns.scores.items():
            if all(is_blank(cells[column]) for column in pair):
                continue
            if not case:
                problems.add(place, "scores without a case", "write the case's name into every row")
                break
            region = region or (options.region_names[0] if columns.region is None else cell_text(cells[columns.region]))
            if not region:
                problems.add(place, f"{case}: a score without a region", "write the region's name into every row")
                continue
            places = [f"{place}, column '{grid.header[column]}' ({case}, {region})" for column in pair]
            # A rating without a score is kept, to check its names.
            score = _read_score([cells[column] for column in pair], places, options.scale, problems)
            ratings.append(Rating(row, case, region, rater, score))
    return ratings


def _read_score(cells: Sequence[Any], places: Sequence[str], scale: Scale, problems: Problems) -> RegionScore | None:
    """Score of a pair of cells, quality and error, that are not both blank; None where it was refused."""
    quality: float | None = None
    error: ErrorType | None = None
    before = len(problems)
    if is_blank(cells[0]):
        problems.add(
            places[0], f"no quality, but the error is '{cell_text(cells[1])}'", "add the score, or clear the error"
        )
    else:
        quality = _parsed(partial(parse_quality, scale=scale), cells[0], f"{places[0]}: quality", problems)
    if not is_blank(cells[1]):
        error = _parsed(parse_error, cells[1], f"{places[1]}: error", problems)
    if quality is None or len(problems) > before:
        return None
    best = quality == BEST_QUALITY
    if best and error:
        problems.add(
            places[1],
            f"error '{error_name(error)}', but the quality is {cell_text(cells[0])}, the best",
            "set the error to none, or lower the quality",
        )
    elif not best and not error:
        problems.add(
            places[1],
            f"no error, but the quality is {cell_text(cells[0])}",
            f"state under, over or both, or give the best score, {scale.best:g}",
        )
    else:
        return RegionScore(quality, error or ErrorType.NONE)
    return None


def _parsed(parse: Callable[[Any], Value], cell: Any, place: str, problems: Problems) -> Value | None:
    try:
        return parse(cell)
    except UnreadableCellError as reason:
        text = cell_text(cell)
        shown = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
        problems.add(f"{place} '{shown}'", str(reason), "" if "remedy:" in str(reason) else "correct the cell")
        return None
