from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.points.files import read_points, write_points
from nnunet_weak.points.points import ObjectPoints, PointSet
from nnunet_weak.surface.fit import fit_surface
from nnunet_weak.surface.rasterise import rasterise

LPS = np.array([[1.5, -2.0, 3.0], [4.0, 5.25, -6.0], [-7.0, 8.0, 9.5], [0.0, 1.0, 2.0]])
RAS = LPS * [-1, -1, 1]


def mrk(points: np.ndarray, **fields: object) -> dict[str, object]:
    control_points = [{"id": str(i), "label": f"F-{i}", "position": list(p)} for i, p in enumerate(points, start=1)]
    return {"markups": [{"type": "Fiducial", **fields, "controlPoints": control_points}]}


def fcsv(points: np.ndarray, header: str) -> str:
    rows = [f"id{i},{x},{y},{z},0,0,0,1,1,1,0,F-{i},,," for i, (x, y, z) in enumerate(points, start=1)]
    columns = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
    return "\n".join([header, columns, *rows])


def mps(points: np.ndarray, geometry: str = "", series: bool = True) -> str:
    items = "".join(
        f"<point><id>{i}</id><specification>0</specification><x>{x}</x><y>{y}</y><z>{z}</z></point>"
        for i, (x, y, z) in enumerate(points)
    )
    body = f"<time_series><time_series_id>0</time_series_id>{geometry}{items}</time_series>" if series else items
    version = "<file_version>0.1</file_version>"
    return f'<?xml version="1.0"?><point_set_file>{version}<point_set>{body}</point_set></point_set_file>'


FCSV_4 = "# Markups fiducial file version = 4.11\n# CoordinateSystem = "
FILES = {
    "lps.mrk.json": json.dumps(mrk(LPS, coordinateSystem="LPS")),
    "ras.mrk.json": json.dumps(mrk(RAS, coordinateSystem="RAS")),
    "number.mrk.json": json.dumps(mrk(RAS, coordinateSystem="0")),
    "default.mrk.json": json.dumps(mrk(LPS)),
    "um.mrk.json": json.dumps(mrk(LPS * 1000, coordinateSystem="LPS", coordinateUnits=["um", "UCUM", "micrometer"])),
    # The same version number occurs with every coordinate system: only the header decides.
    "one.fcsv": fcsv(LPS, FCSV_4 + "1"),
    "lps.fcsv": fcsv(LPS, FCSV_4 + "LPS"),
    "ras.fcsv": fcsv(RAS, FCSV_4 + "RAS"),
    "zero.fcsv": fcsv(RAS, FCSV_4 + "0"),
    "silent.fcsv": fcsv(RAS, "# Markups fiducial file version = 4.6"),
    "slicer3.fcsv": "# Fiducial List file\n# numPoints = 4\n"
    + "\n".join(f"P{i},{x},{y},{z},1,1" for i, (x, y, z) in enumerate(RAS)),
    "slicer.csv": "label,l,p,s,defined,selected,visible,locked,description\n"
    + "\n".join(f'"a, b-{i}",{x},{y},{z},1,1,1,0,' for i, (x, y, z) in enumerate(LPS)),
    "slicer.tsv": "label\tr\ta\ts\n" + "\n".join(f"F\t{x}\t{y}\t{z}" for x, y, z in RAS),
    "german.csv": "\ufeffl;p;s\n" + "\n".join(f"{x};{y};{z}".replace(".", ",") for x, y, z in LPS),
    "plain.json": json.dumps({"coordinate_system": "RAS", "points_mm": RAS.tolist()}),
    "set.mps": mps(LPS),
    "legacy.mps": mps(LPS, series=False),
    "whitespace.mps": "\n  " + mps(LPS),
    "geometry.mps": mps(
        (LPS - [10, 20, 30]) / [1, 1, 2],
        '<Geometry3D><IndexToWorld m_0_0="1" m_0_1="0" m_0_2="0" m_1_0="0" m_1_1="1" m_1_2="0" m_2_0="0" m_2_1="0" '
        'm_2_2="2"/><Offset type="Vector3D" x="10" y="20" z="30"/></Geometry3D>',
    ),
    # Row is the first index: a rotation would be its own inverse's otherwise.
    "rotated.mps": mps(
        LPS[:, [1, 2, 0]],
        '<Geometry3D><IndexToWorld m_0_0="0" m_0_1="0" m_0_2="1" m_1_0="1" m_1_1="0" m_1_2="0" m_2_0="0" m_2_1="1" '
        'm_2_2="0"/></Geometry3D>',
    ),
}


