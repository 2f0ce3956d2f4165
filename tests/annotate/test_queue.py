"""What the queue tells of a case."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import SimpleITK as sitk
from annotation_client import Client
from annotation_person import make_study, served, write_image

from nnunet_weak.annotate.cases import survey
from nnunet_weak.annotate.cases.decode import CaseTask
from nnunet_weak.annotate.queue import order_cases, read_order
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.scores.regions import parse_regions


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


def wait_for_queue(client: Client, found) -> list[dict]:
    """The queue's rows, once they are as expected."""
    until = time.monotonic() + 60
    while not found(rows := client.get("/api/queue")):
        assert time.monotonic() < until, rows
        time.sleep(0.05)
    return rows


@pytest.mark.parametrize("order", ["worst", "name"])
@pytest.mark.parametrize("change", ["a voxel", "no voxel is left"])
def test_a_changed_mask_shows_in_the_queue_before_its_case_is_opened(folder, order, change):
    with served(folder, "scores") as server:
        client = Client(server)
        assert [client.score(case, 0)[0] for case in ("case_a", "case_b")] == [200, 200]
    path = folder / "masks" / "case_a.nii.gz"
    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image)
    inside = np.argwhere(array == 1)
    for place in inside[:1] if change == "a voxel" else inside:
        array[tuple(place)] = 0
    write_image(path, array)
    with served(folder, "scores", order=order, begin=True) as server:
        rows = wait_for_queue(Client(server), lambda rows: not any(row["unchecked"] for row in rows))
        assert {row["case"]: row["stale"] for row in rows} == {"case_a": True, "case_b": False}
        table = folder / "annotation" / "scores.csv"
        until = time.monotonic() + 20
        while "case_a,region_1" in table.read_text(encoding="utf-8"):
            assert time.monotonic() < until, "the table keeps the score of the mask that changed"
            time.sleep(0.05)
        assert "case_b,region_1" in table.read_text(encoding="utf-8")


def test_masks_that_differ_from_the_others_come_first(tmp_path):
    cases = [f"case_{letter}" for letter in "abcdefg"]
    folder = make_study(tmp_path / "study", cases=cases)
    path = folder / "masks" / "case_e.nii.gz"
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    array[array == 1] = 0
    array[::2, 1::4, 1::3] = 1  # many small parts
    write_image(path, array)
    with served(folder, "scores", begin=True) as server:
        rows = wait_for_queue(Client(server), lambda rows: rows[0]["case"] == "case_e")
        assert sorted(row["case"] for row in rows) == cases
        assert not any("suspic" in name or "measure" in name for name in rows[0]), "raters see no number"


def test_a_large_mask_is_measured_on_every_second_voxel(folder, monkeypatch):
    case = "case_a"
    task = CaseTask(
        case,
        (folder / "images" / f"{case}.nii.gz",),
        folder / "masks" / f"{case}.nii.gz",
        folder / "masks" / f"{case}.nii.gz",
        parse_regions(["region_1=1", "region_2=2"]),
    )
    whole = survey.survey_case(task, with_measures=True)
    monkeypatch.setattr(survey, "_MOST_VOXELS", 3000)
    reduced = survey.survey_case(task, with_measures=True)
    assert reduced.hashes == whole.hashes, "hashes are of all voxels"
    for name, measures in reduced.measures.items():
        assert measures["volume"] == pytest.approx(whole.measures[name]["volume"], abs=0.35)
        assert measures["dice"] == 1 and measures["components"] == 1
        assert 0 <= measures["prior"] <= 1


def test_every_fifth_case_is_drawn_at_random():
    cases = [f"case_{number:02}" for number in range(30)]
    worst = {case: float(number) for number, case in enumerate(cases)}
    queue = order_cases(cases, "worst", worst)
    assert sorted(queue) == cases
    ranked = [case for position, case in enumerate(queue, start=1) if position % 5]
    assert ranked[:12] == [case for case in reversed(cases) if case in ranked][:12]
    assert queue[4] != cases[-5] and queue == order_cases(cases, "worst", worst), "the same order at every start"


CASES = ("case_a", "case_b", "case_c.1", "case_d")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("case_b\ncase_a\n", ("case_b", "case_a", "case_c.1", "case_d")),
        ("\ufeffcase_c.1.nii.gz\r\n\r\ncase_b_0000.nii.gz\r\n", ("case_c.1", "case_b", "case_a", "case_d")),
        (
            "/data/case_d.nii.gz,Bad images,,,\ncase_a.nii.gz,,,,\n",
            ("case_d", "case_a", "case_b", "case_c.1"),
        ),
        # the lowest quality of a case counts, wherever it stands
        (
            "case,region,quality,spread\ncase_a,liver,4.1,0.2\ncase_d,liver,3.9,0\ncase_b,liver,4.5,0\ncase_b,spleen,0.3,0\n",
            ("case_b", "case_d", "case_a", "case_c.1"),
        ),
        (
            "region;Case;Quality\nliver;case_d;nan\nliver;case_b;2\nspleen;case_d;1\n",
            ("case_d", "case_b", "case_a", "case_c.1"),
        ),
        ("case,estimated\ncase_d,5\ncase_b,1\n", ("case_d", "case_b", "case_a", "case_c.1")),
        ("case,quality\ncase_x,0\ncase_b,\ncase_a,3\ncase_c.1\n", ("case_a", "case_b", "case_c.1", "case_d")),
    ],
)
def test_the_order_of_a_file(tmp_path, text, expected):
    path = tmp_path / "order.csv"
    path.write_bytes(text.encode())
    assert read_order(path, CASES) == expected


@pytest.mark.parametrize("content", [b"", b"case,quality\n", b"somebody\n", b"\xff\xfe\x00", b"case_ab\n"])
def test_a_file_of_no_order(tmp_path, content):
    path = tmp_path / "order.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match="order.csv"):
        read_order(path, CASES)
