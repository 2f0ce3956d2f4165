from __future__ import annotations

import os
import platform
import threading
from pathlib import Path

import pytest

from nnunet_weak.errors import InvalidInputError
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


def test_a_file_that_another_run_made_is_not_replaced_unasked(tmp_path: Path):
    target = tmp_path / "scores.csv"
    with pytest.raises(InvalidInputError, match="was made by another run"), atomic_file(target, replace=False) as path:
        path.write_text("second")
        target.write_text("first")
    assert target.read_text() == "first" and list(tmp_path.iterdir()) == [target]
    target.unlink()
    with atomic_file(target, replace=False) as path:
        path.write_text("second")
    assert target.read_text() == "second" and list(tmp_path.iterdir()) == [target]


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
    elsewhere = target.with_name(".partial-7@another-computer-cases")
    elsewhere.mkdir()
    with atomic_folder(target):
        pass
    assert not leftover("partial", target).exists() and leftover("partial", other).exists() and elsewhere.exists()
    assert "was left by a run that was killed; it is removed" in caplog.text
    assert "belongs to a run on another computer" in caplog.text
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


@pytest.mark.parametrize("rival", ["Dataset511_Bones", "Dataset511_Ribs"])
def test_two_runs_do_not_write_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rival: str):
    monkeypatch.setattr("nnunet_weak.images.atomic._WAIT_STEPS", 2)
    target = tmp_path / "Dataset511_Bones"
    other = leftover("partial", tmp_path / rival, pid=1)  # a process that runs
    other.mkdir()
    leftover("partial", tmp_path / "Dataset512_Bones", pid=1).mkdir()
    with pytest.raises(InvalidInputError, match=f"{rival}: is being written by another run"):
        with atomic_folder(target, rivals="Dataset511_*"):
            raise AssertionError("not reached")
    assert other.exists() and not target.exists() and not leftover("partial", target, pid=os.getpid()).exists()
    other.rmdir()
    with atomic_folder(target, rivals="Dataset511_*"):
        pass
    assert target.exists()


@pytest.mark.parametrize("made", ["Dataset511_Bones", "Dataset511_Ribs"])
def test_what_another_run_made_in_the_meantime_stays(tmp_path: Path, made: str):
    target = tmp_path / "Dataset511_Bones"
    with pytest.raises(InvalidInputError, match=f"{made}: was made by another run"):
        with atomic_folder(target, rivals="Dataset511_*") as folder:
            (folder / "mine").touch()
            (tmp_path / made).mkdir()
            (tmp_path / made / "theirs").touch()
    assert [path.name for path in tmp_path.rglob("*")] == [made, "theirs"]


def test_the_one_that_came_first_waits_until_the_other_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "cases"
    monkeypatch.setattr("nnunet_weak.images.atomic._is_running", lambda pid: True)
    other = leftover("partial", target, pid=int(f"{os.getpid()}0"))  # behind our own in the order of names
    other.mkdir()
    threading.Timer(0.3, other.rmdir).start()
    with atomic_folder(target) as folder:
        (folder / "mine").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["cases", "mine"]


def test_a_folder_is_replaced_only_where_that_is_wanted(tmp_path: Path):
    target = tmp_path / "cases"
    target.mkdir()
    with atomic_folder(target, replace=False) as folder:  # an empty one is no loss
        (folder / "first").touch()
    with pytest.raises(InvalidInputError, match="was made by another run"), atomic_folder(target, replace=False):
        raise AssertionError("not reached")
    assert [path.name for path in tmp_path.rglob("*")] == ["cases", "first"]
