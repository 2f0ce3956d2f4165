"""Excel workbooks, read within bounds: a workbook is a zip archive, which can unpack to any size.

A sheet is held as all the rows and columns up to its last cell, and so are merged cells and the cells of a link. One
cell at the far end of a sheet, or one merged range over all of it, would take more memory than any computer has, so
these are looked for before the sheet is read.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

from nnunet_weak.errors import InvalidInputError

MOST_BYTES = 32 << 20
"""Of a table, and of the parts of a workbook together when they are unpacked."""

MOST_ROWS = 100_000
MOST_CELLS = 2_000_000

_REMEDY = "keep the table of scores alone, and save it as .xlsx or .csv"
_CELL = rb"\$?([A-Za-z]+)\$?(\d+)"
_AREA = re.compile(rb"<(?:\w+:)?(?:mergeCell|hyperlink)\b[^>]*\bref\s*=\s*[\"']" + _CELL + b":" + _CELL)
_DECLARATIONS = tuple(
    mark.encode(encoding) for mark in ("<!DOCTYPE", "<!ENTITY") for encoding in ("utf-8", "utf-16-le", "utf-16-be")
)


def open_workbook(path: Path, *, formulas: bool) -> Any:
    """Open a workbook with openpyxl, with the formulas of its cells or with their results.

    Raises:
        InvalidInputError: openpyxl is not installed, the file is damaged, or it would take too much memory.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise InvalidInputError(
            f"{path}: Excel workbooks need the package openpyxl (remedy: pip install 'nnunet_weak[xlsx]', or save the "
            "table as CSV)"
        ) from error
    try:
        with zipfile.ZipFile(path) as archive:
            _check_parts(path, archive)
        workbook = openpyxl.load_workbook(path, data_only=not formulas)
    except InvalidInputError:
        raise
    except Exception as error:  # of a damaged workbook openpyxl raises whatever its parts lead to
        reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise InvalidInputError(
            f"{path}: not a readable Excel workbook ({reason}) (remedy: save it again as .xlsx or as CSV; one with a "
            "password cannot be read)"
        ) from error
    for sheet in workbook.worksheets:
        check_extent(path, sheet.max_row, sheet.max_column, f", sheet '{sheet.title}'")
    return workbook


def sheet_rows(path: Path, values: Any, formulas: Any) -> list[list[Any]]:
    """Cells of a sheet; those merged over several rows have the same value in each.

    Args:
        path: The file, for messages.
        values: The sheet with the results of formulas.
        formulas: The sheet with the formulas.

    Raises:
        InvalidInputError: A formula has no stored result.
    """
    rows = [list(row) for row in values.iter_rows(values_only=True)]
    for row, formula_row in zip(rows, formulas.iter_rows(), strict=False):
        for value, cell in zip(row, formula_row, strict=False):
            if value is None and cell.data_type == "f":
                raise InvalidInputError(
                    f"{path}: sheet '{values.title}', cell {cell.coordinate} holds a formula without a stored result "
                    "(remedy: open and save the workbook in a spreadsheet program, or paste the values)"
                )
    for merged in values.merged_cells.ranges:
        if merged.min_col == merged.max_col:  # a case merged over its rows; cells merged sideways are titles
            for row in rows[merged.min_row : merged.max_row]:
                row[merged.min_col - 1] = rows[merged.min_row - 1][merged.min_col - 1]
    return rows


def check_size(path: Path) -> None:
    """Refuse a table of more than `MOST_BYTES`."""
    if path.stat().st_size > MOST_BYTES:
        raise InvalidInputError(
            f"{path}: {path.stat().st_size} bytes, a table of scores has at most {MOST_BYTES} (remedy: {_REMEDY})"
        )


def check_extent(path: Path, rows: int, columns: int, where: str = "") -> None:
    """Refuse a table of more than `MOST_ROWS`, or with more cells between the first and the last than `MOST_CELLS`."""
    if rows > MOST_ROWS or rows * columns > MOST_CELLS:
        raise InvalidInputError(
            f"{path}{where}: its last cell is in row {rows}, column {columns}; a table of scores has at most "
            f"{MOST_ROWS} rows and {MOST_CELLS} cells (remedy: delete what is far below or beside it; {_REMEDY})"
        )


def _check_parts(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse parts that would unpack to too much, merged ranges of too many cells, and entities."""
    total = sum(part.file_size for part in archive.infolist())
    if total > MOST_BYTES:
        raise InvalidInputError(f"{path}: unpacks to {total} bytes, more than {MOST_BYTES} (remedy: {_REMEDY})")
    cells = 0
    for part in archive.infolist():
        if not part.filename.lower().endswith((".xml", ".rels", ".vml")):
            continue
        content = archive.read(part)
        if any(mark in content for mark in _DECLARATIONS):
            raise InvalidInputError(
                f"{path}: its part {part.filename} has a DOCTYPE or ENTITY, which no spreadsheet program writes and "
                f"which can be used to harm the reader (remedy: {_REMEDY})"
            )
        for first, top, last, bottom in _AREA.findall(content):
            cells += (abs(_column(last) - _column(first)) + 1) * (abs(int(bottom[:9]) - int(top[:9])) + 1)
    if cells > MOST_CELLS:
        raise InvalidInputError(
            f"{path}: {cells} cells are merged or links, more than {MOST_CELLS} (remedy: undo the merging; {_REMEDY})"
        )


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters[:4].upper():
        number = 26 * number + letter - ord("A") + 1
    return number
