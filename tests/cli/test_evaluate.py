from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak.cli.evaluate import main

SPACING_XYZ = (0.5, 1.5, 4.0)
LIVER = r"=liver <script>alert(1)</script> $\frac$"
"""A label that a page could run as a script, a spreadsheet as a formula, and a plot could set as one."""


def write(path, array, spacing=SPACING_XYZ):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def label_map(shift=0):
    array = np.zeros((6, 12, 20), np.uint8)
    array[1:4, 3:9, 2 + shift : 10 + shift] = 1
    array[2:5, 3:9, 12 + shift : 16 + shift] = 2
    return array


@pytest.fixture
def folders(tmp_path):
    """Three cases; `good` equals the reference, `moved` is 2 voxels of 0.5 mm off along x and has another ending."""
    for case in ("case_1", "case.2", "case_3"):
        write(tmp_path / "raw" / "labelsTs" / f"{case}.nii.gz", label_map())
        write(tmp_path / "good" / f"{case}.nii.gz", label_map())
        write(tmp_path / "moved" / f"{case}.nrrd", label_map(2))
        write(tmp_path / "raw" / "imagesTs" / f"{case}_0000.nii.gz", label_map().astype(np.float32) * 100)
    (tmp_path / "raw" / "dataset.json").write_text(
        json.dumps({"labels": {"background": 0, LIVER: 1, "tumour": 2}, "channel_names": {"0": "CT"}})
    )
    return tmp_path


def run(folders, *extra, prediction="moved"):
    return main([str(folders / prediction), str(folders / "raw" / "labelsTs"), "-np", "1", *map(str, extra)])


