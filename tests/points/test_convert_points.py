from __future__ import annotations

import csv
import json
from functools import partial

import numpy as np
import pytest
from point_study import CENTRES, RADIUS, PointStudy, ball, sphere_points

from nnunet_weak.dataset.annotations import WeakAnnotations
from nnunet_weak.dataset_conversion.points import main
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.points.inputs import find_point_files, names_of_hint
from nnunet_weak.surface.mesh import icosphere, write_ply
from nnunet_weak.surface.mesh_fit import fit_mesh


def test_templates_are_the_objects_and_the_first_class_wins(study: PointStudy, capsys):
    study.points("case_0.csv", "liver", "spleen")
    study.points("case_1.csv", "spleen", "liver")
    assert study.convert("--classes", "liver", "spleen") == 0
    liver, spleen = ball(CENTRES["liver"]), ball(CENTRES["spleen"])
    assert (liver & spleen).any()
    expected = np.where(liver, 1, np.where(spleen, 2, 0))
    for case in ("case_0", "case_1"):
        assert (study.labels(case) != expected).mean() < 0.02
    content = json.loads((study.raw / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "liver": 1, "spleen": 2}
    assert WeakAnnotations.read(study.raw).method == "weaknet"
    assert "spleen and liver overlap in 2 cases" in capsys.readouterr().out


def test_templates_lie_inside_of_outlines_that_were_drawn_around_the_objects(study: PointStudy, capsys):
    for case in ("case_0", "case_1"):
        study.points(f"{case}.csv", "liver")
    assert study.convert("--classes", "liver", "--inset-mm", "2") == 0
    objects = list(csv.DictReader((study.raw / "templates" / "objects.csv").open()))
    assert float(objects[0]["volume_mm3"]) == pytest.approx(4 / 3 * np.pi * (RADIUS - 2) ** 3, rel=0.05)
    assert (study.labels("case_0") > 0).sum() == pytest.approx(float(objects[0]["voxels"]))
    assert study.convert("--classes", "liver", "--inset-mm", "200", "--overwrite") == 2
    assert "case_0" in (told := capsys.readouterr().err) and "a smaller --inset-mm" in told


def test_what_a_person_looks_at(study: PointStudy):
    study.points("case_0.csv", "liver", "spleen")
    study.points("case_1.csv", "liver")
    assert study.convert("--classes", "liver", "spleen") == 0
    templates = study.raw / "templates"
    assert {path.name for path in (templates / "previews").iterdir()} == {"case_0.png", "case_1.png"}
    mesh = (templates / "meshes" / "case_0_spleen.ply").read_text()
    assert mesh.startswith("ply") and "SPACE=LPS" in mesh
    cases = {row["case"]: row for row in csv.DictReader((templates / "cases.csv").open())}
    assert (cases["case_0"]["points"], cases["case_1"]["points"]) == ("80", "40")
    objects = list(csv.DictReader((templates / "objects.csv").open()))
    assert [(row["case"], row["class"]) for row in objects] == [
        ("case_0", "liver"), ("case_0", "spleen"), ("case_1", "liver"),
    ]  # fmt: skip
    assert float(objects[0]["volume_mm3"]) == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.05)
    points = list(csv.DictReader((templates / "points.csv").open()))
    assert len(points) == 120 and all(float(row["residual_mm"]) < 0.5 for row in points)


@pytest.mark.parametrize(
    "files",
    [
        {"case_0_liver.mrk.json": "liver", "case_0_spleen.mrk.json": "spleen"},
        {"case_0/liver.mrk.json": "liver", "case_0/spleen.mrk.json": "spleen"},
        {"case_0/case_0_liver.mrk.json": "liver", "case_0/spleen-1.mrk.json": "spleen"},
    ],
)
def test_classes_from_file_names(study: PointStudy, files):
    (study.folder / "images" / "case_1.nii.gz").unlink()
    for file, name in files.items():
        study.points(file, name, named=False)
    assert study.convert("--classes", "liver", "spleen") == 0
    assert (study.labels("case_0") == np.where(ball(CENTRES["liver"]), 1, 2 * ball(CENTRES["spleen"]))).mean() > 0.98


def test_hints_in_file_names():
    assert names_of_hint("liver", ["liver", "spleen"]) == ("liver", "")
    assert names_of_hint("synapse-12", ["synapse", "axon"]) == ("synapse", "12")
    assert names_of_hint("synapse#a", ["synapse", "axon"]) == ("synapse", "a")
    assert names_of_hint("left", ["kidney"]) == ("", "left"), "of a single class the rest is the object"
    assert names_of_hint("l3", ["l3", "l4"]) == ("l3", "")


def test_the_longest_case_name_fits(tmp_path):
    inside = ("case_1/b.csv", "case_1/case_1_c.csv", "case_9/liver.csv", ".old/case_1.csv", "case_1/.b.csv")
    for name in ("case_1.csv", "case_1_b.csv", "case_1_b_liver.csv", "case_10.csv", "notes.txt", *inside):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_point_files(tmp_path, ["case_1", "case_1_b"])
    assert {path.relative_to(tmp_path).as_posix(): names for path, names in found.items()} == {
        "case_1/b.csv": ("case_1", "b"),
        "case_1/case_1_c.csv": ("case_1", "c"),
        "case_9/liver.csv": (None, "case_9_liver"),
        "case_1.csv": ("case_1", ""),
        "case_1_b.csv": ("case_1_b", ""),
        "case_1_b_liver.csv": ("case_1_b", "liver"),
        "case_10.csv": (None, "case_10"),
    }


