"""How commands end: exit codes, messages and the log file of a fault."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from nnunet_weak.cli.console import console_command, run_command
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.atomic import atomic_file, atomic_folder


def command_that(fails: Callable[[], None]) -> Callable[[Sequence[str] | None], int]:
    @console_command
    def main(argv: Sequence[str] | None = None) -> int:
        fails()
        return 0

    return main


def raises(error: BaseException, cause: BaseException | None = None) -> Callable[[], None]:
    def fails() -> None:
        raise error from cause

    return fails


class OutOfMemoryError(RuntimeError):
    """As PyTorch's is called."""


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("fails", "code", "expected"),
    [
        (raises(InvalidInputError(["a: wrong (remedy: mend it)", "b: wrong"], "study")), 2, "study: 2 problems"),
        (raises(PermissionError(errno.EACCES, "Permission denied", "scores.csv")), 2, "scores.csv: Permission denied"),
        (raises(OSError(errno.EROFS, "Read-only file system", "/media/x")), 2, "/media/x: Read-only file system"),
        (raises(RuntimeError("PytorchStreamWriter failed"), FULL), 2, "make room"),
        (raises(OutOfMemoryError("CUDA out of memory"), None), 2, "fewer processes"),
        (raises(MemoryError("Unable to allocate 9 GiB")), 2, "Unable to allocate 9 GiB"),
        (raises(KeyboardInterrupt()), 130, "Interrupted"),
        (raises(ImportError("cannot import torch"), KeyboardInterrupt()), 130, "Interrupted"),
        (lambda: signal.raise_signal(signal.SIGTERM), 143, "Interrupted"),
    ],
)
def test_how_a_command_ends(
    fails: Callable[[], None], code: int, expected: str, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert command_that(fails)([]) == code
    message = capsys.readouterr().err
    assert expected in message and "Traceback" not in message
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_with_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def fill() -> None:
        with atomic_folder(tmp_path / "Dataset001_A") as folder, atomic_file(folder / "dataset.json"):
            raise OSError(errno.ENOSPC, "No space left on device")

    assert command_that(fill)([]) == 2
    assert f"{tmp_path}/Dataset001_A/dataset.json: No space left" in capsys.readouterr().err


def test_control_characters_of_names_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]):
    assert command_that(raises(InvalidInputError("case '\x1b]0;hello\x07é\udcff': no mask")))([]) == 2
    assert r"case '\x1b]0;hello\x07é\udcff': no mask" in capsys.readouterr().err


@pytest.mark.parametrize("writable", [True, False])
def test_a_fault_is_written_to_a_log(writable: bool, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "here").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "argv", ["/opt/bin/nnunet_weak_fuse", "-d", "my data"])
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "temporary"))
    if not writable:
        (tmp_path / "here").rmdir()
        (tmp_path / "here").touch()
        monkeypatch.setattr(os, "getcwd", lambda: str(tmp_path / "here"))
    assert command_that(raises(KeyError("labels")))([]) == 1
    message = capsys.readouterr().err
    assert "This is a fault of nnunet_weak, please report" in message and "Traceback" not in message
    (log,) = tmp_path.rglob("nnunet_weak_fault_*.log")
    assert str(log) in message and log.parent.name == ("here" if writable else "temporary")
    content = log.read_text()
    assert "nnunet_weak_fuse -d 'my data'" in content and "/opt/bin" not in content
    assert "KeyError: 'labels'" in content and "Traceback" in content and "torch 2" in content
    assert log.stat().st_mode & 0o077 == 0


def test_a_command_that_cannot_be_imported_is_a_fault(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_command("nnunet_weak.no_such_module") == 1
    assert "No module named 'nnunet_weak.no_such_module'" in capsys.readouterr().err


def test_handlers_of_signals_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    assert command_that(lambda: None)([]) == 0
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_signal_waits_for_the_end_of_an_import(tmp_path: Path, monkeypatch):
    (tmp_path / "interrupted_module.py").write_text(
        "import signal\nsignal.raise_signal(signal.SIGTERM)\ncomplete = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    imported = []

    def fails() -> None:
        imported.append(importlib.import_module("interrupted_module"))
        time.sleep(60)

    assert command_that(fails)([]) == 143
    assert imported[0].complete


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_command_that_ends_with_its_import_is_not_interrupted_any_more(tmp_path: Path, monkeypatch):
    (tmp_path / "last_module.py").write_text("import signal\nsignal.raise_signal(signal.SIGTERM)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert command_that(lambda: importlib.import_module("last_module"))([]) == 0
    time.sleep(0.1)  # a signal that came now would end the tests


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("command", ["convert_points", "add_input_channels"])
def test_ctrl_c_is_answered_while_modules_are_loaded(command: str, tmp_path: Path):
    arguments = {
        "convert_points": ["--images", "i", "--points", "p", "--classes", "a", "-d", "1", "-n", "A"],
        "add_input_channels": ["-chk", "a.pth", "-d", "1", "-c", "2d", "-o", "b.pth"],
    }
    started = f"import sys; from nnunet_weak.entry_points import {command} as run; print(flush=True); sys.exit(run())"
    codes = []
    for step in range(10):
        process = subprocess.Popen(
            [sys.executable, "-c", started, *arguments[command]],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        assert process.stdout is not None and process.stdout.readline()  # before that, it is Python that starts
        time.sleep(0.005 + 0.06 * step)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        codes.append(process.returncode)
        assert "Traceback" not in errors, (step, errors)
        if process.returncode == 130:
            assert errors.strip().startswith("Interrupted") and errors.strip().count("\n") == 0
    assert set(codes) <= {130, 2, -signal.SIGINT} and codes[0] == 130  # there are no such files; Python ends
