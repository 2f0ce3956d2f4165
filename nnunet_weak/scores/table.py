"""Read quality scores and error types by case and region from spreadsheets and exports of online forms.

SCORE ("Resource-efficient automatic refinement of segmentations via weak supervision from light feedback") needs, for
each region k of each training case, a quality q_k from 0 (unusable) to 5 (excellent) and an error type l_k: -1
under-segmentation, 1 over-segmentation, 2 both, 0 none (where q_k = 5). `docs/score_tables.md` lists the files and
words that are understood. A table is read as it stands, or everything that is wrong with it is reported with row and
column.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from nnunet_weak.dataset.annotations import BEST_QUALITY, ErrorType, RegionScore
from nnunet_weak.dataset.names import Unmatched, fold_text, match_names
from nnunet_weak.errors import Problems
from nnunet_weak.scores.cells import combine_errors
from nnunet_weak.scores.columns import count_recognised, find_columns
from nnunet_weak.scores.options import ScoreConversion
from nnunet_weak.scores.ratings import Rating, read_ratings
from nnunet_weak.scores.table_files import read_grid


@dataclass(frozen=True)
class ScoreTable:
    """Scores by case and region, and how the names in the table were matched.

    Attributes:
        source: File and sheet.
        layout: "long" or "wide".
        scores: {case: {region: score of all raters}}; regions and cases without a score are absent.
        raters: Names of the raters; ("",) where the table has no column for them.
        renamed: (kind, name in the table, name it was matched to), where the spelling differs.
        unmatched: Names of cases and regions in the table that match nothing.
        unscored_cases: The cases without any score.
        ignored_columns: Headers that were not used.
    """

    source: str
    layout: str
    scores: Mapping[str, Mapping[str, RegionScore]]
    raters: tuple[str, ...]
    renamed: tuple[tuple[str, str, str], ...]
    unmatched: tuple[Unmatched, ...]
    unscored_cases: tuple[str, ...]
    ignored_columns: tuple[str, ...]


def read_scores(options: ScoreConversion, cases: Sequence[str]) -> ScoreTable:
    """Read a table of scores.

    Cells without a score are allowed, as are cases and regions without a row: they have no score. Quality 5 with an
    empty error cell means no error.

    Args:
        options: The file, its format, and the regions. In a dry run unknown regions are listed in `unmatched`, so that
            the whole table is seen; otherwise they are problems.
        cases: Names of the cases. Those of the table that are not among them are listed in `unmatched`.

    Raises:
        InvalidInputError: Everything that is wrong with the table, in one list.
    """
    path, regions = options.scores, options.region_names
    assert path is not None
    grid = read_grid(path, partial(count_recognised, options), options.sheet)
    source = f"{path.name}{f' [{grid.sheet}]' if grid.sheet else ''}"
    columns = find_columns(options, grid.header, source)
    problems = Problems()
    ratings = read_ratings(options, grid, columns, source, problems)
    case_of, unmatched_cases = _match("case", [rating.case for rating in ratings], cases, ratings)
    typed_regions = [*filter(None, columns.scores), *(rating.region for rating in ratings)]
    region_of, unmatched_regions = _match("region", typed_regions, regions, ratings)
    if not options.dry_run:
        report_unknown_regions(source, unmatched_regions, regions, problems)
    grouped = _group(ratings, case_of, region_of, source, problems)
    if not problems and not ratings:
        ignored = ", ".join(columns.ignored) or "none"
        problems.add(source, "no score in any row", f"check which columns were meant; ignored: {ignored}")
    problems.raise_if_any(str(path))
    scores = {
        case: {region: _combine(grouped[case, region]) for region in regions if (case, region) in grouped}
        for case in cases
        if any((case, region) in grouped for region in regions)
    }
    matched = [("case", *pair) for pair in case_of.items()] + [("region", *pair) for pair in region_of.items()]
    return ScoreTable(
        source,
        columns.layout,
        scores,
        raters=tuple(dict.fromkeys(rating.rater for rating in ratings)),
        renamed=tuple((kind, name, target) for kind, name, target in matched if name != target),
        unmatched=(*unmatched_cases, *unmatched_regions),
        unscored_cases=tuple(case for case in cases if case not in scores),
        ignored_columns=columns.ignored,
    )


def report_unknown_regions(
    source: str, unmatched: Iterable[Unmatched], regions: Sequence[str], problems: Problems
) -> None:
    """Add a problem for each region of a table that is none of `regions`; `unmatched` may name cases as well."""
    for name in unmatched:
        if name.kind == "region":
            problems.add(
                f"{source}, {', '.join(name.rows[:5]) or 'header'}",
                f"unknown region '{name.name}', the regions are {', '.join(regions)}",
                f"correct the name{f', perhaps {name.suggestions[0]}' if name.suggestions else ''}, or add the region",
            )


def missing_regions(scores: Mapping[str, RegionScore], empty: Iterable[str]) -> tuple[str, ...]:
    """Regions that are empty in the mask of a case although they are there, as its scores say."""
    return tuple(region for region in empty if region in scores and scores[region].says_missing)


def _match(
    kind: str, names: Iterable[str], known: Sequence[str], ratings: Sequence[Rating]
) -> tuple[dict[str, str], list[Unmatched]]:
    """Match names of the table to known ones; unmatched names get the rows they stand in."""
    matches, unmatched = match_names(names, known, kind=kind)
    rows: dict[str, dict[str, None]] = {}
    for rating in ratings:
        rows.setdefault(getattr(rating, kind), {})[rating.row] = None
    return matches, [Unmatched(kind, name.name, tuple(rows.get(name.name, ())), name.suggestions) for name in unmatched]


def _group(
    ratings: Sequence[Rating],
    case_of: Mapping[str, str],
    region_of: Mapping[str, str],
    source: str,
    problems: Problems,
) -> dict[tuple[str, str], list[RegionScore]]:
    """Scores of all raters by case and region; a second score by the same rater is a problem."""
    first: dict[tuple[str, str, str], Rating] = {}
    doubles: dict[tuple[str, str, str, str], list[str]] = {}
    grouped: dict[tuple[str, str], list[RegionScore]] = {}
    for rating in ratings:
        if rating.case not in case_of or rating.region not in region_of:
            continue
        case, region = case_of[rating.case], region_of[rating.region]
        earlier = first.setdefault((case, region, fold_text(rating.rater)), rating)
        if earlier is not rating:
            doubles.setdefault((earlier.row, rating.row, case, rating.rater), []).append(region)
        elif rating.score is not None:
            grouped.setdefault((case, region), []).append(rating.score)
    for (first_row, second_row, case, rater), names in doubles.items():
        problems.add(
            f"{source}, {second_row}",
            f"{case}, {', '.join(names)}{f' by {rater}' if rater else ''} was scored in {first_row} already",
            "delete one of the rows" + ("" if rater else ", or add a column 'rater' where two people scored the case"),
        )
    return grouped


def _combine(scores: Sequence[RegionScore]) -> RegionScore:
    """Median quality and union of the error types of several raters."""
    qualities, errors = [score.quality for score in scores], {score.error for score in scores}
    quality = float(statistics.median(qualities))
    # Where the median is the best quality, one dissenter's error type would contradict it.
    error = ErrorType.NONE if quality == BEST_QUALITY else combine_errors(errors)
    return RegionScore(quality, error, len(scores), max(qualities) - min(qualities), len(errors) == 1)
