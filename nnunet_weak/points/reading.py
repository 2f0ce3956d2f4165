"""The steps that readers of all formats share: checks of positions and coordinate systems, grouping into objects."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.points.points import CoordinateSystem, FloatArray, ObjectPoints, PointSet, to_lps

MOST_POINTS = 100_000
"""In one file; nobody clicks more, but files of whole surfaces or masks have them."""

FARTHEST_MM = 1e6
"""From the origin along an axis; no image lies farther away, and computations would lose digits or overflow."""

_MOST_PROBLEMS = 100


class PointReading:
    """Collects points, problems and warnings of one file; `told` is the coordinate system that the user told."""

    def __init__(self, path: Path, told: CoordinateSystem | None) -> None:
        self.path, self.told = path, told
        self.warnings: list[str] = []
        self._problems = Problems()
        self._count = 0
        self._found: dict[tuple[str, str, int], list[tuple[FloatArray, str]]] = {}

    def error(self, what: str, remedy: str) -> InvalidInputError:
        """Make the error of a file that cannot be read at all."""
        return InvalidInputError(f"{self.path}: {what} (remedy: {remedy})")

    def problem(self, where: str, what: str, remedy: str) -> None:
        """Add a problem at a place in the file; the reading ends at `_MOST_PROBLEMS`."""
        self._problems.add(self._place(where), what, remedy)
        if len(self._problems) >= _MOST_PROBLEMS:
            self._problems.add(str(self.path), "not read further")
            self._problems.raise_if_any("Points")

    def coordinate_system(
        self, stated: object, where: str = "", assumed: CoordinateSystem | None = None
    ) -> CoordinateSystem:
        """Decide the coordinate system: the one that the file states, or else the one that the user told.

        Warns where they differ; adds a problem where neither is known and none is assumed.
        """
        if stated is None:
            if self.told is None and assumed is None:
                what = "does not say whether its coordinates are LPS or RAS, and no convention exists"
                self.problem(where, what, "state the coordinate system, or name the columns l, p, s or r, a, s")
            return self.told or assumed or "LPS"
        if stated not in ("LPS", "RAS"):
            what = f"the coordinate system must be LPS or RAS; got {reprlib.repr(stated)}"
            indices = ", which are voxel indices" if stated == "IJK" else ""
            self.problem(where, what + indices, "export the points in LPS or RAS mm")
        elif self.told not in (None, stated):
            self.warnings.append(
                f"{self._place(where)}: says itself that its coordinates are {stated} and is believed; {self.told} was "
                "taken for files that do not say."
            )
        return "RAS" if stated == "RAS" else "LPS"

    def position(self, values: Any, where: str, unit_mm: float = 1.0) -> FloatArray | None:
        """Three numbers, or texts of numbers, in mm; None and a problem where they are not, or too far away."""
        if isinstance(values, list) and len(values) == 3:
            try:
                position = np.array([float(value) for value in values]) * unit_mm
                if (np.abs(position) <= FARTHEST_MM).all():
                    return position
            except (TypeError, ValueError, OverflowError):
                pass
        what = f"a position is three finite numbers up to {FARTHEST_MM:g} mm; got {reprlib.repr(values)}"
        self.problem(where, what, "correct or remove the point")
        return None

    def add(
        self,
        position: FloatArray | None,
        system: CoordinateSystem,
        names: tuple[str, str],
        number: int,
        label: str = "",
    ) -> None:
        """Add a point to the object of this class, name and number in the file; None is left out.

        Raises:
            InvalidInputError: These are more than `MOST_POINTS`.
        """
        if position is not None:
            self._count += 1
            if self._count > MOST_POINTS:
                remedy = "give a few points on the surface of each object"
                raise self.error(f"more than {MOST_POINTS} points, which nobody clicks", remedy)
            self._found.setdefault((*names, number), []).append((to_lps(position, system), label))

    def warn_of_not_placed(self, labels: list[str], count: int, where: str = "") -> None:
        """Warn of points, of `count`, that were left out because the annotator has not placed them."""
        if labels:
            named = ", ".join(labels[:10])
            self.warnings.append(
                f"{self._place(where)}: {len(labels)} of {count} points are not placed and were left out ({named})."
            )

    def point_set(self) -> PointSet:
        """All points by object, in order of appearance.

        Raises:
            InvalidInputError: All problems, or that there are no points.
        """
        self._problems.raise_if_any("Points")
        if not self._found:
            raise self.error("the file has no placed points", "click points, and save them")
        objects = []
        for (class_name, object_name, _), found in self._found.items():
            points, labels = zip(*found, strict=True)
            objects.append(ObjectPoints(np.array(points), class_name, object_name, labels if any(labels) else ()))
        return PointSet(tuple(objects), tuple(self.warnings))

    def _place(self, where: str) -> str:
        return f"{self.path}, {where}" if where else str(self.path)
