"""A conversion in parts gives the bytes of a single run, whatever is interrupted, and repeats nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from drawing_study import DrawingStudy
from point_study import PointStudy
from score_study import ScoreStudy

from nnunet_weak.dataset.case_results import from_json, to_json
from nnunet_weak.dataset.convert_parts import PartStore
from nnunet_weak.dataset.parts import without_parts
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.points.points import ObjectPoints

CASES = 5


@pytest.fixture(params=["scores", "drawings", pytest.param("points", marks=pytest.mark.slow)])
def convert(request, nnunet_folders: Path):
    """Runs a converter on five cases with previews, meshes and references where it has them."""
    if request.param == "scores":
        scores = ScoreStudy(nnunet_folders, CASES)
        scores.write("references/case_3.nii.gz", scores.reference())
        return lambda *further: scores.convert("--references", "references", *further)
    if request.param == "drawings":
        drawings = DrawingStudy(nnunet_folders, CASES)
        return lambda *further: drawings.convert("--random-walker", *further, previews=True)
    points = PointStudy(nnunet_folders, CASES)
    for number in range(CASES):
        points.points(f"case_{number}.csv", "liver", "spleen")
    return lambda *further: points.convert("--classes", "liver", "spleen", *further)


def files_in(folder: Path) -> dict[str, bytes]:
    """All files, without the previews, in which matplotlib writes no time but its version."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def only_folder(root: Path) -> Path:
    (folder,) = root.iterdir()
    return folder


def test_parts_equal_a_single_run_byte_by_byte(convert, nnunet_folders: Path, capsys):
    raw = nnunet_folders / "nnUNet_raw"
    assert convert() == 0
    single = files_in(only_folder(raw))
    os.rename(only_folder(raw), nnunet_folders / "single")
    for part in ("2", "0"):
        assert convert("-num_parts", "3", "-part_id", part) == 0
    capsys.readouterr()
    assert convert("-num_parts", "3", "--merge") == 2
    error = capsys.readouterr().err
    for case in ("case_1", "case_4"):
        assert f"case '{case}': is not converted, or has changed since (remedy: run -num_parts 3 -part_id 1" in error
    assert "2 problems" in error
    assert convert("-num_parts", "3", "-part_id", "1") == 0
    assert convert("--num_parts=3", "--merge") == 0
    assert files_in(only_folder(raw)) == single, "the parts are gone, and all is as by a single run"
    assert len(single) > 3 * CASES


def test_an_interrupted_part_goes_on_after_its_last_case(convert, nnunet_folders: Path, monkeypatch, capsys):
    stored, begun = PartStore.convert, []

    def interrupted(self, convert_case, name, task):
        begun.append(name)
        if len(begun) == 3:
            atomic = self.folder / f".partial-1@elsewhere-{name}"
            atomic.mkdir()  # what a process leaves that is killed on another machine
            raise KeyboardInterrupt
        return stored(self, convert_case, name, task)

    part = ("-num_parts", "1", "--merge")
    with monkeypatch.context() as patched:
        patched.setattr(PartStore, "convert", interrupted)
        assert convert("-num_parts", "2", "-part_id", "0") == 130
    assert begun == ["case_0", "case_2", "case_4"]
    capsys.readouterr()
    assert convert("-num_parts", "2", "-part_id", "0") == 0
    assert "1 cases converted, 2 were complete before" in capsys.readouterr().out
    assert convert("-num_parts", "2", "-part_id", "1") == 0
    assert convert(*part) == 0
    assert only_folder(nnunet_folders / "nnUNet_raw").name.startswith("Dataset")


@pytest.fixture
def study(nnunet_folders: Path) -> ScoreStudy:
    return ScoreStudy(nnunet_folders, CASES)


def test_cases_that_have_changed_are_converted_again(study: ScoreStudy, capsys):
    for part in ("0", "1"):
        assert study.convert("-num_parts", "2", "-part_id", part) == 0
    study.write("images/case_2.nii.gz", study.image(seed=77))
    os.utime("images/case_2.nii.gz", ns=(1, 1))  # a coarse clock would hide the change
    assert study.convert("-num_parts", "2", "--merge") == 2
    assert "case 'case_2': is not converted, or has changed since" in capsys.readouterr().err
    assert study.convert("-num_parts", "2", "-part_id", "0") == 0
    assert "1 cases converted, 2 were complete before" in capsys.readouterr().out
    assert study.convert("-num_parts", "2", "--merge", "--prior", "none") == 2
    assert capsys.readouterr().err.count("is not converted") == CASES
    assert study.convert("-num_parts", "2", "--merge") == 0


