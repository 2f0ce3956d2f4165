from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak.cli.simulate_drawings import main as simulate_drawings
from nnunet_weak.cli.simulate_points import main as simulate_points
from nnunet_weak.cli.simulate_scores import main as simulate_scores
from nnunet_weak.cli.simulate_slices import main as simulate_slices
from nnunet_weak.points.files import read_points

SHAPE = (8, 12, 14)  # z, y, x


@pytest.fixture
def references(tmp_path: Path) -> Path:
    folder = tmp_path / "labels"
    folder.mkdir()
    for number in range(2):
        labels = np.zeros(SHAPE, np.uint8)
        labels[2:6, 2:8, 2 : 6 + number] = 3
        labels[2:6, 2:8, 6 + number : 10] = 5
        if number:
            labels[1:3, 9:11, 11:13] = 7
        image = sitk.GetImageFromArray(labels)
        image.SetSpacing((1.0, 0.8, 2.0))
        image.SetOrigin((-20.0, 30.0, 4.0))
        sitk.WriteImage(image, str(folder / f"case_{number}.nii.gz"))
    return folder


@pytest.mark.parametrize("ending", ["mrk.json", "csv"])
def test_points_lie_on_the_union_of_the_values(references: Path, tmp_path: Path, ending: str):
    output = tmp_path / "points"
    arguments = ["--references", str(references), "--classes", "box=3,5", "small=7", "-n", "12", "-np", "1"]
    assert simulate_points([*arguments, "-o", str(output), "--format", ending, "--noise-mm", "0"]) == 0
    files = sorted(output.glob(f"*.{ending}"))
    names = {
        "csv": ["case_0.csv", "case_1.csv"],
        "mrk.json": ["case_0_box.mrk.json", "case_1_box.mrk.json", "case_1_small.mrk.json"],
    }
    assert [path.name for path in files] == names[ending]
    points = read_points(files[0]).points_mm
    assert points.shape == (12, 3)
    # The surface runs half a voxel outside of the outermost voxel centres: x 2..9, y 2..7, z 2..5.
    low, high = (
        np.array([-20 + 1.5, 30 + 1.5 * 0.8, 4 + 1.5 * 2.0]),
        np.array([-20 + 9.5, 30 + 7.5 * 0.8, 4 + 5.5 * 2.0]),
    )
    assert (points >= low - 1e-6).all() and (points <= high + 1e-6).all()
    assert (np.isclose(points, low, atol=1e-3) | np.isclose(points, high, atol=1e-3)).any(1).mean() > 0.5
    record = json.loads((output / "simulation.txt").read_text())
    assert record["seed"] == 0 and record["sampling"] == "spread" and record["points_in_all"] == 36


def test_a_case_s_points_do_not_depend_on_the_others(references: Path, tmp_path: Path):
    arguments = ["--references", str(references), "--classes", "box=3,5", "-n", "6", "-np", "1", "--format", "csv"]
    assert simulate_points([*arguments, "-o", str(tmp_path / "both")]) == 0
    (references / "case_0.nii.gz").unlink()
    assert simulate_points([*arguments, "-o", str(tmp_path / "one")]) == 0
    assert (tmp_path / "both" / "case_1.csv").read_bytes() == (tmp_path / "one" / "case_1.csv").read_bytes()
    assert simulate_points([*arguments, "-o", str(tmp_path / "other"), "--seed", "1"]) == 0
    assert (tmp_path / "other" / "case_1.csv").read_bytes() != (tmp_path / "one" / "case_1.csv").read_bytes()


def test_slices_for_an_effort(references: Path, tmp_path: Path):
    output = tmp_path / "sparse"
    arguments = ["--references", str(references), "--classes", "box=3,5", "-np", "1", "-o", str(output)]
    assert simulate_slices([*arguments, "--effort", "90"]) == 0
    rows = list(csv.DictReader((output / "effort.csv").open()))
    # Outlines of the box are 4 x 6, 4 x 8 or 6 x 8 voxels, about 20 to 28 long.
    assert all(abs(float(row["contour_length_vox"]) - 90) <= 14 and 3 <= int(row["slices"]) <= 5 for row in rows)
    sparse = sitk.GetArrayFromImage(sitk.ReadImage(str(output / "case_0.nii.gz")))
    full = sitk.GetArrayFromImage(sitk.ReadImage(str(references / "case_0.nii.gz"))) > 0
    assert set(np.unique(sparse)) == {0, 1, 2}
    assert np.array_equal(sparse[sparse < 2] == 1, full[sparse < 2])
    assert json.loads((output / "simulation.json").read_text())["labels"]["ignore"] == 2


def test_one_slice_is_the_least(references: Path, tmp_path: Path):
    arguments = ["--references", str(references), "--classes", "box=3,5", "-np", "1", "-o", str(tmp_path / "sparse")]
    assert simulate_slices([*arguments, "--effort", "1"]) == 0
    rows = list(csv.DictReader((tmp_path / "sparse" / "effort.csv").open()))
    assert [row["slices"] for row in rows] == ["1", "1"]


@pytest.mark.parametrize("sampling", ["spread", "random"])
def test_clicks_are_half_a_millimetre_off_by_default(references: Path, tmp_path: Path, sampling: str, capsys):
    arguments = ["--references", str(references), "--classes", "box=3,5", "--format", "csv", "-n", "200", "-np", "1"]
    for name, more in (("exact", ["--noise-mm", "0"]), ("default", [])):
        assert simulate_points([*arguments, "--sampling", sampling, "-o", str(tmp_path / name), *more]) == 0
    exact, clicked = (read_points(tmp_path / name / "case_0.csv").points_mm for name in ("exact", "default"))
    np.testing.assert_allclose((clicked - exact).std(axis=0), 0.5, rtol=0.2)
    assert f"{sampling}, noise 0.5 mm" in capsys.readouterr().out


