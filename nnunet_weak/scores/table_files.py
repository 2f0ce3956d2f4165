"""Tables as files: CSV, TSV, Excel workbooks and JSON, read into rows of cells without interpreting them.

Rows carry the label under which their author finds them again: the row number that a spreadsheet program shows, or the
place in a JSON file.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_weak.errors import InvalidInputError

ENDINGS = (".csv", ".tsv", ".txt", ".xlsx", ".xlsm", ".json")
"""File endings of tables that can be read."""

_DELIMITERS = (",", ";", "\t", "|")
_HEADER_SEARCH_ROWS = 10


@dataclass(frozen=True)
class Row:
    """One row of a table: its label for messages ("row 7") and its cells."""

    label: str
    cells: tuple[Any, ...]


@dataclass(frozen=True)
class Grid:
    """A table as it stands in its file, without empty rows and without empty columns at the end.

    Attributes:
        path: The file.
        sheet: Name of the sheet; empty where the file has none.
        header: Texts of the header row.
        rows: The rows below it.
    """

    path: Path
    sheet: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]


def read_grid(path: Path, recognised: Callable[[tuple[str, ...]], int], sheet: str | None = None) -> Grid:
    """Read a table.

    The delimiter of a text file, the sheet of a workbook and the header row (of the first ten rows) are those in which
    most columns are recognised.

    Args:
        path: File of one of `ENDINGS`.
        recognised: Number of column headers in a row that mean something to the caller.
        sheet: Name of the sheet of a workbook; by default the only one that looks like a table of the caller's kind.

    Raises:
        InvalidInputError: No such file, an unknown kind of file, unreadable content, an ambiguous or unknown sheet, no
        rows.
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file")
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        hint = (
            "save it as .xlsx or .csv" if ending in (".xls", ".ods", ".numbers") else f"use one of {', '.join(ENDINGS)}"
        )
        raise InvalidInputError(f"{path}: tables of the kind '{ending}' cannot be read (remedy: {hint})")
    if sheet is not None and ending not in (".xlsx", ".xlsm"):
        raise InvalidInputError(
            f"{path}: sheet '{sheet}' was asked for, but only Excel workbooks have sheets (remedy: leave the sheet out)"
        )
    if ending in (".xlsx", ".xlsm"):
        grid = _read_workbook(path, recognised, sheet)
    elif ending == ".json":
        grid = _grid_from_json(path)
    else:
        grid = _read_text_table(path, recognised)
    if not grid.rows:
        raise InvalidInputError(
            f"{path}: no rows below the header {list(grid.header)}" if grid.header else f"{path}: the table is empty"
        )
    return grid


