"""Tables as files: CSV, TSV, Excel workbooks and JSON, read into a header and rows of cells.

The cells are not interpreted. Rows carry the label under which their author finds them: the row number that a
spreadsheet program shows, or the place in a JSON file.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.json_files import InvalidJsonError, load_json
from nnunet_weak.scores.cells import cell_text
from nnunet_weak.scores.workbooks import MOST_BYTES, MOST_ROWS, check_extent, check_size, open_workbook, sheet_rows
from nnunet_weak.tables import plain_text

TEXT_ENDINGS = (".csv", ".tsv", ".txt")
WORKBOOK_ENDINGS = (".xlsx", ".xlsm")

_HEADER_SEARCH_ROWS = 10
_JSON_FORMS = (
    'a list of records [{"case": ..., "region": ..., "quality": ..., "error": ...}, ...] or an object '
    '{case: {region: {"quality": ..., "error": ...}}} or {case: {region: [quality, error]}}; '
    'of several raters {case: {region: [{"rater": ..., "quality": ..., "error": ...}, ...]}}'
)

Row = tuple[str, list[Any]]
"""Label of a row, for example "row 7", and its cells."""

CountRecognised = Callable[[Sequence[str]], int]


@dataclass(frozen=True)
class Grid:
    """A table without empty rows, and without empty cells at the end of its rows.

    Attributes:
        header: Texts of the header row.
        rows: The rows below it.
        sheet: Name of the sheet of a workbook.
    """

    header: list[str]
    rows: list[Row]
    sheet: str = ""


def read_grid(path: Path, recognised: CountRecognised, sheet: str | None = None) -> Grid:
    """Read a table.

    The delimiter of a text file, the sheet of a workbook and the header row (of the first ten rows) are those in which
    most columns are recognised.

    Args:
        path: CSV, TSV, Excel workbook or JSON file.
        recognised: Counts the column headers of a row that the caller understands.
        sheet: Name of the sheet of a workbook; by default the only one with a table that the caller understands.

    Raises:
        InvalidInputError: No such file, an unknown kind of file, unreadable content, an ambiguous or unknown sheet, no
        rows.
    """
    ending = path.suffix.lower()
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file (remedy: check path and name)")
    if sheet is not None and ending not in WORKBOOK_ENDINGS:
        raise InvalidInputError(f"{path}: has no sheet '{sheet}', only Excel workbooks have sheets")
    if ending in WORKBOOK_ENDINGS:
        grid = _read_workbook(path, recognised, sheet)
    elif ending == ".json":
        grid = _read_json(path)
    elif ending in TEXT_ENDINGS:
        grid = _read_text(path, recognised)
    else:
        raise InvalidInputError(
            f"{path}: tables of the kind '{ending}' cannot be read (remedy: save it as .xlsx or .csv)"
        )
    if not grid.header:
        raise InvalidInputError(f"{path}: the table is empty (remedy: export it again)")
    if not grid.rows:
        raise InvalidInputError(f"{path}: no rows below the header {grid.header} (remedy: export it again)")
    return grid


def _read_text(path: Path, recognised: CountRecognised) -> Grid:
    text = _decode(path)
    delimiters = ",;\t|"
    first_line, _, rest = text.partition("\n")
    if first_line.lower().startswith("sep="):  # written by Excel
        text, delimiters = rest, first_line[4:5]
    grids, reason = [], ""
    for delimiter in delimiters:
        try:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
            records = list(itertools.islice(reader, MOST_ROWS + 1))
            check_extent(path, len(records), 1)
        except csv.Error as error:
            reason = reason or str(error)
        else:
            grids.append(_grid_of(path, records, recognised))

    def rank(grid: Grid) -> tuple[int, float]:
        fitting = sum(len(cells) == len(grid.header) for _, cells in grid.rows) / max(1, len(grid.rows))
        return recognised(grid.header), fitting if len(grid.header) > 1 else 0.0

    best = max(grids, key=rank, default=Grid([], []))
    if reason and recognised(best.header) < 3:
        raise InvalidInputError(
            f"{path}: not a readable CSV file ({reason}) (remedy: look for an unclosed quotation mark)"
        )
    return best


def _decode(path: Path) -> str:
    """Text in UTF-8, UTF-16 or, where it is neither, Windows-1252 (a superset of Latin-1)."""
    check_size(path)
    content = path.read_bytes()
    encoding = "utf-8-sig"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in content[:2]:
        encoding = "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    if "\0" in text:
        raise InvalidInputError(f"{path}: not a text file (remedy: export it as CSV)")
    return text


def _read_workbook(path: Path, recognised: CountRecognised, sheet: str | None) -> Grid:
    workbooks = [open_workbook(path, formulas=formulas) for formulas in (False, True)]
    values, formulas = workbooks
    names = [worksheet.title for worksheet in values.worksheets]
    if sheet is not None and sheet not in names:
        raise InvalidInputError(f"{path}: no sheet '{sheet}' (the workbook has {', '.join(names)})")
    grids = [
        _grid_of(path, sheet_rows(path, values[name], formulas[name]), recognised, name)
        for name in ([sheet] if sheet is not None else names)
    ]
    counts = [recognised(grid.header) for grid in grids]
    # A sheet of explanations may have a column "Score" too; a table of scores has at least case, quality and error.
    least = min(3, max(counts, default=0))
    candidates = [grid for grid, count in zip(grids, counts, strict=True) if count >= least and grid.header]
    if len(candidates) > 1:
        listed = ", ".join(grid.sheet for grid in candidates)
        raise InvalidInputError(f"{path}: several sheets hold a table: {listed} (remedy: name one with --sheet)")
    return candidates[0] if candidates else Grid([], [])


def _grid_of(path: Path, rows: Sequence[list[Any]], recognised: CountRecognised, sheet: str = "") -> Grid:
    filled = []
    for number, cells in enumerate(rows, start=1):
        count = max((column for column, cell in enumerate(cells, start=1) if cell_text(cell)), default=0)
        if count:
            shown = [plain_text(cell) if isinstance(cell, str) else cell for cell in cells[:count]]
            filled.append((f"row {number}", shown))
    check_extent(path, len(filled), max((len(cells) for _, cells in filled), default=0))
    if not filled:
        return Grid([], [], sheet)
    headers = [[cell_text(cell) for cell in cells] for _, cells in filled[:_HEADER_SEARCH_ROWS]]
    start = max(range(len(headers)), key=lambda row: recognised(headers[row]))
    return Grid(headers[start], filled[start + 1 :], sheet)


def _read_json(path: Path) -> Grid:
    content = load_json(path, MOST_BYTES, _without_duplicates)
    if isinstance(content, dict) and list(content) == ["scores"]:
        content = content["scores"]
    if isinstance(content, list):
        records = [(f"record {number}", record) for number, record in enumerate(content, start=1)]
    else:
        records = list(_nested_records(content))
    if not all(isinstance(record, dict) for _, record in records):
        raise InvalidInputError(f"{path}: not a table of scores (remedy: write one of these forms: {_JSON_FORMS})")
    header = list(dict.fromkeys(key for _, record in records for key in record))
    check_extent(path, len(records), len(header))
    return Grid(header, [(label, [record.get(key) for key in header]) for label, record in records])


def _nested_records(content: Any) -> Iterator[tuple[str, Any]]:
    """Records of `{case: {region: score}}`; anything else than a dictionary stands for another content."""
    for case, regions in content.items() if isinstance(content, dict) else [("", content)]:
        for region, score in regions.items() if isinstance(regions, dict) else [("", [regions])]:
            if isinstance(score, list) and len(score) == 2 and not isinstance(score[0], dict):
                score = {"quality": score[0], "error": score[1]}
            for rating in score if isinstance(score, list) else [] if score is None else [score]:
                record = {"case": case, "region": region, **rating} if isinstance(rating, dict) else rating
                yield f"entry {case} / {region}", record


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that occurs twice, of which Python's reader would keep the last one without a word."""
    for key, count in Counter(key for key, _ in pairs).items():
        if count > 1:
            raise InvalidJsonError(f"the key '{key}' occurs twice in one object")
    return dict(pairs)
