"""What becomes of saves that go wrong, or meet each other."""

from __future__ import annotations

import errno
import gzip
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from annotation_client import Client, table_of
from annotation_person import SIZE, served

from nnunet_weak.annotate.messages import pack
from nnunet_weak.annotate.records import files
from nnunet_weak.annotate.records.states import StateFolder
from nnunet_weak.annotate.server.http import BINARY_TYPE

_SAVES_FOR_EVER = """
import sys
from pathlib import Path
from nnunet_weak.annotate.records.states import StateFolder
states = StateFolder(Path(sys.argv[1]), "scores", "anna")
revision = states.read("case_a").revision
while True:
    states.write("case_a", revision, 1.0, False, {"text": str(revision) * 200000})
    revision += 1
    print(revision, flush=True)
"""


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xff\xff\xff", b"\x02\0\0\0{}", b"\x04\0\0\0null", pack({"seconds": -1, "done": False, "content": {}})]
    + [
        pack({"seconds": 1, "done": "yes", "content": {}}),
        pack({"seconds": 1, "done": True}),
        pack({"seconds": True, "done": 1}),
    ],
)
def test_bodies_that_are_no_state(client, folder, body):
    answer, _ = client.request("PUT", "/api/cases/case_a/state", body, Content_Type=BINARY_TYPE, If_Match='"0"')
    assert answer.status in (400, 422)
    assert not list(folder.rglob("*.json"))


def test_a_save_names_the_revision_it_is_based_on(client):
    assert client.save("case_a", None, {"regions": {}})[0] == 428
    status, answer = client.score("case_a", 0)
    assert status == 200 and answer["revision"] == 1 and answer["saved_at"].endswith("+00:00")
    status, answer = client.score("case_a", 0, quality=1)
    assert status == 409 and answer["revision"] == 1
    assert client.score("case_a", 7)[0] == 409
    assert client.score("case_a", 1, quality=1)[0] == 200
    assert client.get("/api/cases/case_a")["content"]["regions"]["region_1"]["quality"] == 1


def test_a_save_whose_answer_was_lost_can_be_repeated(client):
    assert client.score("case_a", 0)[0] == 200
    status, answer = client.score("case_a", 0)
    assert (status, answer["revision"]) == (200, 1)


def test_what_lost_against_a_newer_save_is_kept_beside_it(client, folder):
    client.score("case_a", 0)
    answer, text = client.request("POST", "/api/cases/case_a/copy", json.dumps({"content": {"mine": 1}}).encode())
    assert answer.status == 200
    kept = Path(json.loads(text)["file"])
    assert kept.parent == folder / "annotation" / "state" / "scores" / "anna" / "copies"
    assert json.loads(kept.read_text(encoding="utf-8")) == {"content": {"mine": 1}}
    assert client.get("/api/queue")[0]["case"] in ("case_a", "case_b")


def test_a_full_disk_loses_nothing(client, folder, monkeypatch):
    assert client.score("case_a", 0)[0] == 200
    path = folder / "annotation" / "state" / "scores" / "anna" / "case_a.json"
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", full)
        status, answer = client.score("case_a", 1, quality=0)
        assert status == 507 and answer["error"] == "The disk is full"
        assert path.read_bytes() == before
    assert client.score("case_a", 1, quality=0)[0] == 200
    assert not [name for name in folder.rglob(".*")]


def test_a_table_that_could_not_be_written_is_written_by_the_next_try(client, folder, monkeypatch):
    replace = os.replace

    def full_for_the_table(source, target):
        if Path(target).name == "scores.csv":
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "replace", full_for_the_table)
        assert client.score("case_a", 0)[0] == 507
    assert client.score("case_a", 0)[0] == 200
    assert "case_a,region_1,4,over,anna" in (folder / "annotation" / "scores.csv").read_text(encoding="utf-8")


def test_a_journal_on_a_full_disk_has_whole_lines(tmp_path, monkeypatch):
    path = tmp_path / "journal.jsonl"
    files.append_line(path, {"a": 1})
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(files.os, "write", lambda descriptor, line: write(descriptor, line[:4]))
        with pytest.raises(OSError, match="No space"):
            files.append_line(path, {"b": 2})
    files.append_line(path, {"c": 3})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"a": 1}, {"c": 3}]


def test_kill_9_during_a_save_leaves_the_old_or_the_new_file(tmp_path):
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", _SAVES_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        told = [process.stdout.readline() for _ in range(5)]
        process.kill()
        rest = process.communicate()[0].split()
        last = int(rest[-1] if rest else told[-1])
        state = StateFolder(tmp_path, "scores", "anna").read("case_a")
        assert state.revision in (last, last + 1)
        assert state.content["text"] == str(state.revision - 1) * 200000


def test_two_annotators_at_once(folder):
    with served(folder, "scores", "anna") as one, served(folder, "scores", "ben") as other:
        clients = [Client(one), Client(other)]

        def work(client, quality):
            for revision in range(10):
                assert client.score("case_a", revision, quality=(quality + revision) % 5)[0] == 200

        threads = [threading.Thread(target=work, args=(client, number)) for number, client in enumerate(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert clients[0].score("case_b", 0)[0] == 200  # writes the table once more, after both
    table = table_of(folder)
    assert table.scores["case_a"]["region_1"].raters == 2


def test_saves_of_two_windows_at_once_exclude_each_other(client):
    statuses: list[int] = []

    def save(quality):
        statuses.append(client.score("case_a", 0, quality=quality)[0])

    threads = [threading.Thread(target=save, args=(quality,)) for quality in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 409, 409, 409, 409]


def test_a_broken_state_says_which_file(client, folder):
    path = folder / "annotation" / "state" / "scores" / "anna" / "case_a.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    answer, text = client.request("GET", "/api/cases/case_a")
    assert answer.status == 422 and "case_a.json" in json.loads(text)["error"]


def test_images_may_be_read_only_and_stay_as_they_are(folder):
    paths = [folder / "images", folder / "masks", *(folder / "images").iterdir(), *(folder / "masks").iterdir()]
    for path in paths:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    before = {path: path.stat().st_mtime_ns for path in paths}
    with served(folder, "scores", begin=True) as server:
        client = Client(server)
        assert [client.score(case, 0)[0] for case in ("case_a", "case_b")] == [200, 200]
    assert {path: path.stat().st_mtime_ns for path in paths} == before  # also for root, whom no right stops
    assert sorted(path.name for path in folder.iterdir()) == ["annotation", "images", "masks"]


def test_a_share_without_locks_and_links_will_do(folder, monkeypatch):
    fcntl = pytest.importorskip("fcntl", reason="Windows has other locks")

    def unsupported(*_, **__):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    for module, names in ((os, ("link", "symlink")), (fcntl, ("flock", "lockf"))):
        for name in names:
            monkeypatch.setattr(module, name, unsupported)
    with served(folder, "scores") as server:
        assert Client(server).score("case_a", 0)[0] == 200
    one = {"class": "liver", "object": 1, "points_ras_mm": [[1, 2, 3]]}
    with served(folder, "points", classes=("liver",)) as server:
        assert Client(server).save("case_a", 0, {"objects": [one]})[0] == 200
    drawn = np.ones((2, *SIZE[::-1]), np.uint8)
    with served(folder, "drawings", classes=("liver",)) as server:
        block = gzip.compress(drawn.tobytes())
        assert Client(server).save("case_a", 0, {"view": "whole"}, (block,))[0] == 200
    for name in ("scores.csv", "points/anna/case_a/liver.mrk.json", "drawings/anna/case_a.nii.gz"):
        assert (folder / "annotation" / name).is_file(), name
