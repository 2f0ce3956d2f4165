"""What `nnunet_weak_convert_drawings` can be told, on its command line or from Python."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from nnunet_weak.dataset.options import (
    ConversionOptions,
    add_dataset,
    add_image_options,
    add_images,
    add_running,
    common_fields,
    named_paths,
)
from nnunet_weak.dataset.raw import shortened
from nnunet_weak.drawings.cases import NEGATIVE_SUFFIX
from nnunet_weak.drawings.legend import DrawingCode, parse_drawing_code
from nnunet_weak.drawings.random_walker import RANDOM_WALKER
from nnunet_weak.errors import Problems


@dataclass(frozen=True, kw_only=True)
class DrawingsConversion(ConversionOptions):
    """What to convert, and how.

    Attributes:
        code: What the values of drawings mean.
        positive: Folder of positive drawings by annotator, in order of precedence for `labelsTr`.
        negative: Folder of negative drawings by annotator.
        random_walker: Whether to add a map in which the drawings are carried on into their blanks.
        previews: Draw a preview of every case.
    """

    not_recorded: ClassVar[frozenset[str]] = ConversionOptions.not_recorded | {"previews"}

    code: DrawingCode
    positive: Mapping[str, Path] = field(default_factory=dict)
    negative: Mapping[str, Path] = field(default_factory=dict)
    random_walker: bool = False
    previews: bool = True

    @property
    def annotators(self) -> tuple[str, ...]:
        """All annotators, in the order they were named."""
        return tuple(dict.fromkeys([*self.positive, *self.negative]))

    def to_json(self) -> dict[str, Any]:
        """As for all converters; folders of drawings by their names."""
        folders = {
            kind: {name: shortened(str(folder)) for name, folder in getattr(self, kind).items()}
            for kind in ("positive", "negative")
        }
        return {**super().to_json(), **folders, "random_walker": self.random_walker}


def parse_options(argv: Sequence[str] | None = None) -> DrawingsConversion:
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
    if arguments.random_walker and RANDOM_WALKER in (*positive, *(name + NEGATIVE_SUFFIX for name in negative)):
        problems.add(f"NAME {RANDOM_WALKER}", "is the map of --random-walker", "rename the annotator")
    if arguments.random_walker and not positive and arguments.not_any_target is None:
        problems.add("--random-walker", "carries on positive drawings, and there are none", "leave it out")
    if not positive and not negative:
        problems.add("--positive", "no drawings are given", "write --positive NAME=DIR, --negative NAME=DIR or both")
    problems.raise_if_any("annotators")
    return DrawingsConversion(
        **common_fields(arguments),
        code=parse_drawing_code(
            arguments.labels, arguments.blank, arguments.not_any_target, arguments.label_descriptions
        ),
        positive=positive,
        negative=negative,
        random_walker=arguments.random_walker,
        previews=not arguments.no_previews,
    )


def _annotators(option: str, texts: Sequence[str], problems: Problems) -> dict[str, Path]:
    form = "NAME=DIR with a name of letters, digits, '_' and '-'"
    return named_paths(option, texts, problems, form=form, what="folder", name_pattern="[A-Za-z0-9][A-Za-z0-9_-]*")


_EPILOG = """
examples
  Label maps that hold 0 where background was drawn, 1 to 3 for three structures, 4 where nothing was drawn:
    nnunet_weak_convert_drawings --images images --positive anna=drawings --labels background=0 RV=1 MYO=2 LV=3 \\
        --blank 4 -d 521 -n Heart --dry-run
  Segmentations of 3D Slicer (CASE.seg.nrrd) by two annotators, one of whom also drew what is not the liver or spleen:
    nnunet_weak_convert_drawings --images images --positive anna=anna --positive ben=ben --negative anna=anna_not \\
        --labels background liver spleen --not-any-target outside --blank 0 -d 522 -n Organs
  ITK-SNAP label maps with the names of the saved label descriptions:
    nnunet_weak_convert_drawings ... --labels background liver spleen --label-descriptions labels.txt --blank 0
then
  nnUNetv2_plan_and_preprocess -d 521 -c 2d --verify_dataset_integrity
  nnunet_weak_preprocess_annotations -d 521
  nnUNetv2_train 521 2d 0 -tr nnUNetTrainerRefineSeg

A drawing is CASE.nii.gz, CASE.nrrd, CASE.mha ... or CASE.seg.nrrd in the annotator's folder. Nobody needs to have drawn
everything or in every case. In labelsTr goes the first positive drawing of the case, with nnU-Net's label "ignore"
where it is blank, so that stock trainers learn from it too.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnunet_weak_convert_drawings",
        description="Make an nnU-Net data set for RefineSeg of images and rough drawings: what is the target "
        "(positive), and what is not (negative).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    need = parser.add_argument_group("what to convert")
    add_images(need)
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
    add_dataset(need)
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
        "--not-any-target",
        metavar="VALUE",
        help="value or segment of negative drawings that excludes all targets; it becomes drawn background",
    )
    meaning.add_argument(
        "--label-descriptions", type=Path, metavar="FILE", help="ITK-SNAP's file of label names and values"
    )
    meaning.add_argument(
        "--random-walker",
        action="store_true",
        help=f"add the map {RANDOM_WALKER}: the drawings carried on into their blanks along the image (Grady 2006), in "
        "slices with at least two classes drawn; for scribbles and other drawings with wide blanks",
    )
    meaning.add_argument("--no-previews", action="store_true", help="draw no picture of each case")
    add_image_options(
        parser.add_argument_group("images and references"),
        references="reference labels of some cases, values as in the drawings, 0 for background; these cases count as "
        "fully annotated",
    )
    add_running(
        parser.add_argument_group("running"),
        dry_run="check everything, tell what was drawn and what contradicts, write nothing",
        allow_missing="leave out images without any drawing, and drawings without an image",
    )
    return parser
