from __future__ import annotations

from nnunet_weak.dataset.convert import left_out_lines


def test_very_many_cases_that_were_left_out_are_not_all_listed():
    assert left_out_lines({"a": "no image"}) == ["Left out a: no image"]
    lines = left_out_lines({f"case_{number}": "no image" for number in range(20_000)})
    assert len(lines) == 51 and lines[-1] == "Left out 19950 more: conversion.json lists them"
