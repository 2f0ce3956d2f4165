"""Features that speak of errors, forests that learn from them, and what is stored."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.refinement import quality_model
from nnunet_weak.refinement.quality_features import FEATURES, add_cohort_features, region_features
from nnunet_weak.refinement.quality_model import (
    QualityEstimator,
    ScoredRegion,
    error_without_scores,
    rank_without_scores,
)
from nnunet_weak.refinement.quality_report import QualityRow, quality_csv, quality_html, sort_rows


@pytest.fixture(autouse=True)
def small_forests(monkeypatch):
    monkeypatch.setattr(quality_model, "TREES", 20)


SHAPE = (12, 14, 16)
SPACING = (2.0, 1.0, 0.5)


def box(z: slice, y: slice, x: slice) -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[z, y, x] = 1
    return array


MASK = box(slice(3, 9), slice(4, 10), slice(4, 12))


def softmax_of(labels: np.ndarray, certainty: float = 0.99) -> np.ndarray:
    return np.stack([np.where(labels == k, certainty, 1 - certainty) for k in (0, 1)]).astype(np.float32)


def features_of(refined: np.ndarray, **changed) -> dict[str, float]:
    given = {"probabilities": softmax_of(refined), "prior": MASK.astype(np.float32), "spacing_mm": SPACING, **changed}
    found = region_features(1, MASK, refined, **given)
    assert found is not None and set(found) == set(FEATURES) - {"volume_z", "components_z"}
    return found


def test_an_unchanged_mask():
    found = features_of(MASK)
    assert found["refined_dice"] == 1 and found["prior_auc"] == 1
    assert [found[name] for name in ("shift_mm", "distance_mm", "moved_boundary", "grown", "shrunk")] == [0] * 5
    assert found["components"] == 1 and found["largest_component"] == 1
    assert found["log_volume_mm3"] == pytest.approx(math.log(6 * 6 * 8))
    assert found["confidence"] == pytest.approx(0.99, abs=1e-5)
    certain = -(0.99 * math.log(0.99) + 0.01 * math.log(0.01)) / math.log(2)
    assert found["entropy"] == pytest.approx(certain, abs=1e-4)


def test_a_mask_that_is_too_small_is_shifted_outwards_and_one_too_large_inwards():
    larger = box(slice(2, 10), slice(2, 12), slice(0, 16))
    smaller = box(slice(5, 7), slice(6, 8), slice(7, 9))
    too_small, too_large = features_of(larger), features_of(smaller)
    assert too_small["shift_mm"] > 1 > 0 > -0.5 > too_large["shift_mm"]
    assert too_small["grown"] > 1 and too_small["shrunk"] == 0
    assert too_large["shrunk"] > 0.9 and too_large["grown"] == 0
    assert error_without_scores(too_small) == "under" and error_without_scores(too_large) == "over"
    assert error_without_scores(features_of(MASK)) == "none"
    assert error_without_scores({"grown": 0.1, "shrunk": 0.1}) == "both"


def test_uncertainty_and_disagreement_show():
    doubtful = features_of(MASK, probabilities=softmax_of(MASK, 0.6))
    assert doubtful["entropy"] > 0.9 > 0.2 > features_of(MASK)["entropy"]
    assert features_of(MASK, prior=1 - MASK.astype(np.float32))["prior_auc"] == 0
    assert math.isnan(features_of(MASK, prior=None)["prior_auc"])


def test_a_region_that_vanishes_and_one_that_is_empty():
    gone = features_of(np.zeros(SHAPE, np.uint8))
    assert gone["refined_dice"] == 0 and gone["moved_boundary"] == 1 and gone["shift_mm"] < 0
    assert region_features(2, MASK, MASK, softmax_of(MASK), None, SPACING) is None


def test_the_cohort_is_the_same_region_of_all_cases():
    rows = [{"log_volume_mm3": value, "components": 1.0} for value in (1, 2, 3, 4, 5, 20, 21, 22)]
    completed = add_cohort_features(rows, ["a"] * 5 + ["b"] * 3)
    assert [row["volume_z"] for row in completed[5:]] == pytest.approx([-0.674, 0, 0.674], abs=1e-3)
    assert completed[2]["volume_z"] == 0 and all(row["components_z"] == 0 for row in completed)


def scored(count: int = 40, seed: int = 0, patients: int = 20) -> list[ScoredRegion]:
    """Qualities that follow from two of the features, and noise in the others."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        features = {name: float(rng.normal()) for name in FEATURES}
        features["refined_dice"] = float(rng.uniform(0.4, 1))
        features["prior_auc"] = math.nan
        features["shift_mm"] = float(rng.choice([-2.0, 2.0]))
        quality = float(np.clip(10 * (features["refined_dice"] - 0.5) + rng.normal(0, 0.2), 0, 5))
        error = "under" if features["shift_mm"] > 0 else "over"
        rows.append(ScoredRegion(f"c{number}", "bone", f"p{number % patients}", features, quality, error))
    return rows


