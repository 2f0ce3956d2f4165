from __future__ import annotations

import pickle

import pytest

from nnunet_weak.errors import InvalidInputError, Problems


def divided(a: int, by: int = 1) -> int:
    if by == 0:
        raise InvalidInputError(["by 0", "not a number"])
    return a // by


def test_a_step_that_fails_leaves_its_problems_and_others_go_on():
    problems = Problems()
    assert problems.attempt(divided, 6, by=2) == 3 and not problems
    assert problems.attempt(divided, 6, by=0) is None
    problems.add("case_1", "is odd", "make it even")
    assert list(problems) == ["by 0", "not a number", "case_1: is odd (remedy: make it even)"]


def test_what_is_known_is_told_once():
    problems = Problems()
    for _ in range(2):
        problems.attempt(divided, 1, by=0)
    assert len(problems) == 2


def test_other_errors_are_not_the_user_s():
    with pytest.raises(TypeError):
        Problems().attempt(divided, "six", by=2)


def test_all_are_raised_together_and_survive_the_way_between_processes():
    problems = Problems()
    problems.raise_if_any("folder")
    problems.attempt(divided, 1, by=0)
    with pytest.raises(InvalidInputError) as raised:
        problems.raise_if_any("folder")
    assert str(raised.value) == "folder: 2 problems\n  - by 0\n  - not a number"
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
