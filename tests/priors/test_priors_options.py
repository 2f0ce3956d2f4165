"""Options of the boundary prior and their JSON."""

import json

import pytest

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.priors import PRIOR_KINDS, PriorOptions


@pytest.mark.parametrize("kind", PRIOR_KINDS)
def test_json_round_trip(kind: str) -> None:
    options = PriorOptions(kind=kind, upper_percentile=98, air_threshold=-250.5, reach_mm=12)  # type: ignore[arg-type]
    assert PriorOptions.from_json(json.loads(json.dumps(options.to_json())), "here") == options


def test_json_holds_strings_and_numbers_only() -> None:
    assert {type(value) for value in PriorOptions().to_json().values()} == {str, float}
    assert "air_threshold" not in PriorOptions().to_json()
    assert PriorOptions.from_json(PriorOptions().to_json(), "here") == PriorOptions()


def test_left_out_fields_have_their_default() -> None:
    assert PriorOptions.from_json({"kind": "local"}, "here") == PriorOptions(kind="local")


def test_all_problems_at_once_with_path_and_what_is_allowed() -> None:
    with pytest.raises(InvalidInputError) as error:
        PriorOptions.from_json(
            {"knid": "otsu", "kind": "edges", "upper_percentile": 150, "sigma_mm": "1"},
            "dataset.json: nnunet_weak.prior",
        )
    text = str(error.value)
    assert len(error.value.problems) == 4
    assert "dataset.json: nnunet_weak.prior.knid" in text and "upper_percentile, air_threshold" in text
    assert "otsu, local, gradient, posterior, none, file" in text
    assert "150 is outside 50 to 100" in text and "'1' is not a finite number" in text


@pytest.mark.parametrize("value", [True, None, float("nan"), float("inf"), [1.0]])
def test_numbers_must_be_finite_numbers(value: object) -> None:
    with pytest.raises(InvalidInputError, match="sigma_mm"):
        PriorOptions.from_json({"sigma_mm": value}, "here")


@pytest.mark.parametrize("obj", [None, "otsu", ["otsu"]])
def test_not_an_object(obj: object) -> None:
    with pytest.raises(InvalidInputError, match="instead of an object"):
        PriorOptions.from_json(obj, "here")


@pytest.mark.parametrize("kind", [["otsu"], {"otsu": 1}, None, 3])
def test_kind_of_another_type(kind: object) -> None:
    with pytest.raises(InvalidInputError, match="no kind of prior"):
        PriorOptions.from_json({"kind": kind}, "here")


def test_shell_must_reach_beyond_the_core() -> None:
    with pytest.raises(InvalidInputError, match="shell_mm"):
        PriorOptions(core_mm=5, shell_mm=5)


def test_which_kinds_need_a_mask() -> None:
    assert [kind for kind in PRIOR_KINDS if PriorOptions(kind=kind).needs_mask] == ["local", "posterior"]  # type: ignore[arg-type]
