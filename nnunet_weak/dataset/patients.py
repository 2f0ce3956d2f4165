"""Which cases are of one patient: folds keep them together."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from nnunet_weak.dataset.names import match_names
from nnunet_weak.errors import InvalidInputError, Problems


def read_patients(path: Path, cases: Sequence[str]) -> dict[str, str]:
    """Read the patient of each case from a CSV table with the columns `case` and `patient`.

    Raises:
        InvalidInputError: No such file or columns, a case with two patients, or cases that are missing in it.
    """
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file")
    with path.open(encoding="utf-8-sig", newline="") as file:
        sample = file.readline()
        file.seek(0)
        delimiter = max(",;\t", key=sample.count)
        rows = [
            {str(key).strip().lower(): value.strip() for key, value in row.items() if isinstance(value, str)}
            for row in csv.DictReader(file, delimiter=delimiter)
        ]
    if not rows or not {"case", "patient"} <= set(rows[0]):
        raise InvalidInputError(
            f"{path}: a table with the columns 'case' and 'patient' is needed, its first line is {sample.strip()!r}"
        )
    problems = Problems()
    matches, _ = match_names([row["case"] for row in rows], cases, kind="case")
    patient_of: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        case = matches.get(row["case"])
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
