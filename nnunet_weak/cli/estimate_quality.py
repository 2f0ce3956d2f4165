"""`nnunet_weak_estimate_quality`: which masks of a cohort to look at first, and how good each is likely to be."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_weak.cli.console import console_command
from nnunet_weak.cli.refinement import ModelOptions
from nnunet_weak.dataset.annotations import RegionScore, error_name
from nnunet_weak.dataset.parts import Parts
from nnunet_weak.dataset.patients import read_patients
from nnunet_weak.errors import Problems
from nnunet_weak.images.outputs import check_output_file
from nnunet_weak.options import RUN, option, parse, read_count
from nnunet_weak.scores.inference import ScoreNetwork, find_inference_cases, read_network
from nnunet_weak.scores.options import parse_columns

if TYPE_CHECKING:
    from nnunet_weak.refinement.quality import MeasuredRegion
    from nnunet_weak.refinement.quality_model import QualityEstimator
    from nnunet_weak.refinement.quality_report import QualityRow

SCORES = "scores, from which estimates are learned"

_EPILOG = """
example: some masks of a cohort are scored, which others are bad?
  nnunet_weak_estimate_quality -i cts --masks masks -o quality.csv --scores scores.csv --patients patients.csv \\
      -m "$nnUNet_results/Dataset511_HumerusScore/nnUNetTrainerSCORE__nnUNetPlans__3d_fullres"
  nnunet_weak_annotate study --task scores --annotator anna --order quality.csv

written beside each other:
  quality.csv         worst first: quality 0 to 5, likely error, certainty (share of trees within a point), features
  quality.html        the same with a picture of each region
  quality.json        the estimator, as numbers; --estimator quality.json uses it for another cohort
  quality_cases/      features and pictures of each case; what is there is not measured again

The error of the estimates is measured on patients that they were not learned from, and printed. Without --scores and
--estimator there is a ranking alone. Regions that are empty in a mask are left out.
On four machines: -num_parts 4 -part_id 0 to -part_id 3, then once -num_parts 4 --merge.
"""


@dataclass(frozen=True, kw_only=True)
class QualityEstimation(ModelOptions, Parts):
    """Options of the command."""

    output: Path = option("-o", metavar="CSV", help="table to write, worst first")
    scores: Path | None = option(
        default=None,
        group=SCORES,
        metavar="FILE",
        help="scores of some of the cases, as for nnunet_weak_convert_scores; at least 10",
    )
    columns: Mapping[str, str] | None = option(
        default=None, group=SCORES, metavar="FIELD=HEADER,...", read=parse_columns, help="as for the converter"
    )
    patients: Path | None = option(
        default=None, group=SCORES, metavar="CSV", help="table with the columns case and patient (default: each is one)"
    )
    estimator: Path | None = option(
        default=None, group=SCORES, metavar="JSON", help="instead: estimator of an earlier run"
    )
    pictures: int = option(
        default=200,
        group=RUN,
        read=partial(read_count, "--pictures", least=0),
        metavar="N",
        help="regions that the page shows (default: %(default)s)",
    )
    merge: bool = option(default=False, group=RUN, help="all parts are done: write the table, and measure nothing")
    overwrite: bool = option(default=False, group=RUN, help="replace the table of an earlier run")

    def __post_init__(self) -> None:
        """Refuse options that contradict each other, and an output among the inputs."""
        problems = Problems()
        self.check_part(problems)
        if self.scores is not None and self.estimator is not None:
            problems.add("--scores, --estimator", "give one of them", "--estimator for a cohort without scores")
        if (self.patients or self.columns) and self.scores is None:
            problems.add("--patients, --columns", "are for --scores", "give --scores FILE as well")
        if self.output.suffix != ".csv":
            problems.add(f"-o {self.output}", "is no name of a CSV file", "name it quality.csv, for example")
        inputs = (self.images, self.masks, self.prior_folder, Path(self.model), self.scores, self.estimator)
        for path, begins_with in ((self.output, b"case,region,"), (self.page, b"<!DOCTYPE html>")):
            problems.attempt(
                check_output_file,
                path,
                overwrite=self.overwrite,
                inputs=inputs,
                begins_with=begins_with,
                option="-o",
            )
        problems.raise_if_any()

    @property
    def page(self) -> Path:
        """The page beside the table."""
        return self.output.with_suffix(".html")

    @property
    def cases_folder(self) -> Path:
        """Features and pictures of each case."""
        return self.output.with_name(f"{self.output.stem}_cases")


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run `nnunet_weak_estimate_quality`."""
    options = parse(
        QualityEstimation,
        sys.argv[1:] if argv is None else argv,
        prog="nnunet_weak_estimate_quality",
        description="Estimate the quality of masks without references, from what a network trained by SCORE makes of "
        "them.",
        epilog=_EPILOG,
    )

    from nnunet_weak.images.atomic import atomic_file
    from nnunet_weak.refinement.quality import measure_cases, picture_path, read_measured
    from nnunet_weak.refinement.quality_report import NO_SCORES, quality_csv, quality_html, sort_rows

    network = read_network(options)
    cases = find_inference_cases(options, network)
    scores = _read_scores(options, network, list(cases))
    if not options.merge:
        measured, before = measure_cases(
            options.load(network, independent=True),
            options.of(cases),
            options.cases_folder,
            options.prediction_settings,
            other_labels=options.other_labels,
        )
        print(f"{measured} cases measured, {before} were before")
        if options.num_parts > 1:
            print(f"When all {options.num_parts} parts are done, run the command once with --merge")
            return 0
    regions = network.annotations.channels.masks
    found = read_measured(list(cases), regions, options.cases_folder)
    estimator, rows = _estimate(options, scores, found)
    rows = sort_rows(rows)
    if estimator is not None and scores:
        estimator.save(options.output.with_suffix(".json"))
    remark = NO_SCORES if estimator is None else estimator.out_of_fold.describe()
    numbers = {region: number for number, region in enumerate(regions, start=1)}

    def picture(row: QualityRow) -> bytes | None:
        path = picture_path(options.cases_folder, row.case, numbers[row.region])
        return path.read_bytes() if path.is_file() else None

    for path, text in (
        (options.output, quality_csv(rows)),
        (options.page, quality_html(rows, remark, picture, options.pictures)),
    ):
        with atomic_file(path) as partial_file:
            partial_file.write_text(text, encoding="utf-8")
    print(remark)
    print(f"{options.output}: {len(rows)} regions of {len(cases)} cases, worst first; {options.page} shows them")
    return 0


