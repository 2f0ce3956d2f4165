from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from nnunet_weak.annotations import WeakAnnotations
from nnunet_weak.dataset_conversion.point_inputs import find_point_files, names_of_hint
from nnunet_weak.dataset_conversion.points import main
from nnunet_weak.surface.mesh import icosphere, write_mesh
from nnunet_weak.surface.point_files import write_points
from nnunet_weak.surface.points import ObjectPoints, PointSet

SIZE = (24, 20, 9)  # x, y, z
SPACING = (1.0, 1.25, 2.5)
ORIGIN = (30.0, -12.0, 60.0)
CENTRES = {"liver": (38.0, 0.0, 70.0), "spleen": (45.0, 0.0, 70.0)}
RADIUS = 5.0


def sphere_points(centre, radius: float = RADIUS, count: int = 40) -> np.ndarray:
    """Fibonacci points on a sphere, LPS mm."""
    k = np.arange(count) + 0.5
    polar, azimuth = np.arccos(1 - 2 * k / count), np.pi * (1 + 5**0.5) * k
    unit = np.stack([np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)], 1)
    return np.array(centre) + radius * unit


def on_grid(array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    return image


def ball(centre, radius: float = RADIUS) -> np.ndarray:
    """Voxel centres within a ball, (z, y, x)."""
    axes = [np.array(ORIGIN)[i] + np.array(SPACING)[i] * np.arange(SIZE[i]) for i in range(3)]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    return ((np.stack([x, y, z], -1) - np.array(centre)) ** 2).sum(-1) <= radius**2


class Study:
    """Images of two balls and points on them."""

    def __init__(self, folder: Path, cases: int = 2) -> None:
        self.folder = folder
        for name in ("images", "points", "references"):
            (folder / name).mkdir()
        for number in range(cases):
            self.image(f"case_{number}", number)

    def image(self, name: str, seed: int = 0) -> None:
        array = np.random.default_rng(seed).normal(100, 5, SIZE[::-1]).astype(np.float32)
        sitk.WriteImage(on_grid(array), str(self.folder / "images" / f"{name}.nii.gz"))

    def points(self, file: str, *classes: str, named: bool = True, **fields) -> None:
        path = self.folder / "points" / file
        path.parent.mkdir(exist_ok=True)
        objects = tuple(
            ObjectPoints(fields.get("points", sphere_points(CENTRES[name])), name if named else "") for name in classes
        )
        write_points(path, PointSet(objects))

    def reference(self, name: str, array: np.ndarray) -> None:
        sitk.WriteImage(on_grid(array.astype(np.uint8)), str(self.folder / "references" / f"{name}.nii.gz"))

    def convert(self, *further: str) -> int:
        folders = ["--images", str(self.folder / "images"), "--points", str(self.folder / "points")]
        return main([*folders, "-d", "531", "-n", "Balls", "-np", "1", *further])

    @property
    def raw(self) -> Path:
        return self.folder / "raw" / "Dataset531_Balls"

    def labels(self, case: str, folder: str = "labelsTr") -> np.ndarray:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(self.raw / folder / f"{case}.nii.gz")))


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    (tmp_path / "raw").mkdir()
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    for name in ("nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)
    return Study(tmp_path)


def test_templates_are_the_objects_and_the_first_class_wins(study: Study, capsys):
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


def test_what_a_person_looks_at(study: Study):
    study.points("case_0.csv", "liver", "spleen")
    study.points("case_1.csv", "liver")
    assert study.convert("--classes", "liver", "spleen") == 0
    templates = study.raw / "templates"
    assert {path.name for path in (templates / "sheets").iterdir()} == {"case_0.png", "case_1.png"}
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


def test_trusted_voxels_have_the_template_s_class(study: Study):
    study.points("case_0.csv", "liver")
    study.points("case_1.csv", "liver", points=sphere_points(CENTRES["liver"], count=10))
    assert study.convert() == 0
    doubted = {}
    for case in ("case_0", "case_1"):
        trusted, template = study.labels(case, "annotationsTr/trusted"), study.labels(case)
        assert np.array_equal(trusted[trusted > 0] - 1, template[trusted > 0])
        doubted[case] = (trusted == 0).sum()
    assert 0 < doubted["case_0"] < doubted["case_1"], "fewer points, less trust"


@pytest.mark.parametrize(
    "files",
    [
        {"case_0_liver.mrk.json": "liver", "case_0_spleen.mrk.json": "spleen"},
        {"case_0/liver.mrk.json": "liver", "case_0/spleen.mrk.json": "spleen"},
        {"case_0/case_0_liver.mrk.json": "liver", "case_0/spleen-1.mrk.json": "spleen"},
    ],
)
def test_classes_from_file_names(study: Study, files):
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
    for name in ("case_1.csv", "case_1_b.csv", "case_1_b_liver.csv", "case_10.csv"):
        (tmp_path / name).touch()
    found = {file.path.name: (case, file.hint) for case, file in find_point_files(tmp_path, ["case_1", "case_1_b"])}
    assert found == {
        "case_1.csv": ("case_1", ""),
        "case_1_b.csv": ("case_1_b", ""),
        "case_1_b_liver.csv": ("case_1_b", "liver"),
        "case_10.csv": (None, "case_10"),
    }


def test_several_objects_of_one_class(study: Study):
    for case in ("case_0", "case_1"):
        study.points(f"{case}_left.mrk.json", "liver", named=False)
        study.points(f"{case}_right.mrk.json", "spleen", named=False)
    assert study.convert("--classes", "kidney") == 0
    assert ((study.labels("case_0") == 1) == (ball(CENTRES["liver"]) | ball(CENTRES["spleen"]))).mean() > 0.98
    assert (study.raw / "templates" / "meshes" / "case_0_kidney-left.ply").exists()


def test_references_make_a_case_fully_annotated(study: Study, capsys):
    study.points("case_0.csv", "liver")
    study.points("case_1.csv", "liver")
    study.reference("case_0", 7 * ball(CENTRES["liver"]))
    assert study.convert("--classes", "liver=7", "--references", str(study.folder / "references")) == 0
    assert np.array_equal(study.labels("case_0") == 1, ball(CENTRES["liver"]))
    annotations = WeakAnnotations.read(study.raw)
    assert annotations.fully_annotated_cases == ("case_0",) and annotations.cases["case_0"].maps == ()
    assert "against the reference labels of 1 cases: Dice 0.9" in capsys.readouterr().out
    assert (study.raw / "splits_final.json").exists()


def test_a_mesh_in_place_of_the_sphere(study: Study):
    pytest.importorskip("pyvista")
    vertices, faces = icosphere(3)
    write_mesh(study.folder / "ball.ply", vertices, faces)
    for case in ("case_0", "case_1"):
        study.points(f"{case}.csv", "liver", "spleen")
    assert study.convert("--classes", "liver", "spleen", "--templates", f"liver={study.folder}/ball.ply") == 0
    for case in ("case_0", "case_1"):
        assert (study.labels(case) == 1)[ball(CENTRES["liver"])].mean() > 0.95
    record = json.loads((study.raw / "conversion.json").read_text())
    assert list(record["options"]["fit"]["templates"]) == ["liver"]
    mesh = (study.raw / "templates" / "meshes" / "case_0_liver.ply").read_text()
    assert f"element vertex {len(vertices)}" in mesh


@pytest.mark.parametrize(
    "templates, message",
    [
        (["liver"], "is not CLASS=MESH"),
        (["kidney=ball.ply"], "'kidney' is none of the classes liver"),
        (["liver=missing.stl"], "missing.stl: no such file"),
        (["liver=ball.ply", "--follow-image"], "fitted from the sphere"),
    ],
)
def test_bad_templates_are_named(study: Study, monkeypatch, capsys, templates, message):
    pytest.importorskip("pyvista")
    monkeypatch.chdir(study.folder)
    write_mesh("ball.ply", *icosphere(3))
    study.points("case_0.csv", "liver")
    study.points("case_1.csv", "liver")
    assert study.convert("--classes", "liver", "--templates", *templates) != 0
    assert message in capsys.readouterr().err
    assert not study.raw.exists()


LONG = ball(CENTRES["liver"]) | ball(np.array(CENTRES["liver"]) + (3, 0, 0))


def predictions(study: Study, cases=("case_0", "case_1"), shape=LONG.shape, reader="SimpleITKIO", **labels) -> Path:
    """What `nnUNetv2_predict --save_probabilities` leaves: here of a model that is fairly sure of a long object."""
    folder = study.folder / "predicted"
    folder.mkdir()
    content = {"labels": {"background": 0, "spleen": 1, "liver": 2} | labels}
    (folder / "dataset.json").write_text(json.dumps(content))
    (folder / "plans.json").write_text(json.dumps({"image_reader_writer": reader}))
    inside = gaussian_filter(np.where(LONG, 0.9, 0.1), 0.5)
    probabilities = np.stack([0.9 - inside, np.full_like(inside, 0.1), inside]).astype(np.float32)
    for case in cases:
        np.savez_compressed(folder / f"{case}.npz", probabilities=probabilities[:, : shape[0]])
    return folder


def test_templates_follow_a_prediction_between_the_points(study: Study):
    # The points say nothing of one end, the model does.
    body = sphere_points(CENTRES["liver"])
    body = body[body[:, 0] < CENTRES["liver"][0] + 2]
    for case in ("case_0", "case_1"):
        study.points(f"{case}.csv", "liver", points=body)
    overlap = {}
    for options in ((), ("--follow-prediction", str(predictions(study)))):
        assert study.convert("--classes", "liver", "--overwrite", *options) == 0
        template = study.labels("case_0") == 1
        overlap[bool(options)] = (template & LONG).sum() / (template | LONG).sum()
        assert template[ball(CENTRES["liver"], 3.0)].all()
    assert overlap[True] > overlap[False] + 0.03, overlap
    record = json.loads((study.raw / "conversion.json").read_text())
    assert record["options"]["fit"]["follow_prediction"] == "predicted"
    assert "case_0.npz" in json.dumps(record) and str(study.folder) not in json.dumps(record)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"cases": ["case_0"]}, "no probabilities of 1 of 2 cases: case_1"),
        ({"shape": (5,)}, "probabilities of shape (3, 5, 20, 24) (label, z, y, x), but labels and image need (3, 9,"),
        ({"reader": "NibabelIOWithReorient"}, "oriented differently"),
        ({"liver": [1, 2]}, "no label of its own for liver"),
    ],
)
def test_bad_predictions_are_named(study: Study, capsys, given, message):
    for case in ("case_0", "case_1"):
        study.points(f"{case}.csv", "liver")
    assert study.convert("--classes", "liver", "--follow-prediction", str(predictions(study, **given))) != 0
    assert message in capsys.readouterr().err
    assert not study.raw.exists()


