from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from score_table_files import EXPECTED, LONG, plain, problems_of, read, write

from nnunet_weak.dataset.annotations import ErrorType, RegionScore
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.scores.options import parse_columns


def test_long_csv(tmp_path):
    table = read(write(tmp_path, LONG))
    assert plain(table) == EXPECTED
    assert (table.layout, table.raters, table.unscored_cases) == ("long", ("",), ("c1", "c2"))
    assert table.unmatched == () and table.renamed == ()
    assert table.scores["case_01"]["shaft"] == RegionScore(5.0, ErrorType.NONE)


@pytest.mark.parametrize(
    "delimiter, name", [("\t", "scores.tsv"), ("\t", "scores.csv"), (";", "scores.csv"), ("|", "s.txt")]
)
def test_delimiters(tmp_path, delimiter, name):
    assert plain(read(write(tmp_path, LONG.replace(",", delimiter), name))) == EXPECTED


def test_decimal_comma_with_semicolons(tmp_path):
    text = LONG.replace(",", ";").replace("4.5", "4,5")
    assert plain(read(write(tmp_path, text))) == EXPECTED


def test_delimiter_is_not_fooled_by_commas_inside_a_header(tmp_path):
    text = "case;region;quality (0,1,2,3,4,5);error (-1,0,1,2)\ncase_01;shaft;2;-1\n"
    assert plain(read(write(tmp_path, text))) == {"case_01": {"shaft": (2.0, -1)}}


@pytest.mark.parametrize("first_line, delimiter", [("sep=;\n", ";"), ("sep=\t\n", "\t")])
def test_excel_separator_line(tmp_path, first_line, delimiter):
    assert plain(read(write(tmp_path, first_line + LONG.replace(",", delimiter)))) == EXPECTED


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings(tmp_path, encoding):
    text = "Cas;Région;Qualité;Type d'erreur\nPrénom é;Tête;3,5;sous-segmentation\n"
    table = read(write(tmp_path, text.encode(encoding)), ["Prénom é"], ["Tête"])
    assert plain(table) == {"Prénom é": {"Tête": (3.5, -1)}}


@pytest.mark.parametrize("newline", ["\r\n", "\r", "\n"])
def test_line_endings(tmp_path, newline):
    assert plain(read(write(tmp_path, LONG.replace("\n", newline)))) == EXPECTED


def test_quoted_newlines_in_header_and_cells(tmp_path):
    text = 'case,region,"quality\n(0-5)","type of\nerror",comment\n'
    text += 'case_01,shaft,2,"under,\nover","two\nlines"\nc2,shaft,7,under,\n'
    # The row number is the spreadsheet's: cells with line breaks are one row.
    assert "row 3" in problems_of(write(tmp_path, text))
    assert plain(read(write(tmp_path, text.replace("7", "3"))))["case_01"] == {"shaft": (2.0, 2)}


def test_empty_rows_and_columns_at_the_end_and_titles_above(tmp_path):
    text = "Scores of the humerus study,,,,,\n,,,,,\n" + LONG.replace("\n", ",,\n") + ",,,,,\n,,,,,\n\n"
    assert plain(read(write(tmp_path, text))) == EXPECTED


def test_row_numbers_count_blank_rows(tmp_path):
    assert "row 5" in problems_of(write(tmp_path, "case,region,quality,error\n\n\nc1,shaft,3,over\nc2,shaft,9,over\n"))


def test_wide_csv(tmp_path):
    text = "Case,Proximal quality,Proximal error,Shaft - quality [0-5],Shaft - error [-1/0/1/2]\n"
    table = read(write(tmp_path, text + "case_01,3,-1,5,0\ncase_02,4.5,1,1,2\n"))
    assert table.layout == "wide"
    assert plain(table) == EXPECTED


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
def test_headers_of_online_forms(tmp_path, quality, error):
    text = f'Horodateur;Patient;"{quality}";"{error}";Commentaires sur la qualité\n2025/01/01;case_01;3;over;bof\n'
    table = read(write(tmp_path, text), regions=["shaft", "proximal"])
    assert plain(table) == {"case_01": {"shaft": (3.0, 1)}}
    assert table.ignored_columns == ("Horodateur", "Commentaires sur la qualité")


def test_overall_scores_of_a_form_are_left_out(tmp_path):
    path = write(tmp_path, "case,Shaft quality,Shaft error,Overall quality\nc1,3,over,4\n")
    table = read(path, regions=["shaft"])
    assert plain(table) == {"c1": {"shaft": (3.0, 1)}} and table.ignored_columns == ("Overall quality",)
    message = problems_of(path, regions=["shaft", "overall"])
    assert "region 'overall' has a column for its quality but none for its error" in message


@pytest.mark.parametrize(
    ("quality", "error"),
    [
        ("{} quality", "{} error"),
        ("Quality of the {} (0-5)", "Error type of the {} (under/over/both/none)"),
        ("3. {}: segmentation quality?", "4. {}: which type of segmentation error?"),
        ("Qualité de la segmentation : {}", "Erreur de {} (sous/sur)"),
    ],
)
def test_regions_whose_names_look_like_articles(tmp_path, quality, error):
    header = ";".join(text.format(region) for region in ("LA", "LV") for text in (quality, error))
    path = write(tmp_path, f"case;{header}\nc1;3;over;5;\n")
    assert plain(read(path, regions=["LA", "LV"])) == {"c1": {"LA": (3.0, 1), "LV": (5.0, 0)}}


