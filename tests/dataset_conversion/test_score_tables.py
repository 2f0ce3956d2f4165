from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_weak.dataset_conversion.score_tables import (
    RegionScore,
    Scale,
    ScoreTable,
    format_matched_table,
    parse_columns,
    read_scores,
)
from nnunet_weak.dataset_conversion.score_words import NotUnderstoodError, parse_error, parse_quality
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.name_matching import match_names

LONG = """case,region,quality,error
case_01,proximal,3,under
case_01,shaft,5,none
case_02,proximal,4.5,over
case_02,shaft,1,both
"""
EXPECTED = {
    "case_01": {"proximal": (3.0, -1), "shaft": (5.0, 0)},
    "case_02": {"proximal": (4.5, 1), "shaft": (1.0, 2)},
}


def plain(table: ScoreTable) -> dict[str, dict[str, tuple[float, int]]]:
    return {
        case: {region: (score.quality, score.error) for region, score in regions.items()}
        for case, regions in table.scores.items()
    }


def write(tmp_path: Path, content: str | bytes, name: str = "scores.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def problems_of(path: Path, **options: object) -> str:
    with pytest.raises(InvalidInputError) as caught:
        read_scores(path, **options)  # type: ignore[arg-type]
    return str(caught.value)


# ---------------------------------------------------------------- formats


def test_long_csv(tmp_path):
    table = read_scores(write(tmp_path, LONG))
    assert plain(table) == EXPECTED
    assert (table.layout, table.regions, table.raters, len(table)) == ("long", ("proximal", "shaft"), ("",), 4)
    assert table.unmatched == () and table.renamed == ()
    assert table.scores["case_01"]["shaft"] == RegionScore(5.0, 0, raters=1, disagreement=0.0, errors_agree=True)


@pytest.mark.parametrize(
    "delimiter, name", [("\t", "scores.tsv"), ("\t", "scores.csv"), (";", "scores.csv"), ("|", "s.txt")]
)
def test_delimiters(tmp_path, delimiter, name):
    assert plain(read_scores(write(tmp_path, LONG.replace(",", delimiter), name))) == EXPECTED


def test_decimal_comma_with_semicolons(tmp_path):
    text = LONG.replace(",", ";").replace("4.5", "4,5")
    assert plain(read_scores(write(tmp_path, text))) == EXPECTED


def test_delimiter_is_not_fooled_by_commas_inside_a_header(tmp_path):
    text = "case;region;quality (0,1,2,3,4,5);error (-1,0,1,2)\ncase_01;shaft;2;-1\n"
    assert plain(read_scores(write(tmp_path, text))) == {"case_01": {"shaft": (2.0, -1)}}


@pytest.mark.parametrize("first_line, delimiter", [("sep=;\n", ";"), ("sep=\t\n", "\t")])
def test_excel_separator_line(tmp_path, first_line, delimiter):
    assert plain(read_scores(write(tmp_path, first_line + LONG.replace(",", delimiter)))) == EXPECTED


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(tmp_path, encoding):
    text = "Cas;Région;Qualité;Type d'erreur\nPrénom é;Tête;3,5;sous-segmentation\n"
    table = read_scores(write(tmp_path, text.encode(encoding)))
    assert plain(table) == {"Prénom é": {"Tête": (3.5, -1)}}


@pytest.mark.parametrize("newline", ["\r\n", "\r", "\n"])
def test_line_endings(tmp_path, newline):
    assert plain(read_scores(write(tmp_path, LONG.replace("\n", newline)))) == EXPECTED


def test_quoted_newlines_in_header_and_cells(tmp_path):
    text = 'case,region,"quality\n(0-5)","type of\nerror",comment\n'
    text += 'case_01,shaft,2,"under,\nover","two\nlines"\nc2,shaft,7,under,\n'
    # The row number is the spreadsheet's: cells with line breaks are one row.
    assert "row 3" in problems_of(write(tmp_path, text))
    assert plain(read_scores(write(tmp_path, text.replace("7", "3"))))["case_01"] == {"shaft": (2.0, 2)}


def test_empty_rows_and_columns_at_the_end_and_titles_above(tmp_path):
    text = "Scores of the humerus study,,,,,\n,,,,,\n" + LONG.replace("\n", ",,\n") + ",,,,,\n,,,,,\n\n"
    assert plain(read_scores(write(tmp_path, text))) == EXPECTED


def test_row_numbers_count_blank_rows(tmp_path):
    assert "row 5" in problems_of(write(tmp_path, "case,region,quality,error\n\n\nc1,shaft,3,over\nc2,shaft,9,over\n"))


def test_wide_csv(tmp_path):
    text = "Case,Proximal quality,Proximal error,Shaft - quality [0-5],Shaft - error [-1/0/1/2]\n"
    table = read_scores(write(tmp_path, text + "case_01,3,-1,5,0\ncase_02,4.5,1,1,2\n"))
    assert table.layout == "wide"
    assert plain(table) == {
        case: {name.capitalize(): s for name, s in scores.items()} for case, scores in EXPECTED.items()
    }


@pytest.mark.parametrize(
    "quality, error",
    [
        ("Shaft quality", "Shaft error"),
        ("shaft_quality", "shaft_error"),
        ("quality_shaft", "error_type_shaft"),
        ("Quality [Shaft]", "Type of error [Shaft]"),
        ("Quality of the shaft (0 = unusable, 5 = excellent)", "Error type of the shaft (under/over/both/none)"),
        ("3. Shaft: segmentation quality?", "4. Shaft: which type of segmentation error?"),
        ("Shaft q", "Shaft err"),
        ("Shaft (0-5)", "Shaft error"),
        ("ShaftQuality", "ShaftError"),
        ("Note - Shaft (0 à 5)", "Type d'erreur - Shaft"),
        ("Qualité de la segmentation : shaft", "Erreur : shaft"),
        ("Shaft score *", "Shaft error type *"),
    ],
)
@pytest.mark.parametrize("regions", [None, ["shaft", "proximal"]])
def test_headers_of_online_forms(tmp_path, quality, error, regions):
    text = f'Horodateur;Patient;"{quality}";"{error}";Commentaires sur la qualité\n2025/01/01;case_01;3;over;bof\n'
    table = read_scores(write(tmp_path, text), regions=regions)
    (found,) = table.scores["case_01"]
    assert found == "shaft" if regions else found.casefold() == "shaft"
    assert next(iter(table.scores["case_01"].values())) == RegionScore(3.0, 1)
    assert table.ignored_columns == ("Horodateur", "Commentaires sur la qualité")


def test_overall_scores_of_a_form_are_left_out(tmp_path):
    path = write(tmp_path, "case,Shaft quality,Shaft error,Overall quality\nc1,3,over,4\n")
    table = read_scores(path, regions=["shaft"])
    assert plain(table) == {"c1": {"shaft": (3.0, 1)}} and table.ignored_columns == ("Overall quality",)
    assert "region 'Overall' has a column for its quality but none" in problems_of(path)  # it could be one here


def test_regions_whose_names_look_like_articles(tmp_path):
    text = "case,LA quality,LA error,LV quality,LV error\nc1,3,over,5,\n"
    assert plain(read_scores(write(tmp_path, text))) == {"c1": {"LA": (3.0, 1), "LV": (5.0, 0)}}


def test_the_id_of_a_form_response_is_not_the_case(tmp_path):
    text = "ID,Start time,Email,Name,Patient ID,Shaft quality,Shaft error\n1,9:00,a@b.org,A,case_07,4,under\n"
    table = read_scores(write(tmp_path, text))
    assert list(table.scores) == ["case_07"] and table.raters == ("a@b.org",)


def test_columns_by_name(tmp_path):
    text = "Nummer,Wer,Knochen,Güte,Fehler\ncase_01,A,shaft,3,over\n"
    columns = parse_columns("case=Nummer,rater=Wer,region=Knochen,quality=güte,error=Fehler")
    table = read_scores(write(tmp_path, text), columns=columns)
    assert plain(table) == {"case_01": {"shaft": (3.0, 1)}} and table.raters == ("A",)


def test_columns_by_name_in_a_wide_table(tmp_path):
    text = "Patient,Q1,Q2,Q3,Q4\nc1,3,over,2,under\n"
    columns = parse_columns("quality:shaft=Q1,error:shaft=Q2,quality:head=Q3,error:head=Q4")
    assert plain(read_scores(write(tmp_path, text), columns=columns)) == {"c1": {"shaft": (3.0, 1), "head": (2.0, -1)}}


def test_one_region_needs_no_column_for_it(tmp_path):
    path = write(tmp_path, "case,quality,error\nc1,3,over\n")
    assert plain(read_scores(path, regions=["hippocampus"])) == {"c1": {"hippocampus": (3.0, 1)}}
    assert "no column for region" in problems_of(path)


def test_commas_in_a_column_name():
    assert parse_columns("quality=Shaft, quality,case=Patient") == {"quality": "Shaft, quality", "case": "Patient"}
    assert parse_columns("quality=a=b") == {"quality": "a=b"}


@pytest.mark.parametrize("text", ["Note", "grade=Note", "quality=", "quality=a,quality=b", "case:shaft=A"])
def test_wrong_columns_option(text):
    with pytest.raises(InvalidInputError):
        parse_columns(text)


# ---------------------------------------------------------------- JSON


def test_json_records(tmp_path):
    records = [
        {"case": case, "region": region, "quality": quality, "error": error}
        for case, regions in EXPECTED.items()
        for region, (quality, error) in regions.items()
    ]
    for content in (records, {"scores": records}):
        assert plain(read_scores(write(tmp_path, json.dumps(content), "scores.json"))) == EXPECTED


def test_json_nested(tmp_path):
    nested = {
        case: {name: {"quality": q, "error": e} for name, (q, e) in regions.items()}
        for case, regions in EXPECTED.items()
    }
    assert plain(read_scores(write(tmp_path, json.dumps(nested), "scores.json"))) == EXPECTED
    pairs: dict[str, Any] = {
        case: {name: list(score) for name, score in regions.items()} for case, regions in EXPECTED.items()
    }
    pairs["case_01"]["neck"] = None
    assert plain(read_scores(write(tmp_path, json.dumps(pairs), "scores.json"))) == EXPECTED
    raters = {"c1": {"shaft": [{"rater": "A", "quality": 3, "error": 1}, {"rater": "B", "quality": 4, "error": 1}]}}
    table = read_scores(write(tmp_path, json.dumps(raters), "scores.json"))
    assert table.scores["c1"]["shaft"] == RegionScore(3.5, 1, 2, 1.0, True)


def test_json_names_the_entry(tmp_path):
    message = problems_of(write(tmp_path, '{"c1": {"shaft": {"quality": 6, "error": 1}}}', "scores.json"))
    assert "entry c1 / shaft" in message and "'quality'" in message


@pytest.mark.parametrize(
    "content, expected",
    [
        ('{"c1": {"shaft": [3, 1], "shaft": [4, 1]}}', "'shaft' occurs twice"),  # json keeps the last one silently
        ('{"c1": {"shaft": 3}}', "list of records"),
        ("[1, 2]", "list of records"),
        ('{"c1": ', "line 1"),
        ("[]", "empty"),
        ('[{"case": "c1", "region": "shaft", "quality": true, "error": 1}]', "a number is needed, not a bool"),
        ('[{"case": "c1", "region": "shaft", "quality": 3, "error": [1]}]', "not a list"),
    ],
)
def test_bad_json(tmp_path, content, expected):
    assert expected in problems_of(write(tmp_path, content, "scores.json"))


# ---------------------------------------------------------------- Excel


def workbook(path: Path, **sheets: list[Any]) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


HEADER = ["Case", "Region", "Quality", "Error"]


def test_xlsx(tmp_path):
    rows = (
        [HEADER]
        + [[c, r, q, e] for c, regions in EXPECTED.items() for r, (q, e) in regions.items()]
        + [[None] * 4, [""] * 6]
    )
    assert plain(read_scores(workbook(tmp_path / "s.xlsx", Scores=rows))) == EXPECTED


def test_xlsx_numbers_as_case_names_that_lost_their_zeros(tmp_path):
    path = workbook(tmp_path / "s.xlsx", A=[HEADER, [7, "shaft", 3, 1], [10.0, "shaft", 3, 1]])
    assert list(read_scores(path).scores) == ["7", "10"]
    table = read_scores(path, cases=["case_007", "007", "010"])
    assert list(table.scores) == ["007", "010"]
    assert ("case", "7", "007") in table.renamed


def test_xlsx_sheets(tmp_path):
    scores = [HEADER, ["c1", "shaft", 3, 1]]
    legend = [["Score", "Meaning"], [5, "excellent"]]
    assert plain(read_scores(workbook(tmp_path / "a.xlsx", Legend=legend, Data=scores, Empty=[]))) == {
        "c1": {"shaft": (3.0, 1)}
    }
    path = workbook(tmp_path / "b.xlsx", First=scores, Second=[HEADER, ["c1", "shaft", 2, -1]])
    assert "First, Second" in problems_of(path)
    assert plain(read_scores(path, sheet="Second")) == {"c1": {"shaft": (2.0, -1)}}
    assert "no sheet 'Third' (the workbook has First, Second)" in problems_of(path, sheet="Third")


def test_xlsx_merged_case_cells(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    path = workbook(tmp_path / "s.xlsx", A=[HEADER, ["c1", "head", 3, 1], [None, "shaft", 2, -1], [None, "neck", 4, 2]])
    assert "row 3: scores without a case" in problems_of(path).replace("s.xlsx [A], ", "")
    book = openpyxl.load_workbook(path)
    book.active.merge_cells("A2:A4")
    book.save(path)
    assert plain(read_scores(path)) == {"c1": {"head": (3.0, 1), "shaft": (2.0, -1), "neck": (4.0, 2)}}


def test_xlsx_formula_without_stored_result_is_not_an_empty_cell(tmp_path):
    path = workbook(tmp_path / "s.xlsx", A=[HEADER, ["c1", "shaft", "=1+2", 1]])
    assert "cell C2 holds a formula" in problems_of(path)


def test_xlsx_date_made_of_a_fraction(tmp_path):
    import datetime

    path = workbook(tmp_path / "s.xlsx", A=[HEADER, ["c1", "shaft", datetime.datetime(2025, 5, 4), 1]])
    assert "made of a fraction" in problems_of(path)


def test_xlsx_without_openpyxl(tmp_path, monkeypatch):
    path = workbook(tmp_path / "s.xlsx", A=[HEADER, ["c1", "shaft", 3, 1]])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert "nnunet_weak[xlsx]" in problems_of(path)


def test_unreadable_files(tmp_path):
    assert "no such file" in problems_of(tmp_path / "none.csv")
    assert "save it as .xlsx or .csv" in problems_of(write(tmp_path, "x", "s.xls"))
    assert "'.pdf' cannot be read" in problems_of(write(tmp_path, "x", "s.pdf"))
    assert "not a readable Excel workbook" in problems_of(write(tmp_path, "case,region", "s.xlsx"))
    assert "not a text file" in problems_of(write(tmp_path, b"PK\x03\x04\x00\x00case", "s.csv"))
    assert "empty" in problems_of(write(tmp_path, "", "s.csv"))
    assert "empty" in problems_of(write(tmp_path, "\n,,\n", "s.csv"))
    assert "no rows below the header" in problems_of(write(tmp_path, "case,region,quality,error\n", "s.csv"))
    assert "only Excel workbooks have sheets" in problems_of(write(tmp_path, LONG), sheet="A")
    assert "quotation mark" in problems_of(write(tmp_path, LONG + 'case_03,"shaft,2,over\n'))


# ---------------------------------------------------------------- words and numbers


@pytest.mark.parametrize(
    "words, expected",
    [
        (
            "-1 −1 -1.0 -1,0 under Under-segmentation undersegmented missing sous-segmentation manquant",
            -1,
        ),
        ("0 0.0 none None ok OK aucun Aucune correct", 0),
        ("1 +1 1.0 over over-segmentation Oversegmented leak sur-segmentation fuite débordement", 1),
        ("2 2.0 both Both mixed mixte under,over under+over under/over under&over under;over;", 2),
    ],
)
def test_error_words(words, expected):
    assert {word: parse_error(word) for word in words.split()} == dict.fromkeys(words.split(), expected)


@pytest.mark.parametrize(
    "cell, expected",
    [
        ("too small", -1), ("trop petit", -1), ("sous segmentée", -1), ("Under (parts are missing)", -1),
        ("-1 (under)", -1),
        ("-1: under", -1), ("under: the tip", -1), (-1, -1), (-1.0, -1), ("  Missing  parts ", -1),
        ("no error", 0), ("Pas d'erreur", 0), ("sans erreur", 0), (0, 0), ("0 - none", 0),
        ("too large", 1), ("trop grand", 1), ("Trop grande", 1), ("1 - over", 1), (1.0, 1),
        ("les deux", 2), ("under and over", 2), ("sous- et sur-segmentation", 2),
        ("Under-segmentation, Over-segmentation", 2),
        ("Under-segmentation\nOver-segmentation", 2), ("under: the tip, over: a leak", 2), ("2 (both)", 2), (2, 2),
    ],
)  # fmt: skip
def test_error_cells(cell, expected):
    assert parse_error(cell) == expected


@pytest.mark.parametrize(
    "cell", ["3", -2, 0.5, "bad", "under?over", "none, under", "-1 over", "1 2", "12", "x", True, "1-2"]
)
def test_unknown_error_cells(cell):
    with pytest.raises(NotUnderstoodError):
        parse_error(cell)


@pytest.mark.parametrize(
    "cell, expected",
    [("4", 4), ("4,5", 4.5), (" 4.5 ", 4.5), (3, 3), (2.5, 2.5), ("4/5", 4), ("4 / 5", 4), ("3 sur 5", 3),
     ("4 - good", 4),
     ("5 (excellent)", 5), ("4. good", 4), ("0", 0), ("-1", -1)],
)  # fmt: skip
def test_quality_cells(cell, expected):
    assert parse_quality(cell, best=5) == expected


@pytest.mark.parametrize(
    "cell", ["good", "3-4", "3 4", "4/10", "1.000,5", "4e0", "inf", float("inf"), True, "3 or 4", "#REF!"]
)
def test_unreadable_quality_cells(cell):
    with pytest.raises(NotUnderstoodError):
        parse_quality(cell, best=5)


# ---------------------------------------------------------------- scales


def test_scale(tmp_path):
    path = write(tmp_path, "case,region,quality,error\nc1,a,1,none\nc1,b,2,over\nc1,c,4,under\n")
    table = read_scores(path, scale=Scale.parse("1:4"))
    assert plain(table) == {"c1": {"a": (5.0, 0), "b": (pytest.approx(10 / 3, abs=1e-6), 1), "c": (0.0, -1)}}
    assert "outside 1 to 3" in problems_of(path, scale=Scale(1, 3))
    assert "scale 1 (best) to 4 mapped to 5 to 0" in format_matched_table(table)


@given(st.floats(-100, 100), st.floats(-100, 100), st.floats(0, 1))
def test_scale_maps_best_to_5_worst_to_0_and_stays_inside(best, worst, share):
    if abs(best - worst) < 1e-3:
        return
    scale = Scale(best, worst)
    assert (scale.to_quality(best), scale.to_quality(worst)) == (5.0, 0.0)
    assert -1e-6 <= scale.to_quality(worst + share * (best - worst)) <= 5 + 1e-6


@pytest.mark.parametrize("text", ["5", "5:5", "a:b", "1:2:3", "inf:0", "nan:1", ""])
def test_wrong_scale(text):
    with pytest.raises(InvalidInputError, match="scale"):
        Scale.parse(text)


def test_fraction_of_another_scale_is_refused(tmp_path):
    path = write(tmp_path, "case,region,quality,error\nc1,a,8/10,under\n")
    assert "out of 10, the scale's best score is 5" in problems_of(path)
    assert plain(read_scores(path, scale=Scale(10, 0))) == {"c1": {"a": (4.0, -1)}}


# ---------------------------------------------------------------- several raters


def test_raters_median_and_union(tmp_path):
    text = """case,region,quality,error,rater
    c1,a,3,under,Ann
    c1,a,4,over,Bob
    c1,a,5,none,Eve
    c1,b,3,under,Ann
    c1,b,5,none,Bob
    c1,c,5,none,Ann
    c1,c,5,none,Bob
    c1,c,2,over,Eve
    c1,d,3,both,Ann
    c1,d,2,under,Bob
    """
    table = read_scores(write(tmp_path, text))
    assert table.raters == ("Ann", "Bob", "Eve")
    scores = table.scores["c1"]
    assert scores["a"] == RegionScore(4.0, 2, 3, 2.0, errors_agree=False)  # under and over make both
    assert scores["b"] == RegionScore(4.0, -1, 2, 2.0, errors_agree=False)  # none is ignored beside under
    assert scores["c"] == RegionScore(5.0, 0, 3, 3.0, errors_agree=False)  # median 5 leaves nothing to correct
    assert scores["d"] == RegionScore(2.5, 2, 2, 1.0, errors_agree=False)
    assert "4 both (3 raters, 2 apart!)" in format_matched_table(table)


def test_duplicates(tmp_path):
    header, row = "case,region,quality,error,rater\n", "c1,a,3,under,"
    message = problems_of(write(tmp_path, f"{header}{row}Ann\n{row}Bob\nC1.nii.gz,A,3,under,ann \n"))
    # Spellings of case, region and rater do not hide it.
    assert "row 4: c1, a by ann was scored in row 2 already" in message
    message = problems_of(write(tmp_path, "case,a quality,a error,b quality,b error\nc1,3,1,4,1\nc1,3,1,4,1\n"))
    assert message.count("row 3") == 1 and "c1, a, b was scored in row 2" in message and "'rater'" in message


# ---------------------------------------------------------------- names


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
    table = read_scores(write(tmp_path, text), cases=["case_01", "case_02", "case_03"], regions=["proximal", "shaft"])
    assert [(name.kind, name.name, name.rows) for name in table.unmatched] == [("case", "case_22", ("row 5",))]
    assert "case_02" in table.unmatched[0].suggestions
    assert table.unscored_cases == ("case_03",)
    assert table.renamed == (("case", "Case 01.nii.gz", "case_01"),)
    shown = format_matched_table(table)
    assert shown == format_matched_table(table) and "case 'case_22' (row 5): perhaps" in shown
    assert "case 'Case 01.nii.gz' -> case_01" in shown and "Cases without any score (1):\n  case_03" in shown
    assert "case_01  3 under   5 none" in shown and "case_02  4.5 over  -" in shown


def test_unknown_regions(tmp_path):
    path = write(tmp_path, LONG.replace("case_01,shaft", "case_01,shafft"))
    message = problems_of(path, regions=["proximal", "shaft"])
    assert "row 3: unknown region 'shafft'" in message and "perhaps shaft" in message
    table = read_scores(path, regions=["proximal", "shaft"], unknown_regions="report")
    assert [str(name) for name in table.unmatched] == ["region 'shafft' (row 3): perhaps shaft"]
    assert plain(table)["case_01"] == {"proximal": (3.0, -1)}
    wide = write(tmp_path, "case,shafft quality,shafft error\nc1,3,over\n")
    assert "unknown region 'shafft'" in problems_of(wide, regions=["shaft"])


def test_long_listing_where_the_table_would_be_too_wide(tmp_path):
    rows = "".join(f"case_01,a_rather_long_region_name_{number},3,under\n" for number in range(9))
    shown = format_matched_table(read_scores(write(tmp_path, "case,region,quality,error\n" + rows)))
    assert max(map(len, shown.splitlines())) <= 120 and shown.count("3 under") == 9


# ---------------------------------------------------------------- bad input


def test_missing_cells_are_no_score(tmp_path):
    text = "case,a quality,a error,b quality,b error\nc1,,,3,over\nc2,n/a,-,5,\nc3,,,,\n"
    table = read_scores(write(tmp_path, text))
    assert plain(table) == {"c1": {"b": (3.0, 1)}, "c2": {"b": (5.0, 0)}}
    assert "Regions without any score (1):\n  a" in format_matched_table(table)


@pytest.mark.parametrize(
    "row, expected",
    [
        ("c1,shaft,6,over", "column 'quality' (c1, shaft): quality 6 is outside 0 to 5"),
        ("c1,shaft,-1,over", "quality -1 is outside 0 to 5"),
        ("c1,shaft,good,over", "quality 'good': a number is needed"),
        ("c1,shaft,3-4,over", "quality '3-4': a number is needed"),
        ("c1,shaft,5,under", "column 'error' (c1, shaft): error 'under', but the quality is 5"),
        ("c1,shaft,3,none", "no error, but the quality is 3"),
        ("c1,shaft,3,", "quality 3 without an error type"),
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
        read_scores(write(tmp_path, text), regions=["head", "shaft"])
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
    assert "unknown field" in problems_of(write(tmp_path, LONG), columns={"grade": "quality"})


def test_layout_can_be_forced(tmp_path):
    assert "no pair of columns" in problems_of(write(tmp_path, LONG), layout="wide")
    assert "no column for region" in problems_of(write(tmp_path, "case,a quality,a error\nc,3,1\n"), layout="long")


def test_table_without_any_score(tmp_path):
    assert "no score in any row" in problems_of(write(tmp_path, "case,region,quality,error\nc1,shaft,,\n"))
