"""Points in tables (`.csv`, `.tsv`), among them those that 3D Slicer exports, and in plain JSON.

Tables have a row of column names. Columns `l, p, s` or `r, a, s` name the coordinate system; for `x, y, z` it must be
told, because no convention exists. Optional columns: `label`, `class`, `object`, and Slicer's `defined` (0: not
placed). Rows of the same `class` and `object` are one object.

JSON, either of

    {"coordinate_system": "LPS", "points_mm": [[x, y, z], ...]}
    {"coordinate_system": "RAS", "objects": [{"class": "liver", "object": "1", "points_mm": [[x, y, z], ...]}, ...]}

where each object may have `labels`, one text for each point. The coordinate system may be told instead.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.json_files import load_json, read_text
from nnunet_weak.points.points import CoordinateSystem, PointSet, to_lps
from nnunet_weak.points.reading import PointReading
from nnunet_weak.tables import csv_text, plain_text

_AXES = {"lps": "LPS", "ras": "RAS", "xyz": None}
_JSON_KEYS = {"coordinate_system", "points_mm", "objects"}
_OBJECT_KEYS = {"class", "object", "points_mm", "labels"}


def read_table(reading: PointReading) -> None:
    """Read a table of points: one object for each pair of values in its columns `class` and `object`."""
    text = read_text(reading.path)
    first = text.lstrip().partition("\n")[0]
    delimiter = "\t" if reading.path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
    rows = rows_of(reading.path, text, delimiter)
    _, header = next(rows, (0, []))
    if not header:
        raise reading.error("the file is empty", "export it again")
    columns = [name.lower().removesuffix("_mm") for name in header]
    axes = next((axes for axes in _AXES if set(axes) <= set(columns)), None)
    if axes is None:
        what = f"a table of points needs columns l, p, s or r, a, s or x, y, z; got {', '.join(columns)}"
        raise reading.error(what, "name the columns in the first row")
    system = reading.coordinate_system(_AXES[axes])
    add_rows(reading, rows, columns, axes, system, decimal_comma=delimiter == ";")


def write_table(path: Path, points: PointSet, system: CoordinateSystem) -> None:
    """Write a table that names its coordinate system."""
    rows = [
        [label, *(f"{value:.6f}" for value in point), one.class_name, one.object_name]
        for one in points
        for label, point in zip(one.labels or [""] * len(one.points_mm), to_lps(one.points_mm, system), strict=True)
    ]
    text = csv_text(["label", *system.lower(), "class", "object"], rows)
    path.write_text(text, encoding="utf-8", newline="")


def rows_of(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Lines with something in them: their numbers and cells. Each is read alone, so no stray quote swallows others."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield number, [plain_text(cell.strip()) for cell in next(csv.reader([line], delimiter=delimiter))]
            except csv.Error as error:
                raise InvalidInputError(f"{path}, line {number}: {error} (remedy: export the file again)") from error


def add_rows(
    reading: PointReading,
    rows: Iterable[tuple[int, list[str]]],
    columns: Sequence[str],
    axes: str,
    system: CoordinateSystem,
    decimal_comma: bool = False,
) -> None:
    """Add the points in rows of `rows_of`, whose coordinates are in the columns `axes`."""
    not_placed, count = [], 0
    for line, cells in rows:
        count += 1
        row = dict(zip(columns, cells, strict=False))
        label = row.get("label", "")
        if row.get("defined", "1").lower() in ("0", "false"):
            not_placed.append(label or f"line {line}")
            continue
        values = [row.get(axis, "").replace(",", "." if decimal_comma else ",") for axis in axes]
        names = row.get("class", ""), row.get("object", "")
        reading.add(reading.position(values, f"line {line}"), system, names, 0, label)
    reading.warn_of_not_placed(not_placed, count)


def read_json(reading: PointReading) -> None:
    """Read plain JSON, with one object or several."""
    content = load_json(reading.path)
    if isinstance(content, dict) and "markups" in content:
        raise reading.error("these are Slicer markups", "rename the file to end in .mrk.json")
    if not isinstance(content, dict) or ("points_mm" in content) == ("objects" in content):
        raise reading.error("must be a JSON object with either 'points_mm' or 'objects'", "add one of them")
    _refuse_unknown(content, _JSON_KEYS, "", reading)
    system = reading.coordinate_system(content.get("coordinate_system"), "coordinate_system")
    entries = content["objects"] if "objects" in content else [{"points_mm": content["points_mm"]}]
    for number, entry in enumerate(entries if isinstance(entries, list) else [entries], start=1):
        where = f"object {number}"
        points = entry.get("points_mm") if isinstance(entry, dict) else None
        if not isinstance(points, list):
            reading.problem(where, "needs a list 'points_mm' of positions [x, y, z]", "add it")
            continue
        _refuse_unknown(entry, _OBJECT_KEYS, where, reading)
        labels = entry.get("labels") or [""] * len(points)
        if not isinstance(labels, list) or len(labels) != len(points):
            reading.problem(where, f"'labels' is no list of {len(points)} texts", "give none, or one for each point")
            continue
        names = str(entry.get("class", "")), str(entry.get("object", ""))
        for row, (point, label) in enumerate(zip(points, labels, strict=True), start=1):
            reading.add(reading.position(point, f"{where}, point {row}"), system, names, number, str(label))


def _refuse_unknown(entry: dict[str, Any], known: set[str], where: str, reading: PointReading) -> None:
    for key in sorted(set(entry) - known):
        reading.problem(where, f"unknown key {key!r}; allowed: {', '.join(sorted(known))}", "correct or remove it")
