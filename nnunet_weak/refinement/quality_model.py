"""From features to a quality: the mean of a small random forest and a ridge regression, trained on the scored cases.

A second forest tells the error type. All are judged out of fold. With a hundred cases forest and ridge err differently:
their mean ranked the development cases of both data sets of `benchmarks/quality.py` better than either.

The file of an estimator holds the feature table and the scores as JSON, and no program: reading it trains them again,
which takes a second and gives the same numbers.

Reference: Breiman, Random forests, Machine Learning 45 (2001); for quality regression from label-free features
Robinson et al., Real-time prediction of segmentation quality, MICCAI 2018.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_weak import __version__
from nnunet_weak.dataset.annotations import BEST_QUALITY
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.atomic import atomic_file
from nnunet_weak.images.json_files import load_json
from nnunet_weak.refinement.quality_features import FEATURES, features_from_json, features_to_json

ERRORS = ("under", "over", "both", "none")
FEWEST_SCORES = 10
"""With fewer scored regions nothing is better than their median."""

FOLDS = 5
TREES = 100
_SEED = 0
_AGREEMENT_POINTS = 1.0
_RIDGE_PENALTIES = np.logspace(0, 3, 13)

SUSPICION = {
    "refined_dice": -1,
    "moved_boundary": 1,
    "entropy": 1,
    "confidence": -1,
    "prior_auc": -1,
}
"""Features of the ranking without scores, and their sign: 1 where a high value is suspicious."""


@dataclass(frozen=True)
class ScoredRegion:
    """A row of the training table."""

    case: str
    region: str
    patient: str
    features: Mapping[str, float]
    quality: float
    error: str


@dataclass(frozen=True)
class OutOfFold:
    """How good the estimates are for patients that no model has seen.

    Attributes:
        rows: Scored regions.
        patients: Patients; whole ones are held out.
        mean_absolute_error: In points.
        median_guess_error: The same for the median quality of the other folds.
        spearman: Rank correlation with the scores; NaN where all are equal.
        error_accuracy: Share of right error types.
        commonest_error_share: Share of the commonest one.
    """

    rows: int
    patients: int
    mean_absolute_error: float
    median_guess_error: float
    spearman: float
    error_accuracy: float
    commonest_error_share: float

    def describe(self) -> str:
        """As a sentence."""
        return (
            f"{self.rows} scored regions of {self.patients} patients, each estimated without its patient: off by "
            f"{self.mean_absolute_error:.2f} points on average (always the median: {self.median_guess_error:.2f}), "
            f"rank correlation {self.spearman:.2f}, error type right in {self.error_accuracy:.0%} "
            f"(always the commonest: {self.commonest_error_share:.0%})"
        )


@dataclass(frozen=True)
class Estimate:
    """Quality of a region, its likely error type, and the share of trees within a point of the estimate."""

    quality: float
    error: str
    certainty: float


class QualityEstimator:
    """Models trained on scored regions.

    Args:
        rows: The scored regions.

    Raises:
        InvalidInputError: Too few of them, or all of one patient.

    Attributes:
        out_of_fold: How good it is.
        predictions: Out-of-fold quality of each row.
    """

    def __init__(self, rows: Sequence[ScoredRegion]) -> None:
        patients = sorted({row.patient for row in rows})
        problems = Problems()
        if len(rows) < FEWEST_SCORES:
            problems.add("scores", f"{len(rows)} scored regions, at least {FEWEST_SCORES} are needed", "score more")
        if len(patients) < 2:
            problems.add("scores", "all are of one patient, so nothing tells how good estimates are", "score others")
        problems.raise_if_any()
        self.rows = tuple(rows)
        self._regions = sorted({row.region for row in rows})
        features = [row.features for row in rows]
        self._neutral = np.array([_median_of_known(column) for column in _values(features).T])
        table = self._table(features, [row.region for row in rows])
        qualities = np.array([row.quality for row in rows])
        errors = np.array([row.error for row in rows])
        self._models = _fit(table, qualities, errors)
        self.predictions, self.out_of_fold = self._cross_validate(table, qualities, errors)

    def estimate(self, features: Sequence[Mapping[str, float]], regions: Sequence[str]) -> list[Estimate]:
        """Estimate regions, each by its features and its name."""
        if not features:
            return []
        table = self._table(features, regions)
        trees = np.stack([tree.predict(table) for tree in self._models.forest.estimators_])
        qualities = self._models.estimate(table)
        certainties = (np.abs(trees - qualities) <= _AGREEMENT_POINTS).mean(0)
        errors = self._models.errors.predict(table)
        return [Estimate(float(q), str(e), float(c)) for q, e, c in zip(qualities, errors, certainties, strict=True)]

    def save(self, path: Path) -> None:
        """Write table, scores and out-of-fold error."""
        content = {
            "nnunet_weak": __version__,
            "features": list(FEATURES),
            "out_of_fold": features_to_json(asdict(self.out_of_fold)),
            "rows": [{**asdict(row), "features": features_to_json(row.features)} for row in self.rows],
        }
        with atomic_file(path) as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> QualityEstimator:
        """Read an estimator, and train its forests again.

        Raises:
            InvalidInputError: No such file, or not one that `save` wrote.
        """
        content = load_json(path)
        try:
            if content["features"] != list(FEATURES):
                raise InvalidInputError(f"{path}: has other features than this version (remedy: train it again)")
            rows = [
                ScoredRegion(
                    str(row["case"]),
                    str(row["region"]),
                    str(row["patient"]),
                    features_from_json({name: row["features"][name] for name in FEATURES}),
                    float(row["quality"]),
                    str(row["error"]),
                )
                for row in content["rows"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InvalidInputError):
                raise
            raise InvalidInputError(
                f"{path}: no file of nnunet_weak_estimate_quality ({type(error).__name__}: {error})"
            ) from error
        return cls(rows)

    def _table(self, features: Sequence[Mapping[str, float]], regions: Sequence[str]) -> np.ndarray:
        """Features, and which region it is; what is unknown is taken as the neutral value of its column."""
        values = _values(features)
        values = np.where(np.isfinite(values), values, self._neutral)
        which = np.array([[float(region == name) for name in self._regions] for region in regions])
        return np.hstack([values, which])

    def _cross_validate(
        self, table: np.ndarray, qualities: np.ndarray, errors: np.ndarray
    ) -> tuple[np.ndarray, OutOfFold]:
        from scipy.stats import spearmanr
        from sklearn.model_selection import GroupKFold

        patients = np.array([row.patient for row in self.rows])
        count = len(set(patients))
        predicted, guessed = np.zeros(len(table)), np.zeros(len(table))
        right = np.zeros(len(table), bool)
        for train, held_out in GroupKFold(min(FOLDS, count)).split(table, groups=patients):
            models = _fit(table[train], qualities[train], errors[train])
            predicted[held_out] = models.estimate(table[held_out])
            guessed[held_out] = np.median(qualities[train])
            right[held_out] = models.errors.predict(table[held_out]) == errors[held_out]
        constant = np.ptp(qualities) == 0 or np.ptp(predicted) == 0
        _, counts = np.unique(errors, return_counts=True)
        return predicted, OutOfFold(
            rows=len(table),
            patients=count,
            mean_absolute_error=float(np.abs(predicted - qualities).mean()),
            median_guess_error=float(np.abs(guessed - qualities).mean()),
            spearman=math.nan if constant else float(spearmanr(predicted, qualities).statistic),
            error_accuracy=float(right.mean()),
            commonest_error_share=float(counts.max() / len(table)),
        )


def rank_without_scores(features: Sequence[Mapping[str, float]]) -> list[float]:
    """Suspicion of each region, 0 to 1: the mean rank among all of those features that are known."""
    from scipy.stats import rankdata

    ranks = []
    for name, sign in SUSPICION.items():
        values = np.array([row[name] for row in features])
        if np.isfinite(values).all() and len(values) > 1:
            ranks.append((rankdata(sign * values) - 1) / (len(values) - 1))
    deviant = np.abs([row["volume_z"] for row in features])
    if len(deviant) > 1:
        ranks.append((rankdata(deviant) - 1) / (len(deviant) - 1))
    return [float(value) for value in np.mean(ranks, axis=0)] if ranks else [0.5] * len(features)


def error_without_scores(features: Mapping[str, float]) -> str:
    """Error type that the refinement's changes speak of: one side where two thirds of them are on it."""
    grown, shrunk = features["grown"], features["shrunk"]
    total = grown + shrunk
    if total < 0.02:  # noise of any boundary
        return "none"
    return "under" if grown > 2 / 3 * total else "over" if shrunk > 2 / 3 * total else "both"


