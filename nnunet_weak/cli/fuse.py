"""`nnunet_weak_fuse`: all drawings of a case made into one label map, for the stock trainer to learn from."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_weak.cli.console import console_command
from nnunet_weak.dataset.folders import dataset_folder, new_dataset_folder
from nnunet_weak.errors import InvalidInputError, Problems

if TYPE_CHECKING:
    from nnunet_weak.dataset.convert import ConvertedCase

_EPILOG = """\
example: the baseline that RefineSeg is to be compared with, where there are several annotators
  nnunet_weak_fuse -d 521 --method staple -o 531
  nnUNetv2_plan_and_preprocess -d 531 -c 2d --verify_dataset_integrity
  nnUNetv2_train 531 2d 0
methods
  staple, majority   of the positive drawings. Where nobody drew, and where a vote is a tie, stands nnU-Net's "ignore"
  random_walker      the positive drawings carried on into their blanks along the image (Grady 2006), in slices with at
                     least two classes drawn, taking no class that a negative drawing excludes
The new data set has the images and folds of the old one. Fully annotated cases keep their labels.
"""

_METHODS = ("staple", "majority", "random_walker")


@dataclass(frozen=True)
class _FuseCase:
    name: str
    images: tuple[Path, ...]
    labels: Path
    positive: tuple[Path, ...]
    negative: tuple[Path, ...]
    method: str
    num_classes: int
    file_ending: str


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = _parser().parse_args(argv)
    fuse_dataset(
        arguments.d,
        arguments.method,
        arguments.o,
        arguments.n,
        overwrite=arguments.overwrite,
        processes=arguments.np,
        command=["nnunet_weak_fuse", *(sys.argv[1:] if argv is None else argv)],
    )
    return 0


def fuse_dataset(
    dataset: str,
    method: str,
    new_id: int,
    new_name: str | None = None,
    *,
    overwrite: bool = False,
    processes: int | None = None,
    command: Sequence[str] = (),
) -> Path:
    """Make a raw data set whose label maps are made of the drawings of another one.

    Args:
        dataset: Number or name of the data set with the drawings.
        method: `staple`, `majority` or `random_walker`.
        new_id: Number of the new data set.
        new_name: Its name; that of the old one with the method where None.
        overwrite: Replace a data set of this number and name.
        processes: Number of processes; as many as there are cores where None.
        command: The command line, for the record.

    Returns:
        The folder of the new data set.

    Raises:
        InvalidInputError: The data set has no positive drawings, or the new one exists.
    """
    from nnunet_weak.dataset.annotations import WeakAnnotations
    from nnunet_weak.dataset.convert import write_raw_dataset
    from nnunet_weak.dataset.raw import RawDataset
    from nnunet_weak.drawings.random_walker import RANDOM_WALKER
    from nnunet_weak.options import shorten_path
    from nnunet_weak.parallel import default_processes

    source = dataset_folder(dataset, "nnUNet_raw")
    annotations = WeakAnnotations.read(source)
    drawn = {name: kind for name, kind in annotations.maps.items() if name != RANDOM_WALKER}
    positive = [name for name, kind in drawn.items() if kind == "positive"]
    if not positive:
        raise InvalidInputError(
            f"{source / 'dataset.json'}: names no positive annotation map, so there is nothing to fuse"
        )
    content = json.loads((source / "dataset.json").read_text(encoding="utf-8"))
    name = new_name or source.name[len("Dataset000_") :] + method.title().replace("_", "")
    target = new_dataset_folder(new_id, name, overwrite=overwrite)
    ending, channels = content["file_ending"], annotations.channels.images

    def maps_of(case: str, kind: str) -> tuple[Path, ...]:
        entry = annotations.cases[case]
        names = [] if entry.fully_annotated else [name for name in entry.maps if drawn.get(name) == kind]
        return tuple(source / "annotationsTr" / name / f"{case}{ending}" for name in names)

    tasks = [
        _FuseCase(
            case,
            tuple(source / "imagesTr" / f"{case}_{channel:04d}{ending}" for channel in range(channels)),
            source / "labelsTr" / f"{case}{ending}",
            maps_of(case, "positive"),
            maps_of(case, "negative") if method == RANDOM_WALKER else (),
            method,
            len(content["labels"]) - 1,
            ending,
        )
        for case in annotations.cases
    ]
    splits_file = source / "splits_final.json"
    splits = json.loads(splits_file.read_text(encoding="utf-8")) if splits_file.is_file() else None

    class SameFolds(RawDataset):
        """Folds of the data set that was fused; nothing here knows the patients."""

        def splits(self) -> list[dict[str, list[str]]] | None:
            return splits

    cases = {case: replace(entry, maps=()) for case, entry in annotations.cases.items()}
    new = SameFolds(
        new_id,
        name,
        tuple(content["channel_names"][str(channel)] for channel in range(channels)),
        content["labels"],
        replace(annotations, maps={}, cases=cases),
        ending,
        provenance={
            "command": [shorten_path(argument) for argument in command],
            "fused": {"data_set": source.name, "method": method, "maps": positive},
        },
    )
    write_raw_dataset(
        target,
        {task.name: task for task in tasks},
        _fuse_case,
        lambda _: new,
        Problems(),
        processes=processes or default_processes(),
        input_roots={source.name: source},
    )
    print(f"Wrote {len(tasks)} cases to {target}: {method} of {', '.join(positive)}")
    print(f"Next: nnUNetv2_plan_and_preprocess -d {new_id} -c 2d --verify_dataset_integrity")
    return target


def _fuse_case(case: _FuseCase, folder: Path | None) -> ConvertedCase:
    import numpy as np
    import SimpleITK as sitk

    from nnunet_weak.dataset.case_files import CaseFiles
    from nnunet_weak.dataset.convert import ConvertedCase
    from nnunet_weak.dataset.input_channels import further_channels
    from nnunet_weak.drawings.fusion import majority_vote, staple
    from nnunet_weak.drawings.random_walker import RANDOM_WALKER, carry_on_drawings
    from nnunet_weak.images.read import read_image, read_label_map, with_geometry_of

    inputs = (*case.images, *(case.positive or (case.labels,)), *case.negative)
    if folder is None:  # another case has failed
        return ConvertedCase(name=case.name, inputs=inputs)
    image = read_image(case.images[0])
    files = CaseFiles(folder, case.name, case.file_ending, image)
    for channel, path in enumerate(case.images):
        files.write_image(channel, path, image if channel == 0 else read_image(path))
    positive, negative = (
        [sitk.GetArrayFromImage(read_label_map(path)) for path in paths] for paths in (case.positive, case.negative)
    )
    if positive:
        if case.method == RANDOM_WALKER:
            channels = [image, *further_channels(case.images, image)]
            arrays = [sitk.GetArrayViewFromImage(channel) for channel in channels]
            fused = carry_on_drawings(arrays, positive, negative, case.num_classes, image.GetSpacing()[::-1])
        elif case.method == "staple" and len(positive) > 1:
            fused = staple(positive, case.num_classes).annotation
        else:
            fused = majority_vote(positive, case.num_classes)
        labels = np.where(fused > 0, fused.astype(np.int32) - 1, case.num_classes).astype(np.uint16)
        files.write_labels(with_geometry_of(labels, image))
    else:
        files.write_labels(read_label_map(case.labels))
    return ConvertedCase(name=case.name, inputs=inputs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnunet_weak_fuse",
        description="Make one label map for each case of a RefineSeg data set, of the drawings of all annotators.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-d", required=True, metavar="ID", help="number or name of the data set with the drawings")
    parser.add_argument("--method", choices=_METHODS, default="staple", help="(default: %(default)s)")
    parser.add_argument("-o", type=int, required=True, metavar="ID", help="number of the new data set")
    parser.add_argument("-n", metavar="NAME", help="its name (default: the old name and the method)")
    parser.add_argument("--overwrite", action="store_true", help="replace a data set of this number and name")
    parser.add_argument("-np", type=int, default=None, metavar="N", help="number of processes (default: all cores)")
    return parser
