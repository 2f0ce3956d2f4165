"""What `nnunet_weak_convert_scores` can be told, on its command line or from Python."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from nnunet_weak.dataset.options import (
    ConversionOptions,
    add_dataset,
    add_image_options,
    add_images,
    add_running,
    common_fields,
)
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.priors import PRIOR_KINDS, PriorOptions
from nnunet_weak.scores.columns import parse_columns
from nnunet_weak.scores.inputs import TableFormat
from nnunet_weak.scores.regions import RegionSource, parse_regions
from nnunet_weak.scores.scale import Scale


@dataclass(frozen=True, kw_only=True)
class ScoreConversion(ConversionOptions):
    """What to convert, and how.

    Attributes:
        masks: Folder of initial masks, see `find_initial_masks`.
        scores: Table of scores, see `read_scores`.
        regions: The regions in the order of their labels, see `parse_regions`.
        prior: How the boundary prior is made; kind `none` leaves the channel out.
        prior_folder: Folder of boundary priors, for the kind `file`.
        table_format: How to read the scores.
        other_labels: What to do about values of a mask that belong to no region.
        allow_many_channels: Accept any estimate of memory.
    """

    not_recorded: ClassVar[frozenset[str]] = ConversionOptions.not_recorded | {"allow_many_channels"}

    masks: Path
    scores: Path
    regions: tuple[RegionSource, ...]
    prior: PriorOptions = field(default_factory=PriorOptions)
    prior_folder: Path | None = None
    table_format: TableFormat = field(default_factory=TableFormat)
    other_labels: Literal["refuse", "background"] = "refuse"
    allow_many_channels: bool = False


def parse_options(argv: Sequence[str] | None = None) -> ScoreConversion:
    """Read the command line.

    Raises:
        InvalidInputError: A value that argparse cannot judge.
    """
    arguments = _parser().parse_args(argv)
    kind, _, folder = arguments.prior.partition("=")
    if kind not in PRIOR_KINDS or (folder and kind != "file"):
        raise InvalidInputError(
            f"--prior {arguments.prior}: choose {', '.join(PRIOR_KINDS)}; a folder goes with file=DIR only"
        )
    return ScoreConversion(
        **common_fields(arguments),
        masks=arguments.masks,
        scores=arguments.scores,
        regions=parse_regions(arguments.regions),
        prior=PriorOptions.from_json({"kind": kind, **_prior_fields(arguments.prior_options)}, "--prior-options"),
        prior_folder=Path(folder) if folder else None,
        table_format=TableFormat(
            parse_columns(arguments.columns) if arguments.columns else None,
            Scale.parse(arguments.scale) if arguments.scale else None,
            arguments.table_layout,
            arguments.sheet,
        ),
        other_labels=arguments.other_labels,
        allow_many_channels=arguments.allow_many_channels,
    )


def _prior_fields(texts: Sequence[str]) -> dict[str, float]:
    fields = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            fields[name] = float(value)
        except ValueError as error:
            raise InvalidInputError(
                f"--prior-options {text}: write NAME=NUMBER, for example upper_percentile=99"
            ) from error
    return fields


_EPILOG = """
example: 40 CTs with TotalSegmentator's masks, scored in a spreadsheet with the columns case, region, quality, error
  images/case_01.nii.gz
  masks/case_01/segmentations/humerus_left.nii.gz, humerus_right.nii.gz, rib_left_1.nii.gz, ...

  nnunet_weak_convert_scores --images images --masks masks --scores scores.xlsx \\
      --regions humerus=humerus_left,humerus_right 'ribs=rib_*' -d 511 -n HumerusScore --dry-run

Look at the table it prints, then run it again without --dry-run, and go on with
  nnUNetv2_plan_and_preprocess -d 511 --verify_dataset_integrity
  nnUNetv2_train 511 3d_fullres 0 -tr nnUNetTrainerSCORE

Qualities run from 0 (unusable) to 5 (excellent); errors are under, over, both or none. Regions that have no score keep
their mask.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnunet_weak_convert_scores",
        description="Make an nnU-Net data set for SCORE of images, automatic masks and quality scores.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    need = parser.add_argument_group("what to convert")
    add_images(need)
    need.add_argument(
        "--masks",
        type=Path,
        required=True,
        metavar="DIR",
        help="initial masks: a label map CASE.nii.gz, or a folder CASE with a binary file for each structure "
        "(TotalSegmentator)",
    )
    need.add_argument(
        "--scores",
        type=Path,
        required=True,
        metavar="FILE",
        help="CSV, TSV, XLSX or JSON, one row for each case and region or one for each case",
    )
    need.add_argument(
        "--regions",
        nargs="+",
        required=True,
        metavar="NAME=SOURCE",
        help="regions in the order of their labels: NAME=3,7-9 (labels of a label map), NAME='rib_*' (files), or "
        "NAME alone (the file of that name); where files overlap the first-named region wins",
    )
    add_dataset(need)
    images = parser.add_argument_group("images and masks")
    add_image_options(
        images,
        references="reference labels of some or all cases, as the masks are or as label maps 1, 2, ...; these cases "
        "count as fully annotated",
    )
    images.add_argument(
        "--other-labels",
        choices=("refuse", "background"),
        default="refuse",
        help="values of a mask that belong to no region (default: %(default)s)",
    )
    prior = parser.add_argument_group("boundary prior")
    prior.add_argument(
        "--prior",
        default="otsu",
        metavar="KIND",
        help=f"{', '.join(PRIOR_KINDS)}; file=DIR takes DIR/CASE.nii.gz (default: %(default)s)",
    )
    prior.add_argument(
        "--prior-options",
        nargs="+",
        default=(),
        metavar="NAME=NUMBER",
        help="for example upper_percentile=99 reach_mm=15",
    )
    table = parser.add_argument_group("table of scores")
    table.add_argument(
        "--columns",
        metavar="FIELD=HEADER,...",
        help="headers that are not recognised by themselves, for example quality=Note,case=Patient",
    )
    table.add_argument("--scale", metavar="BEST:WORST", help="the scale of the scores, for example 1:4 (default: 5:0)")
    table.add_argument(
        "--table-layout",
        choices=("auto", "long", "wide"),
        default="auto",
        help="rows are cases and regions (long), or cases (wide) (default: %(default)s)",
    )
    table.add_argument("--sheet", metavar="NAME", help="sheet of a workbook")
    run = parser.add_argument_group("running")
    add_running(
        run,
        dry_run="check everything, print the matched table and every name that does not match, write nothing",
        allow_missing="leave out cases without mask or prior and scores without a case; take cases without scores",
    )
    run.add_argument("--allow-many-channels", action="store_true", help="accept a high estimate of memory")
    return parser
