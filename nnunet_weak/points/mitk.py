"""Point sets of MITK (`.mps`).

    <point_set_file><file_version>0.1</file_version>
      <point_set><time_series><time_series_id>0</time_series_id>
        <Geometry3D><IndexToWorld m_0_0="1" .../><Offset x="0" y="0" z="0"/></Geometry3D>
        <point><id>0</id><specification>0</specification><x>1</x><y>2</y><z>3</z></point> ...

Points are local to the geometry: world = IndexToWorld * point + Offset; without a geometry they are world mm. World
is ITK's space, LPS. Older files have the points directly under `point_set`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.points.points import CoordinateSystem, ObjectPoints, PointSet
from nnunet_weak.points.slicer import parse_position


def read_mps(path: Path, coordinate_system: CoordinateSystem | None = None) -> PointSet:
    """Read an MITK point set file: each `point_set` is one object."""
    problems = Problems()
    if coordinate_system == "RAS":
        problems.add(path.name, "MITK point sets are LPS, but RAS was asked for", "leave the coordinate system out")
    objects = []
    point_sets = list(_root(path).iter("point_set"))
    for number, point_set in enumerate(point_sets, start=1):
        where = f"{path.name}, point set {number}"
        steps = [step for step in [point_set, *point_set.findall("time_series")] if step.find("point") is not None]
        if len(steps) > 1:
            problems.add(
                where, f"has points in {len(steps)} time steps; one case is one", "save a file for each time step"
            )
            continue
        if not steps:
            continue
        matrix, offset = _geometry(steps[0], where, problems)
        points = []
        for point in steps[0].findall("point"):
            identifier = (point.findtext("id") or "").strip()
            position = parse_position(
                [point.findtext(axis) for axis in "xyz"], f"{where}, point {identifier}", problems
            )
            if position is not None:
                points.append(position)
        name = str(number) if len(point_sets) > 1 else ""
        objects.append(ObjectPoints(np.array(points).reshape(-1, 3) @ matrix.T + offset, object_name=name))
    problems.raise_if_any(f"Points {path.name}")
    return PointSet(tuple(objects), path)


def _root(path: Path) -> ElementTree.Element:
    # Some third-party writers put whitespace before the XML declaration, which a strict parser refuses.
    content = path.read_bytes().lstrip(b"\xef\xbb\xbf \t\r\n")
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise InvalidInputError(
            f"{path.name}: has a DOCTYPE or ENTITY, which no point set needs and which can be used to harm the reader. "
            f"Save it again from MITK."
        )
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise InvalidInputError(f"{path.name}: not valid XML ({error}). Save it again from MITK.") from error
    if root.find(".//point_set") is None and root.tag != "point_set":
        raise InvalidInputError(
            f"{path.name}: an MITK point set file has a 'point_set'; this has none, its root is {root.tag!r}."
        )
    return root


def _geometry(
    step: ElementTree.Element, where: str, problems: Problems
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix (row, column) and offset; the identity where the file has none."""
    matrix, offset = np.eye(3), np.zeros(3)
    index_to_world, offset_element = step.find(".//IndexToWorld"), step.find(".//Offset")
    try:
        if index_to_world is not None:
            matrix = np.array([[float(index_to_world.get(f"m_{r}_{c}", r == c)) for c in range(3)] for r in range(3)])
        if offset_element is not None:
            offset = np.array([float(offset_element.get(axis, 0)) for axis in "xyz"])
    except ValueError as error:
        problems.add(where, f"its geometry is not made of numbers ({error})", "save it again from MITK")
    return matrix, offset
