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

import numpy as np

from nnunet_weak.images.json_files import read_text
from nnunet_weak.points.points import FloatArray
from nnunet_weak.points.reading import PointReading

_RESAVE = "save it again from MITK"


def read_mps(reading: PointReading) -> None:
    """Read an MITK point set file: each `point_set` is one object."""
    reading.coordinate_system("LPS")
    point_sets = list(_root(reading).iter("point_set"))
    for number, point_set in enumerate(point_sets, start=1):
        where = f"point set {number}"
        steps = [step for step in [point_set, *point_set.findall("time_series")] if step.find("point") is not None]
        if len(steps) > 1:
            what = f"has points in {len(steps)} time steps; one case is one"
            reading.problem(where, what, "save a file for each time step")
        if len(steps) != 1:
            continue
        matrix, offset = _geometry(steps[0], where, reading)
        names = "", str(number) if len(point_sets) > 1 else ""
        for point in steps[0].findall("point"):
            identifier = (point.findtext("id") or "").strip()
            local = reading.position([point.findtext(axis) for axis in "xyz"], f"{where}, point {identifier}")
            if local is not None:
                reading.add(local @ matrix.T + offset, "LPS", names, number)


def _root(reading: PointReading) -> ElementTree.Element:
    # Some third-party writers put whitespace before the XML declaration, which a strict parser refuses.
    content = read_text(reading.path).lstrip()
    if "<!DOCTYPE" in content or "<!ENTITY" in content:
        what = "has a DOCTYPE or ENTITY, which no point set needs and which can be used to harm the reader"
        raise reading.error(what, _RESAVE)
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise reading.error(f"not valid XML ({error})", _RESAVE) from error
    if root.find(".//point_set") is None and root.tag != "point_set":
        what = f"an MITK point set file has a 'point_set'; this has none, its root is {root.tag!r}"
        raise reading.error(what, "save the point set, not the scene")
    return root


def _geometry(step: ElementTree.Element, where: str, reading: PointReading) -> tuple[FloatArray, FloatArray]:
    """Matrix (row, column) and offset; the identity where the file has none."""
    absent = ElementTree.Element("absent")
    matrix, offset = step.find(".//IndexToWorld"), step.find(".//Offset")
    matrix, offset = absent if matrix is None else matrix, absent if offset is None else offset
    given: list[list[object]] = [
        [matrix.get(f"m_{row}_{column}", row == column) for column in range(3)] for row in range(3)
    ]
    given.append([offset.get(axis, 0) for axis in "xyz"])
    rows = [reading.position(values, f"{where}, its geometry") for values in given]
    matrix_and_offset = np.array([np.zeros(3) if row is None else row for row in rows])
    return matrix_and_offset[:3], matrix_and_offset[3]
