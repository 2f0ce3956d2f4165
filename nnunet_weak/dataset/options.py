"""What every converter can be told, on its command line or from Python."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from nnunet_weak.dataset.find_cases import CaseLayout
from nnunet_weak.dataset.raw import shortened
from nnunet_weak.dataset.splits import SPLIT_SEED
from nnunet_weak.errors import Problems
from nnunet_weak.images.write import WRITABLE_ENDINGS
from nnunet_weak.parallel import default_processes


@dataclass(frozen=True, kw_only=True)
class ConversionOptions:
    """What to convert, and how; each kind of annotation adds its own.

    Attributes:
        images: Folder of images, see `discover_cases`.
        dataset_id: Number of the data set.
        name: Its name.
        references: Folder of reference labels; the cases in it are fully annotated.
        patients: CSV table of the patient of each case.
        channel_names: Names of the image channels; None guesses CT or MRI from the intensities.
        channel_suffixes: Endings of file names by channel.
        case_layout: How images are stored.
        file_ending: Ending of the files to write.
        split_seed: Seed of the folds.
        allow_missing: Leave out what is incomplete.
        dry_run: Check and report, write nothing.
        overwrite: Replace a data set of this number and name.
        processes: Number of processes.
    """

    not_recorded: ClassVar[frozenset[str]] = frozenset({"dry_run", "overwrite", "processes"})
    """Fields that do not change what is written."""

    images: Path
    dataset_id: int
    name: str
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

    def to_json(self) -> dict[str, Any]:
        """The options that decide what is written, for the record; folders by their names."""
        return {
            name: shortened(str(value)) if isinstance(value, Path) else value
            for name, value in asdict(self).items()
            if value is not None and name not in self.not_recorded
        }


def common_fields(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fields of `ConversionOptions` from the arguments that the functions below have added."""
    return {
        "images": arguments.images,
        "dataset_id": arguments.d,
        "name": arguments.n,
        "references": arguments.references,
        "patients": arguments.patients,
        "channel_names": tuple(arguments.channel_names) if arguments.channel_names else None,
        "channel_suffixes": tuple(arguments.channel_suffixes) if arguments.channel_suffixes else None,
        "case_layout": arguments.layout,
        "file_ending": arguments.file_ending,
        "split_seed": arguments.seed,
        "allow_missing": arguments.allow_missing,
        "dry_run": arguments.dry_run,
        "overwrite": arguments.overwrite,
        "processes": arguments.np,
    }


def named_paths(
    option: str, texts: Sequence[str], problems: Problems, *, form: str, what: str, name_pattern: str = ".+"
) -> dict[str, Path]:
    """Read an option's `NAME=PATH` values; what is wrong with them is noted.

    Args:
        option: The option.
        texts: Its values.
        problems: Takes what is wrong.
        form: What a value must look like, for the message.
        what: What the paths are, for the message.
        name_pattern: Regular expression of names.
    """
    found: dict[str, Path] = {}
    for text in texts:
        name, _, path = text.partition("=")
        if not path or not re.fullmatch(name_pattern, name):
            problems.add(f"{option} {text}", f"is not {form}")
        elif name in found:
            problems.add(f"{option} {text}", f"{name} has the {what} {found[name]} already", "give each name once")
        else:
            found[name] = Path(path)
    return found


def add_images(group: argparse._ArgumentGroup) -> None:
    """`--images`."""
    group.add_argument(
        "--images",
        type=Path,
        required=True,
        metavar="DIR",
        help="images: a file for each case, CASE_0000 for channels, or a folder for each case",
    )


def add_dataset(group: argparse._ArgumentGroup) -> None:
    """`-d` and `-n`."""
    group.add_argument("-d", type=int, required=True, metavar="ID", help="number of the data set")
    group.add_argument("-n", required=True, metavar="NAME", help="name of the data set")


def add_image_options(group: argparse._ArgumentGroup, references: str) -> None:
    """How images are stored and what their channels are; which cases are fully annotated; patients.

    Args:
        group: Where they are listed.
        references: What reference labels look like.
    """
    group.add_argument(
        "--channel-names",
        nargs="+",
        metavar="NAME",
        help="name of each image channel; CT has its own normalisation, any other name gets z-scores (default: CT if "
        "all images hold air of -1000 HU, else MRI)",
    )
    group.add_argument(
        "--channel-suffixes",
        nargs="+",
        metavar="SUFFIX",
        help="what file names end with, channel by channel, for example _T1 _T2",
    )
    group.add_argument(
        "--layout",
        choices=("auto", "files", "channels", "folders"),
        default="auto",
        help="how images are stored (default: %(default)s)",
    )
    group.add_argument("--references", type=Path, metavar="DIR", help=references)
    group.add_argument(
        "--patients",
        type=Path,
        metavar="CSV",
        help="table with the columns case and patient; folds keep patients together",
    )


def add_running(group: argparse._ArgumentGroup, dry_run: str, allow_missing: str) -> None:
    """How the conversion runs.

    Args:
        group: Where they are listed.
        dry_run: What `--dry-run` does.
        allow_missing: What `--allow-missing` does.
    """
    group.add_argument("--dry-run", action="store_true", help=dry_run)
    group.add_argument("--allow-missing", action="store_true", help=allow_missing)
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a data set of this number and name, once the new one is complete",
    )
    group.add_argument(
        "--file-ending", choices=WRITABLE_ENDINGS, default=".nii.gz", help="format of the files (default: %(default)s)"
    )
    group.add_argument("--seed", type=int, default=SPLIT_SEED, help="seed of the folds (default: %(default)s)")
    group.add_argument(
        "-np", type=int, default=default_processes(), metavar="N", help="processes (default: %(default)s)"
    )
