"""`nnunet_weak_estimate_quality` with a tiny trained model."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from nnunet_weak.cli.estimate_quality import main

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def study(workplace, trained, tmp_path_factory) -> Path:
    """Six cases, measured in two parts, the second of which was started twice."""
    folder = tmp_path_factory.mktemp("quality")
    arguments = arguments_of(workplace, trained, folder / "quality.csv")
    assert main([*arguments, "-num_parts", "2", "-part_id", "0"]) == 0
    assert not (folder / "quality.csv").exists()
    for _ in range(2):
        assert main([*arguments, "-num_parts", "2", "-part_id", "1"]) == 0
    return folder


def arguments_of(workplace, trained, output: Path) -> list[str]:
    phantoms = workplace.root / "phantoms"
    inputs = ["-i", str(phantoms / "images"), "--masks", str(phantoms / "initial_masks"), "-m", str(trained)]
    return [*inputs, "-f", "0", "-device", "cpu", "--disable_tta", "-o", str(output)]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_ranking_without_scores(workplace, trained, study, capsys):
    assert main([*arguments_of(workplace, trained, study / "quality.csv"), "--merge"]) == 0
    assert "No scores were given: this is a ranking" in capsys.readouterr().out
    rows = table(study / "quality.csv")
    suspicions = [float(row["suspicion"]) for row in rows]
    assert suspicions == sorted(suspicions, reverse=True) and len(rows) > 12
    assert {row["quality"] for row in rows} == {row["certainty"] for row in rows} == {""}
    page = (study / "quality.html").read_text()
    assert page.count("<figure>") == len(rows) and "this is a ranking" in page


def test_estimates_from_scores_and_for_another_cohort(workplace, trained, study, capsys):
    arguments = arguments_of(workplace, trained, study / "quality.csv")
    scores = workplace.root / "phantoms" / "scores.csv"
    assert main([*arguments, "--scores", str(scores), "--overwrite", "--pictures", "2"]) == 0
    output = capsys.readouterr().out
    assert "0 cases measured, 6 were before" in output, "what was measured is kept"
    assert "each estimated without its patient" in output
    rows = table(study / "quality.csv")
    qualities = [float(row["quality"]) for row in rows]
    assert qualities == sorted(qualities) and 0 <= qualities[0] and qualities[-1] <= 5
    assert all(0 <= float(row["certainty"]) <= 1 for row in rows)
    assert {row["error"] for row in rows} <= {"under", "over", "both", "none"}
    assert (study / "quality.html").read_text().count("<figure>") == 2
    assert json.loads((study / "quality.json").read_text())["out_of_fold"]["patients"] == 6
    again = [*arguments, "--estimator", str(study / "quality.json"), "--overwrite"]
    assert main(again) == 0
    other = {(row["case"], row["region"]): float(row["quality"]) for row in table(study / "quality.csv")}
    assert other.keys() == {(row["case"], row["region"]) for row in rows}


@pytest.mark.parametrize(
    ("further", "expected"),
    [
        (("--scores", "s.csv", "--estimator", "e.json"), "--scores, --estimator: give one of them"),
        (("--patients", "p.csv"), "are for --scores"),
        (("-o", "quality.txt"), "is no name of a CSV file"),
        (("-num_parts", "2", "-part_id", "3"), "-part_id 3: parts are numbered from 0 to 1"),
        (("--merge", "-o", "elsewhere.csv"), "is not measured yet"),
        (("--scores", "nowhere.csv"), "nowhere.csv"),
        (("--pictures", "-1"), "--pictures -1: is not a whole number from 0"),
    ],
)
def test_bad_options(workplace, trained, further, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*arguments_of(workplace, trained, Path("quality.csv")), *further]) == 2
    assert expected in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_table_of_somebody_else_is_not_replaced(workplace, trained, tmp_path, capsys):
    (tmp_path / "quality.csv").write_text("precious")
    assert main([*arguments_of(workplace, trained, tmp_path / "quality.csv"), "--overwrite"]) == 2
    assert "is no file of this command" in capsys.readouterr().err
    assert (tmp_path / "quality.csv").read_text() == "precious"
