from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hostile_study import COMMANDS, arguments_of, main_of

from .conftest import enter


@pytest.fixture
def copied(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(template, tmp_path / "study")
    enter(tmp_path / "study", monkeypatch)


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_take_the_study_that_the_other_tests_spoil(command: str, capsys: pytest.CaptureFixture[str]):
    expected = 2 if command in ("calibrate", "report_annotators") else 0
    assert main_of(command)(arguments_of(command)) == expected, capsys.readouterr().err
