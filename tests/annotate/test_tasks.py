"""What is saved of scores, drawings and points, and what is refused."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import SimpleITK as sitk
from annotation_client import SCORE, Client, table_of
from annotation_person import SIZE, served, write_image


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


@pytest.mark.parametrize(
    "changed",
    [{"quality": 6}, {"quality": 2.5}, {"quality": True}, {"error": "awful"}, {"quality": 5}, {"error": "none"}]
    + [{"comment": "x" * 2001}, {"comment": 3}, {"mask_sha256": "abc"}, {"seconds": -1}, {"cannot_judge": "no"}],
)
def test_scores_that_are_none(client, folder, changed):
    assert client.score("case_a", 0, **changed)[0] == 422
    assert client.save("case_a", 0, {"regions": {"somewhere": SCORE}})[0] == 422
    assert not list(folder.rglob("*.json"))


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


def test_what_cannot_be_judged_has_a_row_without_score(client, folder):
    assert client.score("case_a", 0, quality=None, error=None, cannot_judge=True)[0] == 200
    assert client.score("case_b", 0)[0] == 200
    table = table_of(folder)
    assert set(table.scores) == {"case_b"}
