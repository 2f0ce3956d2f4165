from __future__ import annotations

import errno
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak.cli.prepare_inputs import main
from nnunet_weak.dataset_conversion.scores import main as convert
from nnunet_weak.images import write as volume_files

SHAPE = (6, 8, 10)  # z, y, x


def on_grid(array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.6, 0.75, 2.5))
    return image


@pytest.fixture
def study(nnunet_folders: Path) -> Path:
    """Three scored cases, converted with the prior made around the mask."""
    for folder in ("images", "masks"):
        (nnunet_folders / folder).mkdir()
    rows = ["case,region,quality,error"]
    for number in range(3):
        array = np.random.default_rng(number).integers(-1000, 1000, SHAPE).astype(np.int16)
        mask = np.zeros(SHAPE, np.uint8)
        mask[1:4, 2:6, 2:5], mask[2:4, 3:6, 5:9] = 4, 7
        sitk.WriteImage(on_grid(array), f"images/case_{number}.nii.gz")
        sitk.WriteImage(on_grid(mask), f"masks/case_{number}.nii.gz")
        rows += [f"case_{number},{region},3,under" for region in ("head", "shaft")]
    Path("scores.csv").write_text("\n".join(rows))
    assert run_convert("otsu") == 0
    return nnunet_folders


def run_convert(prior: str, *further: str) -> int:
    inputs = ["--images", "images", "--masks", "masks", "--scores", "scores.csv", "--prior", prior, "-np", "1"]
    return convert([*inputs, "--regions", "head=4", "shaft=7", "-d", "511", "-n", "Bones", *further])


def run_prepare(*further: str) -> int:
    return main(["-i", "images", "--masks", "masks", "-m", "511", "-o", "imagesTs", "-np", "1", *further])


def prepared(folder: str = "imagesTs") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("*.nii.gz"))}


@pytest.mark.parametrize("prior", ["otsu", "local", "gradient", "posterior", "none"])
def test_training_and_inference_get_the_same_bytes(study: Path, prior: str):
    assert run_convert(prior, "--overwrite") == 0
    assert run_prepare() == 0
    training = {path.name: path.read_bytes() for path in (study / "nnUNet_raw/Dataset511_Bones/imagesTr").iterdir()}
    assert prepared() == training
    assert len(training) == 3 * (3 if prior == "none" else 4)


def test_a_model_folder_without_cases_is_enough(study: Path):
    content = json.loads((study / "nnUNet_raw/Dataset511_Bones/dataset.json").read_text())
    del content["nnunet_weak"]["cases"]
    (study / "model").mkdir()
    (study / "model/dataset.json").write_text(json.dumps(content))
    assert run_prepare("-m", "model") == 0
    assert run_prepare("-m", "Dataset511_Bones", "-o", "other") == 0
    assert prepared("other") == prepared()


def test_the_order_of_regions_is_the_models_even_from_other_masks(study: Path):
    assert run_prepare() == 0
    for number in range(3):
        mask = sitk.ReadImage(f"masks/case_{number}.nii.gz")
        for region, label in (("humerus_shaft", 7), ("humerus_head", 4)):
            path = Path(f"totalseg/case_{number}/segmentations/{region}.nii.gz")
            path.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(sitk.Equal(mask, label), str(path))
    regions = ("--regions", "head=humerus_head", "shaft=humerus_shaft")
    assert run_prepare("--masks", "totalseg", *regions, "-o", "other") == 0
    assert prepared("other") == prepared()


def test_complete_cases_are_skipped_and_others_finished(study: Path, capsys: pytest.CaptureFixture[str]):
    assert run_prepare() == 0
    expected = prepared()
    Path("imagesTs/case_1_0002.nii.gz").unlink()
    untouched = Path("imagesTs/case_0_0000.nii.gz").stat().st_mtime_ns
    assert run_prepare() == 0
    assert "1 cases written to imagesTs, 2 were complete before" in capsys.readouterr().out
    assert prepared() == expected
    assert Path("imagesTs/case_0_0000.nii.gz").stat().st_mtime_ns == untouched
    assert run_prepare("--overwrite") == 0
    assert "3 cases written" in capsys.readouterr().out


def truncate_a_channel() -> None:
    os.truncate("imagesTs/case_1_0003.nii.gz", 100)


def flip_a_byte() -> None:
    content = bytearray(Path("imagesTs/case_1_0001.nii.gz").read_bytes())
    content[-9] ^= 1
    Path("imagesTs/case_1_0001.nii.gz").write_bytes(content)


