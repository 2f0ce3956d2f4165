"""Point files of 3D Slicer: markups JSON (`.mrk.json`), read and written, and the older fiducial list (`.fcsv`).

Both state their coordinate system, and each of the two has been in use with every version of the program: the header
decides, never the version. Tables exported from Slicer are read by `tables`.
"""

from __future__ import annotations

import json
import re
import reprlib
from pathlib import Path
from typing import Any

from nnunet_weak.images.json_files import load_json, read_text
from nnunet_weak.points.points import CoordinateSystem, PointSet, to_lps
from nnunet_weak.points.reading import PointReading
from nnunet_weak.points.tables import add_rows, rows_of

_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
_SYSTEM_NUMBERS = {"0": "RAS", "1": "LPS", "2": "IJK"}  # how older versions wrote the enumeration
_MM_PER_UNIT = {"mm": 1.0, "um": 1e-3}
_POINT_TYPES = ("Fiducial", "Line", "Angle", "Curve", "ClosedCurve")
_SLICER_3_COLUMNS = "label,x,y,z,sel,vis"
_COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"


def read_mrk_json(reading: PointReading) -> None:
    """Read markups: each is one object. Undefined and preview control points are left out, with a warning."""
    content = load_json(reading.path)
    markups = content.get("markups") if isinstance(content, dict) else None
    if not isinstance(markups, list) or not all(isinstance(markup, dict) for markup in markups):
        raise reading.error("a markups file has a list 'markups'; this has none", "save it again from Slicer")
    for number, markup in enumerate(markups, start=1):
        names = "", str(markup.get("name") or (number if len(markups) > 1 else ""))
        _read_markup(markup, names, number, reading)


def write_mrk_json(path: Path, points: PointSet, system: CoordinateSystem) -> None:
    """Write markups. Points without a label get `class#object-number`."""
    markups = []
    for one in points:
        control_points = [
            {
                "id": str(row + 1),
                "label": one.labels[row] if one.labels and one.labels[row] else f"{one.title}-{row + 1}",
                "position": [round(float(value), 6) for value in point],
                "selected": True,
                "locked": False,
                "visibility": True,
                "positionStatus": "defined",
            }
            for row, point in enumerate(to_lps(one.points_mm, system))
        ]
        markups.append(
            {"type": "Fiducial", "coordinateSystem": system, "coordinateUnits": "mm", "controlPoints": control_points}
        )
    path.write_text(json.dumps({"@schema": _SCHEMA, "markups": markups}, indent=2) + "\n", encoding="utf-8")


def read_fcsv(reading: PointReading) -> None:
    """Read a fiducial list, of Slicer 3 to the last version that wrote it: one object."""
    text = read_text(reading.path)
    header = {key.strip("# \t"): value.strip() for key, value in re.findall(r"^[ \t]*#([^=\n]*)=(.*)$", text, re.M)}
    stated = _system_name(header.get("CoordinateSystem") or None)
    system = reading.coordinate_system(stated, assumed="RAS")
    if stated is None and reading.told is None:
        reading.warnings.append(
            f"{reading.path}: the header has no CoordinateSystem; RAS was assumed, as Slicer did when it wrote such "
            "files. State the coordinate system to be sure."
        )
    slicer_3 = not any("version" in key for key in header)
    columns = header.get("columns", _SLICER_3_COLUMNS if slicer_3 else _COLUMNS).split(",")
    columns = [name.strip() for name in columns]
    if not {"x", "y", "z"} <= set(columns):
        raise reading.error(f"x, y and z must be among its columns {', '.join(columns)}", "save it again from Slicer")
    rows = rows_of(reading.path, re.sub(r"^[ \t]*#.*$", "", text, flags=re.M), ",")
    add_rows(reading, rows, columns, "xyz", system)


def _read_markup(markup: dict[str, Any], names: tuple[str, str], number: int, reading: PointReading) -> None:
    where = f"markup {number}"
    kind, units = markup.get("type", "Fiducial"), markup.get("coordinateUnits", "mm")
    unit = units[0] if isinstance(units, list) and units else units
    control_points = markup.get("controlPoints") or []
    system = reading.coordinate_system(_system_name(markup.get("coordinateSystem")), where, assumed="LPS")
    if kind not in _POINT_TYPES:
        what = f"type {reprlib.repr(kind)} has no surface points; possible: {', '.join(_POINT_TYPES)}"
        reading.problem(where, what, "use a point list")
    elif not isinstance(unit, str) or unit not in _MM_PER_UNIT:
        reading.problem(where, f"coordinateUnits must be mm or um; got {reprlib.repr(units)}", "save it in mm")
    elif not isinstance(control_points, list) or not all(isinstance(point, dict) for point in control_points):
        reading.problem(where, "controlPoints must be a list of objects", "save it again from Slicer")
    else:
        not_placed = []
        for row, point in enumerate(control_points, start=1):
            label = str(point.get("label", ""))
            if point.get("positionStatus", "defined") != "defined" or point.get("position") is None:
                not_placed.append(label or str(row))
                continue
            at = f"{where}, control point {label or row}"
            position = reading.position(point["position"], at, _MM_PER_UNIT[unit])
            reading.add(position, system, names, number, label)
        reading.warn_of_not_placed(not_placed, len(control_points), where)


def _system_name(stated: object) -> str | None:
    name = None if stated is None else str(stated).strip().upper()
    return _SYSTEM_NUMBERS.get(name, name) if name is not None else None
