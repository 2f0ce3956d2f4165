"""Points on surfaces: what the page may save, the fitted surface, and the files for 3D Slicer and the converter.

The page speaks RAS mm, everything on disk is LPS mm; both turn into each other here and nowhere else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_weak.annotate.cases.grid import LPS_TO_RAS
from nnunet_weak.annotate.messages import pack
from nnunet_weak.annotate.records.files import replaced
from nnunet_weak.annotate.study import Study
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.points.files import write_points
from nnunet_weak.points.points import ObjectPoints, PointSet
from nnunet_weak.surface.fit import fit_surface

ENDING = ".mrk.json"
_MOST_POINTS = 2000
_GAP_SHARE = 0.5


def checked_points(content: Mapping[str, Any], study: Study) -> dict[str, Any]:
    """Objects as the page sends them, checked, in LPS mm.

    Args:
        content: `{"objects": [{class, object, points_ras_mm}]}`.
        study: The study.

    Raises:
        InvalidInputError: Anything that is no such object.
    """
    objects = content.get("objects")
    if not isinstance(objects, list):
        raise InvalidInputError("points: no list of objects")
    checked = []
    for one in objects:
        if not isinstance(one, dict) or one.get("class") not in study.classes:
            raise InvalidInputError(f"points: an object of none of the classes {', '.join(study.classes)}")
        number = one.get("object")
        if type(number) is not int or not 1 <= number < 10000:
            raise InvalidInputError(f"points of {one['class']}: object {number!r} is no number from 1")
        points = checked_positions(one.get("points_ras_mm"))
        checked.append({"class": one["class"], "object": number, "points_lps_mm": (points * LPS_TO_RAS).tolist()})
    titles = [(one["class"], one["object"]) for one in checked]
    if len(set(titles)) < len(titles):
        raise InvalidInputError("points: two objects of the same class and number")
    return {"objects": checked}


def points_for_page(content: Mapping[str, Any]) -> dict[str, Any]:
    """Saved objects as the page takes them, in RAS mm."""
    return {
        "objects": [
            {
                "class": one["class"],
                "object": one["object"],
                "points_ras_mm": (np.reshape(one["points_lps_mm"], (-1, 3)) * LPS_TO_RAS).tolist(),
            }
            for one in content.get("objects", [])
        ]
    }


def write_point_files(folder: Path, content: Mapping[str, Any], study: Study) -> None:
    """Write a file for each object with points, `CLASS.mrk.json` or `CLASS-2.mrk.json`; those of deleted ones go.

    Args:
        folder: The case's own folder; in one of all cases `a_liver` could be the liver of a, or a_liver's only object.
        content: As `checked_points` returns it.
        study: The study.
    """
    wanted = {}
    for one in content["objects"]:
        if one["points_lps_mm"]:
            number = "" if one["object"] == 1 else str(one["object"])
            name = f"{one['class']}{f'-{number}' if number else ''}{ENDING}"
            wanted[name] = ObjectPoints(np.array(one["points_lps_mm"]), one["class"], number)
    for name, points in wanted.items():
        with replaced(folder / name) as temporary:
            write_points(temporary, PointSet((points,)))
    classes = "|".join(map(re.escape, study.classes))
    for path in folder.glob(f"*{ENDING}"):
        if path.name not in wanted and re.fullmatch(rf"({classes})(-\d+)?{re.escape(ENDING)}", path.name):
            path.unlink(missing_ok=True)


def fit_message(content: Any, gap_mm: float | None) -> bytes:
    """The surface through points, as a message: vertices (float32, RAS mm), faces (uint32), and what is to be known.

    Points that make no surface, four in one plane for example, are nothing wrong: the message says so in `failed`.

    Raises:
        InvalidInputError: No such points.
    """
    points = checked_positions(content.get("points_ras_mm") if isinstance(content, dict) else None)
    try:
        fit = fit_surface(points * LPS_TO_RAS)
    except InvalidInputError as error:
        return pack({"failed": error.problems[0], "residuals_mm": [], "warnings": []})
    radius = (3 * fit.volume_mm3 / (4 * math.pi)) ** (1 / 3)
    tolerance = gap_mm if gap_mm is not None else _GAP_SHARE * radius
    header = {
        "residuals_mm": fit.residuals_mm.tolist(),
        "volume_mm3": fit.volume_mm3,
        "gap_mm": fit.gap_mm,
        "gap_ras_mm": (fit.gap_location_mm * LPS_TO_RAS).tolist(),
        "gap_tolerance_mm": tolerance,
        "enough": fit.gap_mm <= tolerance,
        "warnings": list(fit.warnings),
    }
    vertices = (fit.vertices_mm * LPS_TO_RAS).astype("<f4")
    return pack(header, vertices.tobytes(), np.ascontiguousarray(fit.faces, "<u4").tobytes())


def checked_positions(points: Any) -> NDArray[np.float64]:
    """Positions, shape (N, 3).

    Raises:
        InvalidInputError: Not a list of three finite numbers each.
    """
    try:
        array = np.array(points, float).reshape(-1, 3) if points else np.empty((0, 3))
    except (TypeError, ValueError):
        array = np.full((1, 3), np.nan)
    if not isinstance(points, list) or not np.isfinite(array).all() or len(array) > _MOST_POINTS:
        raise InvalidInputError(f"points: a list of at most {_MOST_POINTS} positions of three finite numbers is needed")
    return array