def test_a_bad_case_does_not_stop_the_others_of_its_part(study: ScoreStudy, capsys):
    study.write("masks/case_2.nii.gz", study.mask()[1:])
    assert study.convert("-num_parts", "2", "-part_id", "0") == 2
    error = capsys.readouterr().err
    assert "masks/case_2.nii.gz" in error and "2 cases converted" in error
    study.write("masks/case_2.nii.gz", study.mask())
    assert study.convert("-num_parts", "2", "-part_id", "0") == 0


def test_damaged_results_are_converted_again(study: ScoreStudy, capsys):
    assert study.convert("-num_parts", "2", "-part_id", "0") == 0
    store = study.raw / ".parts-Dataset511_Bones"
    (store / "case_0" / "result.json").write_text("{")
    content = json.loads((store / "case_2" / "result.json").read_text())
    content["case"]["dataclass"] = ["os", "system"]
    (store / "case_2" / "result.json").write_text(json.dumps(content))
    capsys.readouterr()
    assert study.convert("-num_parts", "2", "-part_id", "0") == 0
    assert "2 cases converted, 1 were complete before" in capsys.readouterr().out


def test_a_part_that_does_not_exist(study: ScoreStudy, capsys):
    assert study.convert("-num_parts", "2", "-part_id", "2") == 2
    assert "-part_id 2: parts are numbered from 0 to 1" in capsys.readouterr().err
    assert list(study.raw.iterdir()) == []


def test_where_the_disk_has_no_links_files_are_copied(study: ScoreStudy, monkeypatch):
    assert study.convert() == 0
    single = files_in(study.dataset)
    assert study.convert("--overwrite", "-num_parts", "2", "-part_id", "0") == 0
    assert study.convert("--overwrite", "-num_parts", "2", "-part_id", "1") == 0
    monkeypatch.setattr(os, "link", lambda *paths: (_ for _ in ()).throw(OSError("no links")))
    assert study.convert("--overwrite", "-num_parts", "2", "--merge") == 0
    merged = files_in(study.dataset)
    record = json.loads(merged.pop("conversion.json"))
    assert record["command"].count("--overwrite") == 1 and "-num_parts" not in record["command"]
    single.pop("conversion.json")
    assert merged == single


def test_results_come_back_as_they_were():
    points = ObjectPoints(np.array([[0.1, 1e-300, -0.0]]), "liver")
    value = {
        ("a", "b"): (1, 2.5, None, True, "x"),
        "points": points,
        "paths": [Path("images/case.nii.gz")],
        "scalar": np.float32(0.1),
        "array": np.arange(6, dtype=np.int16).reshape(2, 3),
    }
    back = from_json(json.loads(json.dumps(to_json(value))))
    assert back[("a", "b")] == (1, 2.5, None, True, "x") and back["paths"] == value["paths"]
    assert back["points"].points_mm.tobytes() == points.points_mm.tobytes() and back["points"].class_name == "liver"
    assert back["scalar"] == np.float32(0.1) and back["array"].dtype == np.int16
    assert np.array_equal(back["array"], value["array"])
    with pytest.raises(TypeError, match="has no encoding"):
        to_json(sitk.Image(1, 1, sitk.sitkUInt8))


@pytest.mark.parametrize(
    "content",
    [
        {"dataclass": ["subprocess", "Popen"], "fields": {}},
        {"dataclass": ["nnunet_weak.errors", "Problems"], "fields": {}},
        {"dataclass": ["nnunet_weak.errors", "nothing"], "fields": {}},
        {"dataclass": ["nnunet_weak.points.points", "ObjectPoints"], "fields": {"unknown": 1}},
        {"anything": 1},
        {"array": "AAA", "dtype": "<f4", "shape": [1]},
        [1, 2],
    ],
)
def test_only_results_are_read(content):
    with pytest.raises(InvalidInputError, match="no result of a converter"):
        from_json(content)


def test_the_record_does_not_tell_of_parts():
    words = ["convert", "-np", "2", "-num_parts", "4", "--part_id=3", "--merge", "-d", "5", "--num_parts", "2"]
    assert without_parts(words) == ["convert", "-np", "2", "-d", "5"]