def put(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_lps_points(tmp_path: Path, name: str) -> None:
    points = read_points(put(tmp_path, name, FILES[name]))
    np.testing.assert_allclose(points.points_mm, LPS, atol=1e-9)
    assert len(points) == 1
    assert bool(points.warnings) == (name in ("silent.fcsv", "slicer3.fcsv"))


def test_coordinate_system_that_is_not_stated_must_be_told(tmp_path: Path) -> None:
    path = put(tmp_path, "plain.csv", "x,y,z\n" + "\n".join(",".join(map(str, p)) for p in RAS))
    with pytest.raises(InvalidInputError, match="no convention exists"):
        read_points(path)
    np.testing.assert_allclose(read_points(path, "RAS").points_mm, LPS)
    np.testing.assert_allclose(read_points(path, "LPS").points_mm, RAS)


@pytest.mark.parametrize("name", ["lps.mrk.json", "one.fcsv", "slicer.csv", "set.mps"])
def test_a_file_that_says_its_coordinate_system_is_believed_with_a_warning(tmp_path: Path, name: str) -> None:
    points = read_points(put(tmp_path, name, FILES[name]), "RAS")
    np.testing.assert_allclose(points.points_mm, LPS, atol=1e-9)
    assert [
        name in warning and "RAS was taken for files that do not say" in warning for warning in points.warnings
    ] == [True]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.fcsv", fcsv(LPS, FCSV_4 + "2"), "voxel indices"),
        ("a.fcsv", fcsv(LPS, FCSV_4 + "IJK"), "voxel indices"),
        ("a.mrk.json", json.dumps(mrk(LPS, coordinateSystem="IJK")), "LPS or RAS"),
        ("a.mrk.json", json.dumps({"markups": [{"type": "ROI", "controlPoints": []}]}), "'ROI' has no surface points"),
        ("a.mrk.json", json.dumps(mrk(LPS, coordinateUnits="inch")), "mm or um"),
        ("a.mrk.json", "{", "not valid JSON"),
        ("a.mrk.json", "[]", "list 'markups'"),
        ("a.mps", "<!DOCTYPE lolz [<!ENTITY lol 'lol'>]>" + mps(LPS)[21:], "DOCTYPE"),
        ("a.mps", "<scene/>", "none, its root is 'scene'"),
        ("a.mps", "<point_set", "not valid XML"),
        ("a.csv", "u,v,w\n1,2,3", "needs columns"),
        ("a.csv", "", "empty"),
        ("a.csv", "l,p,s\n", "no placed points"),
        ("a.json", json.dumps({"points": [[1, 2, 3]]}), "either 'points_mm' or 'objects'"),
        ("a.json", json.dumps({"points_mm": [[1, 2, 3]], "system": "LPS"}), "unknown key 'system'"),
        ("a.json", json.dumps({"points_mm": [[1, 2, 3]], "coordinate_system": "ijk"}), "must be LPS or RAS"),
        ("a.xyz", "1 2 3", "unknown kind of point file"),
        ("a.csv", "l,p,s\n1,2,3\n1e300,0,0", r"a.csv, line 3: .* up to 1e\+06 mm; got \['1e300'"),
        ("a.csv", "l,p,s\n0,-inf,0", "a.csv, line 2"),
        ("a.csv", "l;p;s\n0;0;NaN", "a.csv, line 2"),
        ("a.csv", "l,p,s\n" + "x,0,0\n" * 1000, "101 problems"),
        ("a.csv", "l,p,s\n" + "0,0,0\n" * 100_001, "a.csv: more than 100000 points, which nobody clicks"),
        ("a.csv", "label,l,p,s\n" + "a" * 200_000 + ",0,0,0", "a.csv, line 2: field larger"),
        ("a.fcsv", fcsv(LPS * 1e300, FCSV_4 + "LPS"), "a.fcsv, line 4"),
        ("a.mrk.json", json.dumps(mrk(LPS * 1e300)), "a.mrk.json, markup 1, control point F-1"),
        ("a.mrk.json", json.dumps(mrk(LPS * np.nan)), "a.mrk.json, markup 1, control point F-1"),
        ("a.mrk.json", json.dumps(mrk(LPS)).replace("1.5", "9" * 5000), "a number has thousands of digits"),
        ("a.mrk.json", json.dumps(mrk(LPS)).replace("1.5", "9" * 4000), "control point F-1: .* got \\[9999"),
        ("a.mrk.json", json.dumps(mrk(LPS)).replace("F-1", r"\ud800"), "half of a surrogate pair"),
        ("a.json", '{"points_mm": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested deeper than 64 levels"),
        ("a.json", '{"points_mm": ' + "[" * 80 + "]" * 80 + "}", "nested deeper than 64 levels"),
        ("a.json", json.dumps({"points_mm": [[1, 2, 1e300]], "coordinate_system": "LPS"}), "object 1, point 1"),
        ("a.json", json.dumps({"points_mm": [[1, 2, 3]], "coordinate_system": []}), "must be LPS or RAS"),
        ("a.json", json.dumps({"objects": [{"points_mm": [[1, 2, 3]], "labels": ["a", "b"]}]}), "no list of 1 texts"),
        ("a.mps", mps(LPS * 1e300), "a.mps, point set 1, point 0"),
        ("a.mps", mps(LPS, '<Geometry3D><Offset x="1e300" y="0" z="0"/></Geometry3D>'), "point set 1, its geometry"),
    ],
)
def test_bad_files_are_refused_with_the_reason(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_points(put(tmp_path, name, content))


def test_surrogate_pairs_are_read(tmp_path: Path) -> None:
    text = json.dumps(mrk(LPS)).replace("F-1", r"\ud83e\uddb4")
    assert read_points(put(tmp_path, "a.mrk.json", text)).objects[0].labels[0] == "\N{BONE}"


def test_missing_file_and_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no such file"):
        read_points(tmp_path / "none.csv")
    path = put(tmp_path, "a.csv", FILES["slicer.csv"])
    with pytest.raises(InvalidInputError, match="LPS or RAS; got 'IJK'"):
        read_points(path, "IJK")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="list, label"):
        read_points(path, group_by="colour")  # type: ignore[arg-type]


