"""Who may ask for what, and what becomes of saves that go wrong; without a browser."""

from __future__ import annotations

import errno
import gzip
import http.client
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
import SimpleITK as sitk
from annotation_person import SIZE, make_study, served, write_image

from nnunet_weak.annotate import files
from nnunet_weak.annotate import server as server_module
from nnunet_weak.annotate.server import BINARY_TYPE, JSON_TYPE, MOST_BYTES, AnnotationServer
from nnunet_weak.annotate.states import Session, StateFolder
from nnunet_weak.annotate.views import pack, unpack
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.scores.options import ScoreConversion
from nnunet_weak.scores.regions import parse_regions
from nnunet_weak.scores.table import ScoreTable, read_scores

SCORE = {"quality": 4, "error": "over", "cannot_judge": False, "comment": "", "seconds": 2.5}


def table_of(folder: Path) -> ScoreTable:
    """The table as the converter reads it."""
    options = ScoreConversion(
        images=folder / "images",
        masks=folder / "masks",
        scores=folder / "annotation" / "scores.csv",
        regions=parse_regions(["region_1=1", "region_2=2"]),
        dataset_id=511,
        name="Scored",
    )
    return read_scores(options, ["case_a", "case_b"])


class Client:
    """A browser without a page: sends what it is told to."""

    def __init__(self, server: AnnotationServer) -> None:
        self.server = server
        self.port = server.server_address[1]
        self.cookie = f"{server.cookie_name}={server.cookie}"

    def request(self, method: str, path: str, body: bytes | None = None, **changed: str | None):
        headers = {"Host": f"127.0.0.1:{self.port}", "Cookie": self.cookie}
        if method != "GET":
            headers |= {"Origin": f"http://127.0.0.1:{self.port}", "X-Nnunet-Weak": "1", "Content-Type": JSON_TYPE}
        headers |= {name.replace("_", "-"): value for name, value in changed.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, {name: value for name, value in headers.items() if value is not None})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content

    def get(self, path: str):
        answer, content = self.request("GET", path)
        assert answer.status == 200, content
        return unpack(content) if answer.getheader("Content-Type") == BINARY_TYPE else json.loads(content)

    def save(
        self, case: str, revision: int | str | None, content: dict, blocks: tuple[bytes, ...] = (), done: bool = False
    ):
        body = pack({"seconds": 3, "done": done, "content": content}, *blocks)
        answer, text = self.request(
            "PUT",
            f"/api/cases/{quote(case, safe='')}/state",
            body,
            Content_Type=BINARY_TYPE,
            If_Match=None if revision is None else f'"{revision}"',
        )
        return answer.status, json.loads(text)

    def score(self, case: str, revision: int, **changed):
        found = {region["name"]: region["sha256"] for region in self.get(f"/api/cases/{case}")["regions"]}
        regions = {name: {**SCORE, "mask_sha256": sha, **changed} for name, sha in found.items()}
        return self.save(case, revision, {"regions": regions})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_study(tmp_path / "study", cases=("case_a", "case_b"))


@pytest.fixture
def client(folder: Path):
    with served(folder, "scores") as server:
        yield Client(server)


def test_the_address_gives_a_cookie_and_forgets_its_secret(client):
    address = urlsplit(client.server.url)
    assert address.hostname == "127.0.0.1" and len(client.server.token) >= 40
    answer, _ = client.request("GET", f"{address.path}?{address.query}", Cookie=None)
    assert (answer.status, answer.getheader("Location")) == (303, "/")
    cookie = answer.getheader("Set-Cookie")
    assert cookie.startswith(f"nnunet_weak_{client.port}=") and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert client.server.token not in cookie
    answer, page = client.request("GET", "/", Cookie=cookie.partition(";")[0])
    assert answer.status == 200 and b"<title>" in page


@pytest.mark.parametrize("path", ["/", "/app.js", "/api/study", "/api/cases/case_a", "/vendor/niivue.js"])
@pytest.mark.parametrize("cookie", [None, "", "nnunet_weak=1", "nnunet_weak_PORT=wrong", "é=1; nnunet_weak_PORT=é"])
def test_nothing_without_the_cookie(client, path, cookie):
    answer, content = client.request(
        "GET", path, Cookie=cookie and cookie.replace("PORT", str(client.port)).encode().decode("latin-1")
    )
    assert answer.status == 403 and b"terminal" in content


