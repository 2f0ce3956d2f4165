"""Point files of 3D Slicer: markups JSON (`.mrk.json`) and the older fiducial list (`.fcsv`).

Both state their coordinate system, and every one of the two has been in use with every version of the program: the
header decides, never the version. Tables exported from Slicer are read by `point_files_plain`.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.points.points import CoordinateSystem, ObjectPoints, PointSet, to_lps

# The numbers are how older versions wrote the enumeration.
_SYSTEMS: dict[str, CoordinateSystem] = {"LPS": "LPS", "1": "LPS", "RAS": "RAS", "0": "RAS"}
_MM_PER_UNIT = {"mm": 1.0, "um": 1e-3}
_POINT_TYPES = ("Fiducial", "Line", "Angle", "Curve", "ClosedCurve")


def read_mrk_json(path: Path, coordinate_system: CoordinateSystem | None = None) -> PointSet:
    """Read Slicer markups: each is one object. Undefined and preview control points are left out, with a warning."""
    content = load_json(path)
    markups = content.get("markups") if isinstance(content, dict) else None
    if not isinstance(markups, list) or not all(isinstance(markup, dict) for markup in markups):
        raise InvalidInputError(
            f"{path.name}: a markups file has a list 'markups'; this has none. Save it again from Slicer."
        )
    problems = Problems()
    warnings: list[str] = []
    objects = []
    for number, markup in enumerate(markups, start=1):
        where = f"{path.name}, markup {number}"
        found = _markup(markup, where, coordinate_system, problems, warnings)
        if found is not None and len(found.points_mm):
            name = str(markup.get("name") or (number if len(markups) > 1 else ""))
            objects.append(ObjectPoints(found.points_mm, object_name=name, labels=found.labels))
    problems.raise_if_any(f"Points {path.name}")
    return PointSet(tuple(objects), path, tuple(warnings))


def read_fcsv(path: Path, coordinate_system: CoordinateSystem | None = None) -> PointSet:
    """Read a Slicer fiducial list, of Slicer 3 (`label,x,y,z,sel,vis`) to the last that wrote it: one object."""
    header, rows = _split_fcsv(path)
    problems = Problems()
    warnings: list[str] = []
    stated = header.get("CoordinateSystem", "")
    system = _system(stated, path.name, coordinate_system, problems) if stated else coordinate_system
    if not stated and coordinate_system is None:
        system = "RAS"
        warnings.append(
            f"{path.name}: the header has no CoordinateSystem; RAS was assumed, as Slicer did when it wrote such "
            f"files. State the coordinate system to be sure."
        )
    slicer_3 = not any("version" in key for key in header)
    default = "label,x,y,z,sel,vis" if slicer_3 else "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
    columns = [name.strip() for name in header.get("columns", default).split(",")]
    if not {"x", "y", "z"} <= set(columns):
        problems.add(f"{path.name}, columns", f"x, y and z must be among them; got {', '.join(columns)}")
        problems.raise_if_any(f"Points {path.name}")
    points, labels = [], []
    for line, row in rows:
        named = dict(zip(columns, (value.strip() for value in row), strict=False))
        position = parse_position([named.get(axis) for axis in "xyz"], f"{path.name}, line {line}", problems)
        if position is not None:
            points.append(position)
            labels.append(named.get("label", ""))
    problems.raise_if_any(f"Points {path.name}")
    return PointSet(
        (ObjectPoints(to_lps(np.array(points).reshape(-1, 3), system or "RAS"), labels=tuple(labels)),),
        path,
        tuple(warnings),
    )


def load_json(path: Path) -> Any:
    """Content of a JSON file, or an error that says where it is broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path.name}: not valid JSON ({error}). Save or export it again.") from error


def parse_position(values: Any, where: str, problems: Problems, decimal_comma: bool = False) -> list[float] | None:
    """Three finite numbers, or None with the problem noted."""
    if isinstance(values, (list, tuple)) and len(values) == 3:
        try:
            texts = [value.replace(",", ".") if decimal_comma and isinstance(value, str) else value for value in values]
            position = [float(value) for value in texts]
        except (TypeError, ValueError):
            position = [float("nan")]
        if np.isfinite(position).all():
            return position
    problems.add(where, f"a position is three finite numbers; got {values}", "correct or remove the point")
    return None


def _markup(
    markup: dict[str, Any], where: str, expected: CoordinateSystem | None, problems: Problems, warnings: list[str]
) -> ObjectPoints | None:
    kind = markup.get("type", "Fiducial")
    if kind not in _POINT_TYPES:
        problems.add(
            where, f"type {kind!r} has no surface points; possible: {', '.join(_POINT_TYPES)}", "use a point list"
        )
        return None
    stated = str(markup.get("coordinateSystem", "LPS"))
    system = _system(stated, where, expected if "coordinateSystem" in markup else None, problems)
    if "coordinateSystem" not in markup and expected is not None:
        system = expected
    units = markup.get("coordinateUnits", "mm")
    unit = units[0] if isinstance(units, list) and units else units
    if not isinstance(unit, str) or unit not in _MM_PER_UNIT:
        problems.add(where, f"coordinateUnits must be mm or um; got {units!r}", "save the markups in mm")
        return None
    control_points = markup.get("controlPoints") or []
    if not isinstance(control_points, list) or not all(isinstance(point, dict) for point in control_points):
        problems.add(where, "controlPoints must be a list of objects", "save it again from Slicer")
        return None
    points, labels, undefined = [], [], []
    for number, point in enumerate(control_points, start=1):
        label = str(point.get("label", ""))
        if point.get("positionStatus", "defined") != "defined" or point.get("position") is None:
            undefined.append(label or str(number))
            continue
        position = parse_position(point["position"], f"{where}, control point {label or number}", problems)
        if position is not None:
            points.append(position)
            labels.append(label)
    if undefined:
        warnings.append(
            f"{where}: {len(undefined)} of {len(control_points)} control points are not placed and were left out "
            f"({', '.join(undefined[:10])})."
        )
    scaled = np.array(points).reshape(-1, 3) * _MM_PER_UNIT[unit]
    return ObjectPoints(to_lps(scaled, system or "LPS"), labels=tuple(labels))


def _system(stated: str, where: str, expected: CoordinateSystem | None, problems: Problems) -> CoordinateSystem | None:
    system = _SYSTEMS.get(stated.strip().upper())
    if system is None:
        indices = stated.strip().upper() in ("2", "IJK")
        problems.add(
            where,
            f"coordinate system must be LPS or RAS; got {stated!r}" + (", i.e. voxel indices" if indices else ""),
            "export the points in LPS or RAS mm",
        )
    elif expected is not None and expected != system:
        problems.add(
            where,
            f"the file says its coordinates are {system}, but {expected} was asked for",
            "leave the coordinate system out to believe the file, or correct the file",
        )
    return system


def _split_fcsv(path: Path) -> tuple[dict[str, str], list[tuple[int, list[str]]]]:
    """Header entries, and rows with their line numbers. Labels may be quoted and hold commas."""
    header: dict[str, str] = {}
    rows = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path.name}: not a text file ({error}). Save it again from Slicer.") from error
    for number, line in enumerate(lines, start=1):
        if line.lstrip().startswith("#"):
            key, equals, value = line.lstrip("# ").partition("=")
            if equals:
                header[key.strip()] = value.strip()
        elif line.strip():
            rows.append((number, next(csv.reader([line]))))
    return header, rows
