"""Drawings filled where a random walker and a model of a first round say the same."""

from __future__ import annotations

import json

import numpy as np
import pytest
from drawing_study import SHAPE

from nnunet_weak.dataset.annotations import WeakAnnotations

LABELS = {"background": 0, "liver": 1, "spleen": 2, "ignore": 3}


@pytest.fixture
def predicted(drawings):
    """Spleen everywhere, for the first two cases; the third has a reference."""
    for number in (0, 1):
        drawings.write(f"round1/case_{number}.nii.gz", np.full(SHAPE, 2, np.uint8))
    (drawings.folder / "round1" / "dataset.json").write_text(json.dumps({"labels": LABELS}))
    drawings.write("references/case_2.nii.gz", np.zeros(SHAPE, np.uint8))
    return drawings


ROUND = ("--references", "references", "--follow-prediction", "round1")


def test_a_blank_voxel_is_filled_where_walker_and_model_agree(predicted, capsys):
    image = np.zeros(SHAPE, np.int16)
    image[1:3, :, :4] = 50  # the walker finds the liver here and the spleen elsewhere
    predicted.write("images/case_0.nii.gz", image)
    prediction = np.full(SHAPE, 2, np.uint8)
    prediction[1, 0, :] = 1  # liver in one row
    predicted.write("round1/case_0.nii.gz", prediction)
    assert predicted.convert(*ROUND) == 0
    assert "second_round (positive): 2 cases" in capsys.readouterr().out
    drawn, filled = (predicted.voxels(f"annotationsTr/{name}/case_0.nii.gz") for name in ("anna", "second_round"))
    expected = np.zeros(SHAPE, int)
    expected[1, 1:, 4:] = expected[2, :, 4:] = 3
    expected[1, 0, :4] = 2
    expected[drawn > 0] = drawn[drawn > 0]  # also where the model says something else
    assert np.array_equal(filled, expected)
    block = WeakAnnotations.read(predicted.dataset)
    assert block.cases["case_0"].maps == ("anna", "second_round") and block.cases["case_2"].maps == ("anna",)
    record = json.loads((predicted.dataset / "conversion.json").read_text())
    assert record["options"]["follow_prediction"] == "round1"
    assert {"predictions/case_0.nii.gz", "predictions/case_1.nii.gz"} <= set(record["input_files"])


def test_what_cannot_be_a_first_round(predicted, capsys):
    def complaint(*further: str) -> str:
        assert predicted.convert(*ROUND, *further) == 2
        return " ".join(capsys.readouterr().err.split())

    assert "--random-walker: is a part of --follow-prediction" in complaint("--random-walker")
    (predicted.folder / "round1" / "case_1.nii.gz").unlink()
    assert "no prediction of 1 of 3 cases: case_1 (remedy: predict all training images" in complaint()
    predicted.write("round1/case_1.nii.gz", np.full(SHAPE, 3, np.uint8))
    assert "case_1.nii.gz: holds the label 3, but the classes end at 2" in complaint()
    predicted.write("round1/case_1.nii.gz", np.zeros((5, 6, 7), np.uint8))
    assert "case_1.nii.gz" in complaint()
    (predicted.folder / "round1" / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1}}))
    assert "by a model of background, liver, but --labels gives background, liver, spleen" in complaint()
    (predicted.folder / "round1" / "dataset.json").unlink()
    assert "no dataset.json" in complaint()
    assert not predicted.dataset.exists()


def test_an_annotator_cannot_have_the_name_of_the_map(predicted, capsys):
    assert predicted.convert(*ROUND, positive=("second_round=anna",)) == 2
    assert "NAME second_round: is the map of --follow-prediction" in capsys.readouterr().err
