"""Surface points of the objects of one case.

Positions are LPS mm throughout (SimpleITK's physical space), rows of arrays of shape (N, 3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
CoordinateSystem = Literal["LPS", "RAS"]
Grouping = Literal["list", "label"]
"""`list`: each list of the file is one object. `label`: the points' labels name class and object."""

_LABEL = re.compile(r"(?P<class_name>.*?)(?:#(?P<object_name>[^#]*?))?(?:-\d+)?", re.DOTALL)


@dataclass(frozen=True)
class ObjectPoints:
    """Points on the surface of one object.

    Attributes:
        points_mm: LPS mm, shape (N, 3).
        class_name: Class of the object, empty where the file does not say.
        object_name: Its name among several of its class, empty where there is one.
        labels: The points' names in the annotation tool; empty, or one for each point.
    """

    points_mm: FloatArray
    class_name: str = ""
    object_name: str = ""
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        points = np.array(self.points_mm, dtype=float).reshape(-1, 3)
        points.setflags(write=False)
        object.__setattr__(self, "points_mm", points)
        if self.labels and len(self.labels) != len(points):
            raise ValueError(f"{len(self.labels)} labels for {len(points)} points; give none, or one for each")

    @property
    def title(self) -> str:
        """Class and object for messages, such as `liver` or `synapse#2`."""
        return f"{self.class_name}#{self.object_name}" if self.object_name else self.class_name or "object"

    def label_of(self, row: int) -> str:
        """The label of a point, or its number counted from 1."""
        return self.labels[row] if self.labels and self.labels[row] else f"point {row + 1}"


@dataclass(frozen=True)
class PointSet:
    """The annotated objects of one case, and warnings of the reader of their file, in sentences."""

    objects: tuple[ObjectPoints, ...]
    warnings: tuple[str, ...] = field(default=(), compare=False)

    def __iter__(self) -> Iterator[ObjectPoints]:
        return iter(self.objects)

    def __len__(self) -> int:
        return len(self.objects)

    @property
    def n_points(self) -> int:
        """Annotation effort as in the paper: the number of points."""
        return sum(len(one.points_mm) for one in self.objects)

    @property
    def points_mm(self) -> FloatArray:
        """All points of all objects, shape (N, 3)."""
        return np.concatenate([np.empty((0, 3)), *(one.points_mm for one in self.objects)])

    def grouped_by_label(self) -> PointSet:
        """Objects as the points' labels name them, see `names_of_label`; points without a label keep their object."""
        rows: dict[tuple[str, str], list[tuple[FloatArray, str]]] = {}
        for one in self.objects:
            for point, label in zip(one.points_mm, one.labels or [""] * len(one.points_mm), strict=True):
                names = names_of_label(label) if label else (one.class_name, one.object_name)
                rows.setdefault(names, []).append((point, label))
        objects = []
        for names, found in rows.items():
            points, labels = zip(*found, strict=True)
            objects.append(ObjectPoints(np.array(points), *names, labels))
        return PointSet(tuple(objects), self.warnings)


def names_of_label(label: str) -> tuple[str, str]:
    """Class and object that a point's label names: `class` or `class#object`, with a running number or without.

    `liver-12` is of the class `liver`; `synapse#a-12` of the class `synapse`, object `a`.
    """
    match = _LABEL.fullmatch(label.strip())
    assert match is not None  # the first group takes any text
    return match["class_name"].strip(), (match["object_name"] or "").strip()


def to_lps(points: FloatArray, coordinate_system: CoordinateSystem) -> FloatArray:
    """Positions in LPS, given in LPS or RAS. Its own inverse."""
    return points * (np.array([-1.0, -1.0, 1.0]) if coordinate_system == "RAS" else 1.0)
