from __future__ import annotations

import numpy as np
import pytest
from point_study import CENTRES, SIZE, PointStudy, sphere_points

from nnunet_weak.points.files import write_points
from nnunet_weak.points.points import ObjectPoints, PointSet
from nnunet_weak.surface.mesh import icosphere, write_ply


def test_a_missing_class_order_is_asked_for(study: PointStudy, capsys):
    study.points("case_0.csv", "liver", "spleen")
    study.points("case_1.csv", "liver")
    assert study.convert() == 2
    assert "--classes liver spleen" in capsys.readouterr().err and not study.raw.exists()


def bad_voxel_indices(study: PointStudy) -> str:
    study.points("case_0.csv", "liver", points=np.abs(sphere_points((10, 9, 4), 3.0)))
    return "look like voxel indices"


def bad_ras(study: PointStudy) -> str:
    study.points("case_0.csv", "liver", points=sphere_points(CENTRES["liver"]) * (-1, -1, 1))
    return "RAS and LPS were mixed up"


def bad_plane(study: PointStudy) -> str:
    study.points("case_0.csv", "liver", points=sphere_points(CENTRES["liver"]) * (1, 1, 0) + (0, 0, 70))
    return "in one plane"


def bad_few(study: PointStudy) -> str:
    study.points("case_0.csv", "liver", points=sphere_points(CENTRES["liver"])[:3])
    return "at least 4 distinct points"


def bad_unknown_class(study: PointStudy) -> str:
    study.points("case_0.csv", "spleen")
    return "class 'spleen' is none of liver"


def bad_name(study: PointStudy) -> str:
    study.points("case_0.csv", "liver")
    study.points("case_7.csv", "liver")
    return "without an image of this name"


def bad_no_points(study: PointStudy) -> str:
    return "no points and no reference labels"


def bad_file(study: PointStudy) -> str:
    (study.folder / "points" / "case_0.mrk.json").write_text("{")
    return "not valid JSON"


def bad_mesh_name(study: PointStudy) -> str:
    objects = [ObjectPoints(sphere_points(CENTRES["liver"]), "liver", name) for name in ("a/b", "a-b")]
    write_points(study.folder / "points" / "case_0.csv", PointSet(tuple(objects)))
    return "case_0, liver#a-b: has the same mesh file as case_0, liver#a/b, case_0_liver-a-b.ply"


def bad_long_name(study: PointStudy) -> str:
    objects = [ObjectPoints(sphere_points(CENTRES["liver"]), "liver", "y" * 200)]
    write_points(study.folder / "points" / "case_0.csv", PointSet(tuple(objects)))
    return "the name of its mesh file would be too long"


@pytest.mark.parametrize(
    "spoil",
    [
        bad_voxel_indices, bad_ras, bad_plane, bad_few, bad_unknown_class, bad_name, bad_no_points, bad_file,
        bad_mesh_name, bad_long_name,
    ],
)  # fmt: skip
def test_bad_input_is_named_and_nothing_is_written(study: PointStudy, spoil, capsys):
    study.points("case_1.csv", "liver")
    message = spoil(study)
    assert study.convert("--classes", "liver") == 2
    error = capsys.readouterr().err
    assert message in error and "case_" in error
    assert list((study.folder / "nnUNet_raw").iterdir()) == []


@pytest.mark.parametrize(
    "templates, message",
    [
        (["liver"], "is not CLASS=PATH"),
        (["kidney=ball.ply"], "'kidney' is none of the classes liver"),
        (["liver=missing.stl"], "missing.stl: no such file"),
        (["liver=missing.nii.gz"], "missing.nii.gz: no such file"),
        (["liver=points"], "points: holds neither label maps nor meshes"),
        (["liver=references"], "case_0.nii.gz: holds no voxel of the value 1, but 2"),
        (["liver=ball.ply", "--follow-image"], "--follow-image and --templates exclude each other"),
    ],
)
def test_bad_templates_are_named(study: PointStudy, monkeypatch, capsys, templates, message):
    pytest.importorskip("pyvista")
    monkeypatch.chdir(study.folder)
    write_ply(study.folder / "ball.ply", *icosphere(3))
    study.reference("case_0", np.full(SIZE[::-1], 2))
    study.points("case_0.csv", "liver")
    study.points("case_1.csv", "liver")
    assert study.convert("--classes", "liver", "--templates", *templates) != 0
    assert message in capsys.readouterr().err
    assert not study.raw.exists()
