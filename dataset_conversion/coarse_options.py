"""What `nnunet_weak_convert_coarse` can be told, on its command line or from Python."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nnunet_weak.dataset_conversion.cases import CaseLayout
from nnunet_weak.dataset_conversion.coarse_cases import NEGATIVE_SUFFIX
from nnunet_weak.dataset_conversion.coarse_labels import DrawingCode, parse_drawing_code
from nnunet_weak.errors import Problems
from nnunet_weak.parallel import default_processes
from nnunet_weak.raw_dataset import shortened
from nnunet_weak.splits import SPLIT_SEED
from nnunet_weak.volume_files import WRITABLE_ENDINGS

_HOW_NOT_WHAT = ("dry_run", "overwrite", "processes")


@dataclass(frozen=True)
class CoarseConversion:
    """What to convert, and how.

    Attributes:
        images: Folder of images, see `discover_cases`.
        code: What the values of drawings mean.
        dataset_id: Number of the data set.
        name: Its name.
        positive: Folder of positive drawings by annotator, in order of precedence for `labelsTr`.
        negative: Folder of negative drawings by annotator.
        references: Folder of reference labels; the cases in it are fully annotated.
        patients: CSV table of the patient of each case.
        channel_names: Names of the image channels; None guesses CT or MRI from the intensities.
        channel_suffixes: Endings of file names by channel.
        case_layout: How images are stored.
        file_ending: Ending of the files to write.
        split_seed: Seed of the folds.
        allow_missing: Leave out images without any drawing, and drawings without an image.
        dry_run: Check and report, write nothing.
        overwrite: Replace a data set of this number and name.
        processes: Number of processes.
    """

    images: Path
    code: DrawingCode
    dataset_id: int
    name: str
    positive: Mapping[str, Path] = field(default_factory=dict)
    negative: Mapping[str, Path] = field(default_factory=dict)
    references: Path | None = None
    patients: Path | None = None
    channel_names: tuple[str, ...] | None = None
    channel_suffixes: tuple[str, ...] | None = None
    case_layout: CaseLayout = "auto"
    file_ending: str = ".nii.gz"
    split_seed: int = SPLIT_SEED
    allow_missing: bool = False
    dry_run: bool = False
    overwrite: bool = False
    processes: int = 1

    @property
    def annotators(self) -> tuple[str, ...]:
        """All annotators, in the order they were named."""
        return tuple(dict.fromkeys([*self.positive, *self.negative]))

    def to_json(self) -> dict[str, Any]:
        """The options that decide what is written, for the record; folders by their names."""
        fields = {name: value for name, value in asdict(self).items() if name not in _HOW_NOT_WHAT}
        for kind in ("positive", "negative"):
            fields[kind] = {name: shortened(str(folder)) for name, folder in fields[kind].items()}
        return {
            name: shortened(str(value)) if isinstance(value, Path) else value
            for name, value in fields.items()
            if value is not None
        }


def parse_options(argv: Sequence[str] | None = None) -> CoarseConversion:
    """Read the command line.

    Raises:
        InvalidInputError: A value that argparse cannot judge.
    """
    arguments = _parser().parse_args(argv)
    problems = Problems()
    positive = _annotators("--positive", arguments.positive, problems)
    negative = _annotators("--negative", arguments.negative, problems)
    for name in negative:
        if name + NEGATIVE_SUFFIX in positive:
            problems.add(f"--positive {name}{NEGATIVE_SUFFIX}", f"is the name of {name}'s negative map", "rename one")
    if not positive and not negative:
        problems.add("--positive", "no drawings are given", "write --positive NAME=DIR, --negative NAME=DIR or both")
    problems.raise_if_any("annotators")
    return CoarseConversion(
        images=arguments.images,
        code=parse_drawing_code(
            arguments.labels, arguments.blank, arguments.none_of_the_targets, arguments.label_descriptions
        ),
        dataset_id=arguments.d,
        name=arguments.n,
        positive=positive,
        negative=negative,
        references=arguments.references,
        patients=arguments.patients,
        channel_names=tuple(arguments.channel_names) if arguments.channel_names else None,
        channel_suffixes=tuple(arguments.channel_suffixes) if arguments.channel_suffixes else None,
        case_layout=arguments.layout,
        file_ending=arguments.file_ending,
        split_seed=arguments.seed,
        allow_missing=arguments.allow_missing,
        dry_run=arguments.dry_run,
        overwrite=arguments.overwrite,
        processes=arguments.np,
    )


def _annotators(option: str, texts: Sequence[str], problems: Problems) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        if not equals or not folder or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            problems.add(f"{option} {text}", "is not NAME=DIR with a name of letters, digits, '_' and '-'")
        elif name in found:
            problems.add(f"{option} {text}", f"{name} has the folder {found[name]} already", "give another name")
        else:
            found[name] = Path(folder)
    return found


_EPILOG = """
examples
  Label maps that hold 0 where background was drawn, 1 to 3 for three structures, 4 where nothing was drawn:
    nnunet_weak_convert_coarse --images images --positive anna=drawings --labels background=0 RV=1 MYO=2 LV=3 \\
        --blank 4 -d 521 -n Heart --dry-run
  Segmentations of 3D Slicer (CASE.seg.nrrd) by two annotators, one of whom also drew what is not the liver or spleen:
    nnunet_weak_convert_coarse --images images --positive anna=anna --positive ben=ben --negative anna=anna_not \\
        --labels background liver spleen --none-of-the-targets outside --blank 0 -d 522 -n Organs
  ITK-SNAP label maps with the names of the saved label descriptions:
    nnunet_weak_convert_coarse ... --labels background liver spleen --label-descriptions labels.txt --blank 0