def test_a_folder_without_predictions_is_named(study: Study, capsys):
    study.points("case_0.csv", "liver")
    study.points("case_1.csv", "liver")
    folder = predictions(study)
    (folder / "case_1.npz").write_bytes(b"not an archive")
    assert study.convert("--classes", "liver", "--follow-prediction", str(folder)) != 0
    assert "case_1.npz: holds no probabilities" in capsys.readouterr().err
    (folder / "dataset.json").unlink()
    assert study.convert("--classes", "liver", "--follow-prediction", str(folder)) != 0
    assert "holds no dataset.json that can be read" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        study.convert("--classes", "liver", "--follow-prediction", str(folder), "--follow-image")


def test_a_missing_class_order_is_asked_for(study: Study, capsys):
    study.points("case_0.csv", "liver", "spleen")
    study.points("case_1.csv", "liver")
    assert study.convert() == 2
    assert "--classes liver spleen" in capsys.readouterr().err and not study.raw.exists()


def bad_voxel_indices(study: Study) -> str:
    study.points("case_0.csv", "liver", points=np.abs(sphere_points((10, 9, 4), 3.0)))
    return "look like voxel indices"


def bad_ras(study: Study) -> str:
    study.points("case_0.csv", "liver", points=sphere_points(CENTRES["liver"]) * (-1, -1, 1))
    return "RAS and LPS were mixed up"


