"""A few faults of each kind; `python -m benchmarks.faults` makes many."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.faults import difference, main

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and mounts of Linux")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["make_phantoms", "convert_scores", "prepare_inputs", "evaluate"])
def test_commands_that_are_disturbed_leave_nothing_half_done(command: str, tmp_path: Path):
    few = ["--moments", "2", "--disks", "1", "--pairs", "1"]
    assert main(["--work", str(tmp_path / "work"), "--commands", command, *few]) == 0


def test_differences_are_seen():
    expected = {"a": "1", "b": "2", "c": ""}
    assert difference(expected, expected) == ""
    assert difference({"a": "1", "b": "3", ".partial-7@host-b": ""}, expected) == (
        "left: .partial-7@host-b (1); missing: c (1); other: b (1)"
    )
