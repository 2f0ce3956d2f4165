from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak.cli.simulate_points import main as simulate_points
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
    assert simulate_points([*arguments, "-o", str(output), "--format", ending]) == 0
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
    record = (output / "simulation.txt").read_text()
    assert "seed: 0\n" in record and "points in all: 36\n" in record


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


@pytest.mark.parametrize("main", [simulate_points, simulate_slices])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classes", "box=9"], "9"),
        (["--classes", "box=three"], "NAME=VALUE"),
        (["--classes", "a=3", "b=3"], "belongs to a and b"),
        (["--classes", "ignore=3"], "own meaning"),
        (["--classes", "box=3", "--references", "nowhere"], "no such folder"),
    ],
)
def test_bad_input_leaves_nothing(references: Path, tmp_path: Path, main, arguments, message, capsys):
    further = ["--slices", "2"] if main is simulate_slices else []
    assert main(["--references", str(references), "-o", str(tmp_path / "out"), "-np", "1", *further, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels"]


@pytest.mark.parametrize("main", [simulate_points, simulate_slices])
def test_what_is_there_stays(references: Path, tmp_path: Path, main, capsys):
    further = ["--slices", "2"] if main is simulate_slices else []
    (tmp_path / "out").mkdir()
    arguments = [
        "--references",
        str(references),
        "--classes",
        "box=3,5",
        "-o",
        str(tmp_path / "out"),
        "-np",
        "1",
        *further,
    ]
    assert main(arguments) == 2 and "--overwrite" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0
