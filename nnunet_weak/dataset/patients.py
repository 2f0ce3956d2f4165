"""Which cases are of one patient: folds keep them together."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from nnunet_weak.dataset.names import match_names
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.json_files import read_text
from nnunet_weak.tables import plain_text

_MOST_ROWS = 100_000


def read_patients(path: Path, cases: Sequence[str]) -> dict[str, str]:
    """Read the patient of each case from a CSV table with the columns `case` and `patient`.

    Raises:
        InvalidInputError: No such file or columns, a case with two patients, or cases that are missing in it.
    """
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file (remedy: check path and name)")
    text = read_text(path)
    sample = text.strip().partition("\n")[0].strip()
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=sample.count))
    try:
        rows = [_row(cells) for cells in itertools.islice(reader, _MOST_ROWS + 1)]
    except csv.Error as error:
        raise InvalidInputError(f"{path}: {error} (remedy: export it again as CSV)") from error
    if len(rows) > _MOST_ROWS:
        raise InvalidInputError(f"{path}: more than {_MOST_ROWS} rows (remedy: keep the rows of these cases)")
    if not rows or not {"case", "patient"} <= set(rows[0]):
        raise InvalidInputError(
            f"{path}: a table with the columns 'case' and 'patient' is needed, its first line is {sample[:200]!r} "
            "(remedy: name the columns in the first row)"
        )
    problems = Problems()
    matches, _ = match_names([row.get("case", "") for row in rows], cases, kind="case")
    patient_of: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        case = matches.get(row.get("case", ""))
        if case is None:
            continue
        if not row.get("patient"):
            problems.add(f"{path}, row {number}, case '{case}'", "no patient", "fill it in")
        elif patient_of.setdefault(case, row["patient"]) != row["patient"]:
            problems.add(
                f"{path}, row {number}, case '{case}'",
                f"patient {row['patient']}, but {patient_of[case]} above",
                "correct one",
            )
    for case in cases:
        if case not in matches.values():
            problems.add(f"{path}, case '{case}'", "is not in the table of patients", "add a row for it")
    problems.raise_if_any()
    return patient_of


def _row(cells: Mapping[str | None, object]) -> dict[str, str]:
    """Texts by column; rows shorter than the header have fewer."""
    return {
        str(name).strip().lower(): plain_text(cell.strip()) for name, cell in cells.items() if isinstance(cell, str)
    }
