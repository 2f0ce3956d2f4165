"""`nnunet_weak_preprocess_annotations`: annotation maps of a planned data set, on the grid of preprocessed images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_weak.cli.console import console_command
from nnunet_weak.dataset.dataset_json import read_stock_entries
from nnunet_weak.dataset.folders import dataset_folder
from nnunet_weak.dataset.plans import damaged_plans_named, read_plans
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.options import option, parse, processes_option

_EPILOG = """\
Run it after nnU-Net's own preprocessing:
  nnUNetv2_plan_and_preprocess -d 521 -c 2d 3d_fullres --verify_dataset_integrity
  nnunet_weak_preprocess_annotations -d 521
A training that finds maps missing or out of date makes them by itself; with many cases, or on several GPUs, it starts
sooner when they are there. Only what is missing or out of date is made, so the command can be interrupted and run
again. Split over two machines that share a disk:
  nnunet_weak_preprocess_annotations -d 521 --num-parts 2 --part-id 0
  nnunet_weak_preprocess_annotations -d 521 --num-parts 2 --part-id 1
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the command."""

    dataset_id: tuple[str, ...] = option("-d", metavar="ID", help="numbers or names of data sets")
    configuration: tuple[str, ...] | None = option(
        "-c", default=None, metavar="CONFIGURATION", help="configurations (default: all that have been preprocessed)"
    )
    plans: str = option("-p", default="nnUNetPlans", metavar="PLANS", help="plans identifier (default: %(default)s)")
    num_parts: int = option(default=1, metavar="N", help="split the cases into N parts")
    part_id: int = option(default=0, metavar="I", help="preprocess part I, from 0 (default: %(default)s)")
    processes: int | None = processes_option()

    def __post_init__(self) -> None:
        if not 0 <= self.part_id < self.num_parts:
            raise InvalidInputError(f"--part-id {self.part_id}: parts are numbered from 0 to {self.num_parts - 1}")


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(
        Options,
        argv,
        prog="nnunet_weak_preprocess_annotations",
        description="Preprocess the annotation maps of a data set, drawings or weights: transposed, cropped and "
        "resampled as nnU-Net does with label maps.",
        epilog=_EPILOG,
    )
    for dataset in options.dataset_id:
        _preprocess_dataset(dataset, options)
    return 0


def _preprocess_dataset(dataset: str, options: Options) -> None:
    from nnunet_weak.dataset.annotations import WeakAnnotations
    from nnunet_weak.parallel import default_processes
    from nnunet_weak.training.annotation_maps import maps_of, preprocess_maps

    raw, preprocessed = dataset_folder(dataset, "nnUNet_raw"), dataset_folder(dataset, "nnUNet_preprocessed")
    annotations = WeakAnnotations.read(raw)
    if not annotations.maps:
        raise InvalidInputError(
            f"{raw / 'dataset.json'}: names no annotation maps, so there is nothing to preprocess beside what "
            "nnUNetv2_plan_and_preprocess does"
        )
    plans_file = preprocessed / f"{options.plans}.json"
    if not plans_file.is_file():
        raise InvalidInputError(f"{plans_file}: no such file (remedy: run nnUNetv2_plan_and_preprocess first)")
    plans = read_plans(plans_file)
    entries = read_stock_entries(raw)
    cases = sorted(annotations.cases)[options.part_id :: options.num_parts]
    with damaged_plans_named(plans_file):
        configurations = _preprocessed_configurations(plans, preprocessed, options.configuration)
    for name, folder in configurations.items():
        maps = maps_of(annotations, raw, folder, entries.file_ending, cases, entries.num_classes)
        processes = options.processes or default_processes()
        with damaged_plans_named(plans_file):
            written = preprocess_maps(maps, plans, name, folder, processes=processes)
        print(f"{name}: {written} annotation maps written, {len(maps) - written} were up to date")


def _preprocessed_configurations(plans: dict, preprocessed: Path, chosen: Sequence[str] | None) -> dict[str, Path]:
    """Folders of preprocessed images, by configuration; each chosen one must be there."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager, problems, remedy = PlansManager(plans), Problems(), "run nnUNetv2_plan_and_preprocess first"
    known = manager.available_configurations
    folders = {}
    for name in chosen or known:
        if name not in known:
            problems.add(f"-c {name}", f"the plans have {', '.join(known)}", "choose one of these")
            continue
        folder = preprocessed / manager.get_configuration(name).data_identifier
        if folder.is_dir():
            folders[name] = folder
        elif chosen:
            problems.add(f"-c {name}", f"{folder}: no such folder", remedy)
    if not folders and not problems:
        problems.add(str(preprocessed), "no configuration has been preprocessed", remedy)
    problems.raise_if_any()
    return folders