def test_several_objects_of_one_class(study: PointStudy):
    for case in ("case_0", "case_1"):
        study.points(f"{case}_left.mrk.json", "liver", named=False)
        study.points(f"{case}_right.mrk.json", "spleen", named=False)
    assert study.convert("--classes", "kidney") == 0
    assert ((study.labels("case_0") == 1) == (ball(CENTRES["liver"]) | ball(CENTRES["spleen"]))).mean() > 0.98
    assert (study.raw / "templates" / "meshes" / "case_0_kidney-left.ply").exists()


def test_references_make_a_case_fully_annotated(study: PointStudy, capsys):
    study.points("case_0.csv", "liver")
    study.points("case_1.csv", "liver")
    study.reference("case_0", 7 * ball(CENTRES["liver"]))
    assert study.convert("--classes", "liver=7", "--references", str(study.folder / "references")) == 0
    assert np.array_equal(study.labels("case_0") == 1, ball(CENTRES["liver"]))
    annotations = WeakAnnotations.read(study.raw)
    assert annotations.fully_annotated_cases == ("case_0",) and annotations.cases["case_0"].maps == ()
    said = capsys.readouterr().out
    assert "against the reference labels of 1 cases: Dice 0.9" in said
    assert "Train the stock trainer on the 1 fully annotated cases alone first" in said
    assert "--templates" not in said
    assert (study.raw / "splits_final.json").exists()


def test_several_references_are_recommended_as_templates(study: PointStudy, capsys):
    study.image("case_2")
    for case in ("case_0", "case_1", "case_2"):
        study.points(f"{case}.csv", "liver")
    for case in ("case_0", "case_1"):
        study.reference(case, ball(CENTRES["liver"]))
    references = study.folder / "references"
    recommended = f"--templates liver={references}"
    assert study.convert("--classes", "liver", "--references", str(references)) == 0
    assert recommended in capsys.readouterr().out
    assert (
        study.convert("--classes", "liver", "--references", str(references), *recommended.split(), "--overwrite") == 0
    )
    assert recommended not in capsys.readouterr().out


def test_a_mesh_in_place_of_the_sphere(study: PointStudy):
    pytest.importorskip("pyvista")
    vertices, faces = icosphere(3)
    write_ply(study.folder / "ball.ply", vertices, faces)
    for case in ("case_0", "case_1"):
        study.points(f"{case}.csv", "liver", "spleen")
    assert study.convert("--classes", "liver", "spleen", "--templates", f"liver={study.folder}/ball.ply") == 0
    for case in ("case_0", "case_1"):
        assert (study.labels(case) == 1)[ball(CENTRES["liver"])].mean() > 0.95
    record = json.loads((study.raw / "conversion.json").read_text())
    assert list(record["options"]["templates"]) == ["liver"]
    mesh = (study.raw / "templates" / "meshes" / "case_0_liver.ply").read_text()
    assert f"element vertex {len(vertices)}" in mesh


def test_a_folder_of_annotated_cases_in_place_of_the_sphere(study: PointStudy):
    few = {"points": sphere_points(CENTRES["liver"], count=8)}
    for case in ("case_0", "case_1"):
        study.points(f"{case}.csv", "liver", **few)
    study.reference("case_0", ball(CENTRES["liver"]))
    study.reference("shape", ball(CENTRES["liver"]) | ball(np.add(CENTRES["liver"], [6, 0, 0]), 3.0))
    study.reference("without", 2 * ball(CENTRES["liver"]))  # another class only
    shapes, labels = study.folder / "references", {}
    for templates in (shapes, shapes / "shape.nii.gz"):
        assert study.convert("--classes", "liver", "--templates", f"liver={templates}", "--overwrite") == 0
        record = json.loads((study.raw / "conversion.json").read_text())
        labels[templates.name] = [study.labels(case) for case in ("case_0", "case_1")]
        assert record["options"]["templates"] == {"liver": templates.name}
        shapes_read = {"case_0.nii.gz", "shape.nii.gz", "without.nii.gz"} if templates == shapes else {"shape.nii.gz"}
        assert shapes_read == {name for name in record["input_files"] if "/" not in name}
    of_all, of_one = labels["references"], labels["shape.nii.gz"]
    assert np.array_equal(of_all[0], of_one[0]), "its own label map is no template of a case"
    assert not np.array_equal(of_all[1], of_one[1]), "the average of two"


def test_a_shape_that_cannot_be_bent_through_the_points_is_passed_over(study: PointStudy, monkeypatch, capsys):
    for case in ("case_0", "case_1"):
        study.points(f"{case}.csv", "liver")
        study.reference(f"shape{case[-1]}", ball(CENTRES["liver"]))

    def fails(points, shape, refused=("shape0",), **options):
        if shape.name.startswith(refused):
            raise InvalidInputError(f"{shape.name} encloses no volume")
        return fit_mesh(points, shape, **options)

    arguments = ["--classes", "liver", "--templates", f"liver={study.folder / 'references'}"]
    monkeypatch.setattr("nnunet_weak.points.templates.fit_mesh", fails)
    assert study.convert(*arguments) == 0
    monkeypatch.setattr("nnunet_weak.points.templates.fit_mesh", partial(fails, refused=("shape0", "shape1")))
    assert study.convert(*arguments, "--overwrite") == 2
    assert "shape1.nii.gz encloses no volume" in capsys.readouterr().err


def test_incomplete_cases_can_be_left_out(study: PointStudy, capsys):
    study.points("case_1.csv", "liver")
    study.points("case_7.csv", "liver")
    assert study.convert("--allow-missing") == 0
    printed = capsys.readouterr().out
    assert "Left out case_0: no points" in printed and "Left out points case_7" in printed
    assert list(WeakAnnotations.read(study.raw).cases) == ["case_1"]


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    assert "nnUNetTrainerWeakNet" in printed and "CASE_CLASS" in printed
