"""`nnunet_weak_simulate_scores`: quality scores for SCORE from reference segmentations, for benchmarks and teaching."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_weak.cli.console import console_command
from nnunet_weak.cli.reference_cases import files_by_case
from nnunet_weak.errors import InvalidInputError, Problems

if TYPE_CHECKING:
    from nnunet_weak.priors import BandAssessment

_EPILOG = """\
the rule, for each region of each case:
  The volume that is missing or too much, over the area of the region's surface, is the mean distance between the two
  surfaces. Quality is 5 minus that distance over --mm-per-point, rounded to --step, not below 0. Quality 5 has error
  type "none". Below, the type is "over" if at least three quarters of the wrong volume are too much, "under" if at most
  a quarter is, "both" in between.
  A region that neither the reference nor the mask shows gets no score.

examples:
  nnunet_weak_simulate_scores --references labels --masks initial_masks --regions head=1 shaft=2 -o scores.csv
  nnunet_weak_simulate_scores --references labelsTr --masks predictions --dataset-json dataset.json -o scores.csv
  Several labels that count as one, where the masks have 1 and the references 1 and 2:
  nnunet_weak_simulate_scores --references labels --masks initial_masks --regions hippocampus=1,2 -o scores.csv
  Three raters who are about half a point apart:
  nnunet_weak_simulate_scores ... --raters 3 --rater-noise 0.5 --seed 1 -o scores.csv
  Can SCORE help here? The AUC of each boundary prior near the masks' boundary says so, 0.5 being chance:
  nnunet_weak_simulate_scores ... --images images -o scores.csv
