"""`nnunet_weak`: the list of commands is complete, and doctor names what is wrong, and only that."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import SimpleITK as sitk
from score_study import ScoreStudy

from nnunet_weak.front_door import doctor
from nnunet_weak.front_door.commands import COMMANDS, main

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.fixture
def study(nnunet_folders: Path) -> ScoreStudy:
    made = ScoreStudy(nnunet_folders)
    assert made.convert() == 0
    return made


def test_every_command_is_listed_once(capsys):
    scripts = re.findall(r"^(nnunet_weak_\w+) = ", PYPROJECT.read_text(), flags=re.MULTILINE)
    listed = [name for commands in COMMANDS.values() for name in commands]
    assert sorted(listed) == sorted(scripts)
    assert main([]) == 0
    output = capsys.readouterr().out
    assert all(f"  {name} " in output for name in scripts)


def test_an_unknown_task_names_the_command_that_is_meant(capsys):
    assert main(["evaluate"]) == 2
    assert "remedy: nnunet_weak_evaluate" in capsys.readouterr().err


def test_nothing_is_wrong_with_a_fresh_data_set(study, capsys, monkeypatch):
    from nnunet_weak.dataset import check

    read, load_json = [], check.load_json
    monkeypatch.setattr(check, "load_json", lambda path, *bounds: read.append(path) or load_json(path, *bounds))
    assert main(["doctor", "511", "-np", "1"]) == 0
    assert sum(path.name == "dataset.json" for path in read) == 1, "a file of 100,000 cases takes seconds"
    output = capsys.readouterr().out
    assert "Nothing is wrong" in output and "3 cases of 4 channels" in output
    assert re.search(r"(\d+) of our \1: nnUNetTrainerSCORE", output)
    assert f"nnUNet_raw={study.raw}" in output and "not planned yet" in output


def damage_missing_channel(study: ScoreStudy) -> str:
    (study.dataset / "imagesTr/case_1_0002.nii.gz").unlink()
    return "imagesTr/case_1_0002.nii.gz: no such file"


def damage_grid(study: ScoreStudy) -> str:
    path = study.dataset / "labelsTr/case_1.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(path))[1:], str(path))
    return "labelsTr/case_1.nii.gz: not on the grid of its case"


def damage_label(study: ScoreStudy) -> str:
    path = study.dataset / "labelsTr/case_2.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(path)) + 2, str(path))
    return "labelsTr/case_2.nii.gz: holds the values [3, 4]"


def damage_truncated_image(study: ScoreStudy) -> str:
    path = study.dataset / "imagesTr/case_0_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:200])
    return "imagesTr/case_0_0000.nii.gz: "


def damage_stray_file(study: ScoreStudy) -> str:
    (study.dataset / "imagesTr/other_0000.nii.gz").write_bytes(b"")
    return "imagesTr/other_0000.nii.gz: belongs to no case"


def damage_block(study: ScoreStudy) -> str:
    path = study.dataset / "dataset.json"
    content = json.loads(path.read_text())
    content["nnunet_weak"]["cases"]["case_0"]["scores"]["head"]["quality"] = 7
    path.write_text(json.dumps(content))
    return "nnunet_weak.cases.case_0.scores.head.quality: 7 is not a number from 0 to 5"


def damage_json(study: ScoreStudy) -> str:
    (study.dataset / "dataset.json").write_text("null")
    return "dataset.json: NoneType instead of an object"


def damage_splits(study: ScoreStudy) -> str:
    (study.dataset / "splits_final.json").write_text(json.dumps([{"train": ["case_0"], "val": ["case_9"]}]))
    return "splits_final.json: names cases that are not there: case_9"


def damage_stale_plan(study: ScoreStudy) -> str:
    copy = study.folder / "nnUNet_preprocessed" / study.dataset.name / "dataset.json"
    copy.parent.mkdir()
    copy.write_text("{}")
    return "the annotations have changed since planning"


@pytest.mark.parametrize(
    "damage",
    [
        damage_missing_channel,
        damage_grid,
        damage_label,
        damage_truncated_image,
        damage_stray_file,
        damage_block,
        damage_json,
        damage_splits,
        damage_stale_plan,
    ],
)
def test_what_is_wrong_with_a_data_set_is_named(study, damage, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_trainers", lambda problems: iter(()))  # takes seconds, and is tested above
    expected = damage(study)
    assert main(["doctor", str(study.dataset), "-np", "1"]) == 2
    assert expected in capsys.readouterr().err


def test_variables_that_do_not_work_are_named(nnunet_folders, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_trainers", lambda problems: iter(()))
    monkeypatch.delenv("nnUNet_results")
    monkeypatch.setenv("nnUNet_preprocessed", str(nnunet_folders / "nowhere"))
    if os.geteuid() != 0:  # root may write everywhere
        (nnunet_folders / "nnUNet_raw").chmod(0o500)
    assert main(["doctor"]) == 2
    error = capsys.readouterr().err
    assert "nnUNet_results: is not set" in error and "nowhere: no such folder" in error
    assert os.geteuid() == 0 or "cannot be written" in error


def test_a_trainer_that_nnunet_does_not_find_is_named(nnunet_folders, monkeypatch, capsys):
    monkeypatch.setenv("nnUNet_extTrainer", str(nnunet_folders))
    assert main(["doctor"]) == 2
    assert "nnUNetTrainerSCORE: nnU-Net does not find it" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["512", "nowhere"])
def test_a_data_set_that_does_not_exist_is_named(nnunet_folders, name, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_trainers", lambda problems: iter(()))
    assert main(["doctor", name]) == 2
    assert f"doctor {name}: no data set of this number or name" in capsys.readouterr().err


@pytest.mark.training
def test_a_model_folder_is_described(workplace, trained):
    output = workplace.run(f"nnunet_weak doctor {trained}")
    assert "fold_0/checkpoint_final.pth: nnUNetTrainerSCORE_tiny, epoch 3" in output
    assert "masks of proximal, shaft, distal, boundary prior" in output
    (trained / "fold_0" / "checkpoint_broken.pth").write_bytes(b"no checkpoint")
    try:
        assert "checkpoint_broken.pth: is damaged" in workplace.run(f"nnunet_weak doctor {trained}", expect=2)
    finally:
        (trained / "fold_0" / "checkpoint_broken.pth").unlink()
