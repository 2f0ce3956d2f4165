from __future__ import annotations

import errno
from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
from score_study import ScoreStudy

from nnunet_weak.images import write as volume_files

Spoil = Callable[[ScoreStudy], object]


def _truncate(study: ScoreStudy) -> None:
    path = study.folder / "images/case_1.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])


def _nan(study: ScoreStudy) -> None:
    array = sitk.GetArrayFromImage(study.image()).astype(np.float32)
    array[0, 0, :3] = np.nan
    study.write("images/case_1.nii.gz", study.on_grid(array))


def _soft_mask(study: ScoreStudy) -> None:
    study.write("masks/case_1.nii.gz", sitk.Cast(study.mask(), sitk.sitkFloat32) * 0.7)


def _shifted_mask(study: ScoreStudy) -> None:
    mask = study.mask()
    mask.SetOrigin((0, 0, 0))
    study.write("masks/case_1.nii.gz", mask)


def _score(case: str, region: str, quality: float | str, error: str) -> Spoil:
    return lambda study: study.scores[case].update({region: (quality, error)})


BAD_INPUTS: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "mask missing": (lambda study: (study.folder / "masks/case_1.nii.gz").unlink(), ("case_1", "no initial mask")),
    "image missing": (
        lambda study: (study.folder / "images/case_1.nii.gz").unlink(),
        ("case 'case_1'", "no image has this name", "--allow-missing"),
    ),
    "image twice": (
        lambda study: study.write("images/case_1.nrrd", study.image()),
        ("case_1.nii.gz and case_1.nrrd name the same case twice", "keep one"),
    ),
    "score missing": (lambda study: study.scores.pop("case_1"), ("case 'case_1'", "no score", "--allow-missing")),
    "score twice": (_score("case_1", "Head", 3, "under"), ("case_1, head", "scored in", "delete one")),
    "score outside the scale": (_score("case_1", "head", 6, "under"), ("case_1, head", "'6': outside 0 to 5", "scale")),
    "score 5 with an error": (_score("case_1", "head", 5, "over"), ("case_1, head", "'over', but the quality is 5")),
    "score 3 without an error": (_score("case_1", "head", 3, "none"), ("case_1, head", "no error, but")),
    "unknown region": (_score("case_1", "shafft", 3, "over"), ("unknown region 'shafft'", "perhaps shaft")),
    "unknown value in a mask": (
        lambda study: study.write("masks/case_1.nii.gz", study.mask() * 3),
        ("masks/case_1.nii.gz", "3, 6", "head=1"),
    ),
    "mask of another size": (
        lambda study: study.write("masks/case_1.nii.gz", study.mask()[:, 1:]),
        ("masks/case_1.nii.gz", "size (12, 9, 8) instead of (12, 10, 8)", "resample"),
    ),
    "mask shifted": (_shifted_mask, ("masks/case_1.nii.gz", "mm away", "resample")),
    "mask not of whole numbers": (_soft_mask, ("masks/case_1.nii.gz", "holds 0.7", "whole numbers")),
    "NaN in an image": (_nan, ("images/case_1.nii.gz", "3 voxels are NaN", "replace")),
    "4D image": (
        lambda study: study.write("images/case_1.nii.gz", sitk.JoinSeries([study.image(), study.image()])),
        ("images/case_1.nii.gz", "4D", "one file for each time point"),
    ),
    "truncated image": (_truncate, ("images/case_1.nii.gz", "truncated", "copy or export it again")),
    "no image at all": (
        lambda study: (study.folder / "images/case_1.nii.gz").write_bytes(b"hello"),
        ("images/case_1.nii.gz", "unreadable or truncated"),
    ),
    "no folder": (lambda study: (study.folder / "images").rename(study.folder / "other"), ("images", "no such folder")),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input_is_named_with_its_remedy_and_nothing_is_written(
    study: ScoreStudy, name: str, capsys: pytest.CaptureFixture[str]
):
    spoil, expected = BAD_INPUTS[name]
    spoil(study)
    assert study.convert() == 2
    message = capsys.readouterr().err
    for part in expected:
        assert part in message
    assert not list(study.raw.iterdir())


