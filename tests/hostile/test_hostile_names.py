"""Folders, names and options that are meant to do harm: no path leads elsewhere, no name controls a terminal, a
spreadsheet or a page, and no number takes the memory of the computer."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
from hostile_study import DRAWINGS, SCORES, arguments_of, main_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnunet_weak.dataset.annotations import WeakAnnotations
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.options import parse
from nnunet_weak.points.files import read_points
from nnunet_weak.scores.options import ScoreConversion
from nnunet_weak.scores.table import read_scores

from .conftest import enter

FOLDERS = {
    "convert_scores": ("images", "masks"),
    "convert_drawings": ("images", "drawings"),
    "convert_points": ("images", "points"),
    "prepare_inputs": ("images", "masks"),
    "evaluate": ("masks", "labels"),
    "simulate_scores": ("labels", "masks"),
    "simulate_drawings": ("labels",),
    "simulate_points": ("labels",),
    "simulate_slices": ("labels",),
}
SPOILT = {
    "missing": lambda path: None,
    "a file": lambda path: path.write_text("x"),
    "empty": lambda path: path.mkdir(),
    "a link to itself": lambda path: path.symlink_to(path.name),
}
PLACES = [pytest.param(command, folder, id=f"{command}-{folder}") for command in FOLDERS for folder in FOLDERS[command]]


@pytest.mark.parametrize(("command", "folder"), PLACES)
def test_folders(study: Path, command: str, folder: str, capsys: pytest.CaptureFixture[str]):
    for spoil in SPOILT.values():
        spoil(study / "other")
        try:
            code = main_of(command)(arguments_of(command, **{folder: "other", f"anna={folder}": "anna=other"}))
        finally:
            if (study / "other").is_dir():
                (study / "other").rmdir()
            else:
                (study / "other").unlink(missing_ok=True)
        told = capsys.readouterr().err
        assert code == 2 and "other" in told and "remedy:" in told, told


@pytest.mark.parametrize("name", [b"c1\xff", b"c1\x1b]0;x\x07", b"c1\n0"])
@pytest.mark.parametrize(("command", "folder"), PLACES)
def test_names_of_files(
    study: Path, command: str, folder: str, name: bytes, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    shutil.copytree(study / folder, tmp_path / "other")
    (valid,) = (tmp_path / "other").glob("c1.*")
    os.rename(valid, os.fsencode(tmp_path / "other") + b"/" + name + os.fsencode(valid.name[2:]))
    other = str(tmp_path / "other")
    assert main_of(command)(arguments_of(command, **{folder: other, f"anna={folder}": f"anna={other}"})) == 2
    told = capsys.readouterr()
    assert "c1" in told.err and "remedy:" in told.err and "\x1b" not in told.err + told.out
    told.err.encode()


@pytest.mark.parametrize(
    ("command", "change"),
    [
        ("convert_scores", {"one=1": "one=1-10000000000"}),
        ("convert_scores", {"one=1": "one=" + "9" * 5000}),
        ("convert_scores", {"one=1": "../../x=1"}),
        ("convert_drawings", {"one=1": "one=" + "9" * 5000}),
        ("convert_points", {"one=1,2": "one=" + "9" * 5000}),
        ("simulate_drawings", {"one=1": "one=1-10000000000"}),
        ("simulate_points", {"one=1": "../../x=1"}),
        ("evaluate", {"one=1": "one=" + "9" * 5000}),
        ("evaluate", {"one=1": "one=77"}),
        ("fuse", {"521": "9" * 5000}),
        ("fuse", {"521": "../../x"}),
        ("fuse", {"521": "*"}),
        ("convert_scores", {"1": "0"}),
        ("convert_scores", {"7": "9" * 5000}),
        ("simulate_slices", {"--slices": "--effort", "2": "nan"}),
    ],
)
def test_options(study: Path, command: str, change: dict[str, str], capsys: pytest.CaptureFixture[str]):
    try:
        code = main_of(command)(arguments_of(command, **change))
    except SystemExit as ended:  # by argparse
        code = ended.code
    assert code == 2 and len(capsys.readouterr().err) < 50_000


def test_two_annotators_of_one_folder(study: Path, capsys: pytest.CaptureFixture[str]):
    assert main_of("convert_drawings")([*arguments_of("convert_drawings"), "--positive", "ANNA=drawings"]) == 2
    assert "ANNA" in capsys.readouterr().err


@pytest.fixture
def copied(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(template, tmp_path / "study")
    enter(tmp_path / "study", monkeypatch)
    return tmp_path / "study"


@pytest.mark.parametrize("kind", ["cases", "maps"])
@pytest.mark.parametrize("command", ["fuse", "preprocess_annotations"])
def test_a_data_set_whose_names_climb_out_of_it(
    copied: Path, command: str, kind: str, capsys: pytest.CaptureFixture[str]
):
    path = copied / "nnUNet_raw" / DRAWINGS / "dataset.json"
    content = json.loads(path.read_text())
    block = content["nnunet_weak"]
    block[kind]["../../../y"] = next(iter(block[kind].values()))
    path.write_text(json.dumps(content))
    before = set(copied.rglob("*"))
    assert main_of(command)(arguments_of(command)) == 2
    assert "../../../y" in capsys.readouterr().err and set(copied.rglob("*")) == before


@pytest.mark.parametrize(
    ("command", "folder"), [("prepare_inputs", SCORES), ("fuse", DRAWINGS), ("preprocess_annotations", DRAWINGS)]
)
def test_a_data_set_whose_file_ending_is_a_path(
    copied: Path, command: str, folder: str, capsys: pytest.CaptureFixture[str]
):
    path = copied / "nnUNet_raw" / folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"file_ending": "/../../x.nii.gz"}))
    before = set(copied.rglob("*"))
    assert main_of(command)(arguments_of(command)) == 2
    assert "file_ending" in capsys.readouterr().err and set(copied.rglob("*")) == before


FORMULA = "=HYPERLINK(1)"


def test_no_table_holds_a_formula_and_the_names_are_read_back(copied: Path, capsys: pytest.CaptureFixture[str]):
    for folder in ("images", "masks", "labels"):
        (copied / folder / "c1.nii.gz").rename(copied / folder / f"{FORMULA}.nii.gz")
    for command in ("simulate_scores", "simulate_drawings", "simulate_slices", "evaluate", "simulate_points"):
        assert main_of(command)(arguments_of(command)) == 0, capsys.readouterr().err
    tables = [path for path in (copied / "out").rglob("*.csv")]
    assert len(tables) == 4
    for table in tables:
        with table.open(newline="") as file:
            rows = list(csv.reader(file))
        assert f"'{FORMULA}" in [row[0] for row in rows], table
        assert not [cell for row in rows for cell in row if cell.startswith(("=", "@", "+"))]
    arguments = arguments_of("convert_scores", **{"scores.csv": "out/s.csv"})
    assert main_of("convert_scores")(arguments) == 0, capsys.readouterr().err
    assert FORMULA in WeakAnnotations.read("nnUNet_raw/Dataset007_New").cases


def test_no_page_holds_a_name_as_html(copied: Path, capsys: pytest.CaptureFixture[str]):
    evil = "<img src=x onerror=alert(1)>"
    for folder in ("images", "masks", "labels"):
        (copied / folder / "c1.nii.gz").rename(copied / folder / f"{evil} $\\frac{{$.nii.gz")
    words = arguments_of("evaluate", **{"one=1": "<script>1<=1", "two=2": "$\\frac{$=2"})
    more = ["--report", "--images", "images", "--name", "<b>p", "--baseline", "<i>q=labels"]
    assert main_of("evaluate")([*words, *more]) == 0, capsys.readouterr().err
    page = (copied / "out/e/evaluation.html").read_text()
    assert "&lt;script&gt;" in page
    assert not [tag for tag in (evil, "<script>", "<b>p", "<i>q") if tag in page]


TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
CELL = st.one_of(TEXT, st.floats().map(str), st.integers().map(str), st.sampled_from(["c0", "c1", "one", "3", "under"]))
HARD = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@HARD
@given(rows=st.lists(st.lists(CELL, max_size=6), max_size=6), delimiter=st.sampled_from(",;\t|"), headed=st.booleans())
def test_any_table_is_read_or_refused(tmp_path: Path, rows: list[list[str]], delimiter: str, headed: bool):
    path = tmp_path / "s.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([["case", "region", "quality", "error"], *rows] if headed else rows)
    words = f"--images i --masks m --scores {path} -d 1 -n T --prior none --regions one=1 two=2".split()
    try:
        assert read_scores(parse(ScoreConversion, words), ["c0", "c1"]).scores is not None
    except InvalidInputError as error:
        assert path.name in str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
MARKUP = st.fixed_dictionaries(
    {"controlPoints": JSON | st.lists(st.fixed_dictionaries({"position": JSON}, optional={"label": JSON}), max_size=4)},
    optional={key: JSON for key in ("type", "coordinateSystem", "coordinateUnits", "name")},
)
OBJECTS = st.fixed_dictionaries(
    {"coordinate_system": st.sampled_from(["LPS", "RAS"]) | JSON},
    optional={"points_mm": JSON | st.lists(st.lists(st.floats(), min_size=3, max_size=3)), "objects": JSON},
)


CONTENT = st.one_of(JSON, OBJECTS, MARKUP.map(lambda markup: {"markups": [markup]}))
AXES = st.sampled_from(["l,p,s", "r,a,s", "x,y,z", "l;p;s"])


@HARD
@given(content=CONTENT, ending=st.sampled_from([".json", ".mrk.json"]))
def test_any_json_of_points_is_read_or_refused(tmp_path: Path, content: object, ending: str):
    path = tmp_path / f"c0{ending}"
    path.write_text(json.dumps(content))
    try:
        assert len(read_points(path).grouped_by_label()) > 0
    except InvalidInputError as error:
        assert str(path) in str(error) and "remedy" in str(error)


@HARD
@given(rows=st.lists(st.lists(CELL, max_size=5), max_size=6), axes=AXES)
def test_any_table_of_points_is_read_or_refused(tmp_path: Path, rows: list[list[str]], axes: str):
    path = tmp_path / "c0.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"{axes},label,class\n")
        csv.writer(file).writerows(rows)
    try:
        assert len(read_points(path, "LPS" if axes[0] == "x" else None).grouped_by_label()) > 0
    except InvalidInputError as error:
        assert str(path) in str(error) and "remedy" in str(error)
