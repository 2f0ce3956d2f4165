"""One session for each annotator, and how the command ends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from nnunet_weak.annotate.records.states import Session
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


def test_ctrl_c_ends_the_command_cleanly(folder):
    import signal

    command = [sys.executable, "-m", "nnunet_weak.cli.annotate", str(folder), "--task", "scores", "--annotator", "anna"]
    command = [
        sys.executable,
        "-c",
        "import sys; from nnunet_weak.cli.annotate import main; sys.exit(main())",
        *command[3:],
    ]
    process = subprocess.Popen([*command, "--no-browser"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    assert "http://127.0.0.1:" in line and "?token=" in line
    second = subprocess.run([*command, "--no-browser"], capture_output=True, text=True, check=False)
    assert (
        second.returncode == 2 and "already" in second.stderr and line.split("?token")[0].split()[-1] in second.stderr
    )
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0 and "Ended" in output and errors == ""
    assert not (folder / "annotation" / "state" / "anna.session.json").exists()