"""


@dataclass(frozen=True)
class _Job:
    case: str
    reference: Path
    mask: Path
    image: Path | None
    regions: Mapping[str, tuple[int, ...]]
    known_labels: frozenset[int] | None
    mm_per_point: float
    step: float
    rater_noise: float
    raters: int
    seed: int


@dataclass(frozen=True)
class _Scored:
    rows: list[dict[str, str | float]]
    priors: Mapping[str, BandAssessment]
    problems: tuple[str, ...] = ()


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    args = _parser().parse_args(argv)

    import pandas as pd

    from nnunet_weak.parallel import default_processes, run_tasks
    from nnunet_weak.simulation.prior_check import prior_summary
    from nnunet_weak.simulation.scores import score_summary

    problems = Problems()
    regions, ignored = _regions(args, problems)
    _check_options(args, problems)
    jobs = _jobs(args, regions, ignored, problems)
    problems.raise_if_any("nnunet_weak_simulate_scores")

    results = run_tasks(_score_case, jobs, processes=args.np or default_processes(), description="scores")
    for result in results:
        if result.problems:
            problems.extend(InvalidInputError(result.problems))
    rows = [row for result in results for row in result.rows]
    if not rows and not len(problems):
        problems.add(str(args.masks), f"none of the regions {', '.join(regions)} occurs in any case", "check --regions")
    problems.raise_if_any("nnunet_weak_simulate_scores")

    partial = args.output.with_name(f".{args.output.name}.partial")
    try:
        pd.DataFrame(rows).to_csv(partial, index=False, lineterminator="\n")
        os.replace(partial, args.output)
    finally:
        partial.unlink(missing_ok=True)
    noise = f", {args.raters} raters, noise {args.rater_noise:g}, seed {args.seed}" if args.rater_noise else ""
    print(f"{args.output}: {len(rows)} scores of {len(jobs)} cases, {args.mm_per_point:g} mm per point{noise}")
    print(score_summary(rows, list(regions)))
    if args.images is not None:
        print("\nBoundary priors against the references, in the band of 2 voxels around the masks:")
        print(prior_summary([result.priors for result in results]))
    return 0


def _score_case(job: _Job) -> _Scored:
    import numpy as np
    import SimpleITK as sitk

    from nnunet_weak.images.read import geometry_difference, read_image, read_label_map
    from nnunet_weak.simulation.prior_check import assess_priors
    from nnunet_weak.simulation.scores import rater_rng, score_rows, simulate_scores

    try:
        reference, mask = read_label_map(job.reference), read_label_map(job.mask)
        image = None if job.image is None else read_image(job.image)
    except InvalidInputError as error:
        return _Scored([], {}, error.problems)
    problems = Problems()
    for path, other in ((job.mask, mask), (job.image, image)):
        difference = "" if other is None else geometry_difference(reference, other)
        if difference:
            problems.add(str(path), f"not on the grid of its reference: {difference}", "resample one to the other")
    true, given = (sitk.GetArrayViewFromImage(part) for part in (reference, mask))
    for path, array in ((job.reference, true), (job.mask, given)):
        unknown = set() if job.known_labels is None else set(np.unique(array).tolist()) - job.known_labels
        if unknown:
            problems.add(
                str(path),
                f"holds the values {sorted(unknown)}, which no region names",
                "name them in --regions, as in bone=1,2, or give --other-labels background",
            )
    if len(problems):
        return _Scored([], {}, tuple(problems))
    rows: list[dict[str, str | float]] = []
    for rater in range(1, job.raters + 1):
        scores = simulate_scores(
            true,
            given,
            job.regions,
            reference.GetSpacing()[::-1],
            mm_per_point=job.mm_per_point,
            step=job.step,
            rater_noise=job.rater_noise,
            rng=rater_rng(job.seed, job.case, rater),
        )
        rows += score_rows(job.case, scores, f"rater_{rater}" if job.raters > 1 else None)
    return _Scored(rows, {} if image is None else assess_priors(image, mask, reference, job.regions))


def _regions(args: argparse.Namespace, problems: Problems) -> tuple[dict[str, tuple[int, ...]], tuple[int, ...]]:
    """Label values of each region, and values that are neither region nor mistake (nnU-Net's ignore label)."""
    if args.dataset_json is not None:
        return _regions_of_dataset(args.dataset_json, problems)
    regions: dict[str, tuple[int, ...]] = {}
    for text in args.regions:
        name, _, values = text.partition("=")
        labels = _label_values(values)
        if not name or not labels or min(labels) < 1:
            problems.add(
                "--regions",
                f"{text!r} is not NAME=LABEL with labels from 1",
                "write head=1 shaft=2, or bone=1,2 and ribs=3-14 for a union",
            )
        elif name in regions:
            problems.add("--regions", f"{name!r} is named twice")
        else:
            regions[name] = labels
    return regions, ()


def _label_values(text: str) -> tuple[int, ...]:
    """Values of `3` or `1,2,7-9`; none where it is nothing of the kind."""
    values: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            return ()
        values += range(int(first), int(last or first) + 1)
    return tuple(values)


def _regions_of_dataset(path: Path, problems: Problems) -> tuple[dict[str, tuple[int, ...]], tuple[int, ...]]:
    path = path / "dataset.json" if path.is_dir() else path
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
        values = {name: tuple(value) if isinstance(value, list) else (value,) for name, value in labels.items()}
        whole = all(type(one) is int and one >= 0 for value in values.values() for one in value)
    except FileNotFoundError:
        problems.add(str(path), "no such file")
        return {}, ()
    except (ValueError, KeyError, TypeError, AttributeError):
        whole, values = False, {}
    ignored = values.pop("ignore", ())
    regions = {name: value for name, value in values.items() if value != (0,)}
    if not whole or not regions:
        problems.add(
            str(path),
            'no object "labels" with names and whole numbers, as nnU-Net has it',
            'add "labels": {"background": 0, ...}',
        )
        return {}, ()
    return regions, ignored


def _check_options(args: argparse.Namespace, problems: Problems) -> None:
    from nnunet_weak.simulation.scores import check_scoring_options

    problems.attempt(check_scoring_options, args.mm_per_point, args.step, args.rater_noise)
    if args.raters > 1 and args.rater_noise == 0:
        problems.add(
            "--raters",
            f"{args.raters} raters without noise would all say the same",
            "give --rater-noise 0.5, for example",
        )
    for option, value, least in (("--raters", args.raters, 1), ("--seed", args.seed, 0), ("-np", args.np, 1)):
        if value is not None and value < least:
            problems.add(option, f"{value} is below {least}")
    if not args.output.absolute().parent.is_dir():
        problems.add("--output", f"{args.output.absolute().parent}: no such folder")
    elif args.output.is_dir():
        problems.add("--output", f"{args.output} is a folder", "name a file, scores.csv for example")
    elif args.output.exists() and not args.overwrite:
        problems.add("--output", f"{args.output} exists already", "choose another name, or give --overwrite")


def _jobs(
    args: argparse.Namespace, regions: Mapping[str, tuple[int, ...]], ignored: tuple[int, ...], problems: Problems
) -> list[_Job]:
    masks, references = (files_by_case(folder, problems, "images") for folder in (args.masks, args.references))
    images = {} if args.images is None else files_by_case(args.images, problems, "images")
    # Names of an nnU-Net image folder end in the channel; the priors look at the first one.
    images = {name.removesuffix("_0000"): path for name, path in images.items()} | images
    if masks and references:
        _note_missing(args.references, "reference", set(masks) - set(references), problems)
        if images:
            _note_missing(args.images, "image", set(masks) - set(images), problems)
    known = frozenset({0, *ignored, *(value for values in regions.values() for value in values)})
    return [
        _Job(
            case=case,
            reference=references[case],
            mask=mask,
            image=images.get(case),
            regions=regions,
            known_labels=None if args.other_labels == "background" else known,
            mm_per_point=args.mm_per_point,
            step=args.step,
            rater_noise=args.rater_noise,
            raters=args.raters,
            seed=args.seed,
        )
        for case, mask in masks.items()
        if case in references
    ]


def _note_missing(folder: Path, kind: str, missing: set[str], problems: Problems) -> None:
    if missing:
        names = sorted(missing)
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        problems.add(str(folder), f"no {kind} for {shown}", "the file names must be those of the masks, endings aside")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnunet_weak_simulate_scores",
        description="Score automatic masks by comparing them with reference segmentations, and write what a human "
        "rater would: a quality from 0 (unusable) to 5 (excellent) and an error type for each region. For benchmarks "
        "and teaching; real scores need no reference.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--references", type=Path, required=True, metavar="FOLDER", help="reference label maps")
    parser.add_argument(
        "--masks", type=Path, required=True, metavar="FOLDER", help="masks to score; same file names, same grids"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--regions",
        nargs="+",
        metavar="NAME=LABEL",
        help="regions and their label values, in references and masks alike",
    )
    what.add_argument(
        "--dataset-json", type=Path, metavar="FILE", help="take the regions from the labels of an nnU-Net dataset.json"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE.csv",
        help="table to write: case,region,quality,error[,rater]",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="also tell from the images (first channel) how well each boundary prior would guide the correction",
    )
    parser.add_argument(
        "--mm-per-point",
        type=float,
        default=0.5,
        metavar="MM",
        help="mean distance of the surfaces that costs one point (default: %(default)s mm)",
    )
    parser.add_argument(
        "--step", type=float, default=0.5, metavar="POINTS", help="scores are multiples of this (default: %(default)s)"
    )
    parser.add_argument(
        "--raters",
        type=int,
        default=1,
        metavar="N",
        help="number of raters; with several, a column says who (default: 1)",
    )
    parser.add_argument(
        "--rater-noise",
        type=float,
        default=0.0,
        metavar="POINTS",
        help="standard deviation of a rater's opinion (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the raters' noise (default: %(default)s)")
    parser.add_argument(
        "--other-labels",
        choices=("refuse", "background"),
        default="refuse",
        help="label values that no region names (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the table if it exists")
    parser.add_argument("-np", type=int, default=None, metavar="N", help="number of processes (default: all cores)")
    return parser
