"""Options of `nnunet_weak_convert_drawings`, on its command line and from Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from nnunet_weak.dataset.options import IMAGES, WHAT, ConversionOptions, read_named_paths
from nnunet_weak.drawings.cases import NEGATIVE_SUFFIX
from nnunet_weak.drawings.legend import DrawingCode, parse_drawing_code
from nnunet_weak.drawings.random_walker import RANDOM_WALKER
from nnunet_weak.errors import Problems
from nnunet_weak.options import RUN, option

MEANING = "what the drawings say"
_NAME = "[A-Za-z0-9][A-Za-z0-9_-]*"
_FORM = "NAME=DIR with a name of letters, digits, '_' and '-'"


@dataclass(frozen=True, kw_only=True)
class DrawingsConversion(ConversionOptions):
    """What to convert, and how."""

    positive: Mapping[str, Path] = option(
        default=dict,
        group=WHAT,
        action="append",
        metavar="NAME=DIR",
        read=partial(read_named_paths, "--positive", _FORM, name_pattern=_NAME),
        help="an annotator's drawings of what is there; repeatable, the first-named makes labelsTr",
    )
    negative: Mapping[str, Path] = option(
        default=dict,
        group=WHAT,
        action="append",
        metavar="NAME=DIR",
        read=partial(read_named_paths, "--negative", _FORM, name_pattern=_NAME),
        help="an annotator's drawings of what is not there: class k drawn says 'not class k'; repeatable",
    )
    labels: tuple[str, ...] = option(
        group=MEANING,
        metavar="NAME=VALUE",
        help="targets in the order of their labels, and 'background' where that is drawn: NAME=2 or NAME=2,5 (values), "
        "NAME=SEGMENT or NAME alone (segments with names)",
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
        help=f"add the map {RANDOM_WALKER}: the drawings carried on into their blanks along the image (Grady 2006), in "
        "slices with at least two classes drawn; for scribbles and other drawings with wide blanks",
    )
    previews: bool = option(
        "--no-previews", default=True, group=RUN, recorded=False, help="draw no picture of each case"
    )
    references: Path | None = option(
        default=None,
        group=IMAGES,
        metavar="DIR",
        help="reference labels of some cases, values as in the drawings, 0 for background; these cases count as fully "
        "annotated",
    )
    dry_run: bool = option(
        default=False,
        group=RUN,
        recorded=False,
        help="check everything, tell what was drawn and what contradicts, write nothing",
    )
    allow_missing: bool = option(
        default=False, group=RUN, help="leave out images without any drawing, and drawings without an image"
    )

    def __post_init__(self) -> None:
        """Refuse annotators whose maps would have one name, and drawings without a meaning."""
        problems = Problems()
        negative_maps = {name + NEGATIVE_SUFFIX: name for name in self.negative}
        for name in self.positive:
            if name in negative_maps:
                problems.add(f"--positive {name}", f"is the name of {negative_maps[name]}'s negative map", "rename one")
        if self.random_walker and RANDOM_WALKER in (*self.positive, *negative_maps):
            problems.add(f"NAME {RANDOM_WALKER}", "is the map of --random-walker", "rename the annotator")
        if self.random_walker and not self.positive and self.not_any_target is None:
            problems.add("--random-walker", "carries on positive drawings, and there are none", "leave it out")
        if not self.positive and not self.negative:
            problems.add(
                "--positive", "no drawings are given", "write --positive NAME=DIR, --negative NAME=DIR or both"
            )
        problems.attempt(lambda: self.code)
        problems.raise_if_any()

    @cached_property
    def code(self) -> DrawingCode:
        """What the values of drawings mean."""
        return parse_drawing_code(self.labels, self.blank, self.not_any_target, self.label_descriptions)

    @property
    def annotators(self) -> tuple[str, ...]:
        """All annotators, in the order they were named."""
        return tuple(dict.fromkeys([*self.positive, *self.negative]))
