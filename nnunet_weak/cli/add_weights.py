"""`nnunet_weak_add_weights`: class weights and voxel weights for an ordinary nnU-Net data set."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nnunet_weak.cli.console import console_command
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.options import RUN, option, parse, processes_option, read_assignments, read_number

MAP = "weights"
_EPILOG = """\
examples
  A small structure counts eight times in the cross-entropy, the background half:
    nnunet_weak_add_weights -d 7 --class-weights cochlea=8 background=0.5
  Voxels near the boundary count more, a region whose labels are wrong counts nothing:
    nnunet_weak_add_weights -d 7 --voxel-weights weights
then
  nnUNetv2_plan_and_preprocess -d 7 --verify_dataset_integrity
  nnunet_weak_preprocess_annotations -d 7
  nnUNetv2_train 7 3d_fullres 0 -tr nnUNetTrainerWeighted

Weights are images CASE.nii.gz on the grid of the case's labels, from 0 (ignored) over 1 (as without) to 25.4, stored in
steps of 0.1. Cases without a file have the weight 1 everywhere. The data set keeps working with stock trainers, which
see nothing of the weights.
"""


def _read_class_weights(texts: Sequence[str]) -> dict[str, float]:
    found = read_assignments("--class-weights", texts, "CLASS=WEIGHT, for example cochlea=8")
    return {name: read_number(f"--class-weights {name}", text) for name, text in found.items()}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the command."""

    dataset: str = option("-d", metavar="ID", help="number or name of a raw data set")
    voxel_weights: Path | None = option(
        default=None, metavar="DIR", help="images of weights, CASE.nii.gz, on the grid of the labels"
    )
    class_weights: Mapping[str, float] = option(
        default=dict,
        nargs="+",
        metavar="CLASS=WEIGHT",
        read=_read_class_weights,
        help="factor of each class in the cross-entropy, by its name in dataset.json (default: 1)",
    )
    overwrite: bool = option(default=False, group=RUN, help="replace weights that this command added before")
    processes: int | None = processes_option()

    def __post_init__(self) -> None:
        if self.voxel_weights is None and not self.class_weights:
            raise InvalidInputError("--voxel-weights, --class-weights: give at least one of the two")


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(
        Options,
        argv,
        prog="nnunet_weak_add_weights",
        description="Give the voxels or classes of an ordinary nnU-Net data set weights in the loss, for "
        "nnUNetTrainerWeighted.",
        epilog=_EPILOG,
    )
    folder, weighted = add_weights(options)
    given = f"{weighted} cases have voxel weights" if options.voxel_weights else "no voxel weights"
    classes = ", ".join(f"{name}={weight:g}" for name, weight in options.class_weights.items()) or "none"
    print(f"{folder / 'dataset.json'}: {given}; class weights: {classes}")
    print(f"Next: nnUNetv2_plan_and_preprocess -d {options.dataset} --verify_dataset_integrity")
    return 0


def add_weights(options: Options) -> tuple[Path, int]:
    """Write the weights into a raw data set.

    Returns:
        The folder of the data set, and the number of cases with voxel weights.

    Raises:
        InvalidInputError: Everything that is wrong, in one list; the data set is as it was.
    """
    from nnunet_weak.dataset.annotations import BLOCK, MOST_BYTES, CaseAnnotation, ChannelLayout, WeakAnnotations
    from nnunet_weak.dataset.dataset_json import read_stock_entries
    from nnunet_weak.dataset.folders import dataset_folder
    from nnunet_weak.images.atomic import atomic_file, atomic_folder
    from nnunet_weak.images.json_files import load_json
    from nnunet_weak.images.read import list_images
    from nnunet_weak.parallel import run_cases

    folder, problems = dataset_folder(options.dataset, "nnUNet_raw"), Problems()
    path = folder / "dataset.json"
    entries = read_stock_entries(folder)
    content: dict[str, Any] = load_json(path, MOST_BYTES)
    earlier = content.get(BLOCK)
    if earlier is not None and (not options.overwrite or earlier.get("method") != "weighted"):
        problems.add(
            str(path),
            f"has a block of annotation ({earlier.get('method')!r}) already",
            "weights that this command added are replaced with --overwrite; other annotation cannot be weighted",
        )
    classes = [name for name in entries.labels if name != "ignore"]
    for name in options.class_weights:
        if name not in classes:
            problems.add(f"--class-weights {name}", "no such class", f"{path} has {', '.join(classes)}")
    ending = entries.file_ending
    cases = {file.name.removesuffix(ending): file for file in sorted((folder / "labelsTr").glob(f"*{ending}"))}
    weights = {} if options.voxel_weights is None else problems.attempt(list_images, options.voxel_weights) or {}
    for name in sorted(set(weights) - set(cases)):
        problems.add(str(weights[name]), f"{folder.name} has no case '{name}'", "name the file like the labels")
    if options.voxel_weights is not None and not weights and not problems:
        problems.add(f"--voxel-weights {options.voxel_weights}", "holds no images", "name them CASE.nii.gz")
    problems.raise_if_any("nnunet_weak_add_weights")

    target = folder / "annotationsTr" / MAP
    block = WeakAnnotations(
        method="weighted",
        channels=ChannelLayout(len(entries.channel_names)),
        cases={name: CaseAnnotation(True, maps=(MAP,) if name in weights else ()) for name in cases},
        maps={MAP: "weights"} if weights else {},
        class_weights=options.class_weights,
    )
    if weights:
        with atomic_folder(target) as partial_folder:
            write = partial(_write_weights, folder=partial_folder, ending=ending)
            tasks = {name: (name, file, cases[name]) for name, file in weights.items()}
            run_cases(write, tasks, problems, processes=options.processes, description="Weights")
            problems.raise_if_any("nnunet_weak_add_weights")
    elif options.overwrite:
        shutil.rmtree(target, ignore_errors=True)  # of an earlier run, which dataset.json names no more
    with atomic_file(path) as partial_file:
        text = json.dumps(content | {BLOCK: block.to_json()}, indent=2, ensure_ascii=False)
        partial_file.write_text(text + "\n", encoding="utf-8")
    return folder, len(weights)


def _write_weights(case: tuple[str, Path, Path], *, folder: Path, ending: str) -> None:
    """Store a case's weights as codes, see `nnunet_weak.dataset.weights`."""
    import numpy as np
    import SimpleITK as sitk

    from nnunet_weak.dataset.weights import LARGEST_WEIGHT, weight_codes
    from nnunet_weak.images.read import geometry_difference, read_image, read_label_map
    from nnunet_weak.images.write import write_volume

    name, path, label_path = case
    labels, image = read_label_map(label_path), read_image(path)
    if difference := geometry_difference(labels, image):
        raise InvalidInputError(f"{path}: not on the grid of {label_path}: {difference} (remedy: resample it)")
    weights = sitk.GetArrayViewFromImage(image)
    low, high = float(weights.min()), float(weights.max())
    if not (low >= 0 and high <= LARGEST_WEIGHT and math.isfinite(high)):
        raise InvalidInputError(
            f"{path}: weights from {low:g} to {high:g}, allowed are 0 to {LARGEST_WEIGHT:g} (remedy: scale them)"
        )
    write_volume(weight_codes(np.asarray(weights)), labels, folder / f"{name}{ending}")
