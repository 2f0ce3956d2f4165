"""Which column of a score table holds what, from its header: long tables, wide ones, and online forms in English or
French.

Long tables have one row per case and region; wide ones one row per case and, for each region, a column of quality
scores and one of error types. "Shaft - quality [0-5]", "Qualité [Diaphyse]" and "quality_shaft" are all columns of
quality scores.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from nnunet_weak.dataset.names import comparison_key, fold_text, match_names, suggest
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.scores.headers import REMARKS, is_region, plain_field, split_region, words_of

Layout = Literal["auto", "long", "wide"]
FIELDS = ("case", "region", "quality", "error", "rater")
"""What a column can hold."""


@dataclass(frozen=True)
class Columns:
    """Column numbers of a table.

    Attributes:
        layout: "long" or "wide".
        case: Column of the case names.
        rater: Column of the rater names, or None.
        region: Long tables: column of the region names; None where the only region is known.
        pairs: Columns of (quality, error), by region as the header spells it; in long tables under "".
        ignored: Headers that were not used.
    """

    layout: Literal["long", "wide"]
    case: int
    rater: int | None
    region: int | None
    pairs: Mapping[str, tuple[int, int]]
    ignored: tuple[str, ...]


def parse_columns(text: str) -> dict[str, str]:
    """Column names as given on a command line: `quality=Note,case=Patient`, for wide tables also
    `quality:shaft=Q3,error:shaft=Q4`.

    A comma belongs to the name where no `=` follows.

    Raises:
        InvalidInputError: An unknown field, or one without a column.
    """
    found: dict[str, str] = {}
    last = ""
    for piece in text.split(","):
        key, equals, header = piece.partition("=")
        if equals and key.strip().split(":")[0].strip() in FIELDS:
            last = key.strip()
            if last in found:
                raise InvalidInputError(f"columns '{text}': {last} is given twice")
            found[last] = header
        elif last:
            found[last] += f",{piece}"
        else:
            raise InvalidInputError(f"columns '{text}': '{piece}' is not FIELD=COLUMN (fields: {', '.join(FIELDS)})")
    return _checked_columns({key: header.strip() for key, header in found.items()})


def find_columns(
    header: Sequence[str],
    *,
    layout: Layout,
    columns: Mapping[str, str] | None,
    regions: Sequence[str] | None,
    where: str,
    problems: Problems,
) -> Columns | None:
    """Find the columns of a table; what is missing or ambiguous goes to `problems`, and nothing is returned then.

    Args:
        header: Texts of the header row.
        layout: Layout of the table, or "auto".
        columns: Headers of fields that the user named, see `parse_columns`.
        regions: Names of the regions, where known.
        where: Name of the table for messages.
        problems: Where to report.
    """
    before = len(problems)
    roles = _classify(header, _checked_columns(columns or {}), regions, where, problems)
    lacks = [name for name in ("quality", "error") if name not in roles.plain]
    long_possible = not lacks and ("region" in roles.plain or (regions is not None and len(regions) == 1))
    if layout == "auto":
        layout = "long" if long_possible or ("region" in roles.plain and not roles.wide) or not roles.wide else "wide"
    shown = f"the header is {', '.join(repr(text) for text in header)}"
    remedy = "name the columns, for example case=Patient,quality=Note"
    case = _choose(roles.plain, "case", header, where, problems)
    if "case" not in roles.plain:
        problems.add(where, f"no column for the case; {shown}", remedy)
    rater = _choose(roles.plain, "rater", header, where, problems)
    pairs: dict[str, tuple[int, int]] = {}
    region = None
    if layout == "long":
        region = _choose(roles.plain, "region", header, where, problems)
        if "region" not in roles.plain and not (regions is not None and len(regions) == 1):
            lacks = ["region", *lacks]
        if lacks:
            problems.add(where, f"no column for {' and '.join(lacks)}, and no wide table either; {shown}", remedy)
        quality, error = (_choose(roles.plain, name, header, where, problems) for name in ("quality", "error"))
        if quality is not None and error is not None:
            pairs[""] = (quality, error)
    else:
        pairs = _wide_pairs(roles, header, regions, where, problems)
        if not pairs and len(problems) == before:
            problems.add(where, f"no pair of columns such as 'Shaft quality' and 'Shaft error'; {shown}", remedy)
    if len(problems) > before or case is None:
        return None
    used = {case, rater, region, *(column for pair in pairs.values() for column in pair)}
    ignored = tuple(text for number, text in enumerate(header) if number not in used and text)
    return Columns("long" if layout == "long" else "wide", case, rater, region, pairs, ignored)


def count_recognised(header: Sequence[str], columns: Mapping[str, str] | None, regions: Sequence[str] | None) -> int:
    """How many columns of a header are understood."""
    roles = _classify(header, columns or {}, regions, "", Problems())
    wide = {number for kinds in roles.wide.values() for options in kinds.values() for _, number in options}
    count = len(roles.plain) + len(wide)
    return count if "case" in roles.plain else min(2, count)  # so that a title above the header does not pass for it


@dataclass
class _Roles:
    """Candidates as (rank, column): lower ranks are more telling."""

    plain: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    wide: dict[str, dict[str, list[tuple[int, int]]]] = field(default_factory=dict)
    spelling: dict[str, str] = field(default_factory=dict)

    def add_wide(self, region: str, kind: str, rank: int, number: int) -> None:
        key = comparison_key(region)
        self.spelling.setdefault(key, region)
        self.wide.setdefault(key, {}).setdefault(kind, []).append((rank, number))


def _classify(
    header: Sequence[str], columns: Mapping[str, str], regions: Sequence[str] | None, where: str, problems: Problems
) -> _Roles:
    roles = _Roles()
    named: set[int] = set()
    for key, text in columns.items():
        number = _find_header(header, text, key, where, problems)
        if number is None:
            continue
        named.add(number)
        kind, _, region = key.partition(":")
        if region:
            roles.add_wide(region, kind, -1, number)
        else:
            roles.plain.setdefault(kind, []).append((-1, number))
    bare = []
    for number, text in enumerate(header):
        words = words_of(text)
        if number in named or not words or REMARKS & {word for _, word in words}:
            continue
        plain = plain_field(words)
        if plain is not None and not (plain[0] in ("quality", "error") and is_region(text, regions)):
            roles.plain.setdefault(plain[0], []).append((plain[1], number))
            continue
        split = split_region(words, regions) or split_region(
            words_of(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)), regions
        )
        if split is None:
            bare.append(number)
        else:
            roles.add_wide(split[2], split[0], split[1], number)
    for number in bare:
        # A column headed by the region alone holds its quality where there is a column for its error.
        name = " ".join(spelling for spelling, _ in words_of(header[number]))
        target = match_names([name], list(roles.spelling.values()), kind="region")[0].get(name)
        if target is not None and "quality" not in roles.wide[comparison_key(target)]:
            roles.add_wide(target, "quality", 9, number)
    return roles


def _wide_pairs(
    roles: _Roles, header: Sequence[str], regions: Sequence[str] | None, where: str, problems: Problems
) -> dict[str, tuple[int, int]]:
    pairs = {}
    for key, kinds in roles.wide.items():
        region = roles.spelling[key]
        if len(kinds) == 1 and regions is not None and not is_region(region, regions):
            continue  # "Overall quality" in a form is no region
        quality, error = (_choose(kinds, kind, header, where, problems) for kind in ("quality", "error"))
        for kind, other in (("quality", "error"), ("error", "quality")):
            if kind not in kinds:
                problems.add(
                    f"{where}, column '{header[kinds[other][0][1]]}'",
                    f"region '{region}' has a column for its {other} but none for its {kind}",
                    f"add the column, or name it: {kind}:{region}=COLUMN",
                )
        if quality is not None and error is not None:
            pairs[region] = (quality, error)
    return pairs


def _choose(
    options: Mapping[str, list[tuple[int, int]]], name: str, header: Sequence[str], where: str, problems: Problems
) -> int | None:
    if name not in options:
        return None
    rank = min(rank for rank, _ in options[name])
    best = [number for option_rank, number in options[name] if option_rank == rank]
    if len(best) == 1:
        return best[0]
    shown = ", ".join(f"{number + 1} '{header[number]}'" for number in best)
    problems.add(
        where,
        f"several columns could hold the {name}: {shown}",
        f"name one, {name}=COLUMN, or give each its own header",
    )
    return None


def _checked_columns(columns: Mapping[str, str]) -> dict[str, str]:
    problems = Problems()
    for key, text in columns.items():
        kind, _, region = key.partition(":")
        if kind not in FIELDS or (region and kind not in ("quality", "error")):
            problems.add(
                f"columns, '{key}'", f"unknown field, allowed are {', '.join(FIELDS)}, quality:REGION, error:REGION"
            )
        elif not text:
            problems.add(f"columns, '{key}'", "no column given", f"{key}=COLUMN")
    problems.raise_if_any()
    return dict(columns)


def _find_header(header: Sequence[str], text: str, key: str, where: str, problems: Problems) -> int | None:
    for spelling in (str, fold_text, comparison_key):
        numbers = [number for number, other in enumerate(header) if spelling(other) == spelling(text)]
        if len(numbers) == 1:
            return numbers[0]
        if numbers:
            problems.add(
                f"{where}, column '{text}' for {key}", f"occurs {len(numbers)} times", "give each column its own header"
            )
            return None
    close = suggest(text, header)
    listed = ", ".join(repr(other) for other in (close or header) if other)
    problems.add(
        f"{where}, column '{text}' for {key}", "no such column", f"{'perhaps' if close else 'use one of'} {listed}"
    )
    return None
