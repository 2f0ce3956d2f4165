"""Options of `nnunet_weak_convert_drawings`, on its command line and from Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from nnunet_weak.dataset.options import IMAGES, WHAT, ConversionOptions, read_named_paths
from nnunet_weak.drawings.legend import DrawingCode, parse_drawing_code
from nnunet_weak.drawings.random_walker import RANDOM_WALKER, SECOND_ROUND
from nnunet_weak.errors import Problems
from nnunet_weak.options import RUN, option

MEANING = "meaning of the drawings"
NEGATIVE_SUFFIX = "_not"
"""Map `anna` holds the positive drawings of anna, map `anna_not` her negative ones."""


def _drawings_option(kind: str, help: str) -> Any:
    form = "NAME=DIR with a name of letters, digits, '_' and '-'"
    read = partial(read_named_paths, f"--{kind}", form, name_pattern="[A-Za-z0-9][A-Za-z0-9_-]*")
    return option(default=dict, group=WHAT, action="append", metavar="NAME=DIR", read=read, help=help)


@dataclass(frozen=True, kw_only=True)
class DrawingsConversion(ConversionOptions):
    """Inputs of a conversion, and how they are read."""

    positive: Mapping[str, Path] = _drawings_option(
        "positive", "positive drawings of an annotator; repeatable, the first-named makes labelsTr"
    )
    negative: Mapping[str, Path] = _drawings_option(
        "negative", "negative drawings of an annotator: class k drawn says 'not class k'; repeatable"
    )
    labels: tuple[str, ...] = option(
        group=MEANING,
        metavar="NAME=VALUE",
        help="targets in the order of their labels, and 'background' if that is drawn: NAME=2 or NAME=2,5 (values), "
        "NAME=SEGMENT or NAME alone (named segments)",
    )
    blank: int = option(group=MEANING, metavar="VALUE", help="value where nothing was drawn; never guessed")
    not_any_target: str | None = option(
        default=None,
        group=MEANING,
        metavar="VALUE",
        help="value or segment of negative drawings that excludes all targets; it becomes drawn background",
    )
    label_descriptions: Path | None = option(
        default=None, group=MEANING, metavar="FILE", help="ITK-SNAP's file of label names and values"
    )
    random_walker: bool = option(
        default=False,
        group=MEANING,
        help=f"add the map {RANDOM_WALKER}: the drawings propagated into blank voxels along the image (Grady 2006), in "
        "slices with at least two classes drawn; for scribbles and other drawings with wide blanks",
    )
    follow_prediction: Path | None = option(
        default=None,
        group=MEANING,
        metavar="DIR",
        help=f"for a second round, in place of --random-walker: label maps that a model trained on the drawings "
        f"predicted for these images (nnUNetv2_predict). Adds the map {SECOND_ROUND}: the drawings, and what model and "
        "random walker both say of blank voxels",
    )
    previews: bool = option("--no-previews", default=True, group=RUN, recorded=False, help="draw no previews")
    references: Path | None = option(
        default=None,
        group=IMAGES,
        metavar="DIR",
        help="reference labels of some cases, values as in the drawings, 0 for background; these cases count as fully "
        "annotated",
    )
    allow_missing: bool = option(
        default=False, group=RUN, help="leave out images without any drawing, and drawings without an image"
    )

    def __post_init__(self) -> None:
        """Refuse annotators whose maps would have the same name, and drawings without a meaning."""
        problems = Problems()
        annotators = [*self.positive, *self.negative]
        for name in self.negative:
            if name + NEGATIVE_SUFFIX in annotators:
                problems.add(f"NAME {name}{NEGATIVE_SUFFIX}", f"is the name of {name}'s negative map", "rename one")
        flag = "--random-walker" if self.random_walker else "--follow-prediction"
        if self.random_walker and self.follow_prediction is not None:
            problems.add("--random-walker", "is a part of --follow-prediction", "leave it out")
        if self.filled_map in [*annotators, *self.folders]:
            problems.add(f"NAME {self.filled_map}", f"is the map of {flag}", "rename the annotator")
        if self.filled_map is not None and not self.positive and self.not_any_target is None:
            problems.add(flag, "needs positive drawings, and there are none", "leave it out")
        maps: dict[str, str] = {}
        for name in self.folders:
            other = maps.setdefault(name.casefold(), name)
            if other != name:
                what = f"differs from {other} in letter case only: one folder on macOS and Windows"
                problems.add(f"NAME {name}", what, "rename one of the two")
        if not annotators:
            problems.add("--positive", "no drawings are given", "write --positive NAME=DIR or --negative NAME=DIR")
        problems.attempt(lambda: self.code)
        problems.raise_if_any()

    @cached_property
    def code(self) -> DrawingCode:
        """Meaning of all drawings."""
        return parse_drawing_code(self.labels, self.blank, self.not_any_target, self.label_descriptions)

    @property
    def folders(self) -> dict[str, Path]:
        """Folder of drawings of each annotation map."""
        return {**self.positive, **{name + NEGATIVE_SUFFIX: folder for name, folder in self.negative.items()}}

    @property
    def filled_map(self) -> str | None:
        """Name of the map whose blank voxels are filled, if there is one."""
        return RANDOM_WALKER if self.random_walker else SECOND_ROUND if self.follow_prediction is not None else None

    @property
    def map_kinds(self) -> dict[str, str]:
        """Kind of each annotation map that a case may have, in the order in which they are listed."""
        kinds = {}
        for name in [*self.positive, *self.negative]:
            kinds[name] = "positive"  # also of who draws negative ones: excluding all targets is drawing background
            if name in self.negative:
                kinds[name + NEGATIVE_SUFFIX] = "negative"
        return kinds if self.filled_map is None else {**kinds, self.filled_map: "positive"}
