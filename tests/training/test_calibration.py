from __future__ import annotations

import json

import numpy as np
import pytest

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.training.calibration import Calibration, dice_by_threshold, validation_cases


def test_dice_by_threshold_by_hand():
    p = np.array([0.1, 0.3, 0.6, 0.9])
    logits = np.stack([np.log(1 - p), np.log(p)])
    reference = np.array([0, 1, 1, 1])
    dice = dice_by_threshold(logits, reference, (0.2, 0.5, 0.8))
    np.testing.assert_allclose(dice, [1.0, 2 * 2 / 5, 2 * 1 / 4])


def test_ignored_voxels_do_not_count_and_absent_classes_neither():
    logits = np.log(np.array([[0.2, 0.9, 0.2], [0.7, 0.05, 0.7], [0.1, 0.05, 0.1]]))
    reference = np.array([1, 0, 3])
    np.testing.assert_allclose(dice_by_threshold(logits, reference, (0.5,), ignore_label=3), [1.0])
    empty = dice_by_threshold(np.array([[5.0], [0.0]]), np.array([0]), (0.5,))
    assert np.isnan(empty[0])


def test_the_best_threshold_is_the_one_nearest_to_a_half_of_equally_good_ones():
    assert Calibration(("a",), {0.3: 0.8, 0.45: 0.9, 0.6: 0.9, 0.7: 0.1}).gamma == 0.45


def write_dataset(folder, full: dict[str, bool], splits) -> None:
    cases = {name: {"fully_annotated": True} if is_full else {} for name, is_full in full.items()}
    block = {"schema_version": 1, "method": "weaknet", "channels": {"images": 1}, "cases": cases}
    (folder / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "a": 1}, "nnunet_weak": block}))
    if splits is not None:
        (folder / "splits_final.json").write_text(json.dumps(splits))


def test_only_fully_annotated_validation_cases(tmp_path):
    splits = [{"train": ["c", "d"], "val": ["a", "b"]}, {"train": ["a", "b"], "val": ["c"]}]
    write_dataset(tmp_path, {"a": True, "b": False, "c": False, "d": True}, splits)
    assert validation_cases(tmp_path, ["0", "1"]) == {"0": ["a"]}
    with pytest.raises(InvalidInputError, match="no fully annotated case in the validation part of fold 1"):
        validation_cases(tmp_path, ["1"])
    with pytest.raises(InvalidInputError, match="fold all"):
        validation_cases(tmp_path, ["all"])


def test_without_splits(tmp_path):
    write_dataset(tmp_path, {"a": True}, None)
    with pytest.raises(InvalidInputError, match="made when training begins"):
        validation_cases(tmp_path, ["0"])