def test_a_wrong_token_gives_no_cookie(client):
    answer, _ = client.request("GET", "/?token=wrong", Cookie=None)
    assert answer.status == 403 and answer.getheader("Set-Cookie") is None


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1", 200),
        ("127.0.0.1", 200),
        ("[::1]:8000", 200),
        ("evil.example:80", 421),
        ("127.0.0.1.evil.example", 421),
    ]
    + [("", 421), ("localhost:80:80", 421)],
)
def test_only_this_host_by_name_whatever_the_port(client, host, status):
    answer, _ = client.request("GET", "/api/study", Host=host)
    assert answer.status == status


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": None}, 403),
        ({"Origin": "null"}, 403),
        ({"X-Nnunet-Weak": None}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": None}, 415),
        ({"Cookie": None}, 403),
        ({"Host": "evil.example"}, 421),
    ],
)
def test_writes_come_from_this_page_only(client, folder, changed, status):
    body = pack({"seconds": 1, "done": False, "content": {"regions": {}}})
    answer, _ = client.request(
        "PUT", "/api/cases/case_a/state", body, **{"Content-Type": BINARY_TYPE, "If-Match": '"0"', **changed}
    )
    assert answer.status == status
    assert not (folder / "annotation").exists()


@pytest.mark.parametrize("kind", [JSON_TYPE, BINARY_TYPE])
def test_a_body_that_is_too_large_is_not_read(client, kind):
    with socket.create_connection(("127.0.0.1", client.port)) as connection:
        head = (
            f"POST /api/fit HTTP/1.1\r\nHost: localhost:{client.port}\r\nOrigin: http://localhost:{client.port}\r\n"
            f"X-Nnunet-Weak: 1\r\nCookie: {client.cookie}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {MOST_BYTES[kind] + 1}\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert connection.recv(64).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("length", [None, "-1", "1e3"])
def test_a_body_tells_its_length(client, length):
    with socket.create_connection(("127.0.0.1", client.port)) as connection:
        told = "Transfer-Encoding: chunked\r\n" if length is None else f"Content-Length: {length}\r\n"
        head = (
            f"POST /api/fit HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nX-Nnunet-Weak: 1\r\n"
            f"Cookie: {client.cookie}\r\nContent-Type: application/json\r\n{told}\r\n"
        )
        connection.sendall(head.encode())
        assert connection.recv(64).startswith(b"HTTP/1.1 411")


@pytest.mark.parametrize(
    "name",
    ["../case_a", "..%2Fcase_a", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "case_c", "", "/etc/passwd", "case_a%00", "case_a/"],
)
def test_cases_are_looked_up_not_opened(client, folder, name):
    answer, _ = client.request("GET", f"/api/cases/{name}")
    assert answer.status == 404
    answer, _ = client.request("PUT", f"/api/cases/{name}/state", pack({}), Content_Type=BINARY_TYPE, If_Match='"0"')
    assert answer.status == 404
    assert not (folder / "annotation").exists()


@pytest.mark.parametrize(
    "path", ["/../routes.py", "/static/app.js", "/vendor/../app.js", "/%2e%2e/server.py", "/index.html/"]
)
def test_files_of_the_page_are_looked_up_not_opened(client, path):
    answer, _ = client.request("GET", path)
    assert answer.status == 404


def test_other_methods_are_refused(client):
    for method, path, status in (
        ("POST", "/api/study", 405),
        ("PUT", "/api/queue", 405),
        ("DELETE", "/api/study", 501),
    ):
        answer, _ = client.request(method, path, b"{}")
        assert answer.status == status
        assert answer.getheader("Server", "").startswith("nnunet_weak")


def test_headers_keep_everything_here(client):
    answer, _ = client.request("GET", "/")
    policy = answer.getheader("Content-Security-Policy")
    for part in (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
    ):
        assert part in policy
    assert "unsafe" not in policy
    assert answer.getheader("Cache-Control") == "no-store"
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert answer.getheader("Access-Control-Allow-Origin") is None


def test_it_listens_on_this_computer_alone(client):
    assert client.server.server_address[0] == "127.0.0.1"
    assert not any(field.default == "0.0.0.0" for field in vars(server_module).values() if hasattr(field, "default"))


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


@pytest.mark.parametrize(
    "changed",
    [{"quality": 6}, {"quality": 2.5}, {"quality": True}, {"error": "awful"}, {"quality": 5}, {"error": "none"}]
    + [{"comment": "x" * 2001}, {"comment": 3}, {"mask_sha256": "abc"}, {"seconds": -1}, {"cannot_judge": "no"}],
)
def test_scores_that_are_none(client, folder, changed):
    assert client.score("case_a", 0, **changed)[0] == 422
    assert client.save("case_a", 0, {"regions": {"somewhere": SCORE}})[0] == 422
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


def test_the_table_has_all_raters_and_is_read_by_the_converter(folder):
    for rater, quality in (("anna", 4), ("ben", 2)):
        with served(folder, "scores", rater) as server:
            assert Client(server).score("case_a", 0, quality=quality, comment='so, "so"')[0] == 200
    path = folder / "annotation" / "scores.csv"
    header = path.read_text(encoding="utf-8").splitlines()[0]
    assert header == "case,region,quality,error,rater,seconds,comment,mask_sha256,saved_at"
    table = table_of(folder)
    assert table.raters == ("anna", "ben")
    assert table.scores["case_a"]["region_1"].quality == 3 and table.scores["case_a"]["region_1"].raters == 2


def test_a_comment_is_no_formula_in_a_spreadsheet(client, folder):
    assert client.score("case_a", 0, comment="=1+1")[0] == 200
    assert ",'=1+1," in (folder / "annotation" / "scores.csv").read_text(encoding="utf-8")


def test_raters_do_not_see_each_other(folder):
    with served(folder, "scores", "ben") as server:
        Client(server).save("case_a", 0, {"regions": {}}, done=True)
        Client(server).score("case_a", 1, comment="ben's remark")
    with served(folder, "scores", "anna") as server:
        client = Client(server)
        assert client.get("/api/cases/case_a")["content"] == {}
        assert "remark" not in json.dumps(client.get("/api/queue"))


def test_what_cannot_be_judged_has_a_row_without_score(client, folder):
    assert client.score("case_a", 0, quality=None, error=None, cannot_judge=True)[0] == 200
    assert client.score("case_b", 0)[0] == 200
    table = table_of(folder)
    assert set(table.scores) == {"case_b"}


def test_a_changed_mask_makes_its_scores_stale(folder):
    with served(folder, "scores") as server:
        client = Client(server)
        status, _ = client.score("case_a", 0)
        assert status == 200
    path = folder / "masks" / "case_a.nii.gz"
    image = sitk.ReadImage(str(path))
    image[5, 4, 3] = 0
    sitk.WriteImage(image, str(path))
    with served(folder, "scores") as server:
        client = Client(server)
        client.get("/api/cases/case_a")
        state = {row["case"]: row["stale"] for row in client.get("/api/queue")}
        assert state == {"case_a": True, "case_b": False}
        client.score("case_b", 0)
        rows = (folder / "annotation" / "scores.csv").read_text(encoding="utf-8").splitlines()[1:]
        assert [row.split(",")[:2] for row in rows] == [
            ["case_a", "region_2"],  # its voxels are the same as before
            ["case_b", "region_1"],
            ["case_b", "region_2"],
        ]


def test_an_image_that_cannot_be_read_stays_in_the_queue_with_the_reason(client, folder):
    path = folder / "images" / "case_a.nii.gz"
    path.write_bytes(path.read_bytes()[:500])
    answer, text = client.request("GET", "/api/cases/case_a")
    assert answer.status == 422 and "case_a.nii.gz" in json.loads(text)["error"]
    rows = {row["case"]: row["problem"] for row in client.get("/api/queue")}
    assert "case_a.nii.gz" in rows["case_a"] and not rows["case_b"]


def test_a_case_without_mask_is_told_in_the_queue(folder):
    (folder / "masks" / "case_b.nii.gz").unlink()
    with served(folder, "scores") as server:
        rows = {row["case"]: row["problem"] for row in Client(server).get("/api/queue")}
    assert rows == {"case_a": "", "case_b": "no mask of this case was found"}


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


_SAVES_FOR_EVER = """
import sys
from pathlib import Path
from nnunet_weak.annotate.states import StateFolder
states = StateFolder(Path(sys.argv[1]), "scores", "anna")
revision = states.read("case_a").revision
while True:
    states.write("case_a", revision, 1.0, False, {"text": str(revision) * 200000})
    revision += 1
    print(revision, flush=True)
"""


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


def test_a_broken_state_says_which_file(client, folder):
    path = folder / "annotation" / "state" / "scores" / "anna" / "case_a.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    answer, text = client.request("GET", "/api/cases/case_a")
    assert answer.status == 422 and "case_a.json" in json.loads(text)["error"]


def test_images_may_be_read_only(folder):
    for path in (*(folder / "images").iterdir(), *(folder / "masks").iterdir(), folder / "images", folder / "masks"):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    with served(folder, "scores") as server:
        assert Client(server).score("case_a", 0)[0] == 200


def test_drawings_are_pasted_where_they_were_drawn(folder):
    with served(folder, "drawings", classes=("liver",)) as server:
        client = Client(server)
        both = np.zeros((2, *SIZE[::-1]), np.uint8)
        both[0, 2, 3, 4], both[1, 5, 6, 7] = 2, 2
        content = {"view": "whole"}
        status, answer = client.save("case_a", 0, content, (gzip.compress(both.tobytes()),))
        assert (status, answer["revision"]) == (200, 1)
        assert client.save("case_a", 0, content, (gzip.compress(both.tobytes()),))[0] == 200, "the same again"
        both[0, 2, 3, 4] = 1
        assert client.save("case_a", 0, content, (gzip.compress(both.tobytes()),))[0] == 409
        for wrong in (b"", b"no gzip", gzip.compress(both.tobytes()[1:]), gzip.compress(both.tobytes() + b"\0")):
            assert client.save("case_a", 1, content, (wrong,))[0] == 422
        assert client.save("case_a", 1, content, (gzip.compress((both + 9).tobytes()),))[0] == 422
        assert client.save("case_a", 1, {"view": "at-1"}, (gzip.compress(both.tobytes()),))[0] == 422
        drawn = sitk.ReadImage(str(folder / "annotation" / "drawings" / "anna" / "case_a.nii.gz"))
        assert np.argwhere(sitk.GetArrayFromImage(drawn)).shape == (1, 3)
        both[:] = 0
        assert client.save("case_a", 1, content, (gzip.compress(both.tobytes()),))[0] == 200
    assert not list((folder / "annotation" / "drawings").rglob("*.nii.gz")), "a blank drawing has no file"


@pytest.mark.parametrize(
    "objects",
    [
        None,
        [{}],
        [{"class": "x", "object": 1, "points_ras_mm": []}],
        [{"class": "liver", "object": 0, "points_ras_mm": []}],
    ]
    + [
        [{"class": "liver", "object": 1, "points_ras_mm": points}]
        for points in ([[1, 2]], [["a", 1, 2]], [[None, 1, 2]], 5)
    ]
    + [2 * [{"class": "liver", "object": 1, "points_ras_mm": [[1, 2, 3]]}]],
)
def test_points_that_are_none(folder, objects):
    with served(folder, "points", classes=("liver",)) as server:
        assert Client(server).save("case_a", 0, {"objects": objects})[0] == 422


def test_files_of_deleted_objects_go_and_those_of_others_stay(tmp_path):
    array = np.zeros(SIZE[::-1], np.int16)
    for case in ("case", "case_liver"):
        write_image(tmp_path / "images" / f"{case}.nii.gz", array)
    folder = tmp_path / "annotation" / "points" / "anna"
    with served(tmp_path, "points", classes=("liver", "liver_tumour")) as server:
        client = Client(server)
        one = {"class": "liver", "object": 1, "points_ras_mm": [[1, 2, 3]]}
        assert client.save("case", 0, {"objects": [one, {**one, "object": 2}]})[0] == 200
        assert client.save("case_liver", 0, {"objects": [one, {**one, "class": "liver_tumour"}]})[0] == 200
        (folder / "case" / "spleen.mrk.json").write_text("of somebody else", encoding="utf-8")
        assert client.save("case", 1, {"objects": [{**one, "object": 2}]})[0] == 200
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json")) == [
        "case/liver-2.mrk.json",
        "case/spleen.mrk.json",
        "case_liver/liver.mrk.json",
        "case_liver/liver_tumour.mrk.json",
    ]


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
