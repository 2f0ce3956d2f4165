"""Options that all converters share, on the command line and from Python."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_weak.dataset.find_cases import CaseLayout
from nnunet_weak.dataset.parts import Parts
from nnunet_weak.dataset.splits import SPLIT_SEED
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.write import WRITABLE_ENDINGS
from nnunet_weak.options import RUN, option, processes_option, read_assignments

WHAT = "what to convert"
IMAGES = "images and references"


@dataclass(frozen=True, kw_only=True)
class ConversionOptions(Parts):
    """Options of every converter; each kind of annotation adds its own."""

    images: Path = option(
        group=WHAT,
        metavar="DIR",
        help="images: a file for each case, CASE_0000 for channels, or a folder for each case",
    )
    dataset_id: int = option("-d", group=WHAT, metavar="ID", help="number of the data set")
    name: str = option("-n", group=WHAT, metavar="NAME", help="name of the data set")
    channel_names: tuple[str, ...] | None = option(
        default=None,
        group=IMAGES,
        metavar="NAME",
        help="name of each image channel; CT has its own normalisation, any other name gets z-scores (default: CT if "
        "all images hold air of -1000 HU, else MRI)",
    )
    channel_suffixes: tuple[str, ...] | None = option(
        default=None,
        group=IMAGES,
        metavar="SUFFIX",
        help="endings of file names, channel by channel, for example _T1 _T2",
    )
    case_layout: CaseLayout = option(
        "--layout", default="auto", group=IMAGES, help="how images are stored (default: %(default)s)"
    )
    references: Path | None = option(
        default=None,
        group=IMAGES,
        metavar="DIR",
        help="reference label maps of some cases, which count as fully annotated",
    )
    patients: Path | None = option(
        default=None,
        group=IMAGES,
        metavar="CSV",
        help="table with the columns case and patient; folds keep patients together",
    )
    dry_run: bool = option(
        default=False, group=RUN, recorded=False, help="check everything and report on it, write nothing"
    )
    allow_missing: bool = option(default=False, group=RUN, help="leave out incomplete cases")
    overwrite: bool = option(
        default=False,
        group=RUN,
        recorded=False,
        help="replace a data set of this number and name, once the new one is complete",
    )
    file_ending: str = option(
        default=".nii.gz", group=RUN, choices=WRITABLE_ENDINGS, help="format of the files (default: %(default)s)"
    )
    split_seed: int = option("--seed", default=SPLIT_SEED, group=RUN, help="seed of the folds (default: %(default)s)")
    merge: bool = option(
        default=False,
        group=RUN,
        recorded=False,
        help="all parts are done: make the data set of them; with the other options as for the parts",
    )
    processes: int | None = processes_option()

    @property
    def is_part(self) -> bool:
        """Whether a part is to be converted, or all parts are to be merged, and not a data set in one run."""
        return self.num_parts > 1 or self.merge


def read_named_paths(option_name: str, form: str, texts: Sequence[str], name_pattern: str = ".+") -> dict[str, Path]:
    """Read `NAME=PATH` values of an option.

    Args:
        option_name: The option, for messages.
        form: What a value must look like, for messages.
        texts: The values.
        name_pattern: Regular expression that names match.

    Raises:
        InvalidInputError: Another form, or a name given twice.
    """
    found = read_assignments(option_name, texts, form)
    for name, path in found.items():
        if not path or not re.fullmatch(name_pattern, name):
            raise InvalidInputError(f"{option_name} {name}{'=' if path else ''}{path}: is not {form}")
    return {name: Path(path) for name, path in found.items()}
