"""Read quality scores and error types per case and region from the spreadsheets and form exports people collect them
in.

SCORE (`papers`: "Resource-efficient automatic refinement of segmentations via weak supervision from light feedback")
needs, for each region k of each training case, a quality q_k from 0 (unusable) to 5 (excellent) and an error type l_k:
-1 under-segmentation, 1 over-segmentation, 2 both, 0 none (where q_k = 5). Which files and words are understood is
listed in `docs/score_tables.md`.

Nothing is corrected in silence: a table is either understood as it stands, or all that is wrong with it is reported
with the row and column.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nnunet_weak.dataset_conversion.score_columns import Columns, Layout, count_recognised, find_columns, parse_columns
from nnunet_weak.dataset_conversion.score_files import Grid, read_grid
from nnunet_weak.dataset_conversion.score_words import (
    ERROR_NAMES,
    NONE,
    NotUnderstoodError,
    cell_text,
    combine_errors,
    is_blank,
    parse_error,
    parse_quality,
)
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.name_matching import Unmatched, fold_text, match_names, squeezed

__all__ = ["RegionScore", "Scale", "ScoreTable", "Unmatched", "format_matched_table", "parse_columns", "read_scores"]

BEST_QUALITY = 5.0


@dataclass(frozen=True)
class Scale:
    """A scale of quality scores, mapped linearly to 5 (best) to 0 (worst).

    Example:
        >>> scale = Scale.parse("1:4")
        >>> scale.to_quality(1), scale.to_quality(4), scale.to_quality(2.5)
        (5.0, 0.0, 2.5)
    """

    best: float = BEST_QUALITY
    worst: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Scale:
        """The scale written as BEST:WORST, for example 1:4.

        Raises:
            InvalidInputError: Not two different numbers.
        """
        try:
            best, worst = (float(part.replace(",", ".")) for part in text.split(":"))
        except ValueError as error:
            raise InvalidInputError(
                f"scale '{text}': two numbers are needed, BEST:WORST, for example 5:0 or 1:4"
            ) from error
        if best == worst or not all(abs(value) < float("inf") for value in (best, worst)):
            raise InvalidInputError(f"scale '{text}': best and worst must be two different finite numbers")
        return cls(best, worst)

    def __contains__(self, score: float) -> bool:
        return min(self.best, self.worst) <= score <= max(self.best, self.worst)

    def to_quality(self, score: float) -> float:
        """Quality from 0 to 5 of a score of this scale."""
        return round(BEST_QUALITY * (score - self.worst) / (self.best - self.worst), 6)


@dataclass(frozen=True)
class RegionScore:
    """What is known of one region of one case.

    Attributes:
        quality: q_k, 0 (unusable) to 5 (excellent); the median over the raters.
        error: l_k: -1 under-segmentation, 0 none, 1 over-segmentation, 2 both. The union over the raters, raters who
            saw none left out; 0 where the median quality is 5.
        raters: Number of raters.
        disagreement: Highest minus lowest quality among the raters.
        errors_agree: Whether all raters gave the same error type.
    """

    quality: float
    error: int
    raters: int = 1
    disagreement: float = 0.0
    errors_agree: bool = True


@dataclass(frozen=True)
class ScoreTable:
    """Scores by case and region, and what happened to the names on the way.

    Attributes:
        path: The file; `sheet` its sheet, where it has any.
        layout: "long" or "wide".
        scale: The scale the scores were given on.
        regions: Names of the regions: those asked for, else those of the table.
        scores: {case: {region: score}}; regions without a score are absent, as are cases without any.
        raters: Names of the raters; ("",) where the table has no column for them.
        renamed: (kind, name in the table, name it was matched to), where the spelling differs.
        unmatched: Names of cases and regions in the table that match nothing.
        unscored_cases: Known cases without any score.
        ignored_columns: Headers that were not used.
    """

    path: Path
    sheet: str
    layout: Literal["long", "wide"]
    scale: Scale
    regions: tuple[str, ...]
    scores: Mapping[str, Mapping[str, RegionScore]]
    raters: tuple[str, ...] = ("",)
    renamed: tuple[tuple[str, str, str], ...] = ()
    unmatched: tuple[Unmatched, ...] = ()
    unscored_cases: tuple[str, ...] = ()
    ignored_columns: tuple[str, ...] = ()

    def __len__(self) -> int:
        return sum(len(regions) for regions in self.scores.values())


def read_scores(
    path: Path | str,
    *,
    columns: Mapping[str, str] | None = None,
    scale: Scale | None = None,
    layout: Layout = "auto",
    sheet: str | None = None,
    regions: Sequence[str] | None = None,
    cases: Sequence[str] | None = None,
    unknown_regions: Literal["refuse", "report"] = "refuse",
) -> ScoreTable:
    """Read a table of scores.

    Cells without a score are allowed, as are cases and regions without a row: they get no score. Quality 5 with an
    empty error cell means no error.

    Args:
        path: CSV, TSV, Excel workbook or JSON file.
        columns: Headers by field, where they are not recognised by themselves; see `parse_columns`.
        scale: The scale the scores were given on; by default 5 (best) to 0.
        layout: "long" (a row per case and region), "wide" (a row per case) or "auto".
        sheet: Sheet of a workbook; by default the only one with a table of scores.
        regions: Names of the regions of the initial masks; by default those found in the table.
        cases: Names of the cases; by default those found in the table. Cases of the table that are not among them are
            listed in `unmatched`.
        unknown_regions: What to do about regions of the table that are not among `regions`: refuse the table, or list
            them in `unmatched` (for a dry run).

    Returns:
        The scores, by the names of `cases` and `regions`.

    Raises:
        InvalidInputError: Everything that is wrong with the table, in one list.
    """
    grid = read_grid(Path(path), lambda header: count_recognised(header, columns, regions), sheet)
    scale = scale or Scale()
    problems = Problems()
    where = f"{grid.path.name}{f' [{grid.sheet}]' if grid.sheet else ''}"
    subject = str(grid.path)
    found = find_columns(grid.header, layout=layout, columns=columns, regions=regions, where=where, problems=problems)
    if found is None:
        problems.raise_if_any(subject)
        raise InvalidInputError(f"{subject}: no columns of scores")
    ratings = _ratings(grid, found, scale, where, regions, problems)

    region_names = _names(found.pairs if found.layout == "wide" else [rating.region for rating in ratings], regions)
    case_names = _names([rating.case for rating in ratings], cases)
    case_of, unmatched_cases = match_names([rating.case for rating in ratings], case_names, kind="case")
    region_of, unmatched_regions = match_names(
        list(found.pairs) if found.layout == "wide" else [rating.region for rating in ratings],
        region_names,
        kind="region",
    )
    unmatched_cases = _with_rows(unmatched_cases, ratings, "case")
    unmatched_regions = _with_rows(unmatched_regions, ratings, "region")
    if unknown_regions == "refuse":
        for name in unmatched_regions:
            problems.add(
                f"{where}, {', '.join(name.rows[:5]) or 'header'}",
                f"unknown region '{name.name}', the regions are {', '.join(region_names)}",
                f"correct the name{f', perhaps {name.suggestions[0]}' if name.suggestions else ''}, or add the region",
            )
    matched = [rating for rating in ratings if rating.case in case_of and rating.region in region_of]
    grouped = _grouped(matched, case_of, region_of, where, problems)
    if not len(problems) and not ratings:
        problems.add(
            where,
            "no score in any row",
            "check which columns were meant; ignored: " + (", ".join(found.ignored) or "none"),
        )
    problems.raise_if_any(subject)

    scores = {
        case: {region: _combined(grouped[case, region]) for region in region_names if (case, region) in grouped}
        for case in case_names
        if any((case, region) in grouped for region in region_names)
    }
    renamed = [("case", name, target) for name, target in case_of.items() if name != target]
    renamed += [("region", name, target) for name, target in region_of.items() if name != target]
    return ScoreTable(
        path=grid.path,
        sheet=grid.sheet,
        layout=found.layout,
        scale=scale,
        regions=tuple(region_names),
        scores=scores,
        raters=tuple(dict.fromkeys(rating.rater for rating in ratings)) or ("",),
        renamed=tuple(renamed),
        unmatched=(*unmatched_cases, *unmatched_regions),
        unscored_cases=tuple(case for case in cases or () if case not in scores),
        ignored_columns=found.ignored,
    )


def format_matched_table(table: ScoreTable) -> str:
    """The table as it was understood, and every name that was not, as text for a terminal.

    Without a mark a cell is "quality error", for example `2.5 under`. In brackets follow the number of raters and by
    how much their scores differ, with `!` where they named different errors.
    """
    raters = f" by {len(table.raters)} raters" if len(table.raters) > 1 else ""
    scale = (
        ""
        if table.scale == Scale()
        else f"; scale {table.scale.best:g} (best) to {table.scale.worst:g} mapped to 5 to 0"
    )
    sheet = f" [{table.sheet}]" if table.sheet else ""
    lines = [
        f"{table.path.name}{sheet}, {table.layout} layout: {len(table)} scores "
        f"of {_count(len(table.scores), 'case')} and {_count(len(table.regions), 'region')}{raters}{scale}",
        "",
    ]
    rows = [["case", *table.regions]]
    rows += [
        [case, *(_cell(regions.get(region)) for region in table.regions)] for case, regions in table.scores.items()
    ]
    if sum(max(len(row[column]) for row in rows) + 2 for column in range(len(rows[0]))) > 120:
        rows = [["case", "region", "score"]]
        rows += [
            [case, region, _cell(score)] for case, regions in table.scores.items() for region, score in regions.items()
        ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines += ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    sections = [
        (
            "Matched in spite of a different spelling",
            [f"{kind} '{name}' -> {target}" for kind, name, target in table.renamed],
        ),
        ("Names in the table that match nothing, their scores are not used", [str(name) for name in table.unmatched]),
        ("Cases without any score", list(table.unscored_cases)),
        (
            "Regions without any score",
            [name for name in table.regions if not any(name in row for row in table.scores.values())],
        ),
        ("Columns not used", list(table.ignored_columns)),
    ]
    for title, entries in sections:
        if entries:
            lines += ["", f"{title} ({len(entries)}):", *(f"  {entry}" for entry in entries)]
    return "\n".join(lines)


@dataclass(frozen=True)
class _Rating:
    row: str
    case: str
    region: str
    rater: str
    quality: float
    error: int


def _ratings(
    grid: Grid, columns: Columns, scale: Scale, where: str, regions: Sequence[str] | None, problems: Problems
) -> list[_Rating]:
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
            ratings.append(_Rating(row.label, case, region, rater, *(value or (math.nan, NONE))))
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


def _names(found: Iterable[str], known: Sequence[str] | None) -> list[str]:
    """The known names; where there are none, those of the table, each in its first spelling."""
    if known is not None:
        return list(known)
    first: dict[str, str] = {}
    for name in found:
        first.setdefault(squeezed(name), name)
    return list(first.values())


def _with_rows(
    names: Iterable[Unmatched], ratings: Sequence[_Rating], kind: Literal["case", "region"]
) -> tuple[Unmatched, ...]:
    rows: dict[str, dict[str, None]] = {}
    for rating in ratings:
        rows.setdefault(getattr(rating, kind), {})[rating.row] = None
    return tuple(Unmatched(kind, name.name, tuple(rows.get(name.name, ())), name.suggestions) for name in names)


def _grouped(
    ratings: Sequence[_Rating], case_of: Mapping[str, str], region_of: Mapping[str, str], where: str, problems: Problems
) -> dict[tuple[str, str], list[_Rating]]:
    grouped: dict[tuple[str, str], dict[str, _Rating]] = {}
    doubles: dict[tuple[str, str, str, str], list[str]] = {}
    for rating in ratings:
        case, region, rater = case_of[rating.case], region_of[rating.region], fold_text(rating.rater)
        by_rater = grouped.setdefault((case, region), {})
        first = by_rater.setdefault(rater, rating)
        if first is not rating:
            doubles.setdefault((first.row, rating.row, case, rating.rater), []).append(region)
    for (first_row, second_row, case, rater), regions in doubles.items():
        who = f" by {rater}" if rater else ""
        problems.add(
            f"{where}, {second_row}",
            f"{case}, {', '.join(regions)}{who} was scored in {first_row} already",
            "delete one of the rows"
            if rater
            else "delete one of the rows, or add a column 'rater' where two people scored the case",
        )
    return {key: list(by_rater.values()) for key, by_rater in grouped.items()}


def _combined(ratings: Sequence[_Rating]) -> RegionScore:
    qualities = [rating.quality for rating in ratings]
    errors = {rating.error for rating in ratings}
    quality = float(statistics.median(qualities))
    # Where most raters found nothing to correct, one dissenter's error type would contradict the score.
    error = NONE if quality == BEST_QUALITY else combine_errors(errors)
    return RegionScore(quality, error, len(ratings), max(qualities) - min(qualities), len(errors) == 1)


def _cell(score: RegionScore | None) -> str:
    if score is None:
        return "-"
    text = f"{score.quality:.3g} {ERROR_NAMES[score.error]}"
    if score.raters == 1:
        return text
    return f"{text} ({score.raters} raters, {score.disagreement:.3g} apart{'' if score.errors_agree else '!'})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
