"""Options of the boundary prior and their JSON."""

import json

import pytest

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.priors import PRIOR_KINDS, PriorOptions
from nnunet_weak.priors.boundary import OPTIONS, PRIORS


@pytest.mark.parametrize("kind", PRIOR_KINDS)
def test_json_round_trip(kind: str) -> None:
    options = PriorOptions(kind=kind, upper_percentile=98, air_threshold=-250.5, reach_mm=12)  # type: ignore[arg-type]
    assert PriorOptions.from_json(json.loads(json.dumps(options.to_json())), "here") == options


def test_blocks_of_earlier_versions_hold_the_options_of_all_kinds() -> None:
    block = {"kind": "local", "upper_percentile": 99.5, "sigma_mm": 1.0, "core_mm": 1.0, "shell_mm": 4.0}
    block |= {"reach_mm": 20.0, "locality_mm": 6.0, "mask_weight_per_mm": 0.5}
    options = PriorOptions.from_json(block, "here")
    assert options.values["shell_mm"] == 4 and options.needs_mask
    assert options.to_json() == block


def test_every_kind_is_declared_once() -> None:
    assert tuple(PRIORS) == PRIOR_KINDS
    for prior in PRIORS.values():
        assert all(OPTIONS[name] is option for name, option in prior.options.items()), "shared, or another name"


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
    assert "dataset.json: nnunet_weak.prior.knid" in text and "kind, upper_percentile, air_threshold" in text
    assert "otsu, local, gradient, posterior, likelihood, none, file" in text
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
        PriorOptions("posterior", core_mm=5, shell_mm=5)


def test_which_kinds_need_a_mask_or_a_file() -> None:
    assert [kind for kind in PRIOR_KINDS if PriorOptions(kind=kind).needs_file] == ["file"]  # type: ignore[arg-type]
    assert [kind for kind in PRIOR_KINDS if PriorOptions(kind=kind).needs_mask] == ["local", "posterior", "likelihood"]  # type: ignore[arg-type]