def empty_the_mask() -> None:
    """Under the old time, as a copy from another disk has it."""
    before = Path("masks/case_1.nii.gz").stat()
    sitk.WriteImage(sitk.ReadImage("masks/case_1.nii.gz") * 0, "masks/case_1.nii.gz")
    os.utime("masks/case_1.nii.gz", ns=(before.st_atime_ns, before.st_mtime_ns))


def brighten_the_image() -> None:
    sitk.WriteImage(sitk.ReadImage("images/case_1.nii.gz") + 1, "images/case_1.nii.gz")


def damage_the_record() -> None:
    Path("imagesTs/prepared/case_1.json").write_text('{"settings"')


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (truncate_a_channel, "case_1_0003.nii.gz has changed"),
        (flip_a_byte, "case_1_0001.nii.gz has changed"),
        (empty_the_mask, "case_1.nii.gz has changed"),
        (brighten_the_image, "case_1.nii.gz has changed"),
        (damage_the_record, "its record case_1.json is damaged"),
    ],
)
def test_a_case_is_made_again_if_anything_changed(
    study: Path, change: Callable[[], None], reason: str, capsys: pytest.CaptureFixture[str], caplog
):
    assert run_prepare() == 0
    untouched = Path("imagesTs/case_0_0000.nii.gz").stat().st_mtime_ns
    change()
    assert run_prepare() == 0
    assert "1 cases written to imagesTs, 2 were complete before" in capsys.readouterr().out
    assert f"case_1 was made again: {reason}" in caplog.text
    assert Path("imagesTs/case_0_0000.nii.gz").stat().st_mtime_ns == untouched
    assert run_prepare("-o", "other") == 0
    assert prepared() == prepared("other")


def test_cases_are_made_again_with_other_options(study: Path, capsys: pytest.CaptureFixture[str], caplog):
    assert run_prepare() == 0
    assert run_prepare("--regions", "head=7", "shaft=4") == 0
    assert "3 cases written" in capsys.readouterr().out
    assert "case_2 was made again: made with other options" in caplog.text


def test_channels_that_no_longer_fit_do_not_stay(study: Path, capsys: pytest.CaptureFixture[str], caplog):
    assert run_prepare() == 0
    sitk.WriteImage(sitk.ReadImage("masks/case_1.nii.gz")[1:], "masks/case_1.nii.gz")
    assert run_prepare() == 2
    assert "masks/case_1.nii.gz" in capsys.readouterr().err and "case_1: the channels of an earlier run" in caplog.text
    assert {name[:6] for name in prepared()} == {"case_0", "case_2"}
    assert sorted(os.listdir("imagesTs/prepared")) == ["case_0.json", "case_2.json"]


def test_images_of_others_are_not_replaced(study: Path, capsys: pytest.CaptureFixture[str]):
    Path("imagesTs").mkdir()
    for number in range(2):  # the first as this command would write it, the second an image of somebody else
        image = sitk.ReadImage(f"images/case_{number}.nii.gz") + number
        sitk.WriteImage(image, f"imagesTs/case_{number}_0000.nii.gz")
    Path("imagesTs/case_0_0000.nii.gz").write_bytes(Path("images/case_0.nii.gz").read_bytes())
    Path("imagesTs/case_2_0000.nii.gz").write_bytes(b"a damaged file")
    theirs = Path("imagesTs/case_1_0000.nii.gz").read_bytes()
    assert run_prepare() == 2
    assert "case_1_0000.nii.gz: is another image" in capsys.readouterr().err
    assert Path("imagesTs/case_1_0000.nii.gz").read_bytes() == theirs
    assert {name[:6] for name in prepared()} == {"case_0", "case_1", "case_2"}
    assert run_prepare("--overwrite") == 0


def test_what_a_killed_run_left_is_made_again(study: Path, caplog: pytest.LogCaptureFixture):
    assert run_prepare() == 0
    expected = prepared()
    leftover = Path(f"imagesTs/.partial-999999999@{platform.node()}-case_1")
    leftover.mkdir()
    os.rename("imagesTs/case_1_0000.nii.gz", leftover / "case_1_0000.nii.gz")
    assert run_prepare() == 0
    assert prepared() == expected and not leftover.exists()
    assert "was left by a run that was killed" in caplog.text


def test_parts_make_the_whole(study: Path):
    assert run_prepare("--num_parts", "2", "--part_id", "0") == 0
    assert {name[:6] for name in prepared()} == {"case_0", "case_2"}
    assert run_prepare("--num_parts", "2", "--part_id", "1") == 0
    assert run_prepare("-o", "other") == 0
    assert prepared() == prepared("other")