def test_the_id_of_a_form_response_is_not_the_case(tmp_path):
    text = "ID,Start time,Email,Name,Patient ID,Shaft quality,Shaft error\n1,9:00,a@b.org,A,case_07,4,under\n"
    table = read(write(tmp_path, text), ["case_07"])
    assert list(table.scores) == ["case_07"] and table.raters == ("a@b.org",)


def test_columns_by_name(tmp_path):
    text = "Nummer,Wer,Knochen,Güte,Fehler\ncase_01,A,shaft,3,over\n"
    columns = parse_columns("case=Nummer,rater=Wer,region=Knochen,quality=güte,error=Fehler")
    table = read(write(tmp_path, text), columns=columns)
    assert plain(table) == {"case_01": {"shaft": (3.0, 1)}} and table.raters == ("A",)


def test_columns_by_name_in_a_wide_table(tmp_path):
    text = "Patient,Q1,Q2,Q3,Q4\nc1,3,over,2,under\n"
    columns = parse_columns("quality:shaft=Q1,error:shaft=Q2,quality:head=Q3,error:head=Q4")
    assert plain(read(write(tmp_path, text), columns=columns)) == {"c1": {"shaft": (3.0, 1), "head": (2.0, -1)}}


def test_one_region_needs_no_column_for_it(tmp_path):
    path = write(tmp_path, "case,quality,error\nc1,3,over\n")
    assert plain(read(path, regions=["hippocampus"])) == {"c1": {"hippocampus": (3.0, 1)}}
    assert "no column for region" in problems_of(path)


def test_commas_in_a_column_name():
    assert parse_columns("quality=Shaft, quality,case=Patient") == {"quality": "Shaft, quality", "case": "Patient"}
    assert parse_columns("quality=a=b") == {"quality": "a=b"}


@pytest.mark.parametrize("text", ["Note", "grade=Note", "quality=", "quality=a,quality=b", "case:shaft=A"])
def test_wrong_columns_option(text):
    with pytest.raises(InvalidInputError):
        parse_columns(text)


def test_json_records(tmp_path):
    records = [
        {"case": case, "region": region, "quality": quality, "error": error}
        for case, regions in EXPECTED.items()
        for region, (quality, error) in regions.items()
    ]
    for content in (records, {"scores": records}):
        assert plain(read(write(tmp_path, json.dumps(content), "scores.json"))) == EXPECTED


def test_json_nested(tmp_path):
    nested = {
        case: {name: {"quality": q, "error": e} for name, (q, e) in regions.items()}
        for case, regions in EXPECTED.items()
    }
    assert plain(read(write(tmp_path, json.dumps(nested), "scores.json"))) == EXPECTED
    pairs: dict[str, Any] = {
        case: {name: list(score) for name, score in regions.items()} for case, regions in EXPECTED.items()
    }
    pairs["case_01"]["neck"] = None
    assert plain(read(write(tmp_path, json.dumps(pairs), "scores.json"))) == EXPECTED
    raters = {"c1": {"shaft": [{"rater": "A", "quality": 3, "error": 1}, {"rater": "B", "quality": 4, "error": 1}]}}
    table = read(write(tmp_path, json.dumps(raters), "scores.json"))
    assert table.scores["c1"]["shaft"] == RegionScore(3.5, ErrorType.OVER, 2, 1.0, True) and table.raters == ("A", "B")


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
    assert plain(read(workbook(tmp_path / "s.xlsx", Scores=rows))) == EXPECTED


def test_xlsx_numbers_as_case_names_that_lost_their_zeros(tmp_path):
    path = workbook(tmp_path / "s.xlsx", A=[HEADER, [7, "shaft", 3, 1], [10.0, "shaft", 3, 1]])
    assert list(read(path, ["7", "10"]).scores) == ["7", "10"]
    table = read(path, ["case_007", "007", "010"])
    assert list(table.scores) == ["007", "010"]
    assert ("case", "7", "007") in table.renamed


def test_xlsx_sheets(tmp_path):
    scores = [HEADER, ["c1", "shaft", 3, 1]]
    legend = [["Score", "Meaning"], [5, "excellent"]]
    assert plain(read(workbook(tmp_path / "a.xlsx", Legend=legend, Data=scores, Empty=[]))) == {
        "c1": {"shaft": (3.0, 1)}
    }
    path = workbook(tmp_path / "b.xlsx", First=scores, Second=[HEADER, ["c1", "shaft", 2, -1]])
    assert "First, Second" in problems_of(path)
    assert plain(read(path, sheet="Second")) == {"c1": {"shaft": (2.0, -1)}}
    assert "no sheet 'Third' (the workbook has First, Second)" in problems_of(path, sheet="Third")


def test_xlsx_merged_case_cells(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    path = workbook(tmp_path / "s.xlsx", A=[HEADER, ["c1", "head", 3, 1], [None, "shaft", 2, -1], [None, "neck", 4, 2]])
    assert "row 3: scores without a case" in problems_of(path).replace("s.xlsx [A], ", "")
    book = openpyxl.load_workbook(path)
    book.active.merge_cells("A2:A4")
    book.save(path)
    assert plain(read(path)) == {"c1": {"head": (3.0, 1), "shaft": (2.0, -1), "neck": (4.0, 2)}}


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
