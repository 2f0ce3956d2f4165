from __future__ import annotations

import platform
from pathlib import Path

import pytest

from nnunet_weak.images.atomic import atomic_file, atomic_folder

KILLED = 999_999_999
"""No process has this number."""


def leftover(kind: str, target: Path, pid: int = KILLED) -> Path:
    return target.with_name(f".{kind}-{pid}@{platform.node()}-{target.name}")


def test_a_file_replaces_the_old_one_or_leaves_it(tmp_path: Path):
    target = tmp_path / "scores.csv"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_file(target) as path:
        path.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]
    with atomic_file(target) as path:
        assert path.suffix == ".csv" and path.parent == tmp_path
        path.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new" and list(tmp_path.iterdir()) == [target]


def test_a_folder_replaces_the_old_one_or_leaves_it(tmp_path: Path):
    target = tmp_path / "below" / "cases"
    for text in ("old", "new"):
        with atomic_folder(target) as folder:
            (folder / text).touch()
            assert target.exists() == (text == "new")
        assert [path.name for path in target.iterdir()] == [text]
    with pytest.raises(ValueError, match="half"), atomic_folder(target) as folder:
        (folder / "half").touch()
        raise ValueError("half")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(target.parent.iterdir()) == [target]


def test_leftovers_of_killed_runs_are_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    target, other = tmp_path / "cases", tmp_path / "other"
    for path in (leftover("partial", target), leftover("partial", other)):
        path.mkdir()
        (path / "file").touch()
    leftover("partial", target, pid=1).mkdir()  # a process that runs
    with atomic_folder(target):
        pass
    assert not leftover("partial", target).exists() and leftover("partial", other).exists()
    assert leftover("partial", target, pid=1).exists()
    assert "was left by a run that was killed; it is removed" in caplog.text
    assert "belongs to another run" in caplog.text
    leftover("partial", target / "file").write_text("half")
    with atomic_file(target / "file") as path:
        path.write_text("all")
    assert [path.name for path in target.iterdir()] == ["file"]


def test_a_folder_that_a_killed_run_moved_aside_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    target = tmp_path / "cases"
    leftover("replaced", target).mkdir()
    (leftover("replaced", target) / "old").touch()
    with pytest.raises(ValueError, match="stop"), atomic_folder(target):
        raise ValueError("stop")
    assert [path.name for path in target.iterdir()] == ["old"]
    assert "it is moved back" in caplog.text
