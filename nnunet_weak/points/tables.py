"""Points in tables (`.csv`, `.tsv`, among them those that 3D Slicer exports) and in plain JSON.

Tables have a row of column names. Columns `l, p, s` or `r, a, s` name the coordinate system; for `x, y, z` it must be
told, because no convention exists. Optional columns: `label`, `class`, `object`, and Slicer's `defined` (0: not
placed).

JSON, either of

    {"coordinate_system": "LPS", "points_mm": [[x, y, z], ...]}
    {"coordinate_system": "RAS", "objects": [{"class": "liver", "object": "1", "points_mm": [[x, y, z], ...]}, ...]}
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.points.points import (
    CoordinateSystem,
    ObjectPoints,
    PointSet,
    to_lps,
)
from nnunet_weak.points.slicer import load_json, parse_position
from nnunet_weak.tables import plain_text

_AXES: dict[str, CoordinateSystem | None] = {"lps": "LPS", "ras": "RAS", "xyz": None}
_JSON_KEYS = {"coordinate_system", "points_mm", "objects"}
_OBJECT_KEYS = {"class", "object", "points_mm", "labels"}


def read_table(path: Path, coordinate_system: CoordinateSystem | None = None) -> PointSet:
    """Read a table of points: one object for each pair of values in its columns `class` and `object`."""
    columns, rows, delimiter = _split_table(path)
    axes = next((axes for axes in _AXES if set(axes) <= set(columns)), None)
    if axes is None:
        raise InvalidInputError(
            f"{path.name}: a table of points needs columns l, p, s or r, a, s or x, y, z; got {', '.join(columns)}. "
            f"Name the columns in the first row."
        )
    problems = Problems()
    system = _decide(path.name, _AXES[axes], coordinate_system, f"columns {', '.join(axes)}", problems)
    undefined = []
    found: dict[tuple[str, str], tuple[list[list[float]], list[str]]] = {}
    for line, row in rows:
        named = dict(zip(columns, (value.strip() for value in row), strict=False))
        label = named.get("label", "")
        if named.get("defined", "1").lower() in ("0", "false"):
            undefined.append(label or f"line {line}")
            continue
        where = f"{path.name}, line {line}"
        position = parse_position([named.get(axis) for axis in axes], where, problems, decimal_comma=delimiter == ";")
        if position is not None:
            points, labels = found.setdefault((named.get("class", ""), named.get("object", "")), ([], []))
            points.append(position)
            labels.append(label)
    problems.raise_if_any(f"Points {path.name}")
    objects = tuple(
        ObjectPoints(to_lps(np.array(points), system), *names, tuple(labels))
        for names, (points, labels) in found.items()
    )
    warnings = (
        (f"{path.name}: {len(undefined)} points are not placed and were left out ({', '.join(undefined[:10])}).",)
        if undefined
        else ()
    )
    return PointSet(objects, path, warnings)


def read_json(path: Path, coordinate_system: CoordinateSystem | None = None) -> PointSet:
    """Read plain JSON, with one object or several."""
    content = load_json(path)
    if isinstance(content, dict) and "markups" in content:
        raise InvalidInputError(f"{path.name}: these are Slicer markups; rename the file to end in .mrk.json.")
    if not isinstance(content, dict) or ("points_mm" in content) == ("objects" in content):
        raise InvalidInputError(
            f"{path.name}: must be a JSON object with either 'points_mm' or 'objects'. Add one of them."
        )
    problems = Problems()
    _refuse_unknown(content, _JSON_KEYS, path.name, problems)
    stated = content.get("coordinate_system")
    if stated not in (None, "LPS", "RAS"):
        problems.add(
            f"{path.name}, coordinate_system", f"must be LPS or RAS; got {stated!r}", "convert the points to mm in one"
        )
        stated = None
        coordinate_system = coordinate_system or "LPS"
    system = _decide(path.name, stated, coordinate_system, "coordinate_system", problems)
    entries: Any = content["objects"] if "objects" in content else [{"points_mm": content["points_mm"]}]
    objects = []
    for number, entry in enumerate(entries if isinstance(entries, list) else [entries], start=1):
        where = f"{path.name}, object {number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("points_mm"), list):
            problems.add(where, "needs a list 'points_mm' of positions [x, y, z]")
            continue
        _refuse_unknown(entry, _OBJECT_KEYS, where, problems)
        positions = [
            parse_position(position, f"{where}, point {row}", problems)
            for row, position in enumerate(entry["points_mm"], start=1)
        ]
        points = np.array([position for position in positions if position is not None]).reshape(-1, 3)
        labels = tuple(str(label) for label in entry.get("labels", ()))
        if labels and len(labels) != len(positions):
            problems.add(where, f"{len(labels)} labels for {len(positions)} points", "give none, or one for each point")
        elif len(points) == len(positions):
            names = str(entry.get("class", "")), str(entry.get("object", ""))
            objects.append(ObjectPoints(to_lps(points, system), *names, labels))
    problems.raise_if_any(f"Points {path.name}")
    return PointSet(tuple(objects), path)


def _decide(
    where: str, stated: CoordinateSystem | None, told: CoordinateSystem | None, by: str, problems: Problems
) -> CoordinateSystem:
    """The coordinate system, from the file or the caller; a problem where neither says it or they differ."""
    if stated is None and told is None:
        problems.add(
            where,
            "does not say whether its coordinates are LPS or RAS, and no convention exists",
            "state the coordinate system, or name the columns l, p, s or r, a, s",
        )
    elif stated is not None and told is not None and stated != told:
        problems.add(where, f"the file says {stated} ({by}), but {told} was asked for", "correct one of them")
    return stated or told or "LPS"


def _refuse_unknown(entry: dict[str, Any], allowed: set[str], where: str, problems: Problems) -> None:
    for key in sorted(set(entry) - allowed):
        problems.add(where, f"unknown key {key!r}; allowed: {', '.join(sorted(allowed))}", "correct or remove it")


def _split_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]], str]:
    """Column names in lower case, rows with their line numbers, and the delimiter."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path.name}: not a text file in UTF-8 ({error}). Export it again.") from error
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise InvalidInputError(f"{path.name}: the file is empty. Export it again.")
    first = lines[0][1]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
    columns = [name.strip().lower().removesuffix("_mm") for name in next(csv.reader([first], delimiter=delimiter))]
    rows = [
        (number, [plain_text(cell) for cell in next(csv.reader([line], delimiter=delimiter))])
        for number, line in lines[1:]
    ]
    return columns, rows, delimiter
