"""Processes that end with the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nnunet_weak.parallel import run_tasks

PROGRAM = """
import os, sys, time
from pathlib import Path
from nnunet_weak.parallel import run_tasks

def work(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(0.3)

if __name__ == "__main__":
    run_tasks(work, [sys.argv[1]] * 100, processes=2, description="working", progress=False)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_workers_end_when_their_parent_is_killed(tmp_path: Path):
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "workers").mkdir()
    with subprocess.Popen([sys.executable, tmp_path / "program.py", tmp_path / "workers"]) as parent:
        while len(os.listdir(tmp_path / "workers")) < 2:
            assert parent.poll() is None
            time.sleep(0.05)
        parent.kill()
    workers = [int(name) for name in os.listdir(tmp_path / "workers")]
    deadline = time.monotonic() + 30
    while any(map(is_running, workers)):
        assert time.monotonic() < deadline, "they wait for work for ever"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3, 0.6])
def test_processes_that_start_do_not_answer_ctrl_c(seconds: float, tmp_path: Path):
    (tmp_path / "workers").mkdir()
    program = PROGRAM.replace("    run_tasks", "    print(flush=True)\n    run_tasks")
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, tmp_path / "program.py", tmp_path / "workers"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, start_new_session=True) as parent:
        assert parent.stdout is not None and parent.stdout.readline()
        time.sleep(seconds)
        os.killpg(parent.pid, signal.SIGINT)  # as a terminal does
        _, errors = parent.communicate(timeout=60)
    assert errors.count("Traceback") == errors.count("\nKeyboardInterrupt") == 1, (
        errors
    )  # the parent's, which has no answer


def test_no_thread_of_the_processes_outlives_a_failure():
    before = set(threading.enumerate())
    with pytest.raises(ValueError, match="'one'"):
        run_tasks(int, ["1", "one", "2"], processes=2, description="working", progress=False)
    assert set(threading.enumerate()) == before


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
