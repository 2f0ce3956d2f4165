"""Options of `nnunet_weak_convert_points`, on its command line and from Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nnunet_weak.dataset.classes import parse_classes
from nnunet_weak.dataset.options import WHAT, ConversionOptions, read_named_paths
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.options import RUN, option
from nnunet_weak.points.points import CoordinateSystem, Grouping

POINTS = "points and templates"


@dataclass(frozen=True, kw_only=True)
class PointConversion(ConversionOptions):
    """Inputs, and how templates are fitted to points."""

    points: Path = option(
        group=WHAT, metavar="DIR", help="point files: one for each case, one for each object, or a folder for each case"
    )
    classes: Mapping[str, tuple[int, ...]] = option(
        default=dict,
        group=WHAT,
        nargs="+",
        metavar="NAME",
        read=parse_classes,
        help="classes in the order of their labels; where objects overlap the first-named wins. NAME=1,2 says which "
        "values a class has in reference labels (default: the one class that the point files name)",
    )
    coordinate_system: CoordinateSystem | None = option(
        default=None, group=POINTS, help="of files that do not say: tables with columns x, y, z, and plain JSON"
    )
    group_by: Grouping = option(
        default="list",
        group=POINTS,
        help="list: each list of points is one object; label: points labelled CLASS or CLASS#OBJECT are (default: "
        "%(default)s)",
    )
    stiffness: float = option(
        default=1.0, group=POINTS, metavar="FACTOR", help="above 1 smoother surfaces (default: %(default)s)"
    )
    noise_mm: float = option(
        default=0.0,
        group=POINTS,
        metavar="MM",
        help="how far clicks are off, so that the surface may pass by them; for many points (default: %(default)s)",
    )
    inset_mm: float = option(
        default=0.0,
        group=POINTS,
        metavar="MM",
        help="how far inside of the points the surface lies, for outlines drawn around objects and not on their edges; "
        "negative: outside (default: %(default)s)",
    )
    follow_image: bool = option(
        default=False, group=POINTS, help="let the surface follow edges of the first channel between the points"
    )
    follow_prediction: Path | None = option(
        default=None,
        group=POINTS,
        metavar="DIR",
        help="a second round: weigh the templates against the probabilities of a model that was trained on them; the "
        "folder that nnUNetv2_predict --save_probabilities wrote for these images",
    )
    templates: Mapping[str, Path] = option(
        default=dict,
        group=POINTS,
        nargs="+",
        metavar="CLASS=PATH",
        read=partial(read_named_paths, "--templates", "CLASS=PATH, for example liver=labels_of_five"),
        help="start from another shape than a sphere, for the classes named: from the label map of a fully annotated "
        "case, or from a mesh (STL, PLY, OBJ, VTK; needs the extra 'mesh'), an average liver or a ring, for example; "
        "pose and size do not matter. Of a folder of them the average is taken, which is better; of more than five, of "
        "five that are spread over the names",
    )
    previews: bool = option(
        "--no-previews", default=True, group=POINTS, recorded=False, help="draw no picture of each case"
    )
    dry_run: bool = option(
        default=False, group=RUN, recorded=False, help="check everything and fit the templates, write nothing"
    )
    allow_missing: bool = option(
        default=False, group=RUN, help="leave out images without points, and points without an image"
    )

    def __post_init__(self) -> None:
        """Refuse options that exclude each other."""
        if self.follow_image and self.templates:
            raise InvalidInputError("--follow-image and --templates exclude each other: give one")
