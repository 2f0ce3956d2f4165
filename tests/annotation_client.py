"""A browser without a page, for the server of `nnunet_weak_annotate`."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from urllib.parse import quote

from nnunet_weak.annotate.messages import pack, unpack
from nnunet_weak.annotate.server.http import BINARY_TYPE, JSON_TYPE, AnnotationServer
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
