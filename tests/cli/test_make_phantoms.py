from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import SimpleITK as sitk

from nnunet_weak.cli.make_phantoms import main
from nnunet_weak.dataset.annotations import ErrorType, error_name
from nnunet_weak.images.read import geometry_difference, list_images

SMALL = ["--cases", "3", "--test-cases", "2", "--size", "26", "24", "30"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    assert main([str(folder / "data"), *SMALL, "-np", "1", "--preview", str(folder / "preview.png")]) == 0
    return folder / "data"


def test_the_folder_is_complete(made: Path):
    names = ["train_000", "train_001", "train_002"]
    for kind in ("images", "labels", "initial_masks"):
        assert list(list_images(made / kind)) == names
        assert list(list_images(made / "test" / kind)) == ["test_000", "test_001"]
    for name in names:
        image, labels, mask = (
            sitk.ReadImage(str(made / k / f"{name}.nii.gz")) for k in ("images", "labels", "initial_masks")
        )
        assert geometry_difference(image, labels) == geometry_difference(image, mask) == ""
    assert (made.parent / "preview.png").stat().st_size > 10_000
    assert sorted(path.name for path in made.parent.iterdir()) == ["data", "preview.png"]


def test_scores_are_what_the_converter_reads(made: Path):
    table = pd.read_csv(made / "scores.csv")
    assert list(table.columns) == ["case", "region", "quality", "error"]
    assert set(table.case) == {"train_000", "train_001", "train_002"}
    assert set(table.region) <= {"proximal", "shaft", "distal"}
    assert table.quality.between(0, 5).all()
    assert set(table.error) <= {error_name(member) for member in ErrorType}
    assert ((table.quality == 5) == (table.error == "none")).all()


def test_seed_size_and_labels_are_recorded(made: Path):
    record = json.loads((made / "phantoms.json").read_text())
    assert record["seed"] == 0 and record["size"] == [26, 24, 30]
    assert record["labels"] == {"background": 0, "proximal": 1, "shaft": 2, "distal": 3}


def test_bytes_do_not_depend_on_the_number_of_processes(made: Path, tmp_path: Path):
    assert main([str(tmp_path / "again"), *SMALL, "-np", "2"]) == 0
    assert contents(tmp_path / "again") == contents(made)


def test_more_cases_leave_the_others_as_they_are(made: Path, tmp_path: Path):
    assert main([str(tmp_path / "more"), "--cases", "4", "--test-cases", "0", *SMALL[4:], "-np", "1"]) == 0
    more, before = contents(tmp_path / "more"), contents(made)
    assert more["images/train_001.nii.gz"] == before["images/train_001.nii.gz"]
    assert not (tmp_path / "more" / "test").exists()


def test_another_seed_makes_other_cases(made: Path, tmp_path: Path):
    assert main([str(tmp_path / "other"), *SMALL, "-np", "1", "--seed", "1"]) == 0
    assert contents(tmp_path / "other")["images/train_000.nii.gz"] != contents(made)["images/train_000.nii.gz"]


def test_summary_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([str(tmp_path / "data"), *SMALL, "-np", "1"]) == 0
    printed = capsys.readouterr().out
    assert "3 training and 2 held-out cases, seed 0" in printed and "Dice of the initial masks" in printed
    assert "proximal" in printed and "under" in printed


def test_an_existing_folder_is_kept_unless_this_command_made_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    assert main([str(precious), *SMALL]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([str(precious), *SMALL, "--overwrite"]) == 2
    assert "did not make it and will not delete it" in capsys.readouterr().err
    assert (precious / "thesis.txt").read_text() == "years of work"


def test_overwrite_replaces_what_an_earlier_run_made(tmp_path: Path):
    arguments = [str(tmp_path / "data"), "--cases", "1", "--test-cases", "0", "--size", "20", "20", "20", "-np", "1"]
    assert main(arguments) == 0
    (tmp_path / "data" / "stale.txt").write_text("x")
    assert main([*arguments, "--seed", "4", "--overwrite"]) == 0
    assert json.loads((tmp_path / "data" / "phantoms.json").read_text())["seed"] == 4
    assert not (tmp_path / "data" / "stale.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_preview_replaces_only_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    picture = tmp_path / "notes.png"
    picture.write_text("not a picture")
    for more in ([], ["--overwrite"]):
        assert main([str(tmp_path / "data"), *SMALL, "--preview", str(picture), *more]) == 2
        assert "--preview" in capsys.readouterr().err
    assert picture.read_text() == "not a picture" and not (tmp_path / "data").exists()


def test_all_wrong_options_are_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["--cases", "0", "--test-cases", "-1", "--size", "8", "40", "40", "--seed", "-3", "-np", "0"]
    assert main([str(tmp_path / "data"), *arguments]) == 2
    message = capsys.readouterr().err
    for option in ("--cases", "--test-cases", "--size", "--seed", "-np"):
        assert option in message
    assert main([str(tmp_path / "data"), "--preview", "p.jpg"]) == 2
    assert "does not end in .png" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_failed_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full_disk(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nnunet_weak.images.write.write_volume", full_disk)
    assert main([str(tmp_path / "data"), *SMALL, "-np", "1"]) == 2
    assert not list(tmp_path.iterdir())
