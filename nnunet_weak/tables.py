"""CSV tables, safe to open in a spreadsheet: no cell is run as a formula.

Reference: OWASP, "CSV injection".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def csv_text(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Table as CSV text with "\\n" at the ends of lines.

    A text that a spreadsheet would run as a formula, such as a case named "=1+1", gets an apostrophe in front. Numbers,
    also those given as text, stay as they are. None and NaN become empty cells.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([safe_cell(cell) for cell in row] for row in (header, *rows))
    return text.getvalue()


def table_text(rows: Sequence[Mapping[str, object]], float_format: str = "") -> str:
    """Rows with the same keys as `csv_text`; floating-point numbers in a format such as ".4g"."""
    return csv_text(
        list(rows[0]) if rows else [], ([_formatted(cell, float_format) for cell in row.values()] for row in rows)
    )


def safe_cell(value: object) -> object:
    """The cell that `csv_text` writes for a value."""
    if value is None or value != value:
        return ""
    if not isinstance(value, str) or not value.startswith(_FORMULA_STARTS):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def plain_text(cell: str) -> str:
    """The text for which `safe_cell` wrote a cell."""
    return cell[1:] if cell.startswith("'") and safe_cell(cell[1:]) == cell else cell


def _formatted(cell: object, float_format: str) -> object:
    return format(cell, float_format) if float_format and isinstance(cell, float) and cell == cell else cell
