"""`nnunet_weak_preprocess_annotations`: annotation maps of a planned data set, on the grid of preprocessed images."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from nnunet_weak.cli.console import console_command
from nnunet_weak.dataset.folders import dataset_folder
from nnunet_weak.errors import InvalidInputError, Problems

_EPILOG = """\
Run it after nnU-Net's own preprocessing:
  nnUNetv2_plan_and_preprocess -d 521 -c 2d 3d_fullres --verify_dataset_integrity
  nnunet_weak_preprocess_annotations -d 521
A training that finds maps missing or out of date makes them by itself; with many cases, or on several GPUs, it starts
sooner when they are there. Only what is missing or out of date is made, so the command can be interrupted and run
again. Split over two machines that share a disk:
  nnunet_weak_preprocess_annotations -d 521 --num_parts 2 --part_id 0
  nnunet_weak_preprocess_annotations -d 521 --num_parts 2 --part_id 1
"""


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = _parser().parse_args(argv)
    if not 0 <= arguments.part_id < arguments.num_parts:
        raise InvalidInputError(
            f"--part_id {arguments.part_id}: parts are numbered from 0 to {arguments.num_parts - 1}"
        )
    for dataset in arguments.d:
        preprocess_dataset(
            dataset,
            configurations=arguments.c,
            plans_name=arguments.p,
            num_parts=arguments.num_parts,
            part_id=arguments.part_id,
            processes=arguments.np,
        )
    return 0


def preprocess_dataset(
    dataset: str,
    *,
    configurations: Sequence[str] | None = None,
    plans_name: str = "nnUNetPlans",
    num_parts: int = 1,
    part_id: int = 0,
    processes: int | None = None,
) -> None:
    """Preprocess the annotation maps of a data set.

    Args:
        dataset: Number or name.
        configurations: Names of configurations; all that have been preprocessed where None.
        plans_name: Identifier of the plans.
        num_parts: In how many parts the cases are split.
        part_id: Which part to do, from 0.
        processes: Number of processes; as many as there are cores where None.

    Raises:
        InvalidInputError: Nothing is preprocessed yet, or maps can not be made.
    """
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

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
    plans_file = preprocessed / f"{plans_name}.json"
    remedy = "run nnUNetv2_plan_and_preprocess first"
    if not plans_file.is_file():
        raise InvalidInputError(f"{plans_file}: no such file (remedy: {remedy})")
    plans = json.loads(plans_file.read_text(encoding="utf-8"))
    manager = PlansManager(plans)
    problems = Problems()
    folders = {}
    for name in configurations or manager.available_configurations:
        if name not in manager.available_configurations:
            problems.add(f"-c {name}", f"the plans have {', '.join(manager.available_configurations)}")
            continue
        folder = preprocessed / manager.get_configuration(name).data_identifier
        if folder.is_dir():
            folders[name] = folder
        elif configurations:
            problems.add(f"-c {name}", f"{folder}: no such folder", remedy)
    if not folders and not len(problems):
        problems.add(str(preprocessed), "no configuration has been preprocessed", remedy)
    problems.raise_if_any()
    file_ending = json.loads((raw / "dataset.json").read_text(encoding="utf-8"))["file_ending"]
    cases = sorted(annotations.cases)[part_id::num_parts]
    for name, folder in folders.items():
        maps = maps_of(annotations, raw, folder, file_ending, cases)
        done = preprocess_maps(maps, plans, name, folder, processes=processes or default_processes())
        print(f"{name}: {done.written} annotation maps written, {done.up_to_date} were up to date")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnunet_weak_preprocess_annotations",
        description="Preprocess the annotation maps of a RefineSeg data set: transposed, cropped and resampled as "
        "nnU-Net does with label maps.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-d", nargs="+", required=True, metavar="ID", help="numbers or names of data sets")
    parser.add_argument(
        "-c", nargs="+", metavar="CONFIGURATION", help="configurations (default: all that have been preprocessed)"
    )
    parser.add_argument("-p", default="nnUNetPlans", metavar="PLANS", help="plans identifier (default: %(default)s)")
    parser.add_argument("-np", type=int, default=None, metavar="N", help="number of processes (default: all cores)")
    parser.add_argument("--num_parts", type=int, default=1, metavar="N", help="split the cases into N parts")
    parser.add_argument("--part_id", type=int, default=0, metavar="I", help="do part I, from 0 (default: %(default)s)")
    return parser