def decode_text(content: bytes, path: Path) -> str:
    """Text of a file in UTF-8, UTF-16 or, where it is neither, Windows-1252 (a superset of Latin-1), with or without
    byte order mark."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    elif content[1:2] == b"\0":
        encodings = ["utf-16-le"]
    elif content[:1] == b"\0":
        encodings = ["utf-16-be"]
    else:
        encodings = ["utf-8-sig", "cp1252", "latin-1"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise InvalidInputError(f"{path}: not a text file (remedy: save the table as CSV in UTF-8)")


def _read_text_table(path: Path, recognised: Callable[[tuple[str, ...]], int]) -> Grid:
    text = decode_text(path.read_bytes(), path)
    first_line, _, rest = text.partition("\n")
    if first_line.strip().lower().startswith("sep=") and len(first_line.strip()) == 5:
        text, delimiters = rest, [first_line.strip()[4]]
    elif first_line.strip().lower() == "sep=":  # of a tab, that was stripped
        text, delimiters = rest, ["\t"]
    else:
        delimiters = sorted(_DELIMITERS, key=lambda delimiter: delimiter != "\t" or path.suffix.lower() != ".tsv")
    best: tuple[tuple[int, float], Grid] | None = None
    reason = ""
    for delimiter in delimiters:
        try:
            records = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
        except csv.Error as error:
            reason = reason or f"{error}; delimiter '{delimiter}'"
            continue
        grid = _grid(
            path, "", [(f"row {number}", tuple(record)) for number, record in enumerate(records, start=1)], recognised
        )
        fitting = sum(len(row.cells) == len(grid.header) for row in grid.rows) / max(1, len(grid.rows))
        rank = (recognised(grid.header), fitting if len(grid.header) > 1 else 0.0)
        if best is None or rank > best[0]:
            best = (rank, grid)
    if best is None or (best[0][0] < 3 and reason):
        raise InvalidInputError(
            f"{path}: not a readable CSV file ({reason}; remedy: look for a quotation mark that is not closed)"
        )
    return best[1]


def _read_workbook(path: Path, recognised: Callable[[tuple[str, ...]], int], sheet: str | None) -> Grid:
    try:
        import openpyxl
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError as error:
        raise InvalidInputError(
            f"{path}: reading Excel workbooks needs the package openpyxl "
            "(remedy: pip install openpyxl, or install nnunet_weak[xlsx], or save the table as CSV)"
        ) from error
    import zipfile

    try:
        book = openpyxl.load_workbook(path, data_only=True)
        formulas = openpyxl.load_workbook(path, data_only=False)
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, OSError) as error:
        raise InvalidInputError(
            f"{path}: not a readable Excel workbook ({error}; remedy: save it again as .xlsx or as CSV)"
        ) from error
    names = [worksheet.title for worksheet in book.worksheets]
    if sheet is not None and sheet not in names:
        raise InvalidInputError(f"{path}: no sheet '{sheet}' (the workbook has {', '.join(names)})")
    grids = {}
    for name in [sheet] if sheet is not None else names:
        rows = _sheet_rows(path, book[name], formulas[name])
        grid = _grid(path, name, rows, recognised)
        if grid.header:
            grids[name] = grid
    if not grids:
        return Grid(path, sheet or "", (), ())
    counts = {name: recognised(grid.header) for name, grid in grids.items()}
    # A sheet of explanations may have a column "Score" too; a table of scores has at least case, quality and error.
    candidates = [name for name, count in counts.items() if count >= 3 or count == max(counts.values()) < 3]
    if len(candidates) > 1:
        raise InvalidInputError(
            f"{path}: several sheets hold a table: {', '.join(candidates)} (remedy: name the sheet)"
        )
    return grids[candidates[0]]


def _sheet_rows(path: Path, values: Any, formulas: Any) -> list[tuple[str, tuple[Any, ...]]]:
    cells = [list(row) for row in values.iter_rows(values_only=True)]
    for row, formula_row in zip(cells, formulas.iter_rows(), strict=False):
        for column, cell in enumerate(formula_row):
            if cell.data_type == "f" and row[column] is None:
                raise InvalidInputError(
                    f"{path}: sheet '{values.title}', cell {cell.coordinate} holds a formula without a stored result "
                    "(remedy: open and save the workbook in a spreadsheet program, or paste the values)"
                )
    for merged in values.merged_cells.ranges:
        # A case merged over its rows stands in each of them. Cells merged sideways are titles.
        if merged.min_col == merged.max_col:
            for number in range(merged.min_row, merged.max_row):
                cells[number][merged.min_col - 1] = cells[merged.min_row - 1][merged.min_col - 1]
    return [(f"row {number}", tuple(row)) for number, row in enumerate(cells, start=1)]


def _grid(
    path: Path, sheet: str, rows: list[tuple[str, tuple[Any, ...]]], recognised: Callable[[tuple[str, ...]], int]
) -> Grid:
    filled = [(label, _without_empty_end(cells)) for label, cells in rows]
    filled = [(label, cells) for label, cells in filled if cells]
    if not filled:
        return Grid(path, sheet, (), ())
    headers = [tuple(_header_text(cell) for cell in cells) for _, cells in filled[:_HEADER_SEARCH_ROWS]]
    counts = [recognised(header) for header in headers]
    start = counts.index(max(counts))
    return Grid(path, sheet, headers[start], tuple(Row(label, cells) for label, cells in filled[start + 1 :]))


def _without_empty_end(cells: tuple[Any, ...]) -> tuple[Any, ...]:
    count = len(cells)
    while count and (cells[count - 1] is None or str(cells[count - 1]).strip() == ""):
        count -= 1
    return cells[:count]


def _header_text(cell: Any) -> str:
    return "" if cell is None else " ".join(str(cell).replace("\ufeff", "").split())


def _grid_from_json(path: Path) -> Grid:
    try:
        content = json.loads(decode_text(path.read_bytes(), path), object_pairs_hook=_object_without_duplicates)
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"{path}: not JSON, line {error.lineno}, column {error.colno}: {error.msg}") from error
    except _DuplicateKeyError as error:
        raise InvalidInputError(
            f"{path}: the key {error} occurs twice in one object (remedy: keep one of the entries)"
        ) from error
    if isinstance(content, dict) and list(content) == ["scores"]:
        content = content["scores"]
    if isinstance(content, list) and all(isinstance(record, dict) for record in content):
        records = [(f"record {number}", record) for number, record in enumerate(content, start=1)]
    elif isinstance(content, dict) and all(isinstance(regions, dict) for regions in content.values()):
        records = list(_nested_records(path, content))
    else:
        raise InvalidInputError(f"{path}: {_JSON_RULE}")
    header = tuple(dict.fromkeys(key for _, record in records for key in record))
    return Grid(
        path, "", header, tuple(Row(label, tuple(record.get(key) for key in header)) for label, record in records)
    )


_JSON_RULE = (
    'JSON tables are a list of records [{"case": ..., "region": ..., "quality": ..., "error": ...}, ...] or an object '
    '{case: {region: {"quality": ..., "error": ...}}} or {case: {region: [quality, error]}}; '
    'of several raters {case: {region: [{"rater": ..., "quality": ..., "error": ...}, ...]}}'
)


def _nested_records(path: Path, content: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for case, regions in content.items():
        for region, score in regions.items():
            if isinstance(score, list) and len(score) == 2 and not isinstance(score[0], dict):
                score = {"quality": score[0], "error": score[1]}
            ratings = score if isinstance(score, list) else [] if score is None else [score]
            for rating in ratings:
                if not isinstance(rating, dict):
                    raise InvalidInputError(f"{path}: {case} / {region} is {score!r}; {_JSON_RULE}")
                yield f"entry {case} / {region}", {"case": case, "region": region, **rating}


class _DuplicateKeyError(ValueError):
    """A key that occurs twice: Python's reader would keep the last one in silence."""


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _DuplicateKeyError(f"'{key}'")
        found[key] = value
    return found
