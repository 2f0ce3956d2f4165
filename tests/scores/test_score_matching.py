from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from score_table_files import LONG, plain, problems_of, read, shown, write

from nnunet_weak.dataset.names import match_names
from nnunet_weak.errors import InvalidInputError

CASES = ["case_001", "case_002", "case_1_1", "case_11"]


@pytest.mark.parametrize(
    "typed, expected",
    [("case_001", "case_001"), ("CASE 001", "case_001"), ("case-001.nii.gz", "case_001"), ("Case001", "case_001"),
     ("case_1", "case_001"), ("case 2", "case_002"), ("case_002_0000.nii.gz", "case_002"), ("case_11", "case_11"),
     ("Case 1-1", "case_1_1"),
     ("case_012", None), ("case", None), ("", None)],
)  # fmt: skip
def test_forgiving_names(typed, expected):
    matches, unmatched = match_names([typed], CASES, kind="case")
    assert matches.get(typed) == expected
    assert [name.name for name in unmatched] == ([] if expected else [typed])


def test_ambiguous_names_are_not_guessed():
    matches, unmatched = match_names(["Case 1"], ["case_1", "CASE-1"], kind="case")
    assert not matches and set(unmatched[0].suggestions) == {"case_1", "CASE-1"}
    # case_1 is another patient where case_01 is in the table as well.
    matches, unmatched = match_names(["case_01", "case_1"], ["case_01"], kind="case")
    assert matches == {"case_01": "case_01"} and [name.name for name in unmatched] == ["case_1"]
    assert match_names(["case_1", "case_001"], ["case_01"], kind="case")[0] == {}


@given(st.lists(st.from_regex(r"[a-z]{1,4}_[0-9]{1,3}", fullmatch=True), unique=True, max_size=8))
def test_exact_names_always_match_themselves(names):
    matches, unmatched = match_names(names, names, kind="case")
    assert matches == {name: name for name in names} and not unmatched


def test_unmatched_names_and_dry_run(tmp_path):
    text = LONG.replace("case_02,shaft", "case_22,shaft").replace("case_01,proximal", "Case 01.nii.gz,proximal")
    names = {"cases": ["case_01", "case_02", "case_03"], "regions": ["proximal", "shaft"]}
    table = read(write(tmp_path, text), **names)
    assert [(name.kind, name.name, name.rows) for name in table.unmatched] == [("case", "case_22", ("row 5",))]
    assert "case_02" in table.unmatched[0].suggestions
    assert table.unscored_cases == ("case_03",)
    assert table.renamed == (("case", "Case 01.nii.gz", "case_01"),)
    text = shown(tmp_path / "scores.csv", **names)
    assert "case 'case_22' (row 5): perhaps" in text
    assert "case 'Case 01.nii.gz' -> case_01" in text and "Cases without any score (1):\n  case_03" in text
    assert "case_01  3 under   5 none" in text and "case_02  4.5 over  -" in text


def test_unknown_regions(tmp_path):
    path = write(tmp_path, LONG.replace("case_01,shaft", "case_01,shafft"))
    message = problems_of(path, regions=["proximal", "shaft"])
    assert "row 3: unknown region 'shafft'" in message and "perhaps shaft" in message
    table = read(path, regions=["proximal", "shaft"], dry_run=True)
    assert [str(name) for name in table.unmatched] == ["region 'shafft' (row 3): perhaps shaft"]
    assert plain(table)["case_01"] == {"proximal": (3.0, -1)}
    wide = write(tmp_path, "case,shafft quality,shafft error\nc1,3,over\n")
    assert "unknown region 'shafft'" in problems_of(wide, regions=["shaft"])


def test_long_listing_where_the_table_would_be_too_wide(tmp_path):
    rows = "".join(f"case_01,a_rather_long_region_name_{number},3,under\n" for number in range(9))
    names = [f"a_rather_long_region_name_{number}" for number in range(9)]
    text = shown(write(tmp_path, "case,region,quality,error\n" + rows), ["case_01"], names)
    assert max(map(len, text.splitlines())) <= 120 and text.count("3 under") == 9