def test_end_to_end(folders, capsys):
    out = folders / "out"
    options = ("--baseline", f"good={folders / 'good'}", "--output", out, "--report")
    assert run(folders, *options, "--images", folders / "raw" / "imagesTs", "--nsd-tolerance-mm", 1) == 0
    text = capsys.readouterr().out
    assert "mean over labels" in text and "worse" in text

    with (out / "evaluation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * 2
    first = next(r for r in rows if (r["case"], r["label"], r["method"]) == ("case.2", f"'{LIVER}", "moved"))
    assert float(first["dice"]) == pytest.approx(6 / 8)
    assert float(first["hd95_mm"]) == pytest.approx(1.0)
    assert float(first["reference_mm3"]) == pytest.approx(3 * 8 * 6 * 3)

    content = json.loads((out / "evaluation.json").read_text())
    assert content["settings"]["labels"] == {LIVER: [1], "tumour": [2]}
    assert "If one empty" in content["definitions"]
    test = next(r for r in content["comparisons"] if r["metric"] == "dice" and r["label"] == LIVER)
    assert (test["pairs"], test["median_difference"], test["p"]) == (3, pytest.approx(-0.25), pytest.approx(0.25))
    overall = [r for r in content["summary"] if r["label"] == "mean over labels"]
    assert [r["method"] for r in overall] == ["moved", "good"] and overall[1]["dice_mean"] == 1

    page = (out / "evaluation.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "<script" not in page
    assert page.count("data:image/png;base64,") == 5 + 6  # a plot for each metric, a slice for each of the worst
    assert "http" not in page
    assert sorted(path.name for path in out.iterdir()) == [f"evaluation.{e}" for e in ("csv", "html", "json")]


@pytest.mark.slow  # two new processes import everything
def test_processes_give_the_same(folders):
    assert run(folders, "--output", folders / "one") == 0
    assert run(folders, "--output", folders / "two", "-np", 2) == 0
    one, two = ((folders / name / "evaluation.csv").read_text() for name in ("one", "two"))
    assert one == two


def test_missing_cases_are_listed_together_or_left_out(folders, capsys):
    (folders / "moved" / "case_1.nrrd").unlink()
    (folders / "good" / "case_3.nii.gz").unlink()
    write(folders / "good" / "case_9.nii.gz", label_map())
    baseline = ("--baseline", f"good={folders / 'good'}")
    assert run(folders, *baseline) == 2
    text = capsys.readouterr().err
    assert "3 problems" in text and "--allow-missing" in text
    for case in ("case_1", "case_3", "case_9"):
        assert case in text
    assert run(folders, *baseline, "--allow-missing", "--output", folders / "out") == 0
    content = json.loads((folders / "out" / "evaluation.json").read_text())
    assert {test["pairs"] for test in content["comparisons"]} == {1}
    assert len(content["cases"]) == 2 * 2 + 2 * 2


def test_other_grid_unknown_value_and_unreadable_file_are_told_in_one_go(folders, capsys):
    write(folders / "moved" / "case_1.nrrd", label_map(), spacing=(0.5, 1.5, 5.0))
    write(folders / "moved" / "case.2.nrrd", label_map() * 7)
    (folders / "moved" / "case_3.nrrd").write_bytes(b"no image")
    assert run(folders, "--output", folders / "out") == 2
    text = capsys.readouterr().err
    assert "3 problems" in text
    assert "spacing" in text and "values 7, 14 are no label" in text and "case_3.nrrd: unreadable" in text
    assert not (folders / "out").exists()


def test_labels_named_on_the_command_line(folders, capsys):
    assert run(folders, "--labels", "tumour", "all=1,2", "--output", folders / "out") == 0
    content = json.loads((folders / "out" / "evaluation.json").read_text())
    assert content["settings"]["labels"] == {"tumour": [2], "all": [1, 2]}
    assert run(folders, "--labels", "kidney") == 2
    assert f"there are {LIVER}, tumour" in capsys.readouterr().err
    assert run(folders, "--labels", "5") == 2
    assert "occurs in no file; values that do: 1, 2" in capsys.readouterr().err


@pytest.mark.parametrize("with_dataset_json", [True, False])
def test_values_of_no_label_are_refused_where_labels_are_named(folders, capsys, with_dataset_json):
    if not with_dataset_json:
        (folders / "raw" / "dataset.json").unlink()
    array = label_map(2)
    assert run(folders, "--labels", "1") == 0, "label 2 may occur, and is not evaluated"
    array[0, 0, 0] = 9
    write(folders / "moved" / "case.2.nrrd", array)
    capsys.readouterr()
    assert run(folders, "--labels", "1") == 2
    assert "case.2.nrrd: values 9 are neither in --labels nor labels of the data set" in capsys.readouterr().err
    assert run(folders, "--labels", "1", "cyst=9") == 0


def test_without_dataset_json_the_values_of_the_references_count(folders, capsys):
    (folders / "raw" / "dataset.json").unlink()
    assert run(folders, "--output", folders / "out") == 0
    content = json.loads((folders / "out" / "evaluation.json").read_text())
    assert {row["label"] for row in content["cases"]} == {"1", "2"}
    write(folders / "moved" / "case_1.nrrd", label_map() * 3)
    assert run(folders) == 2
    assert "values 3, 6 are no label of the references" in capsys.readouterr().err


def test_absent_structure_is_null_in_json_and_blank_in_csv(folders):
    for folder in ("raw/labelsTs", "good"):
        array = label_map()
        array[array == 2] = 0
        write(folders / folder / "case_1.nii.gz", array)
    assert run(folders, "--output", folders / "out", "--report", prediction="good") == 0
    content = json.loads((folders / "out" / "evaluation.json").read_text())
    row = next(r for r in content["cases"] if r["case"] == "case_1" and r["label"] == "tumour")
    assert row["status"] == "both empty" and row["dice"] is None and row["hd95_mm"] is None
    assert "case_1,tumour,good,both empty,,,,,,0.0,0.0" in (folders / "out" / "evaluation.csv").read_text()


def test_patients(folders, capsys):
    table = folders / "patients.csv"
    baseline = ("--baseline", f"good={folders / 'good'}", "--patients", table)
    table.write_text("case,patient\ncase_1,p\ncase.2,p\n")
    assert run(folders, *baseline) == 2
    assert "case 'case_3': is not in the table of patients" in capsys.readouterr().err
    table.write_text("case,patient\ncase_1,p\ncase.2,p\ncase_3,q\n")
    assert run(folders, *baseline, "--output", folders / "out") == 0
    content = json.loads((folders / "out" / "evaluation.json").read_text())
    assert {test["pairs"] for test in content["comparisons"]} == {2}
    table.write_text("name;patient\n")
    assert run(folders, *baseline) == 2
    assert "columns 'case' and 'patient'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (("--baseline", "good"), "is not of the form NAME=FOLDER"),
        (("--baseline", "moved=good"), "the name moved is taken"),
        (("--baseline", "x=/nowhere"), "no such folder"),
        (("--nsd-tolerance-mm", "-1"), "is not a number from 0"),
        (("-np", "0"), "is not a whole number from 1"),
        (("--patients", "p.csv"), "no --baseline"),
        (("--labels", "/nowhere/dataset.json"), "no such file"),
        (("--report",), "--report: needs --output"),
        (("--images", "x"), "--images: needs --report"),
    ],
)
def test_bad_options(folders, capsys, extra, said):
    assert run(folders, *extra) == 2
    assert said in capsys.readouterr().err


def test_results_are_not_written_among_the_label_maps(folders, capsys):
    before = sorted((folders / "moved").iterdir())
    assert run(folders, "--output", folders / "moved") == 2
    assert "is the input" in capsys.readouterr().err and sorted((folders / "moved").iterdir()) == before


@pytest.mark.parametrize("place", ["moved/new", "raw", "raw/labelsTs/new", "good"])
def test_an_output_among_the_inputs_is_refused(folders, place, capsys):
    before = sorted(folders.rglob("*"))
    assert run(folders, "--baseline", f"good={folders / 'good'}", "--output", folders / place) == 2
    assert "write somewhere else" in capsys.readouterr().err and sorted(folders.rglob("*")) == before


def test_files_of_others_are_not_replaced(folders, capsys):
    (folders / "out").mkdir()
    (folders / "out/evaluation.csv").write_text("my own table")
    assert run(folders, "--output", folders / "out") == 2
    assert "evaluation.csv: is no file of this command" in capsys.readouterr().err
    assert (folders / "out/evaluation.csv").read_text() == "my own table"
    (folders / "out/evaluation.csv").unlink()
    for _ in range(2):
        assert run(folders, "--output", folders / "out", "--report") == 0
