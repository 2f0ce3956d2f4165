"""What `nnunet_weak_convert_scores` can be told, on its command line or from Python."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from nnunet_weak.dataset_conversion.cases import CaseLayout
from nnunet_weak.dataset_conversion.initial_masks import RegionSource, parse_regions
from nnunet_weak.dataset_conversion.score_inputs import TableFormat
from nnunet_weak.dataset_conversion.score_tables import Scale, parse_columns
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.parallel import default_processes
from nnunet_weak.priors import PRIOR_KINDS, PriorOptions
from nnunet_weak.raw_dataset import shortened
from nnunet_weak.splits import SPLIT_SEED
from nnunet_weak.volume_files import WRITABLE_ENDINGS

_HOW_NOT_WHAT = ("dry_run", "overwrite", "processes", "allow_many_channels")


@dataclass(frozen=True)
class ScoreConversion:
    """What to convert, and how.

    Attributes:
        images: Folder of images, see `discover_cases`.
        masks: Folder of initial masks, see `find_initial_masks`.
        scores: Table of scores, see `read_scores`.
        regions: The regions in the order of their labels, see `parse_regions`.
        dataset_id: Number of the data set.
        name: Its name.
        channel_names: Names of the image channels; None guesses CT or MRI from the intensities.
        prior: How the boundary prior is made; kind `none` leaves the channel out.
        prior_folder: Folder of boundary priors, for the kind `file`.
        references: Folder of reference labels; the cases in it are fully annotated.
        patients: CSV table of the patient of each case.
        channel_suffixes: Endings of file names by channel.
        case_layout: How images are stored.
        table_format: How to read the scores.
        other_labels: What to do about values of a mask that belong to no region.
        file_ending: Ending of the files to write.
        split_seed: Seed of the folds.
        allow_missing: Leave out what is incomplete.
        allow_many_channels: Accept any estimate of memory.
        dry_run: Check and report, write nothing.
        overwrite: Replace a data set of this number and name.
        processes: Number of processes.
    """

    images: Path
    masks: Path
    scores: Path
    regions: tuple[RegionSource, ...]
    dataset_id: int
    name: str
    channel_names: tuple[str, ...] | None = None
    prior: PriorOptions = field(default_factory=PriorOptions)
    prior_folder: Path | None = None
    references: Path | None = None
    patients: Path | None = None
    channel_suffixes: tuple[str, ...] | None = None
    case_layout: CaseLayout = "auto"
    table_format: TableFormat = field(default_factory=TableFormat)
    other_labels: Literal["refuse", "background"] = "refuse"
    file_ending: str = ".nii.gz"
    split_seed: int = SPLIT_SEED
    allow_missing: bool = False
    allow_many_channels: bool = False
    dry_run: bool = False
    overwrite: bool = False
    processes: int = 1

    def to_json(self) -> dict[str, Any]:
        """The options that decide what is written, for the record; folders by their names."""
        fields = {name: value for name, value in asdict(self).items() if name not in _HOW_NOT_WHAT}
        return {
            name: shortened(str(value)) if isinstance(value, Path) else value
            for name, value in fields.items()
            if value is not None
        }


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
        images=arguments.images,
        masks=arguments.masks,
        scores=arguments.scores,
        regions=parse_regions(arguments.regions),
        dataset_id=arguments.d,
        name=arguments.n,
        channel_names=tuple(arguments.channel_names) if arguments.channel_names else None,
        prior=PriorOptions.from_json({"kind": kind, **_prior_fields(arguments.prior_options)}, "--prior-options"),
        prior_folder=Path(folder) if folder else None,
        references=arguments.references,
        patients=arguments.patients,
        channel_suffixes=tuple(arguments.channel_suffixes) if arguments.channel_suffixes else None,
        case_layout=arguments.layout,
        table_format=TableFormat(
            parse_columns(arguments.columns) if arguments.columns else None,
            Scale.parse(arguments.scale) if arguments.scale else None,
            arguments.table_layout,
            arguments.sheet,
        ),
        other_labels=arguments.other_labels,
        file_ending=arguments.file_ending,
        split_seed=arguments.seed,
        allow_missing=arguments.allow_missing,
        allow_many_channels=arguments.allow_many_channels,
        dry_run=arguments.dry_run,
        overwrite=arguments.overwrite,
        processes=arguments.np,
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
    need.add_argument(
        "--images",
        type=Path,
        required=True,
        metavar="DIR",
        help="images: a file for each case, CASE_0000 for channels, or a folder for each case",
    )
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
    need.add_argument("-d", type=int, required=True, metavar="ID", help="number of the data set")
    need.add_argument("-n", required=True, metavar="NAME", help="name of the data set")
    images = parser.add_argument_group("images and masks")
    images.add_argument(
        "--channel-names",
        nargs="+",
        metavar="NAME",
        help="name of each image channel; CT has its own normalisation, any other name gets z-scores (default: CT if "
        "all images hold air of -1000 HU, else MRI)",
    )
    images.add_argument(
        "--channel-suffixes",
        nargs="+",
        metavar="SUFFIX",
        help="what file names end with, channel by channel, for example _T1 _T2",
    )
    images.add_argument(
        "--layout",
        choices=("auto", "files", "channels", "folders"),
        default="auto",
        help="how images are stored (default: %(default)s)",
    )
    images.add_argument(
        "--other-labels",
        choices=("refuse", "background"),
        default="refuse",
        help="values of a mask that belong to no region (default: %(default)s)",
    )
    images.add_argument(
        "--references",
        type=Path,
        metavar="DIR",
        help="reference labels of some or all cases, as the masks are or as label maps 1, 2, ...; these cases count "
        "as fully annotated",
    )
    images.add_argument(
        "--patients",
        type=Path,
        metavar="CSV",
        help="table with the columns case and patient; folds keep patients together",
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
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="check everything, print the matched table and every name that does not match, write nothing",
    )
    run.add_argument(
        "--allow-missing",
        action="store_true",
        help="leave out cases without mask or prior and scores without a case; take cases without scores",
    )
    run.add_argument("--allow-many-channels", action="store_true", help="accept a high estimate of memory")
    run.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a data set of this number and name, once the new one is complete",
    )
    run.add_argument(
        "--file-ending", choices=WRITABLE_ENDINGS, default=".nii.gz", help="format of the files (default: %(default)s)"
    )
    run.add_argument("--seed", type=int, default=SPLIT_SEED, help="seed of the folds (default: %(default)s)")
    run.add_argument("-np", type=int, default=default_processes(), metavar="N", help="processes (default: %(default)s)")
    return parser
