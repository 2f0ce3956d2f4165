"""What the queue tells of a case."""

from __future__ import annotations

import json

import SimpleITK as sitk
from annotation_client import Client
from annotation_person import served


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


def test_raters_do_not_see_each_other(folder):
    with served(folder, "scores", "ben") as server:
        Client(server).save("case_a", 0, {"regions": {}}, done=True)
        Client(server).score("case_a", 1, comment="ben's remark")
    with served(folder, "scores", "anna") as server:
        client = Client(server)
        assert client.get("/api/cases/case_a")["content"] == {}
        assert "remark" not in json.dumps(client.get("/api/queue"))