def test_forests_learn_and_are_judged_on_other_patients():
    found = QualityEstimator(scored()).out_of_fold
    assert found.patients == 20 and found.rows == 40
    assert found.mean_absolute_error < 0.6 * found.median_guess_error
    assert found.spearman > 0.85 and found.error_accuracy > 0.9
    assert "always the median" in found.describe()


def test_nothing_is_learned_from_noise():
    """Out of fold, where an error measured on the training rows would look good."""
    rng = np.random.default_rng(1)
    rows = [ScoredRegion(r.case, r.region, r.patient, r.features, float(rng.uniform(0, 5)), r.error) for r in scored()]
    found = QualityEstimator(rows).out_of_fold
    assert found.spearman < 0.4 and found.mean_absolute_error > 0.8 * found.median_guess_error


def test_no_patient_is_on_both_sides():
    """Patients with a quality of their own that no feature tells: known ones would be guessed by their features."""
    rng = np.random.default_rng(2)
    rows = []
    for number in range(40):
        patient = number % 10
        features = {name: float(patient * 7 % 10 + rng.normal(0, 0.01)) for name in FEATURES}
        rows.append(ScoredRegion(f"c{number}", "bone", f"p{patient}", features, float((patient * 3) % 6 % 5), "under"))
    together = QualityEstimator(rows).out_of_fold
    each_its_own = QualityEstimator(
        [ScoredRegion(r.case, r.region, r.case, r.features, r.quality, r.error) for r in rows]
    ).out_of_fold
    assert each_its_own.mean_absolute_error < 0.5 * together.mean_absolute_error


def test_a_stored_estimator_is_the_same(tmp_path: Path):
    estimator = QualityEstimator(scored())
    path = tmp_path / "quality.json"
    estimator.save(path)
    again = QualityEstimator.load(path)
    new = [row.features for row in scored(5, seed=9)]
    assert again.estimate(new, ["bone"] * 5) == estimator.estimate(new, ["bone"] * 5)
    assert again.out_of_fold == estimator.out_of_fold
    assert estimator.estimate(new, ["unknown"] * 5) and estimator.estimate([], []) == []


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda content: content.pop("rows"), "no file of nnunet_weak_estimate_quality"),
        (lambda content: content["features"].pop(), "has other features than this version"),
        (lambda content: content["rows"][0].pop("quality"), "no file of nnunet_weak_estimate_quality"),
        (lambda content: content["rows"][0].update(quality="good"), "no file of nnunet_weak_estimate_quality"),
    ],
)
def test_damaged_estimators(tmp_path: Path, damage, expected: str):
    path = tmp_path / "quality.json"
    QualityEstimator(scored(12)).save(path)
    content = json.loads(path.read_text())
    damage(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidInputError, match=expected):
        QualityEstimator.load(path)


def test_too_few_scores():
    with pytest.raises(InvalidInputError, match="9 scored regions, at least 10 are needed"):
        QualityEstimator(scored(9))
    with pytest.raises(InvalidInputError, match="all are of one patient"):
        QualityEstimator(scored(12, patients=1))


def test_the_ranking_without_scores():
    features = [
        {"refined_dice": d, "moved_boundary": 1 - d, "entropy": 1 - d, "confidence": d, "prior_auc": math.nan,
         "volume_z": 0.0}
        for d in (0.9, 0.5, 0.7)
    ]  # fmt: skip
    ranks = rank_without_scores(features)
    assert ranks[1] > ranks[2] > ranks[0] and 0 <= min(ranks) and max(ranks) <= 1
    assert rank_without_scores(features[:1]) == [0.5]


def test_table_and_page():
    rows = sort_rows(
        [
            QualityRow("=b", "<bone>", 4.0, "none", 0.9, 0.1, {"refined_dice": 1.0}),
            QualityRow("a", "<bone>", 1.26, "under", 0.5, 0.9, {"refined_dice": math.nan}),
        ]
    )
    table = list(csv.DictReader(io.StringIO(quality_csv(rows))))
    assert [row["case"] for row in table] == ["a", "'=b"]
    assert table[0]["quality"] == "1.26" and table[0]["refined_dice"] == "" and table[1]["refined_dice"] == "1"
    page = quality_html(rows, "as good as <that>", lambda row: b"png" if row.case == "a" else None, 1)
    assert page.count("<figure>") == 1 and "&lt;bone&gt;" in page and "<bone>" not in page
    assert "1 more are in the table" in page and "as good as &lt;that&gt;." in page and "<script" not in page
    ranking = sort_rows([QualityRow("a", "r", None, "none", None, s, {}) for s in (0.2, 0.8)])
    assert [row.suspicion for row in ranking] == [0.8, 0.2]
