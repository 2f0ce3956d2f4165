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

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnunet_weak.dataset.annotations import BEST_QUALITY, ErrorType, RegionScore
from nnunet_weak.dataset.names import Unmatched, comparison_key, fold_text, match_names
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.scores.columns import Layout, count_recognised, find_columns
from nnunet_weak.scores.ratings import Rating, read_ratings
from nnunet_weak.scores.scale import Scale
from nnunet_weak.scores.table_files import read_grid
from nnunet_weak.scores.words import (
    NONE,
    combine_errors,
)


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
    ratings = read_ratings(grid, found, scale, where, regions, problems)

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


def _names(found: Iterable[str], known: Sequence[str] | None) -> list[str]:
    """The known names; where there are none, those of the table, each in its first spelling."""
    if known is not None:
        return list(known)
    first: dict[str, str] = {}
    for name in found:
        first.setdefault(comparison_key(name), name)
    return list(first.values())


def _with_rows(
    names: Iterable[Unmatched], ratings: Sequence[Rating], kind: Literal["case", "region"]
) -> tuple[Unmatched, ...]:
    rows: dict[str, dict[str, None]] = {}
    for rating in ratings:
        rows.setdefault(getattr(rating, kind), {})[rating.row] = None
    return tuple(Unmatched(kind, name.name, tuple(rows.get(name.name, ())), name.suggestions) for name in names)


def _grouped(
    ratings: Sequence[Rating], case_of: Mapping[str, str], region_of: Mapping[str, str], where: str, problems: Problems
) -> dict[tuple[str, str], list[Rating]]:
    grouped: dict[tuple[str, str], dict[str, Rating]] = {}
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


def _combined(ratings: Sequence[Rating]) -> RegionScore:
    qualities = [rating.quality for rating in ratings]
    errors = {rating.error for rating in ratings}
    quality = float(statistics.median(qualities))
    # Where most raters found nothing to correct, one dissenter's error type would contradict the score.
    error = NONE if quality == BEST_QUALITY else combine_errors(errors)
    return RegionScore(quality, ErrorType(error), len(ratings), max(qualities) - min(qualities), len(errors) == 1)
