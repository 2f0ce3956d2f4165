"""Read and write point files: 3D Slicer, MITK, tables, JSON.

| ending | written by | coordinate system |
|---|---|---|
| `.mrk.json` | 3D Slicer markups | in the file; LPS where it does not say |
| `.fcsv` | 3D Slicer fiducials, any version | in the header; RAS where it does not say, with a warning |
| `.csv`, `.tsv` | 3D Slicer tables; anything with columns x, y, z | by columns l, p, s or r, a, s; x, y, z must be
told |
| `.mps` | MITK point sets | LPS |
| `.json` | plain (`point_files_plain`) | in the file, or must be told |

Conversions to LPS mm happen here and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.points.mitk import read_mps
from nnunet_weak.points.points import (
    CoordinateSystem,
    Grouping,
    PointSet,
    checked_coordinate_system,
    to_lps,
)
from nnunet_weak.points.slicer import read_fcsv, read_mrk_json
from nnunet_weak.points.tables import read_json, read_table
from nnunet_weak.tables import csv_text

_READERS: dict[str, Callable[[Path, CoordinateSystem | None], PointSet]] = {
    ".mrk.json": read_mrk_json,
    ".fcsv": read_fcsv,
    ".csv": read_table,
    ".tsv": read_table,
    ".mps": read_mps,
    ".json": read_json,
}
POINT_FILE_ENDINGS = tuple(_READERS)
WRITABLE_ENDINGS = (".mrk.json", ".csv")


def read_points(
    path: str | Path, coordinate_system: CoordinateSystem | None = None, *, group_by: Grouping = "list"
) -> PointSet:
    """Read the surface points of one case.

    Args:
        path: a file with one of `POINT_FILE_ENDINGS`.
        coordinate_system: of the file, LPS or RAS. Needed where the file does not say; an error where it contradicts
            it.
        group_by: `list` takes each markup list, MITK point set, or value of the table's columns `class` and `object`
            as one object. `label` goes by the points' labels, `class` or `class#object` with an optional running
            number.

    Returns:
        Points in LPS mm, grouped by object.

    Raises:
        InvalidInputError: everything that is wrong with the file, in one list.
    """
    path = Path(path)
    if group_by not in get_args(Grouping):
        raise InvalidInputError(f"group_by must be one of {', '.join(get_args(Grouping))}; got {group_by!r}.")
    ending = point_file_ending(path)
    if ending is None:
        raise InvalidInputError(
            f"{path.name}: unknown kind of point file; known endings: {', '.join(POINT_FILE_ENDINGS)}. Export it as "
            f"one of these."
        )
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file. Check the path.")
    points = _READERS[ending](path, checked_coordinate_system(coordinate_system))
    if points.n_points == 0:
        raise InvalidInputError(f"{path.name}: the file has no placed points. Click points, save, and try again.")
    return points.grouped_by_label() if group_by == "label" else points


def point_file_ending(path: str | Path) -> str | None:
    """The ending by which a file is read, or None where it is no point file."""
    name = Path(path).name.lower()
    return next((ending for ending in POINT_FILE_ENDINGS if name.endswith(ending)), None)


def write_points(path: str | Path, points: PointSet, coordinate_system: CoordinateSystem = "LPS") -> None:
    """Write points for 3D Slicer (`.mrk.json`) or as a table (`.csv`) that names its coordinate system.

    The labels of a `.mrk.json` are `class#object-number` where a point has none of its own, so that reading with
    `group_by="label"` gives the same objects.
    """
    path = Path(path)
    system = checked_coordinate_system(coordinate_system) or "LPS"
    ending = point_file_ending(path)
    if ending == ".mrk.json":
        path.write_text(json.dumps(_markups(points, system), indent=2) + "\n", encoding="utf-8")
    elif ending == ".csv":
        rows = [
            [one.labels[row] if one.labels else "", *(f"{x:.6f}" for x in point), one.class_name, one.object_name]
            for one in points
            for row, point in enumerate(to_lps(one.points_mm, system))
        ]
        text = csv_text(["label", *system.lower(), "class", "object"], rows)
        path.write_text(text, encoding="utf-8", newline="")
    else:
        raise InvalidInputError(
            f"{path.name}: points can be written as {' or '.join(WRITABLE_ENDINGS)}. Rename the output."
        )


def _markups(points: PointSet, system: CoordinateSystem) -> dict[str, object]:
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
    schema = (
        "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
        "markups-schema-v1.0.3.json#"
    )
    return {"@schema": schema, "markups": markups}
