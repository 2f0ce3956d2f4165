from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from nnunet_weak.cli.make_phantoms import main as make_phantoms
from nnunet_weak.cli.simulate_scores import main

SPACING_MM = (1.5, 1.0, 2.5)


def write(path: Path, array: np.ndarray, spacing_mm: tuple[float, float, float] = SPACING_MM) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_mm)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two cases: in `a` the head is too small and the shaft right; `b` has no shaft, and its head is right."""
    reference = np.zeros((14, 30, 20), dtype=np.uint8)
    reference[2:12, 3:15, 4:16] = 1
    reference[2:12, 15:27, 4:16] = 2
    mask = reference.copy()
    mask[2:12, 3:5, 4:16] = 0
    head = np.where(reference == 1, reference, 0)
    write(tmp_path / "labels" / "a.nii.gz", reference)
    write(tmp_path / "masks" / "a.nii.gz", mask)
    write(tmp_path / "labels" / "b.nii.gz", head)
    write(tmp_path / "masks" / "b.mha", head)
    return tmp_path


def arguments(folder: Path, *more: str) -> list[str]:
    return [
        *("--references", str(folder / "labels"), "--masks", str(folder / "masks")),
        *("-o", str(folder / "scores.csv"), "-np", "1", *more),
    ]


EXACT = ("--rater-sd", "0", "--wrong-errors", "0")
REGIONS = ("--classes", "head=1", "shaft=2")


def test_table_by_hand(folders: Path, capsys: pytest.CaptureFixture[str]):
    assert main(arguments(folders, *REGIONS, *EXACT)) == 0
    table = pd.read_csv(folders / "scores.csv")
    assert list(table.columns) == ["case", "region", "quality", "error"]
    assert list(zip(table.case, table.region, table.error, strict=True)) == [
        ("a", "head", "under"),
        ("a", "shaft", "none"),
        ("b", "head", "none"),
    ]
    assert 2 <= table.quality[0] < 5 and list(table.quality[1:]) == [5, 5]
    printed = capsys.readouterr().out
    assert "3 scores of 2 cases" in printed and "shaft" in printed
    assert not list(folders.glob(".*"))


def test_labels_that_count_as_one(folders: Path):
    assert main(arguments(folders, "--classes", "bone=1,2")) == 0
    table = pd.read_csv(folders / "scores.csv")
    assert list(table.region) == ["bone", "bone"]
    assert main(arguments(folders, "--classes", "bone=1-2", "--overwrite")) == 0
    pd.testing.assert_frame_equal(pd.read_csv(folders / "scores.csv"), table)


def test_raters_err_unless_told_otherwise(folders: Path, capsys: pytest.CaptureFixture[str]):
    assert main(arguments(folders, *REGIONS, "--raters", "40")) == 0
    assert "40 raters with SD 1 and 15% wrong error types" in capsys.readouterr().out
    head = pd.read_csv(folders / "scores.csv").query("case == 'a' and region == 'head'")
    wrong = head.query("error not in ('none', 'under')")
    assert 0.6 < head.quality.std() < 1.4 and 0.02 < len(wrong) / len(head) < 0.35


def test_raters_are_named_and_repeatable(folders: Path):
    noise = ("--raters", "3", "--rater-sd", "0.8", "--seed", "7")
    assert main(arguments(folders, *REGIONS, *noise)) == 0
    first = (folders / "scores.csv").read_bytes()
    table = pd.read_csv(folders / "scores.csv")
    assert set(table.rater) == {"rater_1", "rater_2", "rater_3"} and len(table) == 9
    assert main(arguments(folders, *REGIONS, *noise, "--overwrite")) == 0
    assert (folders / "scores.csv").read_bytes() == first


def test_phantoms_are_scored_as_their_own_table_says_and_priors_are_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data = tmp_path / "data"
    assert make_phantoms([str(data), "--cases", "3", "--test-cases", "0", "--size", "30", "28", "36", "-np", "1"]) == 0
    (data / "initial_masks").rename(data / "masks")
    # Image folders of nnU-Net name the channel; only the first one is looked at.
    for path in list((data / "images").iterdir()):
        path.rename(path.with_name(path.name.replace(".nii.gz", "_0000.nii.gz")))
    before = (data / "scores.csv").read_bytes()
    options = ("--dataset-json", str(data / "phantoms.json"), "--images", str(data / "images"), "--overwrite", *EXACT)
    assert main(arguments(data, *options)) == 0
    assert (data / "scores.csv").read_bytes() == before
    printed = capsys.readouterr().out
    assert "AUC" in printed and "local" in printed


def test_all_problems_of_all_files_are_told_at_once(folders: Path, capsys: pytest.CaptureFixture[str]):
    for case in ("c", "d", "e"):
        write(folders / "labels" / f"{case}.nii.gz", np.ones((5, 6, 7), np.uint8))
    write(folders / "masks" / "c.nii.gz", np.ones((5, 6, 7), np.uint8), (1.5, 1.0, 3.0))
    write(folders / "masks" / "d.nii.gz", np.full((5, 6, 7), 4, np.uint8))
    (folders / "masks" / "e.nii.gz").write_bytes(b"not an image")
    assert main(arguments(folders, *REGIONS)) == 2
    message = capsys.readouterr().err
    assert "c.nii.gz" in message and "spacing" in message
    assert "d.nii.gz" in message and "[4]" in message
    assert "e.nii.gz" in message and "unreadable" in message
    assert not (folders / "scores.csv").exists()


def test_other_labels_can_be_allowed(folders: Path):
    assert main(arguments(folders, "--classes", "head=1")) == 2
    assert main(arguments(folders, "--classes", "head=1", "--other-labels", "background")) == 0


def test_a_mask_without_reference_or_image_is_named(folders: Path, capsys: pytest.CaptureFixture[str]):
    write(folders / "masks" / "lonely.nii.gz", np.ones((5, 6, 7), np.uint8))
    write(folders / "images" / "a.nii.gz", np.zeros((14, 30, 20), np.int16))
    assert main(arguments(folders, *REGIONS, "--images", str(folders / "images"))) == 2
    message = capsys.readouterr().err
    assert "no reference for lonely" in message and "no image for b, lonely" in message


def test_wrong_options_are_named_at_once(folders: Path, capsys: pytest.CaptureFixture[str]):
    numbers = ("--mm-per-point", "0", "--step", "0.7", "--raters", "0")
    assert main(arguments(folders, "--classes", "shaft=0", "neck=x", "arm=3-", *numbers)) == 2
    message = capsys.readouterr().err
    for part in ("shaft=0", "neck=x", "arm=3-", "--mm-per-point 0", "--step 0.7: does not divide", "--raters 0"):
        assert part in message
    assert main(arguments(folders, *REGIONS, "--raters", "2", *EXACT)) == 2
    assert "would all say the same" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", "[]", '{"labels": {"background": 0}}', '{"labels": {"bone": "1"}}', "{}"])
def test_a_dataset_json_without_labels_is_refused(folders: Path, content: str, capsys: pytest.CaptureFixture[str]):
    (folders / "dataset.json").write_text(content)
    assert main(arguments(folders, "--dataset-json", str(folders / "dataset.json"))) == 2
    assert "dataset.json" in capsys.readouterr().err


def test_missing_folders_and_regions_that_never_occur_are_told(folders: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["--references", "nowhere", "--masks", "nirgends", *REGIONS, "-o", str(folders / "s.csv")]) == 2
    message = capsys.readouterr().err
    assert "nowhere" in message and "nirgends" in message
    assert main(arguments(folders, "--classes", "hand=9", "--other-labels", "background")) == 2
    assert "hand" in capsys.readouterr().err