COMMANDS = {
    "points": (simulate_points, []),
    "slices": (simulate_slices, ["--slices", "2"]),
    "drawings": (simulate_drawings, ["--other-labels", "background"]),
    "scores": (simulate_scores, ["--other-labels", "background"]),
}
FOLDERS = ("points", "slices", "drawings")


def simulate(name: str, references: Path, output: Path, *more: str) -> int:
    main, further = COMMANDS[name]
    if name == "scores":
        further = [*further, "--masks", str(references)]
    given = ["--references", str(references), "-o", str(output), "-np", "1"]
    return main([*given, *further, *(more if "--classes" in more else ("--classes", "box=3,5", *more))])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classes", "box=three"], "NAME=VALUE"),
        (["--classes", "box=5-3"], "NAME=VALUE"),
        (["--classes", "box=0"], "NAME=VALUE"),
        (["--classes", "a=3", "b=3"], "belongs to a and b"),
        (["--classes", "a=3", "a=5"], "a is 3 already"),
        (["--classes", "ignore=3"], "own meaning"),
        (["--dataset-json", "labels"], "one of the two is needed"),
        (["--references", "nowhere"], "no such folder"),
        (["--seed", "-1"], "--seed -1: is not a whole number from 0"),
        (["-np", "0"], "-np 0: is not a whole number from 1"),
    ],
)
def test_bad_options_leave_nothing(references: Path, tmp_path: Path, name: str, arguments, message, capsys):
    assert simulate(name, references, tmp_path / "out", *arguments) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels"]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("points", ["-n", "0"], "-n 0: is not a whole number from 1"),
        ("points", ["--noise-mm", "-1"], "--noise-mm -1: is not a number from 0"),
        ("points", ["--noise-mm", "inf"], "--noise-mm inf: is not a number from 0"),
        ("points", ["--classes", "box=9"], "no case holds box=9"),
        ("slices", ["--slices", "0"], "--slices 0: is not a whole number from 1"),
        ("slices", ["--slices", "99"], "case_0.nii.gz: 99 slices asked for"),
        ("slices", ["--effort", "30"], "--slices, --effort: one of the two is needed"),
        ("slices", ["--effort", "nan"], "--effort nan: is not a number from 1"),
        ("slices", ["--classes", "box=9"], "case_1.nii.gz: holds none of box=9"),
        ("drawings", ["--other-labels", "refuse"], "case_1.nii.gz: holds the values [7], which belong to no class"),
        ("drawings", ["--margin-mm", "-1"], "--margin-mm -1: is not a number from 0"),
        ("scores", ["--classes", "box=9"], "none of box=9 occurs in any case"),
        ("scores", ["--rater-sd", "nan"], "--rater-sd nan: is not a number from 0"),
        ("scores", ["--wrong-errors", "1.5"], "--wrong-errors 1.5: is not a number from 0 to 1"),
    ],
)
def test_what_a_command_alone_refuses(references: Path, tmp_path: Path, name: str, arguments, message, capsys):
    assert simulate(name, references, tmp_path / "out", *arguments) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels"]


@pytest.mark.parametrize("name", FOLDERS)
def test_overwrite_replaces_only_what_the_command_made(references: Path, tmp_path: Path, name: str, capsys):
    output, precious = tmp_path / "out", tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    before = contents(tmp_path)
    for target in (precious, references, tmp_path, references / "out"):
        assert simulate(name, references, target, "--overwrite") == 2
        assert "--output" in capsys.readouterr().err
    assert contents(tmp_path) == before
    output.mkdir()
    assert simulate(name, references, output) == 0, "an empty folder holds nothing that could be lost"
    (output / "stale").touch()
    assert simulate(name, references, output) == 2 and "--overwrite" in capsys.readouterr().err
    assert simulate(name, references, output, "--overwrite", "--seed", "1") == 0
    assert not (output / "stale").exists()
    other = FOLDERS[FOLDERS.index(name) - 1]
    assert simulate(other, references, output, "--overwrite") == 2
    assert "did not make it" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels", "out", "precious"]


def test_a_table_is_replaced_only_if_it_is_one(references: Path, tmp_path: Path, capsys):
    table = tmp_path / "scores.csv"
    assert simulate("scores", references, table) == 0
    assert simulate("scores", references, table) == 2 and "exists already" in capsys.readouterr().err
    assert simulate("scores", references, table, "--overwrite") == 0
    table.write_text("by hand")
    before = contents(tmp_path)
    for target in (table, references, references / "case_0.nii.gz", references / "scores.csv"):
        assert simulate("scores", references, target, "--overwrite") == 2
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", COMMANDS)
def test_classes_from_dataset_json(references: Path, tmp_path: Path, name: str):
    labels = {"background": 0, "box": [3, 5], "small": 7, "ignore": 9}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    further = ["--masks", str(references)] if name == "scores" else COMMANDS[name][1]
    given = ["--references", str(references), "--dataset-json", str(tmp_path), "-np", "1", "-o", str(tmp_path / "out")]
    assert COMMANDS[name][0]([*given, *further]) == 0
    if name in ("slices", "drawings"):
        record = json.loads((tmp_path / "out" / "simulation.json").read_text())
        assert record["classes"] == {"box": [3, 5], "small": [7]} and record["labels"]["small"] == 2
