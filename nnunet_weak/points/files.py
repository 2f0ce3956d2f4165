"""Read and write point files: 3D Slicer, MITK, tables, JSON.

| ending | written by | coordinate system |
|---|---|---|
| `.mrk.json` | 3D Slicer markups | in the file; LPS where it does not say |
| `.fcsv` | 3D Slicer fiducials, any version | in the header; RAS where it does not say, with a warning |
| `.csv`, `.tsv` | 3D Slicer tables; any with x, y, z | by columns l, p, s or r, a, s; of x, y, z it must be told |
| `.mps` | MITK point sets | LPS |
| `.json` | plain, see `tables` | in the file, or must be told |

A reader adds points to a `PointReading`. A new format needs a reader, and a line in `_READERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.points.mitk import read_mps
from nnunet_weak.points.points import CoordinateSystem, Grouping, PointSet
from nnunet_weak.points.reading import PointReading
from nnunet_weak.points.slicer import read_fcsv, read_mrk_json, write_mrk_json
from nnunet_weak.points.tables import read_json, read_table, write_table

_READERS: dict[str, Callable[[PointReading], None]] = {
    ".mrk.json": read_mrk_json,
    ".fcsv": read_fcsv,
    ".csv": read_table,
    ".tsv": read_table,
    ".mps": read_mps,
    ".json": read_json,
}
_WRITERS = {".mrk.json": write_mrk_json, ".csv": write_table}
POINT_FILE_ENDINGS = tuple(_READERS)
WRITABLE_ENDINGS = tuple(_WRITERS)


def read_points(
    path: str | Path, coordinate_system: CoordinateSystem | None = None, *, group_by: Grouping = "list"
) -> PointSet:
    """Read the surface points of one case.

    Args:
        path: A file with one of `POINT_FILE_ENDINGS`.
        coordinate_system: Of the file, LPS or RAS. Needed where the file does not say; an error where it contradicts
            it.
        group_by: `list` takes each markup list, MITK point set, or value of the table's columns `class` and `object`
            as one object. `label` goes by the points' labels, `class` or `class#object` with an optional running
            number.

    Returns:
        Points in LPS mm, grouped by object.

    Raises:
        InvalidInputError: Everything that is wrong with the file, in one list.
    """
    path, ending = Path(path), point_file_ending(path)
    if group_by not in get_args(Grouping):
        raise InvalidInputError(f"group_by must be one of {', '.join(get_args(Grouping))}; got {group_by!r}")
    _check_coordinate_system(coordinate_system or "LPS")
    if ending is None:
        raise InvalidInputError(
            f"{path}: unknown kind of point file (remedy: export it as one of {', '.join(POINT_FILE_ENDINGS)})"
        )
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file (remedy: check the path)")
    reading = PointReading(path, coordinate_system)
    _READERS[ending](reading)
    points = reading.point_set()
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
    _check_coordinate_system(coordinate_system)
    write = _WRITERS.get(point_file_ending(path) or "")
    if write is None:
        raise InvalidInputError(f"{path}: points can be written as {' or '.join(_WRITERS)} (remedy: rename the output)")
    write(path, points, coordinate_system)


def _check_coordinate_system(value: str) -> None:
    if value not in get_args(CoordinateSystem):
        raise InvalidInputError(
            f"the coordinate system must be LPS or RAS; got {value!r} (remedy: convert voxel indices to mm in the "
            "program that wrote them)"
        )
