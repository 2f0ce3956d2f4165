"""Surface points of the objects of one case, and whether they fit an image.

Positions are LPS mm throughout (SimpleITK's physical space), rows of arrays of shape (N, 3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.surface.rasterise import world_to_index

FloatArray = NDArray[np.float64]
CoordinateSystem = Literal["LPS", "RAS"]
#: `list`: what the file keeps together is one object. `label`: the points' labels name class and object.
Grouping = Literal["list", "label"]

_LABEL = re.compile(r"(?P<class_name>.*?)(?:#(?P<object_name>[^#]*?))?(?:-\d+)?")


@dataclass(frozen=True)
class ObjectPoints:
    """Points on the surface of one object.

    Attributes:
        points_mm: LPS mm, shape (N, 3).
        class_name: what the object is, empty where the file does not say.
        object_name: which of several of its class, empty where there is one.
        labels: the points' names in the annotation tool; empty, or one for each point.
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
    """The annotated objects of one case.

    Attributes:
        objects: one entry for each object.
        source: the file they come from, for messages.
        warnings: what was noticed while reading, in sentences.
    """

    objects: tuple[ObjectPoints, ...]
    source: Path | None = None
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

    def by_class(self) -> dict[str, tuple[ObjectPoints, ...]]:
        """Objects of each class, in order of appearance."""
        names = dict.fromkeys(one.class_name for one in self.objects)
        return {name: tuple(one for one in self.objects if one.class_name == name) for name in names}

    def grouped_by_label(self) -> PointSet:
        """Objects as the points' labels name them.

        A label is `class`, or `class#object` where there are several of a class, and may end in a running number as the
        tools append it: `liver-1`, `liver-2`, `synapse#a-1`. Points without a label keep their object's names.
        """
        rows: dict[tuple[str, str], list[tuple[FloatArray, str]]] = {}
        for one in self.objects:
            for number, point in enumerate(one.points_mm):
                label = one.labels[number] if one.labels else ""
                key = names_of_label(label) if label else (one.class_name, one.object_name)
                rows.setdefault(key, []).append((point, label))
        objects = tuple(
            ObjectPoints(np.array([point for point, _ in found]), *key, tuple(label for _, label in found))
            for key, found in rows.items()
        )
        return PointSet(objects, self.source, self.warnings)


def names_of_label(label: str) -> tuple[str, str]:
    """Class and object that a point's label names: `synapse#a-12` is class `synapse`, object `a`."""
    match = _LABEL.fullmatch(label.strip())
    if match is None:
        return label.strip(), ""
    return match["class_name"].strip(), (match["object_name"] or "").strip()


def check_points_in_image(points: PointSet, image: sitk.Image) -> list[str]:
    """Whether the points lie in the image they are said to annotate.

    A wrong sign convention moves points elsewhere without any other sign of it, so it is looked for and explained, and
    never repaired. It shows only where the image does not lie about the origin evenly.

    Args:
        points: of one case.
        image: the case's image.

    Returns:
        Warnings: single points outside, which an object cut off by the image's border may have.

    Raises:
        InvalidInputError: half of an object's points or more lie outside, with the likely reason.
    """
    problems = Problems()
    warnings = []
    for one in points:
        where = f"{points.source.name if points.source else 'points'}, {one.title}"
        if not len(one.points_mm):
            continue
        outside = ~_inside(one.points_mm, image)
        if 2 * outside.sum() >= len(outside):
            low, high = one.points_mm.min(axis=0), one.points_mm.max(axis=0)
            problems.add(
                where,
                f"{outside.sum()} of {len(outside)} points lie outside the image: points span {_span(low, high)} LPS "
                f"mm, the image {_span(*_bounds(image))}. {_likely_reason(one.points_mm, image)}",
            )
        elif outside.any():
            names = ", ".join(one.label_of(int(row)) for row in np.flatnonzero(outside)[:10])
            warnings.append(
                f"{where}: {outside.sum()} of {len(outside)} points lie outside the image ({names}); what they bound "
                f"outside is cut off."
            )
    problems.raise_if_any("Points and image")
    return warnings


def to_lps(points: FloatArray, coordinate_system: CoordinateSystem) -> FloatArray:
    """Positions in LPS, given in LPS or RAS. Its own inverse."""
    return points * (np.array([-1.0, -1.0, 1.0]) if coordinate_system == "RAS" else 1.0)


def checked_coordinate_system(value: str | None) -> CoordinateSystem | None:
    """The user's choice, or an error with the allowed ones."""
    if value is None or value in ("LPS", "RAS"):
        return value  # type: ignore[return-value]
    raise InvalidInputError(
        f"coordinate_system must be LPS or RAS; got {value!r}. Voxel indices have to be converted to mm in the tool "
        f"that wrote them."
    )


def _inside(points_mm: FloatArray, image: sitk.Image) -> NDArray[np.bool_]:
    """Which points lie in the box of the voxels, their halves at the border included."""
    index = world_to_index(points_mm, image)
    return np.all((index >= -0.5) & (index <= np.array(image.GetSize()) - 0.5), axis=1)


def _likely_reason(points_mm: FloatArray, image: sitk.Image) -> str:
    share = _inside(points_mm, image).mean()
    signs = {"x and y": (-1, -1, 1), "x": (-1, 1, 1), "y": (1, -1, 1), "z": (1, 1, -1)}
    for axes, sign in signs.items():
        if _inside(points_mm * np.array(sign), image).mean() > max(0.8, share + 0.3):
            if axes == "x and y":
                return (
                    "With x and y negated they lie inside: RAS and LPS were mixed up. Nothing was changed. State the "
                    "file's coordinate system correctly, or export it again."
                )
            return (
                f"With {axes} negated they lie inside: the file seems to have been written with a wrong sign of "
                f"{axes}. Nothing was changed. Check the tool that wrote it."
            )
    size = np.array(image.GetSize())
    if ((points_mm >= -0.5) & (points_mm <= size - 0.5)).all():
        return "They look like voxel indices, not mm. Export physical (world) coordinates."
    return "Check that the points belong to this image, and that both are in the same physical space."


def _bounds(image: sitk.Image) -> tuple[FloatArray, FloatArray]:
    size = image.GetSize()
    corners = np.array(
        [
            image.TransformContinuousIndexToPhysicalPoint(
                [(size[axis] if bit else 0) - 0.5 for axis, bit in enumerate(bits)]
            )
            for bits in np.ndindex(2, 2, 2)
        ]
    )
    return corners.min(axis=0), corners.max(axis=0)


def _span(low: FloatArray, high: FloatArray) -> str:
    return " x ".join(f"{start:.1f}..{end:.1f}" for start, end in zip(low, high, strict=True))
