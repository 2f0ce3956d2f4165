from __future__ import annotations

import numpy as np
import pytest
from drawing_study import BLANK, LABELS, SHAPE

from nnunet_weak.dataset.annotations import WeakAnnotations
from nnunet_weak.drawings.legend import (
    ClassSource,
    class_numbers,
    parse_drawing_code,
)
from nnunet_weak.errors import InvalidInputError


def test_all_problems_in_one_list_and_nothing_written(drawings, capsys):
    odd = drawings.drawn()
    odd[4, 5, 7] = 6
    drawings.write("anna/case_0.nii.gz", odd)
    drawings.write("anna/case_1.nii.gz", drawings.drawn(), origin=(0.0, 45.6, 7.8))
    drawings.write("anna/case_2.nii.gz", np.full(SHAPE, BLANK, np.uint8))
    drawings.write("anna/Case2.nii.gz", drawings.drawn())
    assert drawings.convert() == 2
    told = capsys.readouterr().err
    assert "4 problems" in told and not drawings.dataset.exists()
    assert "the value 6 (1 voxels), which is neither a class of --labels nor --blank 9" in told
    assert "case_1.nii.gz: not on the image's grid" in told and "mm away" in told
    assert "case_2: its drawings are blank" in told
    assert "Case2.nii.gz: positive drawing anna without an image" in told and "perhaps it belongs to case_2" in told


def test_a_case_that_nobody_drew(drawings, capsys):
    (drawings.folder / "anna/case_1.nii.gz").unlink()
    assert drawings.convert() == 2
    assert "case 'case_1': nobody drew in it" in capsys.readouterr().err
    assert drawings.convert("--allow-missing") == 0
    assert set(WeakAnnotations.read(drawings.dataset).cases) == {"case_0", "case_2"}


def test_the_random_walker_needs_drawings_and_its_name(drawings, capsys):
    assert drawings.convert("--random-walker", positive=("random_walker=anna",)) == 2
    assert "is the map of --random-walker" in capsys.readouterr().err
    assert drawings.convert("--random-walker", "--negative", "anna=anna", positive=()) == 2
    assert "needs positive drawings, and there are none" in capsys.readouterr().err


def test_maps_need_names_of_their_own(drawings, capsys):
    assert drawings.convert("--negative", "anna=anna", "--negative", "anna_not=anna", positive=()) == 2
    assert "anna_not: is the name of anna's negative map" in capsys.readouterr().err


def test_blank_is_never_guessed(drawings, capsys):
    with pytest.raises(SystemExit):
        drawings.convert(labels=LABELS[:-2])
    assert "--blank" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("texts", "blank", "message"),
    [
        (["liver=1", "spleen=1"], 0, "value 1: means both liver and spleen"),
        (["liver=1"], 1, "value 1: means both blank and liver"),
        (["liver=0"], 4, "0 is the background"),
        (["background=0"], 4, "names no target"),
        (["liver=1", "Liver=2"], 0, "Liver is named twice"),
        (["liver=1,Milz"], 0, "mixed"),
        (["ignore=3"], 0, "--blank"),
        (["liver=70000"], 0, "values of label maps are 0 to 65535"),
        (["liver=,"], 0, "values are empty"),
    ],
)
def test_labels_that_mean_nothing_clear(texts, blank, message):
    with pytest.raises(InvalidInputError, match=message):
        parse_drawing_code(texts, blank)


def test_references_with_values_of_no_target():
    targets = (ClassSource("liver", (1, 4)), ClassSource("spleen", (5,)))
    np.testing.assert_array_equal(class_numbers(np.array([[0, 4, 5, 1]]), targets, "x"), [[0, 1, 2, 1]])
    with pytest.raises(InvalidInputError, match=r"x: holds the value 2 \(1 voxels\), which is no target"):
        class_numbers(np.array([2]), targets, "x")


def test_warnings_that_save_a_training(drawings, caplog):
    for number in range(3):
        array = drawings.drawn()
        array[array != 1] = BLANK
        drawings.write(f"anna/case_{number}.nii.gz", array)
    assert drawings.convert("--channel-names", "CT", "--dry-run") == 0
    told = " ".join(record.message for record in caplog.records)
    assert "Nobody drew spleen" in told and "Nobody drew background" in told
    assert "counts blank ones as labelled" in told and "--channel-names zscore" in told


def test_annotators_that_differ_in_letter_case_only(drawings, capsys):
    assert drawings.convert(positive=("anna=anna", "Anna=anna")) == 2
    assert "NAME Anna: differs from anna in letter case only" in capsys.readouterr().err