@pytest.mark.parametrize(
    ("failure", "code"), [(OSError(errno.ENOSPC, "No space left on device"), 2), (KeyboardInterrupt(), 130)]
)
def test_an_interrupted_run_leaves_complete_cases_and_can_be_repeated(
    study: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, code: int
):
    stream = volume_files._stream
    calls = []

    def fails_in_the_second_case(header, array, target):
        calls.append(1)
        if len(calls) == 5:  # three streamed files for each case, the image is copied
            target.write(header)
            raise failure
        stream(header, array, target)

    with monkeypatch.context() as patched:
        patched.setattr(volume_files, "_stream", fails_in_the_second_case)
        assert run_prepare() == code
    assert {name[:6] for name in prepared()} == {"case_0"}
    assert not list(Path("imagesTs").glob(".*")) and os.listdir("imagesTs/prepared") == ["case_0.json"]
    assert run_prepare() == 0
    assert run_prepare("-o", "other") == 0
    assert prepared() == prepared("other")


def test_files_of_two_networks_are_not_mixed(study: Path, capsys: pytest.CaptureFixture[str]):
    assert run_prepare() == 0
    assert run_convert("local", "--overwrite") == 0
    assert run_prepare() == 2
    assert "another prior" in capsys.readouterr().err
    assert run_prepare("--overwrite") == 0


def test_a_bad_case_is_named_and_does_not_stop_the_others(study: Path, capsys: pytest.CaptureFixture[str]):
    sitk.WriteImage(sitk.ReadImage("masks/case_1.nii.gz")[1:], "masks/case_1.nii.gz")
    assert run_prepare() == 2
    message = capsys.readouterr().err
    assert "masks/case_1.nii.gz" in message and "2 cases were written" in message
    assert {name[:6] for name in prepared()} == {"case_0", "case_2"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-m", "512"), "-m 512: no data set of this number or name"),
        (("-m", "images"), "no such file"),
        (("--masks", "nowhere"), "nowhere"),
        (("-i", "nowhere"), "nowhere: no such folder"),
        (("--regions", "shaft=7", "head=4"), "the regions head, shaft"),
        (("--num_parts", "2", "--part_id", "2"), "numbered from 0 to 1"),
    ],
)
def test_bad_options(study: Path, arguments: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]):
    assert run_prepare(*arguments) == 2
    assert expected in capsys.readouterr().err
    assert not Path("imagesTs").exists()


def test_masks_and_channels_that_do_not_fit_are_listed_first(study: Path, capsys: pytest.CaptureFixture[str]):
    Path("masks/case_2.nii.gz").unlink()
    for number in range(3):
        os.rename(f"images/case_{number}.nii.gz", f"images/case_{number}_0000.nii.gz")
        sitk.WriteImage(sitk.ReadImage(f"images/case_{number}_0000.nii.gz"), f"images/case_{number}_0001.nii.gz")
    assert run_prepare() == 2
    message = capsys.readouterr().err
    assert "case 'case_0': 2 image channels, the network was trained with 1" in message
    assert "case 'case_2': no initial mask" in message


def test_other_methods_need_no_preparation(study: Path, capsys: pytest.CaptureFixture[str]):
    path = study / "nnUNet_raw/Dataset511_Bones/dataset.json"
    content = json.loads(path.read_text())
    content["nnunet_weak"]["method"] = "weaknet"
    path.write_text(json.dumps(content))
    assert run_prepare() == 2
    assert "needs the images alone" in capsys.readouterr().err


def test_priors_of_ones_own_are_asked_for(study: Path, capsys: pytest.CaptureFixture[str]):
    os.mkdir("priors")
    for number in range(3):
        sitk.WriteImage(on_grid(np.full(SHAPE, 0.25, np.float32)), f"priors/case_{number}.nii.gz")
    assert run_convert("file", "--prior-folder", "priors", "--overwrite") == 0
    assert run_prepare() == 2
    assert "--prior-folder DIR" in capsys.readouterr().err
    os.rename("priors/case_1.nii.gz", "priors/other.nii.gz")
    assert run_prepare("--prior-folder", "priors") == 2
    assert "case 'case_1': no boundary prior" in capsys.readouterr().err
    os.rename("priors/other.nii.gz", "priors/case_1.nii.gz")
    assert run_prepare("--prior-folder", "priors") == 0


@pytest.mark.parametrize("output", ["images", "images/new", "masks", "."])
def test_an_output_among_the_inputs_is_refused(study: Path, output: str, capsys: pytest.CaptureFixture[str]):
    assert run_convert("otsu", "--overwrite") == 0
    before = {path: path.read_bytes() for path in study.rglob("*") if path.is_file()}
    assert run_prepare("-o", output) == 2
    assert "write somewhere else" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in study.rglob("*") if path.is_file()} == before