def test_all_bad_rows_are_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as error:
        read_points(put(tmp_path, "a.csv", "l,p,s\n1,2,3\n1,nan,3\n1,2\n1,2,x"))
    assert len(error.value.problems) == 3
    assert ["line 3" in error.value.problems[0], "line 5" in error.value.problems[2]] == [True, True]


def test_control_points_that_are_not_placed_are_left_out_with_a_warning(tmp_path: Path) -> None:
    content = mrk(LPS)
    control_points = content["markups"][0]["controlPoints"]  # type: ignore[index]
    control_points[1]["positionStatus"] = "undefined"
    control_points[2]["positionStatus"] = "preview"
    points = read_points(put(tmp_path, "a.mrk.json", json.dumps(content)))
    np.testing.assert_allclose(points.points_mm, LPS[[0, 3]])
    assert "2 of 4" in points.warnings[0] and "F-2, F-3" in points.warnings[0]

    points = read_points(put(tmp_path, "a.csv", "label,l,p,s,defined\na,1,2,3,1\nb,0,0,0,0"))
    assert points.n_points == 1 and "(b)" in points.warnings[0]


def test_quoted_labels_may_hold_commas(tmp_path: Path) -> None:
    text = FCSV_4 + 'LPS\nid1,1,2,3,0,0,0,1,1,1,0,"tip, left",desc,'
    assert read_points(put(tmp_path, "a.fcsv", text)).objects[0].labels == ("tip, left",)


