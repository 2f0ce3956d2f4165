"""The block of dataset.json: what goes in comes out, and what is wrong is named with its path."""

import copy
import json

import pytest

from nnunet_weak.dataset.annotations import (
    CaseAnnotation,
    ChannelLayout,
    ErrorType,
    RegionScore,
    WeakAnnotations,
    without_cases,
)
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.priors import PriorOptions

ANNOTATIONS = WeakAnnotations(
    method="score",
    channels=ChannelLayout(images=2, masks=("head", "shaft"), prior=True),
    cases={
        "a": CaseAnnotation(
            scores={"head": RegionScore(3.5, ErrorType.UNDER), "shaft": RegionScore(5.0, ErrorType.NONE)}
        ),
        "b": CaseAnnotation(fully_annotated=True),
        "c": CaseAnnotation(scores={"shaft": RegionScore(0.0, ErrorType.UNDER)}, missing=("shaft",)),
    },
    prior=PriorOptions(kind="local"),
    left_right_axis=1,
)
LABELS = {"background": 0, "head": 1, "shaft": 2}


def dataset_json() -> dict:
    return {"labels": LABELS, "nnunet_weak": json.loads(json.dumps(ANNOTATIONS.to_json()))}


def test_round_trip():
    parsed = WeakAnnotations.from_dataset_json(dataset_json())
    assert parsed == ANNOTATIONS
    assert parsed.channels.count == 5
    assert parsed.fully_annotated_cases == ("b",)
    assert parsed.ever_missing == (False, True)
    assert parsed.missing_in(["c", "a"]) == [[False, True], [False, False]]


def test_without_cases_says_nothing_of_any_case():
    original = dataset_json()
    stripped = without_cases(original)
    assert "quality" not in json.dumps(stripped)
    assert "cases" in original["nnunet_weak"]
    assert WeakAnnotations.from_dataset_json(stripped).cases == {}
    assert "3.5" not in repr(ANNOTATIONS)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema_version",), 99, "schema_version: 99"),
        (("method",), "scores", "method: 'scores' is not one of score"),
        (("channels", "masks"), ["shaft", "head"], 'region 1 is "shaft"'),
        (("channels", "images"), 0, "channels.images"),
        (("left_right_axis",), 3, "left_right_axis"),
        (("cases", "a", "scores", "head", "quality"), 6, "cases.a.scores.head.quality: 6"),
        (("cases", "a", "scores", "head", "quality"), float("nan"), "cases.a.scores.head.quality"),
        (
            ("cases", "a", "scores", "head", "error"),
            "leak",
            "cases.a.scores.head.error: 'leak' is not one of under, none, over, both",
        ),
        (("cases", "a", "scores", "tail"), {}, "cases.a.scores.tail: unknown name; known are head, shaft"),
        (("cases", "a", "maps"), ["anna"], "cases.a.maps"),
        (("cases", "a", "missing"), ["head"], "cases.a.missing: ['head'] is not a list of regions that are scored 0"),
        (("cases", "a", "missing"), 3, "cases.a.missing: 3 is not a list"),
        (("prior", "kind"), "otzu", "prior"),
        (("typo",), 1, "typo: unknown name"),
    ],
)
def test_wrong_values_are_named_with_their_path(path, value, message):
    content = copy.deepcopy(dataset_json())
    entry = content["nnunet_weak"]
    for key in path[:-1]:
        entry = entry[key]
    entry[path[-1]] = value
    with pytest.raises(InvalidInputError) as error:
        WeakAnnotations.from_dataset_json(content, "here.json")
    assert message in str(error.value)
    assert "here.json" in str(error.value)


def test_all_problems_in_one_go():
    content = dataset_json()
    content["nnunet_weak"]["cases"]["a"]["scores"]["head"]["quality"] = -1
    content["nnunet_weak"]["cases"]["a"]["scores"]["shaft"]["error"] = 7
    with pytest.raises(InvalidInputError) as error:
        WeakAnnotations.from_dataset_json(content)
    assert len(error.value.problems) == 2


def test_missing_block_names_the_converters():
    with pytest.raises(InvalidInputError, match="nnunet_weak_convert"):
        WeakAnnotations.from_dataset_json({"labels": LABELS})
