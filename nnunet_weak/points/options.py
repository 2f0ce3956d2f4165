"""What `nnunet_weak_convert_points` can be told, on its command line or from Python."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from nnunet_weak.dataset.classes import parse_classes
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
from nnunet_weak.errors import Problems
from nnunet_weak.points.files import POINT_FILE_ENDINGS
from nnunet_weak.points.points import CoordinateSystem, Grouping


@dataclass(frozen=True)
class TemplateFit:
    """How a template is fitted to points, see `fit_surface`, `fit_mesh` and `follow_image`.

    Attributes:
        stiffness: Factor on the bending weight.
        noise_mm: Standard deviation of the clicks per axis; 0 goes through the points.
        follow_image: Let the surface follow the first image channel between the points.
        follow_prediction: Folder of a model's probabilities to follow instead, see `find_predictions`.
        templates: Mesh to start from, by class; the sphere for all others.
    """

    stiffness: float = 1.0
    noise_mm: float = 0.0
    follow_image: bool = False
    follow_prediction: Path | None = None
    templates: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PointConversion(ConversionOptions):
    """What to convert, and how.

    Attributes:
        points: Folder of point files, see `find_point_files`.
        classes: Classes in the order of their labels, with their values in reference label maps; empty where there is
            one class, which the point files may name.
        coordinate_system: Of point files that do not say.
        group_by: What makes an object, see `read_points`.
        fit: How templates are fitted.
        previews: Draw a preview of every case.
    """

    not_recorded: ClassVar[frozenset[str]] = ConversionOptions.not_recorded | {"previews"}

    points: Path
    classes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    coordinate_system: CoordinateSystem | None = None
    group_by: Grouping = "list"
    fit: TemplateFit = field(default_factory=TemplateFit)
    previews: bool = True

    def to_json(self) -> dict[str, Any]:
        """As for all converters; template meshes and the folder of predictions by their names."""
        fit = asdict(self.fit)
        fit["templates"] = {name: shortened(str(path)) for name, path in self.fit.templates.items()}
        if self.fit.follow_prediction is not None:
            fit["follow_prediction"] = shortened(str(self.fit.follow_prediction))
        return {**super().to_json(), "fit": fit}


def parse_options(argv: Sequence[str] | None = None) -> PointConversion:
    """Read the command line.

    Raises:
        InvalidInputError: A value that argparse cannot judge.
    """
    arguments = _parser().parse_args(argv)
    problems = Problems()
    form = "CLASS=MESH, for example liver=liver.stl"
    templates = named_paths("--templates", arguments.templates, problems, form=form, what="mesh")
    problems.raise_if_any("templates")
    return PointConversion(
        **common_fields(arguments),
        points=arguments.points,
        classes=parse_classes(arguments.classes or ()),
        coordinate_system=arguments.coordinate_system,
        group_by=arguments.group_by,
        fit=TemplateFit(
            arguments.stiffness, arguments.noise_mm, arguments.follow_image, arguments.follow_prediction, templates
        ),
        previews=not arguments.no_previews,
    )


_EPILOG = f"""
example: livers and spleens of 20 CTs, clicked in 3D Slicer, one markups list for each organ
  images/case_01.nii.gz      points/case_01_liver.mrk.json, points/case_01_spleen.mrk.json
  nnunet_weak_convert_points --images images --points points --classes liver spleen -d 531 -n Abdomen --dry-run
Read what it says about the fits, then run it again without --dry-run, look through templates/previews, and go on with
  nnUNetv2_plan_and_preprocess -d 531 --verify_dataset_integrity
  nnUNetv2_train 531 3d_fullres 0 -tr nnUNetTrainerWeakNet

Point files end in {", ".join(POINT_FILE_ENDINGS)}. They are called CASE or CASE_CLASS or CASE_CLASS-2, or lie
in a folder CASE. Click tips and extremes first, then fill the gaps; from 25 points on templates are good.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnunet_weak_convert_points",
        description="Make an nnU-Net data set for Weak-Net of images and a few points on the surface of each object: "
        "a template is fitted to the points and becomes the label map.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    need = parser.add_argument_group("what to convert")
    add_images(need)
    need.add_argument(
        "--points",
        type=Path,
        required=True,
        metavar="DIR",
        help="point files: one for each case, one for each object, or a folder for each case",
    )
    need.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="classes in the order of their labels; where objects overlap the first-named wins. NAME=1,2 says which "
        "values a class has in reference labels (default: the one class that the point files name)",
    )
    add_dataset(need)
    points = parser.add_argument_group("points and templates")
    points.add_argument(
        "--coordinate-system",
        choices=("LPS", "RAS"),
        help="of files that do not say: tables with columns x, y, z, and plain JSON",
    )
    points.add_argument(
        "--group-by",
        choices=("list", "label"),
        default="list",
        help="list: each list of points is one object; label: points labelled CLASS or CLASS#OBJECT are (default: "
        "%(default)s)",
    )
    points.add_argument(
        "--stiffness",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="above 1 smoother surfaces (default: %(default)s)",
    )
    points.add_argument(
        "--noise-mm",
        type=float,
        default=0.0,
        metavar="MM",
        help="how far clicks are off, so that the surface may pass by them; for many points (default: %(default)s)",
    )
    follow = points.add_mutually_exclusive_group()
    follow.add_argument(
        "--follow-image",
        action="store_true",
        help="let the surface follow edges of the first channel between the points",
    )
    follow.add_argument(
        "--follow-prediction",
        type=Path,
        metavar="DIR",
        help="let it follow the probabilities of a model that was trained on the templates, for a second round: what "
        "nnUNetv2_predict --save_probabilities wrote there for these images",
    )
    points.add_argument("--no-previews", action="store_true", help="draw no picture of each case")
    points.add_argument(
        "--templates",
        nargs="+",
        default=(),
        metavar="CLASS=MESH",
        help="start from a mesh (STL, PLY, OBJ, VTK) instead of a sphere, for the classes named: an average liver, "
        "say, or a ring; pose and size do not matter. Needs the extra 'mesh'",
    )
    add_image_options(
        parser.add_argument_group("images and references"),
        references="reference label maps of some cases, which count as fully annotated",
    )
    add_running(
        parser.add_argument_group("running"),
        dry_run="check everything and fit the templates, write nothing",
        allow_missing="leave out images without points, and points without an image",
    )
    return parser
