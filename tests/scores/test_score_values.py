from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from score_table_files import plain, problems_of, read, shown, write

from nnunet_weak.dataset.annotations import ErrorType, RegionScore
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.scores.cells import Scale, UnreadableCellError, parse_error, parse_quality


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
    with pytest.raises(UnreadableCellError):
        parse_error(cell)


@pytest.mark.parametrize(
    "cell, expected",
    [("4", 4), ("4,5", 4.5), (" 4.5 ", 4.5), (3, 3), (2.5, 2.5), ("4/5", 4), ("4 / 5", 4), ("3 sur 5", 3),
     ("4 - good", 4),
     ("5 (excellent)", 5), ("4. good", 4), ("0", 0), (0, 0)],
)  # fmt: skip
def test_quality_cells(cell, expected):
    assert parse_quality(cell, Scale()) == expected


@pytest.mark.parametrize(
    "cell", ["good", "3-4", "3 4", "4/10", "1.000,5", "4e0", "inf", float("inf"), True, "3 or 4", "#REF!", "-1", 6]
)
def test_unreadable_quality_cells(cell):
    with pytest.raises(UnreadableCellError):
        parse_quality(cell, Scale())


def test_scale(tmp_path):
    path = write(tmp_path, "case,region,quality,error\nc1,a,1,none\nc1,b,2,over\nc1,c,4,under\n")
    table = read(path, scale=Scale.parse("1:4"))
    assert plain(table) == {"c1": {"a": (5.0, 0), "b": (pytest.approx(10 / 3, abs=1e-6), 1), "c": (0.0, -1)}}
    assert "outside 1 to 3" in problems_of(path, scale=Scale(1, 3))
    assert "scale 1 (best) to 4 mapped to 5 to 0" in shown(path, scale=Scale(1, 4))


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
    assert plain(read(path, scale=Scale(10, 0))) == {"c1": {"a": (4.0, -1)}}


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
    path = write(tmp_path, text)
    table = read(path)
    assert table.raters == ("Ann", "Bob", "Eve")
    scores = table.scores["c1"]
    assert scores["a"] == RegionScore(4.0, ErrorType.BOTH, 3, 2.0, errors_agree=False)  # under and over make both
    assert scores["b"] == RegionScore(4.0, ErrorType.UNDER, 2, 2.0, errors_agree=False)  # none is ignored beside under
    assert scores["c"] == RegionScore(5.0, ErrorType.NONE, 3, 3.0, errors_agree=False)  # median 5: nothing to correct
    assert scores["d"] == RegionScore(2.5, ErrorType.BOTH, 2, 1.0, errors_agree=False)
    assert "4 both (3 raters, 2 apart!)" in shown(path)


def test_duplicates(tmp_path):
    header, row = "case,region,quality,error,rater\n", "c1,a,3,under,"
    message = problems_of(write(tmp_path, f"{header}{row}Ann\n{row}Bob\nC1.nii.gz,A,3,under,ann \n"))
    # Spellings of case, region and rater do not hide it.
    assert "row 4: c1, a by ann was scored in row 2 already" in message
    message = problems_of(write(tmp_path, "case,a quality,a error,b quality,b error\nc1,3,1,4,1\nc1,3,1,4,1\n"))
    assert message.count("row 3") == 1 and "c1, a, b was scored in row 2" in message and "'rater'" in message
