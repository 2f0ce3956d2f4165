"""Options of `nnunet_weak_annotate`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.options import RUN, option

Task = Literal["scores", "drawings", "points"]
WHAT = "what to annotate"
ORDERS = ("worst", "random", "name")
_ANNOTATOR = r"[A-Za-z0-9][A-Za-z0-9_-]*"
_CLASS = r"\w[\w .+()-]*"


def _read_annotator(text: str) -> str:
    # Names of maps and folders come of it, as the drawings' converter takes them.
    if not re.fullmatch(_ANNOTATOR, text) or text.endswith("_not"):
        raise InvalidInputError(
            f"--annotator {text}: a name of letters A to Z, digits, '_' and '-' is needed, not ending in _not"
        )
    return text


def _read_port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise InvalidInputError(f"--port {text}: is not a number from 0 to 65535")
    return int(text)


def _read_gap(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise InvalidInputError(f"--gap-mm {text}: a length above 0 is needed")
    return value


def _read_classes(names: Sequence[str]) -> tuple[str, ...]:
    problems = Problems()
    for name in names:
        if not re.fullmatch(_CLASS, name) or name.casefold() in ("background", "ignore") or name.isdecimal():
            problems.add(f"--classes {name}", "is no name of a class", "write for example --classes liver spleen")
        elif [other.casefold() for other in names].count(name.casefold()) > 1:
            problems.add(f"--classes {name}", "is given twice")
    problems.raise_if_any()
    return tuple(names)


@dataclass(frozen=True, kw_only=True)
class AnnotateOptions:
    """What to annotate, who annotates, and how the page is served."""

    folder: Path = option(
        positional=True,
        group=WHAT,
        metavar="FOLDER",
        help="folder with images/ and perhaps masks/, a raw nnU-Net data set, or a folder of images",
    )
    task: Task = option(group=WHAT, help="what is asked of the annotator")
    annotator: str = option(group=WHAT, metavar="NAME", read=_read_annotator, help="who annotates")
    images: Path | None = option(default=None, group=WHAT, metavar="DIR", help="images (default: found in FOLDER)")
    masks: Path | None = option(
        default=None, group=WHAT, metavar="DIR", help="masks to score, or to show (default: found in FOLDER)"
    )
    regions: tuple[str, ...] | None = option(
        default=None,
        group=WHAT,
        metavar="NAME=SOURCE",
        help="regions of the masks, as nnunet_weak_convert_scores takes them (default: labels of the data set, or "
        "the files of folders of masks, or the labels in the first 20 masks)",
    )
    classes: tuple[str, ...] | None = option(
        default=None,
        group=WHAT,
        metavar="NAME",
        read=_read_classes,
        help="classes to draw or to click, in the order of their labels (default: the regions, or 'object')",
    )
    output: Path | None = option(
        default=None, group=WHAT, metavar="DIR", help="where annotations are written (default: FOLDER/annotation)"
    )
    order: str = option(
        default="worst",
        group="queue",
        metavar="ORDER",
        help="worst (masks that look wrong first, every fifth case at random), random, name, or a file: a name of a "
        "case in each line, or a table with a column case, whose lowest quality comes first if it has such a column; "
        "without masks 'worst' is 'name' (default: %(default)s)",
    )
    cases: tuple[str, ...] | None = option(
        default=None, group="queue", metavar="CASE", help="names of the cases, wildcards allowed (default: all)"
    )
    second_masks: Path | None = option(
        default=None,
        group="queue",
        metavar="DIR",
        help="another prediction of the same regions; cases where both disagree come earlier",
    )
    gap_mm: float | None = option(
        default=None,
        group="queue",
        metavar="MM",
        read=_read_gap,
        help="points: distance to the nearest point at which no further point is asked for (default: half the "
        "object's radius)",
    )
    port: int = option(
        default=0, group=RUN, metavar="N", read=_read_port, help="port on 127.0.0.1 (default: a free one)"
    )
    browser: bool = option("--no-browser", default=True, group=RUN, help="print the address, open no browser")
