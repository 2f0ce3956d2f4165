"""Find the columns of a score table from its header.

Long tables have one row per case and region; wide ones one row per case and, for each region, a column of quality
scores and one of error types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nnunet_weak.dataset.names import match_names, suggest
from nnunet_weak.errors import Problems
from nnunet_weak.scores.headers import Meaning, match_region, read_header
from nnunet_weak.scores.options import ScoreConversion


@dataclass(frozen=True)
class Columns:
    """Column numbers of a table.

    Attributes:
        layout: "long" or "wide".
        case: Column of the case names.
        rater: Column of the rater names, or None.
        region: Long tables: column of the region names; None where there is one region only.
        scores: Columns of (quality, error), by region; in long tables under "".
        ignored: Headers that were not used.
    """

    layout: Literal["long", "wide"]
    case: int
    rater: int | None
    region: int | None
    scores: Mapping[str, tuple[int, int]]
    ignored: tuple[str, ...]


def count_recognised(options: ScoreConversion, header: Sequence[str]) -> int:
    """How many columns of a header are understood."""
    fields = [meaning.field for meaning in _meanings(options, header, "", Problems()).values()]
    return len(fields) if "case" in fields else min(2, len(fields))  # else a title above the header could pass for it


def find_columns(options: ScoreConversion, header: Sequence[str], where: str) -> Columns:
    """Find the columns of a table.

    Args:
        options: Layout of the table, columns that the user named, and the regions.
        header: Texts of the header row.
        where: Name of the table for messages.

    Raises:
        InvalidInputError: All columns that are missing or ambiguous.
    """
    problems = Problems()
    regions, layout = options.region_names, options.table_layout
    candidates: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for number, meaning in _meanings(options, header, where, problems).items():
        candidates.setdefault((meaning.field, meaning.region), []).append((meaning.rank, number))

    def column(field: str, region: str = "") -> int | None:
        found = candidates.get((field, region), [])
        best = [number for rank, number in found if rank == min(found)[0]]
        if len(best) > 1:
            problems.add(
                where,
                f"several columns could hold the {field}: "
                + ", ".join(f"{number + 1} '{header[number]}'" for number in best),
                f"name one with --columns {field}=HEADER, or give each its own header",
            )
        return best[0] if best else None

    wide_regions = list(dict.fromkeys(region for _, region in candidates if region))
    needed = ("region", "quality", "error")[len(regions) == 1 :]
    lacks = [field for field in needed if (field, "") not in candidates]
    if layout == "auto":
        layout = "wide" if lacks and wide_regions else "long"
    shown = f"the header is {', '.join(map(repr, header))}"
    remedy = "name the columns, for example --columns case=Patient,quality=Note"
    case, rater, region_column = column("case"), column("rater"), None
    if case is None:
        problems.add(where, f"no column for the case; {shown}", remedy)
    scores: dict[str, tuple[int, int]] = {}
    if layout == "long":
        if lacks:
            problems.add(where, f"no column for {' and '.join(lacks)}, and no wide table either; {shown}", remedy)
        region_column = column("region")
        wide_regions = [""]
    for region in wide_regions:
        quality, error = column("quality", region), column("error", region)
        if quality is not None and error is not None:
            scores[region] = quality, error
        elif region in regions:  # "Overall quality" in a form is no region
            present, absent = ("quality", "error") if error is None else ("error", "quality")
            problems.add(
                f"{where}, column '{header[candidates[present, region][0][1]]}'",
                f"region '{region}' has a column for its {present} but none for its {absent}",
                f"add the column, or name it with --columns {absent}:{region}=HEADER",
            )
    if layout == "wide" and not scores and not problems:
        problems.add(where, f"no pair of columns such as 'Shaft quality' and 'Shaft error'; {shown}", remedy)
    problems.raise_if_any()
    assert case is not None  # reported above
    used = {case, rater, region_column, *(number for pair in scores.values() for number in pair)}
    ignored = tuple(text for number, text in enumerate(header) if number not in used and text)
    return Columns(layout, case, rater, region_column, scores, ignored)


def _meanings(options: ScoreConversion, header: Sequence[str], where: str, problems: Problems) -> dict[int, Meaning]:
    """Meaning of each column that has one."""
    found: dict[int, Meaning] = {}
    for key, text in (options.columns or {}).items():
        field, _, region = key.partition(":")
        matched = match_names([text], header, kind="column")[0].get(text)
        if matched is None:
            close = suggest(text, header)
            listed = ", ".join(map(repr, close or filter(None, header)))
            problems.add(
                f"{where}, column '{text}' for {key}",
                f"occurs {header.count(text)} times" if text in header else "no such column",
                f"{'perhaps' if close else 'use one of'} {listed}",
            )
        else:
            found[header.index(matched)] = Meaning(field, -1, match_region(region, options.region_names) or region)
    for number, text in enumerate(header):
        meaning = read_header(text, options.region_names)
        if number not in found and meaning is not None:
            found[number] = meaning
    return found