BAD_OPTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "two channel names for one channel": (("--channel-names", "T1", "T2"), "the images have 1 channels"),
    "folder with another prior": (("--prior", "otsu", "--prior-folder", "priors"), "need each other"),
    "prior from files without files": (("--prior", "file"), "need each other"),
    "prior option out of range": (("--prior-options", "upper_percentile=120"), "120 is outside"),
    "prior option without a number": (("--prior-options", "upper_percentile"), "NAME=NUMBER"),
    "references missing": (("--references", "nowhere"), "nowhere: no such folder"),
    "patients missing": (("--patients", "nowhere.csv"), "nowhere.csv: no such file"),
    "bad name": (("-n", "a b"), "'a b' is no file name"),
    "priors missing": (("--prior", "file", "--prior-folder", "masks2"), "masks2: no such folder"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options(study: ScoreStudy, name: str, capsys: pytest.CaptureFixture[str]):
    arguments, expected = BAD_OPTIONS[name]
    assert study.convert(*arguments) == 2
    assert expected in capsys.readouterr().err
    assert not list(study.raw.iterdir())


def test_all_problems_are_told_at_once(study: ScoreStudy, capsys: pytest.CaptureFixture[str]):
    for name, (spoil, _) in BAD_INPUTS.items():
        if name in ("NaN in an image", "score outside the scale"):
            spoil(study)
    study.write("masks/case_0.nii.gz", study.mask()[1:])
    (study.folder / "masks/case_2.nii.gz").unlink()
    study.dataset.mkdir()
    assert study.convert("--channel-names", "T1", "T2") == 2
    message = capsys.readouterr().err
    for part in ("6 problems", "exists already", "NaN", "'6': outside", "case_0", "case 'case_2'"):
        assert part in message
    assert not list(study.dataset.iterdir())


def test_problems_that_show_while_writing_are_all_told(study: ScoreStudy, capsys: pytest.CaptureFixture[str]):
    for number in (0, 2):
        study.write(f"masks/case_{number}.nii.gz", study.mask()[1:])
    assert study.convert() == 2
    message = capsys.readouterr().err
    assert "masks/case_0.nii.gz" in message and "masks/case_2.nii.gz" in message and "2 problems" in message
    assert not list(study.raw.iterdir())


def test_references_that_do_not_fit(study: ScoreStudy, capsys: pytest.CaptureFixture[str]):
    study.write_binary_masks()
    study.write("references/case_1.nii.gz", study.reference() * 2)
    study.write("references/case_7.nii.gz", study.reference())
    assert study.convert("--references", "references", "--regions", "head", "shaft") == 2
    message = capsys.readouterr().err
    assert "case_1.nii.gz: holds the label 4, but there are 2 regions" in message
    assert "'case_7': reference labels without an image" in message


def test_patients_that_do_not_fit(study: ScoreStudy, capsys: pytest.CaptureFixture[str]):
    (study.folder / "p.csv").write_text("case,patient\ncase_0,a\ncase_0,b\ncase_1,\n")
    assert study.convert("--patients", "p.csv") == 2
    message = capsys.readouterr().err
    assert "row 3, case 'case_0': patient b, but a above" in message
    assert "row 4, case 'case_1': no patient" in message
    assert "case 'case_2': is not in the table" in message
    (study.folder / "p.csv").write_text("name,id\ncase_0,a\n")
    assert study.convert("--patients", "p.csv") == 2
    assert "columns 'case' and 'patient'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2, "the disk is full"),
        (KeyboardInterrupt(), 130, "Interrupted"),
    ],
)
def test_a_full_disk_or_ctrl_c_half_way_leaves_nothing(
    study: ScoreStudy,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: BaseException,
    code: int,
    message: str,
):
    stream = volume_files._stream
    calls = []

    def fails_later(header, array, target):
        calls.append(1)
        if len(calls) > 6:  # in the second of three cases
            target.write(header)
            raise failure
        stream(header, array, target)

    monkeypatch.setattr(volume_files, "_stream", fails_later)
    assert study.convert() == code
    assert message in capsys.readouterr().err
    assert not list(study.raw.iterdir())