def test_objects_by_list_by_label_and_by_column(tmp_path: Path) -> None:
    content = mrk(LPS)
    for control_point, label in zip(
        content["markups"][0]["controlPoints"], ["a#x-1", "a#y-1", "a#x-2", "L3-1"], strict=True
    ):  # type: ignore[index]
        control_point["label"] = label
    path = put(tmp_path, "a.mrk.json", json.dumps(content))
    assert len(read_points(path)) == 1
    grouped = read_points(path, group_by="label")
    assert [(one.class_name, one.object_name) for one in grouped] == [("a", "x"), ("a", "y"), ("L3", "")]
    np.testing.assert_allclose(grouped.objects[0].points_mm, LPS[[0, 2]])

    table = read_points(put(tmp_path, "a.csv", "l,p,s,class,object\n1,2,3,liver,\n4,5,6,spleen,1\n7,8,9,liver,"))
    assert [(one.title, len(one.points_mm)) for one in table] == [("liver", 2), ("spleen#1", 1)]


@pytest.mark.parametrize("system", ["LPS", "RAS"])
@pytest.mark.parametrize("ending", [".mrk.json", ".csv"])
def test_written_points_are_read_back(tmp_path: Path, ending: str, system: str) -> None:
    points = PointSet(
        (ObjectPoints(LPS, "liver", "1"), ObjectPoints(LPS + 1, "liver", "2"), ObjectPoints(LPS - 1, "vein"))
    )
    write_points(tmp_path / f"case{ending}", points, system)  # type: ignore[arg-type]
    read = read_points(tmp_path / f"case{ending}", group_by="label" if ending == ".mrk.json" else "list")
    assert [one.title for one in read] == ["liver#1", "liver#2", "vein"]
    for one, other in zip(read, points, strict=True):
        np.testing.assert_allclose(one.points_mm, other.points_mm, atol=1e-6)


def test_same_points_in_every_format_give_the_same_mask_on_an_oblique_image(tmp_path: Path) -> None:
    image = sitk.Image((24, 20, 9), sitk.sitkUInt8)
    image.SetSpacing((1.0, 1.5, 4.0))
    image.SetOrigin((-50.0, 30.0, 12.0))
    cos, sin = np.cos(0.4), np.sin(0.4)
    image.SetDirection((cos, -sin, 0, sin, cos, 0, 0, 0, -1))
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(30, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    centre = np.array(image.TransformContinuousIndexToPhysicalPoint((11.5, 9.5, 4.0)))
    lps = np.round(centre + directions * [8.0, 9.0, 11.0], 3)
    ras = lps * [-1, -1, 1]
    contents = {
        "lps.mrk.json": json.dumps(mrk(lps, coordinateSystem="LPS")),
        "ras.mrk.json": json.dumps(mrk(ras, coordinateSystem="RAS")),
        "case.fcsv": fcsv(ras, FCSV_4 + "RAS"),
        "case.mps": mps(lps),
        "case.csv": "r,a,s\n" + "\n".join(",".join(map(str, p)) for p in ras),
    }
    masks = []
    for name, content in contents.items():
        fit = fit_surface(read_points(put(tmp_path, name, content)).points_mm)
        masks.append(sitk.GetArrayFromImage(rasterise(fit.vertices_mm, fit.faces, image)))
    assert masks[0].sum() > 400
    for mask in masks[1:]:
        np.testing.assert_array_equal(mask, masks[0])
