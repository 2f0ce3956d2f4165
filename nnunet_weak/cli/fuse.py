"""`nnunet_weak_fuse`: fusion of all drawings of a case into one label map, for the stock trainer to learn from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from nnunet_weak.cli.console import console_command
from nnunet_weak.dataset.annotations import MAP_KINDS, CaseAnnotation, WeakAnnotations
from nnunet_weak.dataset.case_files import CaseFiles, channel_file_name
from nnunet_weak.dataset.convert import ConvertedCase, write_raw_dataset
from nnunet_weak.dataset.dataset_json import read_stock_entries
from nnunet_weak.dataset.folders import dataset_folder, new_dataset_folder
from nnunet_weak.dataset.input_channels import further_channels, read_first_channel, write_input_channels
from nnunet_weak.dataset.raw import RawDataset
from nnunet_weak.dataset.splits import read_splits
from nnunet_weak.drawings.cases import labels_of_map
from nnunet_weak.drawings.fusion import majority_vote, staple
from nnunet_weak.drawings.random_walker import FILLED_MAPS, RANDOM_WALKER, propagate_random_walker
from nnunet_weak.errors import InvalidInputError, Problems, printable
from nnunet_weak.images.read import read_label_map_on_grid, with_geometry_of
from nnunet_weak.options import option, parse, processes_option, shorten_path

_EPILOG = """\
example: the baseline of RefineSeg with several annotators
  nnunet_weak_fuse -d 521 --method staple -o 531
  nnUNetv2_plan_and_preprocess -d 531 -c 2d --verify_dataset_integrity
  nnUNetv2_train 531 2d 0
methods
  staple, majority   of the positive drawings; nnU-Net's "ignore" where nobody drew, and where a vote is a tie
  random_walker      the positive drawings propagated into blank voxels along the image (Grady 2006), in slices with at
                     least two classes drawn, to no class that a negative drawing excludes
The new data set has the images and folds of the old one. Fully annotated cases keep their labels.
"""


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """Data set to fuse, and how."""

    dataset: str = option("-d", metavar="ID", help="number or name of the data set with the drawings")
    method: Literal["staple", "majority", "random_walker"] = option(default="staple", help="(default: %(default)s)")
    output_id: int = option("-o", metavar="ID", help="number of the new data set")
    name: str | None = option("-n", default=None, metavar="NAME", help="its name (default: old name and method)")
    overwrite: bool = option(default=False, recorded=False, help="replace a data set of this number and name")
    processes: int | None = processes_option()


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = sys.argv[1:] if argv is None else argv
    options = parse(
        Fusion,
        arguments,
        prog="nnunet_weak_fuse",
        description="Fuse the drawings of all annotators of a RefineSeg data set into one label map for each case.",
        epilog=_EPILOG,
    )
    fuse_dataset(options, ["nnunet_weak_fuse", *arguments])
    return 0


def fuse_dataset(options: Fusion, command: Sequence[str] = ()) -> Path:
    """Make a raw data set with label maps that are fused from the drawings of another one.

    Args:
        options: Which data set, and how.
        command: The command line, for the record.

    Returns:
        The folder of the new data set.

    Raises:
        InvalidInputError: The data set has no positive drawings, or the new one exists.
    """
    source = dataset_folder(options.dataset, "nnUNet_raw")
    annotations = WeakAnnotations.read(source)
    positive = [name for name, kind in annotations.maps.items() if kind == "positive" and name not in FILLED_MAPS]
    if not positive:
        raise InvalidInputError(
            f"{source / 'dataset.json'}: names no positive annotation map, so there is nothing to fuse"
        )
    entries = read_stock_entries(source)
    name = options.name or source.name[len("Dataset000_") :] + options.method.title().replace("_", "")
    target = new_dataset_folder(options.output_id, name, overwrite=options.overwrite)
    cases = {case: replace(entry, maps=()) for case, entry in annotations.cases.items()}
    num_classes = entries.num_classes
    splits_file = source / "splits_final.json"

    class SameFolds(RawDataset):
        """Has the folds of the data set that was fused, as the patients are not known."""

        def splits(self) -> list[dict[str, list[str]]] | None:
            return read_splits(splits_file) if splits_file.is_file() else None

    fused = SameFolds(
        options.output_id,
        name,
        entries.channel_names,
        entries.labels,
        replace(annotations, maps={}, cases=cases),
        entries.file_ending,
        provenance={
            "command": [shorten_path(argument) for argument in command],
            "fused": {"data_set": source.name, "method": options.method, "maps": positive},
        },
    )
    write_raw_dataset(
        target,
        {case: (case, entry) for case, entry in annotations.cases.items()},
        partial(_fuse_case, options.method, source, replace(annotations, cases={}), fused.file_ending, num_classes),
        lambda _: fused,
        Problems(),
        replace=options.overwrite,
        processes=options.processes,
        input_roots={source.name: source},
        say=lambda text: print(printable(text)),
    )
    print(printable(f"Labels: {options.method} of {', '.join(positive)}"))
    print(f"Next: nnUNetv2_plan_and_preprocess -d {options.output_id} -c 2d --verify_dataset_integrity")
    return target


def _fuse_case(
    method: str,
    source: Path,
    annotations: WeakAnnotations,
    file_ending: str,
    num_classes: int,
    case: tuple[str, CaseAnnotation],
    folder: Path | None,
) -> ConvertedCase:
    """Write a case of the new data set; `annotations` are those of the old one."""
    name, entry = case
    file_name = f"{name}{file_ending}"
    positive_files, negative_files = (
        [
            source / "annotationsTr" / map_name / file_name
            for map_name in entry.maps
            if annotations.maps[map_name] == kind and map_name not in FILLED_MAPS and not entry.fully_annotated
        ]
        for kind in MAP_KINDS
    )
    channels = range(annotations.channels.images)
    images = [source / "imagesTr" / channel_file_name(name, channel, file_ending) for channel in channels]
    labels = source / "labelsTr" / file_name
    used = [*(positive_files or [labels]), *(negative_files if method == RANDOM_WALKER else [])]
    converted = ConvertedCase(name=name, inputs=(*images, *used))
    image = read_first_channel(images)
    others = list(further_channels(images, image))
    highest = num_classes + 1  # none of the targets, in negative maps
    positive = [_read_map(path, image, num_classes) for path in positive_files]
    negative = [_read_map(path, image, highest) for path in negative_files] if method == RANDOM_WALKER else []
    clean = read_label_map_on_grid(labels, image) if not positive else None
    if folder is None:  # another case has failed
        return converted
    files = CaseFiles(folder, name, file_ending, image)
    write_input_channels(files, images, image, annotations.channels, None)
    if clean is not None:
        files.write_labels(clean)
        return converted
    if method == RANDOM_WALKER:
        arrays = [sitk.GetArrayViewFromImage(channel) for channel in (image, *others)]
        fused = propagate_random_walker(arrays, positive, negative, num_classes, image.GetSpacing()[::-1])
    elif method == "staple" and len(positive) > 1:
        fused, _ = staple(positive, num_classes)
    else:
        fused = majority_vote(positive, num_classes)
    files.write_labels(with_geometry_of(labels_of_map(fused, num_classes), image))
    return converted


def _read_map(path: Path, image: sitk.Image, highest: int) -> np.ndarray:
    array = sitk.GetArrayFromImage(read_label_map_on_grid(path, image))
    if array.max() > highest:
        raise InvalidInputError(
            f"{path}: holds the value {array.max()}, values of an annotation map are 0, blank, to {highest} (remedy: "
            "convert the drawings again)"
        )
    return array