def _read_scores(
    options: QualityEstimation, network: ScoreNetwork, cases: Sequence[str]
) -> dict[tuple[str, str], tuple[RegionScore, str]]:
    """Score and patient of each scored region; empty without a table."""
    if options.scores is None:
        return {}
    scores = options.read_scores(network, cases, options.scores, options.columns)
    patients = {case: case for case in cases}
    if options.patients is not None:
        patients = read_patients(options.patients, cases)
    return {(case, region): (score, patients[case]) for case, row in scores.items() for region, score in row.items()}


def _estimate(
    options: QualityEstimation,
    scores: Mapping[tuple[str, str], tuple[RegionScore, str]],
    found: Sequence[MeasuredRegion],
) -> tuple[QualityEstimator | None, list[QualityRow]]:
    """Estimate every region; scored ones by models that have not seen their patient."""
    from nnunet_weak.refinement.quality_features import add_cohort_features
    from nnunet_weak.refinement.quality_model import (
        QualityEstimator,
        ScoredRegion,
        error_without_scores,
        rank_without_scores,
    )
    from nnunet_weak.refinement.quality_report import QualityRow

    regions = [row.region for row in found]
    features = add_cohort_features([row.features for row in found], regions)
    suspicions = rank_without_scores(features)
    keys = [(row.case, row.region) for row in found]
    estimator: QualityEstimator | None = None
    if options.estimator is not None:
        estimator = QualityEstimator.load(options.estimator)
    elif scores:
        estimator = QualityEstimator(
            [
                ScoredRegion(
                    *key,
                    patient=scores[key][1],
                    features=row,
                    quality=scores[key][0].quality,
                    error=error_name(scores[key][0].error),
                )
                for key, row in zip(keys, features, strict=True)
                if key in scores
            ]
        )
    if estimator is None:
        return None, [
            QualityRow(*key, None, error_without_scores(row), None, suspicion, row)
            for key, row, suspicion in zip(keys, features, suspicions, strict=True)
        ]
    unseen = {}
    if scores:
        unseen = {
            (row.case, row.region): value for row, value in zip(estimator.rows, estimator.predictions, strict=True)
        }
    estimates = estimator.estimate(features, regions)
    return estimator, [
        QualityRow(*key, float(unseen.get(key, one.quality)), one.error, one.certainty, suspicion, row)
        for key, row, suspicion, one in zip(keys, features, suspicions, estimates, strict=True)
    ]


if __name__ == "__main__":
    raise SystemExit(main(None))
