"""One session for each annotator, and how the command ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nnunet_weak.annotate.cases import loader
from nnunet_weak.annotate.cases.loader import worker_pool
from nnunet_weak.annotate.options import AnnotateOptions
from nnunet_weak.annotate.records.states import Session
from nnunet_weak.annotate.study import find_study
from nnunet_weak.errors import InvalidInputError


def test_one_session_for_each_annotator(tmp_path):
    first, second = Session(tmp_path, "anna"), Session(tmp_path, "anna")
    first.begin("http://127.0.0.1:1/")
    record = tmp_path / "state" / "anna.session.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps({**content, "process": os.getppid()}))  # as if another process had it
    with pytest.raises(InvalidInputError, match=r"already.*http://127\.0\.0\.1:1/"):
        second.begin("http://127.0.0.1:2/")
    Session(tmp_path, "ben").begin("http://127.0.0.1:3/")
    first.end()
    second.begin("http://127.0.0.1:2/")
    second.end()


@pytest.mark.parametrize(("age", "free"), [(5, False), (300, True)])
def test_a_session_on_another_computer_counts_as_gone_after_a_minute(tmp_path, age, free):
    record = tmp_path / "state" / "anna.session.json"
    record.parent.mkdir()
    record.write_text(json.dumps({"host": "elsewhere", "process": 1, "address": "http://127.0.0.1:1/"}))
    os.utime(record, (time.time() - age,) * 2)
    session = Session(tmp_path, "anna")
    if free:
        session.begin("http://127.0.0.1:2/")
        session.end()
    else:
        with pytest.raises(InvalidInputError, match="elsewhere"):
            session.begin("http://127.0.0.1:2/")


def test_a_session_of_a_killed_process_is_taken_over(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    record = tmp_path / "state" / "anna.session.json"
    record.parent.mkdir()
    record.write_text(json.dumps({"host": socket.gethostname(), "process": process.pid, "address": "x"}))
    session = Session(tmp_path, "anna")
    session.begin("http://127.0.0.1:2/")
    session.end()


def start(folder: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    """The command in a process of its own, and the address that it prints."""
    code = "import sys; from nnunet_weak.cli.annotate import main; sys.exit(main())"
    command = [sys.executable, "-c", code, str(folder), "--task", "scores", "--annotator", "anna", "--no-browser"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, (process.stdout.readline().split() or [""])[-1]


def children(pid: int) -> set[int]:
    """Process ids of all descendants of a process."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found |= {int(child), *children(int(child))}
    return found


def test_ctrl_c_ends_the_command_cleanly(folder):
    process, address = start(folder)
    assert address.startswith("http://127.0.0.1:") and "?token=" in address
    second, _ = start(folder)
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 2 and "already" in errors and address.split("?token")[0] in errors
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0 and "Ended" in output and errors == ""
    assert not (folder / "annotation" / "state" / "anna.session.json").exists()


def test_a_closed_loader_begins_no_processes(folder, monkeypatch):
    begun = []
    monkeypatch.setattr(loader, "worker_pool", lambda *given: begun.append(worker_pool(*given)) or begun[-1])
    study = find_study(AnnotateOptions(folder=folder, task="scores", annotator="anna"))
    cases, before = loader.CaseLoader(study), set(threading.enumerate())
    cases.survey(list(study.images), False, lambda case, found: None)
    (survey,) = [thread for thread in threading.enumerate() if thread not in before and "_survey" in thread.name]
    until = time.monotonic() + 30
    while len(begun) < 2 or not begun[1]._processes:
        assert time.monotonic() < until
        time.sleep(0.01)
    cases.close()
    survey.join(30)
    assert not survey.is_alive() and len(begun) == 2


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("kind", ["SIGTERM", "SIGHUP", "SIGKILL"])
def test_no_process_and_no_array_outlives_the_command(folder, tmp_path, monkeypatch, kind):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    process, _ = start(folder)
    until = time.monotonic() + 60
    while not list((tmp_path / "scratch").glob("nnunet_weak_annotate_*/*/labels.npy")):
        assert time.monotonic() < until, "the first case is read before anybody asks for it"
        time.sleep(0.05)
    workers = children(process.pid)
    assert len(workers) >= 2
    process.send_signal(getattr(signal, kind))
    process.wait(30)
    assert kind == "SIGKILL" or process.returncode == 0
    while any(Path(f"/proc/{worker}").exists() for worker in workers) or list((tmp_path / "scratch").iterdir()):
        assert time.monotonic() < until, "something is left"
        time.sleep(0.05)
    assert process.communicate()[1] == "" or kind == "SIGKILL"
    assert (folder / "annotation" / "state" / "anna.session.json").exists() == (kind == "SIGKILL")