def test_missing_cells_are_no_score(tmp_path):
    text = "case,a quality,a error,b quality,b error\nc1,,,3,over\nc2,n/a,-,5,\nc3,,,,\n"
    path = write(tmp_path, text)
    assert plain(read(path)) == {"c1": {"b": (3.0, 1)}, "c2": {"b": (5.0, 0)}}
    assert "Regions without any score (1):\n  a" in shown(path, ["c1", "c2", "c3"], ["a", "b"])


@pytest.mark.parametrize(
    "row, expected",
    [
        ("c1,shaft,6,over", "column 'quality' (c1, shaft): quality '6': outside 0 to 5"),
        ("c1,shaft,-1,over", "quality '-1': outside 0 to 5"),
        ("c1,shaft,good,over", "quality 'good': a number is needed"),
        ("c1,shaft,3-4,over", "quality '3-4': a number is needed"),
        ("c1,shaft,5,under", "column 'error' (c1, shaft): error 'under', but the quality is 5"),
        ("c1,shaft,3,none", "no error, but the quality is 3"),
        ("c1,shaft,3,", "no error, but the quality is 3"),
        ("c1,shaft,,over", "no quality, but the error is 'over'"),
        ("c1,shaft,3,wobbly", "unknown error type; allowed are -1 or under (under segmentation, "),
        ("c1,shaft,3,7", "allowed numbers are -1 (under), 0 (none), 1 (over), 2 (both)"),
        (",shaft,3,over", "scores without a case"),
        ("c1,,3,over", "c1: a score without a region"),
        ("c1,shaft,3,5,over", "5 cells, but the header has 4"),  # a decimal comma without quotes
    ],
)
def test_bad_rows(tmp_path, row, expected):
    message = problems_of(write(tmp_path, f"case,region,quality,error\nc0,shaft,4,over\n{row}\n"))
    assert expected in message and "scores.csv, row 3" in message


def test_all_problems_at_once(tmp_path):
    text = "case,region,quality,error\nc1,shaft,6,over\nc1,hed,bad,over\nc2,shaft,3,none\nc2,shaft,5,under\n"
    text += ",shaft,1,over\n"
    with pytest.raises(InvalidInputError) as caught:
        read(write(tmp_path, text), regions=["head", "shaft"])
    assert len(caught.value.problems) == 7  # one each, the unknown region of a bad row, and c2 twice
    assert caught.value.subject.endswith("scores.csv")


@pytest.mark.parametrize(
    "header, expected",
    [
        ("who,region,quality,error", "no column for the case"),
        ("case,region,quality", "no column for error"),
        ("case,region,error", "no column for quality"),
        ("case,region,foo,bar", "no column for quality and error"),
        ("case,shaft quality,other", "region 'shaft' has a column for its quality but none for its error"),
        ("case,shaft error,other", "region 'shaft' has a column for its error but none for its quality"),
        ("case,a quality,a error,A quality", "several columns could hold the quality: 2 'a quality', 4 'A quality'"),
        ("case,region,quality,quality,error", "several columns could hold the quality: 3 'quality', 4 'quality'"),
        ("patient,scan,region,quality,error", "several columns could hold the case: 1 'patient', 2 'scan'"),
    ],
)
def test_bad_headers(tmp_path, header, expected):
    cells = ",".join(["3"] * len(header.split(",")))
    assert expected in problems_of(write(tmp_path, f"{header}\n{cells}\n"))


def test_named_column_that_does_not_exist(tmp_path):
    message = problems_of(write(tmp_path, LONG), columns={"quality": "Qualty"})
    assert "column 'Qualty' for quality: no such column" in message and "perhaps 'quality'" in message


def test_layout_can_be_forced(tmp_path):
    assert "no pair of columns" in problems_of(write(tmp_path, LONG), table_layout="wide")
    assert "no column for region" in problems_of(
        write(tmp_path, "case,a quality,a error\nc,3,1\n"), table_layout="long"
    )


def test_table_without_any_score(tmp_path):
    assert "no score in any row" in problems_of(write(tmp_path, "case,region,quality,error\nc1,shaft,,\n"))
