"""A score table as it was understood, for a person to check."""

from __future__ import annotations

from nnunet_weak.scores.scale import Scale
from nnunet_weak.scores.table import RegionScore, ScoreTable
from nnunet_weak.scores.words import ERROR_NAMES


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


def _cell(score: RegionScore | None) -> str:
    if score is None:
        return "-"
    text = f"{score.quality:.3g} {ERROR_NAMES[score.error]}"
    if score.raters == 1:
        return text
    return f"{text} ({score.raters} raters, {score.disagreement:.3g} apart{'' if score.errors_agree else '!'})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
