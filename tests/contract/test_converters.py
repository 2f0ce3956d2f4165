"""What all converters promise alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import SimpleITK as sitk
from drawing_study import DrawingStudy
from point_study import PointStudy
from score_study import ScoreStudy


class AnyStudy:
    """Inputs of one of the converters: `case_0` to `case_2` in `images`."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.folder, self.raw = folder, folder / "nnUNet_raw"
        if kind == "points":
            study = PointStudy(folder, cases=3)
            for number in range(3):
                study.points(f"case_{number}.csv", "liver")
        else:
            study = {"scores": ScoreStudy, "drawings": DrawingStudy}[kind](folder)
        self.convert = study.convert

    def written(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in sorted(self.raw.rglob("*")) if path.is_file()}


@pytest.fixture(params=["scores", "drawings", "points"])
def study(request: pytest.FixtureRequest, nnunet_folders: Path) -> AnyStudy:
    return AnyStudy(request.param, nnunet_folders)


def test_a_dry_run_writes_nothing(study: AnyStudy, capsys: pytest.CaptureFixture[str]):
    assert study.convert("--dry-run") == 0
    assert "nothing was written" in capsys.readouterr().out and list(study.raw.iterdir()) == []


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_broken_image_is_named_and_nothing_is_written(
    study: AnyStudy, options: list[str], capsys: pytest.CaptureFixture[str]
):
    image = study.folder / "images" / "case_1.nii.gz"
    image.write_bytes(image.read_bytes()[:200])
    assert study.convert(*options) == 2
    assert "case_1.nii.gz" in capsys.readouterr().err and list(study.raw.iterdir()) == []


def test_a_further_channel_off_the_grid_is_named_once(study: AnyStudy, capsys: pytest.CaptureFixture[str]):
    """Also where other cases have been written by then."""
    for path in sorted((study.folder / "images").iterdir()):
        image = sitk.ReadImage(str(path))
        path.rename(path.with_name(path.name.replace(".nii.gz", "_0000.nii.gz")))
        image.SetOrigin((0, 0, 9) if path.name == "case_1.nii.gz" else image.GetOrigin())
        sitk.WriteImage(image, str(path.with_name(path.name.replace(".nii.gz", "_0001.nii.gz"))))
    assert study.convert() == 2
    told = capsys.readouterr().err
    assert told.count("case_1_0001.nii.gz: not on the grid of case_1") == 1 and "1 problem" in told
    assert list(study.raw.iterdir()) == []


def test_the_same_input_gives_the_same_bytes_and_only_overwrite_replaces(
    study: AnyStudy, capsys: pytest.CaptureFixture[str]
):
    assert study.convert("--overwrite") == 0
    first = study.written()
    assert study.convert() == 2 and "exists already" in capsys.readouterr().err
    assert study.convert("--overwrite") == 0
    assert study.written() == first


def test_overwrite_deletes_nothing_that_no_converter_made(study: AnyStudy, capsys: pytest.CaptureFixture[str]):
    assert study.convert() == 0
    (target,) = study.raw.iterdir()
    (target / "conversion.json").unlink()
    (target / "notes.txt").write_text("mine")
    before = study.written()
    assert study.convert("--overwrite") == 2
    assert "holds no conversion.json" in capsys.readouterr().err and study.written() == before


def test_images_inside_the_data_set_to_be_replaced_are_kept(study: AnyStudy, capsys: pytest.CaptureFixture[str]):
    assert study.convert() == 0
    (target,) = study.raw.iterdir()
    images = target / "my_images"
    (study.folder / "images").rename(images)
    before = study.written()
    assert study.convert("--overwrite", "--images", str(images)) == 2
    assert f"holds the input {images}" in capsys.readouterr().err and study.written() == before
