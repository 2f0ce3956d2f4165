from __future__ import annotations

import json

import pytest

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.evaluation.labels import choose_labels, find_dataset_json, read_dataset_json


def write(folder, labels):
    path = folder / "dataset.json"
    path.write_text(json.dumps({"labels": labels}))
    return path


def test_labels_regions_and_ignore(tmp_path):
    scheme = read_dataset_json(write(tmp_path, {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}))
    assert scheme.labels == {"whole": (1, 2), "core": (2,)}
    assert scheme.ignore_label == 3
    assert scheme.known_values == {1, 2}


def test_found_beside_the_references_before_the_predictions(tmp_path):
    references, predictions = tmp_path / "raw" / "labelsTs", tmp_path / "predictions"
    references.mkdir(parents=True)
    predictions.mkdir()
    assert find_dataset_json(references, predictions) is None
    last = write(predictions, {"a": 1})
    assert find_dataset_json(references, predictions) == last
    first = write(references.parent, {"a": 1})
    assert find_dataset_json(references, predictions) == first.resolve()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2]", "holds no JSON object"),
        ("{}", '"labels" must be an object; it is missing'),
        ("{", "not valid JSON"),
        ('{"labels": {"background": 0}}', "no label besides"),
        ('{"labels": {"a": "1"}}', "labels, a"),
        ('{"labels": {"1": "liver", "2": 2.5}}', "2 problems"),
    ],
)
def test_refuses_another_json(tmp_path, text, said):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InvalidInputError, match=said):
        read_dataset_json(tmp_path / "dataset.json")


def test_chosen_by_name_value_or_region(tmp_path):
    found = read_dataset_json(write(tmp_path, {"background": 0, "liver": 1, "tumour": 2, "ignore": 3}))
    assert choose_labels(["tumour", "1", "both=1,2"], found).labels == {"tumour": (2,), "liver": (1,), "both": (1, 2)}
    assert choose_labels(["tumour"], found).ignore_label == 3
    assert choose_labels(["7"], None).labels == {"7": (7,)}


def test_wrong_choices_are_told_together(tmp_path):
    found = read_dataset_json(write(tmp_path, {"background": 0, "liver": 1, "ignore": 3}))
    with pytest.raises(InvalidInputError, match="there are liver") as caught:
        choose_labels(["kidney", "0", "3", "liver", "x=1=y", "1"], found)
    assert len(caught.value.problems) == 5
    with pytest.raises(InvalidInputError, match="liver is given already"):
        choose_labels(["liver", "liver=1"], found)
