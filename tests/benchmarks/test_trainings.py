"""The declarations behind the trainings: splits, rows, tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from benchmarks.all import DRAWINGS, POINTS, SCORES
from benchmarks.annotations import ANNOTATIONS
from benchmarks.data import DATA, collect, patient_of
from benchmarks.runs import Row
from benchmarks.scribbles import write_scribbles_with_background
from benchmarks.tables import table
from nnunet_weak import trainers
from nnunet_weak.errors import InvalidInputError


@pytest.mark.parametrize(
    ("data", "patient", "part"),
    [
        ("acdc", 6, "test"),
        ("acdc", 3, "development"),
        ("acdc", 8, "train"),
        ("hippocampus", 7, "test"),
        ("hippocampus", 1, "development"),
        ("hippocampus", 11, None),
        ("mandible_ct", 1, "test"),
        ("mandible_ct", 8, "development"),
        ("mandible_ct", 7, None),
        ("spine_mri", 1, "test"),
        ("spine_mri", 7, "development"),
    ],
)
def test_patients_belong_to_one_part(data: str, patient: int, part: str | None):
    assert DATA[data].part(patient) == part


def test_cases_are_linked_numbered_and_kept_apart(tmp_path: Path):
    for kind in ("images", "labels", "initial_masks"):
        (tmp_path / "source" / kind).mkdir(parents=True)
        for number in (1, 3, 4, 8):
            labels = np.array([[[0, 1, 2]]], np.uint8)
            sitk.WriteImage(sitk.GetImageFromArray(labels), str(tmp_path / "source" / kind / f"h_{number:03}.nii.gz"))
    counts = collect(DATA["hippocampus"], tmp_path / "source", tmp_path, "test")
    assert counts == {"train": 2, "held_out": 1}
    assert (tmp_path / "train/images/h_004.nii.gz").is_symlink()
    labels = sitk.ReadImage(str(tmp_path / "held_out/labels/h_003.nii.gz"))
    assert sitk.GetArrayFromImage(labels).tolist() == [[[0, 1, 1]]], "both parts are the hippocampus"
    assert (tmp_path / "patients.csv").read_text().splitlines()[1:] == [
        "h_003,3,held_out",
        "h_004,4,train",
        "h_008,8,train",
    ]
    with pytest.raises(InvalidInputError, match="holds other cases"):
        collect(DATA["hippocampus"], tmp_path / "source", tmp_path, "development")
    with pytest.raises(InvalidInputError, match="no number"):
        patient_of("heart.nii.gz")


@pytest.mark.parametrize("row", [*SCORES, *DRAWINGS, *POINTS], ids=lambda row: row.name)
def test_every_row_names_what_there_is(row: Row):
    assert row.data in DATA and row.annotation in ANNOTATIONS
    assert row.trainer in ("", "Stock") or f"nnUNetTrainer{row.trainer}" in trainers.__all__


def test_seeds_are_averaged_and_tested_against_the_baseline():
    def result(trainer: str, seed: int, dice: float) -> dict:
        values = {"label": "LV", "hd95_mm": 2.0, "assd_mm": 1.0, "nsd": 0.5}
        metrics = [{"case": f"patient{n:03}", "dice": dice - n / 1000, **values} for n in range(6)]
        row = {"data": "acdc", "annotation": "full", "trainer": trainer, "seed": seed}
        return {"row": row, "annotation": "all labels", "metrics": metrics}

    lines = table([result("A", 0, 0.7), result("A", 1, 0.9), result("B", 0, 0.6)], "full-A").splitlines()
    assert lines[2] == "| all labels | A | 2 | 0.797 (SD 0.141) | 2.0 | 1.00 | 0.500 |  |"
    assert lines[3] == "| all labels | B | 1 | 0.598 | 2.0 | 1.00 | 0.500 | 0.031 |"


def test_background_is_derived_far_from_scribbles_in_their_slices(tmp_path: Path):
    scribbles = np.full((2, 3, 40), 4, np.uint8)
    scribbles[0, 1, 5], scribbles[0, 0, 0], scribbles[1, 2, 39] = 2, 0, 0
    image = sitk.GetImageFromArray(scribbles)
    image.SetSpacing((1.0, 1.0, 8.0))
    (tmp_path / "scribbles").mkdir()
    sitk.WriteImage(image, str(tmp_path / "scribbles" / "patient1.nii.gz"))
    write_scribbles_with_background(tmp_path / "scribbles", tmp_path / "labels", classes=3)
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "labels" / "patient1.nii.gz")))
    assert labels[0, 1, 5] == 2 and labels[0, 0, 0] == 0
    assert labels[0, 1].tolist() == [4] * 5 + [2] + [4] * 15 + [0] * 19, "15 mm from the scribble are undecided"
    assert np.count_nonzero(labels[1] != 4) == 1, "a slice without a structure derives nothing"
