"""CSV tables, safe to open in a spreadsheet: no cell is run as a formula.

Reference: OWASP, "CSV injection".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def csv_text(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Table as CSV text with "\\n" at the ends of lines.

    A text that a spreadsheet would run as a formula, such as a case named "=1+1", gets an apostrophe in front. Numbers,
    also those given as text, stay as they are. None and NaN become empty cells.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([safe_cell(cell) for cell in row] for row in (header, *rows))
    return text.getvalue()


def safe_cell(value: object) -> object:
    """The cell that `csv_text` writes for a value; for frames `frame.map(safe_cell).to_csv(...)`."""
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