@dataclass(frozen=True)
class _Models:
    forest: Any
    ridge: Any
    errors: Any

    def estimate(self, table: np.ndarray) -> np.ndarray:
        return np.clip((self.forest.predict(table) + self.ridge.predict(table)) / 2, 0, BEST_QUALITY)


def _fit(table: np.ndarray, qualities: np.ndarray, errors: np.ndarray) -> _Models:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    settings: dict[str, Any] = {"n_estimators": TREES, "random_state": _SEED, "max_features": 0.5}
    forest = RandomForestRegressor(min_samples_leaf=2, **settings).fit(table, qualities)
    ridge = make_pipeline(StandardScaler(), RidgeCV(_RIDGE_PENALTIES)).fit(table, qualities)
    classifier = RandomForestClassifier(min_samples_leaf=2, class_weight="balanced", **settings).fit(table, errors)
    return _Models(forest, ridge, classifier)


def _values(features: Sequence[Mapping[str, float]]) -> np.ndarray:
    """Features as a table, NaN where one is unknown."""
    values = np.array([[row.get(name, math.nan) for name in FEATURES] for row in features], float)
    return np.where(np.isfinite(values), values, np.nan)


def _median_of_known(column: np.ndarray) -> float:
    known = column[np.isfinite(column)]
    return float(np.median(known)) if known.size else 0.0