def bad_plane(study: Study) -> str:
    study.points("case_0.csv", "liver", points=sphere_points(CENTRES["liver"]) * (1, 1, 0) + (0, 0, 70))
    return "in one plane"


def bad_few(study: Study) -> str:
    study.points("case_0.csv", "liver", points=sphere_points(CENTRES["liver"])[:3])
    return "at least 4 distinct points"


def bad_unknown_class(study: Study) -> str:
    study.points("case_0.csv", "spleen")
    return "class 'spleen' is none of liver"


def bad_name(study: Study) -> str:
    study.points("case_0.csv", "liver")
    study.points("case_7.csv", "liver")
    return "without an image of this name"


def bad_no_points(study: Study) -> str:
    return "no points and no reference labels"


def bad_file(study: Study) -> str:
    (study.folder / "points" / "case_0.mrk.json").write_text("{")
    return "not valid JSON"


@pytest.mark.parametrize(
    "spoil",
    [bad_voxel_indices, bad_ras, bad_plane, bad_few, bad_unknown_class, bad_name, bad_no_points, bad_file],
)
def test_bad_input_is_named_and_nothing_is_written(study: Study, spoil, capsys):
    study.points("case_1.csv", "liver")
    message = spoil(study)
    assert study.convert("--classes", "liver") == 2
    error = capsys.readouterr().err
    assert message in error and "case_" in error
    assert list((study.folder / "raw").iterdir()) == []


def test_incomplete_cases_can_be_left_out(study: Study, capsys):
    study.points("case_1.csv", "liver")
    study.points("case_7.csv", "liver")
    assert study.convert("--allow-missing") == 0
    printed = capsys.readouterr().out
    assert "Left out case_0: no points" in printed and "Left out points case_7" in printed
    assert list(WeakAnnotations.read(study.raw).cases) == ["case_1"]


def test_dry_run_fits_and_writes_nothing(study: Study, capsys):
    study.points("case_0.csv", "liver")
    study.points("case_1.csv", "liver")
    assert study.convert("--dry-run") == 0
    assert "Look first at case_" in capsys.readouterr().out and list((study.folder / "raw").iterdir()) == []


def test_the_same_input_gives_the_same_bytes(study: Study):
    study.points("case_0.csv", "liver")
    study.points("case_1.csv", "liver")
    content = []
    for _ in range(2):
        assert study.convert("--overwrite") == 0
        content.append({p.relative_to(study.raw): p.read_bytes() for p in study.raw.rglob("*") if p.is_file()})
    assert content[0] == content[1]


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    assert "nnUNetTrainerWeakNet" in printed and "CASE_CLASS" in printed