then
  nnUNetv2_plan_and_preprocess -d 521 -c 2d --verify_dataset_integrity
  nnunet_weak_preprocess -d 521
  nnUNetv2_train 521 2d 0 -tr nnUNetTrainerRefineSeg

A drawing is CASE.nii.gz, CASE.nrrd, CASE.mha ... or CASE.seg.nrrd in the annotator's folder. Nobody needs to have drawn
everything or in every case. In labelsTr goes the first positive drawing of the case, with nnU-Net's label "ignore"
where it is blank, so that stock trainers learn from it too.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnunet_weak_convert_coarse",
        description="Make an nnU-Net data set for RefineSeg of images and rough drawings: what is the target "
        "(positive), and what is not (negative).",
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
        "--positive",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="an annotator's drawings of what is there; repeatable, the first-named makes labelsTr",
    )
    need.add_argument(
        "--negative",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="an annotator's drawings of what is not there: class k drawn says 'not class k'; repeatable",
    )
    need.add_argument("-d", type=int, required=True, metavar="ID", help="number of the data set")
    need.add_argument("-n", required=True, metavar="NAME", help="name of the data set")
    meaning = parser.add_argument_group("what the drawings say")
    meaning.add_argument(
        "--labels",
        nargs="+",
        required=True,
        metavar="NAME=VALUE",
        help="targets in the order of their labels, and 'background' where that is drawn: NAME=2 or NAME=2,5 (values), "
        "NAME=SEGMENT or NAME alone (segments with names)",
    )
    meaning.add_argument(
        "--blank", type=int, required=True, metavar="VALUE", help="value where nothing was drawn; never guessed"
    )
    meaning.add_argument(
        "--none-of-the-targets",
        metavar="VALUE",
        help="value or segment of negative drawings that excludes all targets; it becomes drawn background",
    )
    meaning.add_argument(
        "--label-descriptions", type=Path, metavar="FILE", help="ITK-SNAP's file of label names and values"
    )
    meaning.add_argument(
        "--references",
        type=Path,
        metavar="DIR",
        help="reference labels of some cases, values as in the drawings, 0 for background; these cases count as fully "
        "annotated",
    )
    images = parser.add_argument_group("images")
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
        "--patients",
        type=Path,
        metavar="CSV",
        help="table with the columns case and patient; folds keep patients together",
    )
    run = parser.add_argument_group("running")
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="check everything, tell what was drawn and what contradicts, write nothing",
    )
    run.add_argument(
        "--allow-missing",
        action="store_true",
        help="leave out images without any drawing, and drawings without an image",
    )
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
