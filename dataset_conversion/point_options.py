"""What `nnunet_weak_convert_points` can be told, on its command line or from Python."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nnunet_weak.classes import parse_classes
from nnunet_weak.dataset_conversion.cases import CaseLayout
from nnunet_weak.parallel import default_processes
from nnunet_weak.raw_dataset import shortened
from nnunet_weak.splits import SPLIT_SEED
from nnunet_weak.surface.point_files import POINT_FILE_ENDINGS
from nnunet_weak.surface.points import CoordinateSystem, Grouping
from nnunet_weak.volume_files import WRITABLE_ENDINGS

_HOW_NOT_WHAT = ("dry_run", "overwrite", "processes", "sheets")


@dataclass(frozen=True)
class TemplateFit:
    """How a template is fitted to points, see `fit_surface` and `follow_image`.

    Attributes:
        stiffness: Factor on the bending weight.
        noise_mm: Standard deviation of the clicks per axis; 0 goes through the points.
        follow_image: Let the surface follow the first image channel between the points.
    """

    stiffness: float = 1.0
    noise_mm: float = 0.0
    follow_image: bool = False


@dataclass(frozen=True)
class PointConversion:
    """What to convert, and how.

    Attributes:
        images: Folder of images, see `discover_cases`.
        points: Folder of point files, see `find_point_files`.
        dataset_id: Number of the data set.
        name: Its name.
        classes: Classes in the order of their labels, with their values in reference label maps; empty where there is
            one class, which the point files may name.
        coordinate_system: Of point files that do not say.
        group_by: What makes an object, see `read_points`.
        fit: How templates are fitted.
        references: Folder of reference labels; the cases in it are fully annotated.
        patients: CSV table of the patient of each case.
        channel_names: Names of the image channels; None guesses CT or MRI from the intensities.
        channel_suffixes: Endings of file names by channel.
        case_layout: How images are stored.
        file_ending: Ending of the files to write.
        split_seed: Seed of the folds.
        sheets: Draw a sheet of every case.
        allow_missing: Leave out images without points and points without an image.
        dry_run: Check, fit and report, write nothing.
        overwrite: Replace a data set of this number and name.
        processes: Number of processes.
    """

    images: Path
    points: Path
    dataset_id: int
    name: str
    classes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    coordinate_system: CoordinateSystem | None = None
    group_by: Grouping = "list"
    fit: TemplateFit = field(default_factory=TemplateFit)
    references: Path | None = None
    patients: Path | None = None
    channel_names: tuple[str, ...] | None = None
    channel_suffixes: tuple[str, ...] | None = None
    case_layout: CaseLayout = "auto"
    file_ending: str = ".nii.gz"
    split_seed: int = SPLIT_SEED
    sheets: bool = True
    allow_missing: bool = False
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


def parse_options(argv: Sequence[str] | None = None) -> PointConversion:
    """Read the command line.

    Raises:
        InvalidInputError: A value that argparse cannot judge.
    """
    arguments = _parser().parse_args(argv)
    return PointConversion(
        images=arguments.images,
        points=arguments.points,
        dataset_id=arguments.d,
        name=arguments.n,
        classes=parse_classes(arguments.classes or ()),
        coordinate_system=arguments.coordinate_system,
        group_by=arguments.group_by,
        fit=TemplateFit(arguments.stiffness, arguments.noise_mm, arguments.follow_image),
        references=arguments.references,
        patients=arguments.patients,
        channel_names=tuple(arguments.channel_names) if arguments.channel_names else None,
        channel_suffixes=tuple(arguments.channel_suffixes) if arguments.channel_suffixes else None,
        case_layout=arguments.layout,
        file_ending=arguments.file_ending,
        split_seed=arguments.seed,
        sheets=not arguments.no_sheets,
        allow_missing=arguments.allow_missing,
        dry_run=arguments.dry_run,
        overwrite=arguments.overwrite,
        processes=arguments.np,
    )


_EPILOG = f"""
example: livers and spleens of 20 CTs, clicked in 3D Slicer, one markups list for each organ
  images/case_01.nii.gz      points/case_01_liver.mrk.json, points/case_01_spleen.mrk.json
  nnunet_weak_convert_points --images images --points points --classes liver spleen -d 531 -n Abdomen --dry-run
Read what it says about the fits, then run it again without --dry-run, look through templates/sheets, and go on with
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
    need.add_argument(
        "--images",
        type=Path,
        required=True,
        metavar="DIR",
        help="images: a file for each case, CASE_0000 for channels, or a folder for each case",
    )
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
    need.add_argument("-d", type=int, required=True, metavar="ID", help="number of the data set")
    need.add_argument("-n", required=True, metavar="NAME", help="name of the data set")
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
    points.add_argument(
        "--follow-image",
        action="store_true",
        help="let the surface follow edges of the first channel between the points",
    )
    points.add_argument("--no-sheets", action="store_true", help="draw no picture of each case")
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
        "--references",
        type=Path,
        metavar="DIR",
        help="reference label maps of some cases, which count as fully annotated",
    )
    images.add_argument(
        "--patients",
        type=Path,
        metavar="CSV",
        help="table with the columns case and patient; folds keep patients together",
    )
    run = parser.add_argument_group("running")
    run.add_argument("--dry-run", action="store_true", help="check everything and fit the templates, write nothing")
    run.add_argument(
        "--allow-missing", action="store_true", help="leave out images without points, and points without an image"
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
