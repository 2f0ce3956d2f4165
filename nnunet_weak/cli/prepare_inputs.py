"""`nnunet_weak_prepare_inputs`: the input channels that a SCORE network needs for stock `nnUNetv2_predict`.

Regions, their order and the boundary prior come from the `dataset.json` of the model folder, and the channels are
written by the function that the converter uses. Cases are independent: the command can be interrupted and run again,
and split over machines. A case is complete if its channels, its files and the options are those of its record.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nnunet_weak import __version__
from nnunet_weak.cli.console import console_command
from nnunet_weak.dataset.case_files import CaseFiles, channel_file_name
from nnunet_weak.dataset.case_record import NOT_MADE_BEFORE, CaseRecord
from nnunet_weak.dataset.convert import files_in
from nnunet_weak.dataset.input_channels import read_first_channel, write_input_channels
from nnunet_weak.dataset.parts import Parts
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.atomic import atomic_file, scratch_folder
from nnunet_weak.images.integrity import fingerprint
from nnunet_weak.images.json_files import load_json
from nnunet_weak.images.outputs import check_place
from nnunet_weak.images.read import read_case_image
from nnunet_weak.options import RUN, option, parse, processes_option
from nnunet_weak.parallel import run_cases
from nnunet_weak.scores.cases import ScoreCase
from nnunet_weak.scores.inference import InferenceInputs, ScoreNetwork, find_inference_cases, read_network
from nnunet_weak.scores.initial_masks import read_initial_mask

logger = logging.getLogger(__name__)

_RECORD = "prepared.json"
_CASE_RECORDS = "prepared"
"""Folder of the records of single cases, which nnU-Net does not look into."""


@dataclass(frozen=True, kw_only=True)
class Preparation(InferenceInputs, Parts):
    """Options of the command."""

    output: Path = option("-o", metavar="DIR", help="folder to write to")
    overwrite: bool = option(default=False, group=RUN, help="write complete files again")
    processes: int | None = processes_option()

    def __post_init__(self) -> None:
        """Refuse a part that does not exist, and an output among the inputs."""
        problems = Problems()
        check_place(self.output, (self.images, self.masks, self.prior_folder), f"--output {self.output}", problems)
        self.check_part(problems)
        problems.raise_if_any()


def prepare(options: Preparation) -> tuple[int, int]:
    """Write the input channels of all cases of a folder; a case with a problem does not stop the others.

    Returns:
        How many cases were written, and how many were complete before.

    Raises:
        InvalidInputError: Everything that is wrong with the inputs, in one list. Cases without a problem are written,
            earlier channels of cases with one are removed.
        OSError: A file cannot be written; complete files stay.
    """
    network = read_network(options)
    cases = find_inference_cases(options, network)
    options.output.mkdir(parents=True, exist_ok=True)
    _write_record(options, network)
    problems = Problems()
    reasons = run_cases(
        partial(_prepare_case, options, network),
        options.of(cases),
        problems,
        processes=options.processes,
        description="Preparing",
    )
    for name, reason in reasons.items():
        if reason not in (None, NOT_MADE_BEFORE):
            logger.warning("%s was made again: %s", name, reason)
    complete = sum(reason is None for reason in reasons.values())
    written = len(reasons) - complete
    problems.raise_if_any(f"{written} cases were written, {complete} were complete before")
    return written, complete


_EPILOG = """
example: refine TotalSegmentator's masks of new CTs
  nnunet_weak_prepare_inputs -i new_cts --masks new_masks -o imagesTs \\
      -m "$nnUNet_results/Dataset511_HumerusScore/nnUNetTrainerSCORE__nnUNetPlans__3d_fullres"
  nnUNetv2_predict -i imagesTs -o refined -d 511 -c 3d_fullres -f 0 -tr nnUNetTrainerSCORE

Masks are read as at training; --regions says where the regions are if they are stored in another way. Cases that are
complete are skipped, so an interrupted run can be repeated; a case is made again if its channels, images, masks or
options have changed since (sizes and SHA-256 sums are in imagesTs/prepared).
On two machines: -num_parts 2 -part_id 0 and -num_parts 2 -part_id 1.
"""


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run `nnunet_weak_prepare_inputs`."""
    options = parse(
        Preparation,
        sys.argv[1:] if argv is None else argv,
        prog="nnunet_weak_prepare_inputs",
        description="Write the image, mask and prior channels that a network trained by SCORE needs at inference.",
        epilog=_EPILOG,
    )
    written, complete = prepare(options)
    print(f"{written} cases written to {options.output}, {complete} were complete before")
    return 0


def _prepare_case(options: Preparation, network: ScoreNetwork, case: ScoreCase) -> str | None:
    """Write the files of a case, and why; None if they are complete."""
    layout, prior = network.annotations.channels, network.annotations.prior
    names = [channel_file_name(case.name, channel, network.file_ending) for channel in range(layout.count)]
    record = CaseRecord(
        options.output / _CASE_RECORDS / f"{case.name}.json",
        _settings_of(options, network),
        files_in([*case.images, case.mask, case.prior_file]),
        [options.output / name for name in names],
    )
    reason = "--overwrite" if options.overwrite else record.difference()
    if reason is None:
        return None
    inputs = record.describe_inputs()
    # A folder of its own, because nnU-Net takes every file of the output folder for a case, hidden ones too.
    with scratch_folder(options.output / case.name) as folder:
        try:
            image = read_first_channel(case.images)
            mask = read_initial_mask(case.mask, network.regions, image, other_labels=options.other_labels).label_map
            files = CaseFiles(folder, case.name, network.file_ending, image, images="")
            write_input_channels(files, case.images, mask, layout, prior if layout.prior else None, case.prior_file)
        except InvalidInputError:
            if record.remove_outputs():
                logger.warning("%s: the channels of an earlier run are removed, they no longer fit.", case.name)
            raise
        if not options.overwrite and not record.path.is_file():
            _check_unrecorded(record.outputs, folder)
        record.put_in_place(inputs, folder)
    return reason


def _settings_of(options: Preparation, network: ScoreNetwork) -> dict[str, Any]:
    """Everything beside its files that decides what the channels of a case hold."""
    return {
        "version": __version__,
        **network.block_settings(),
        "regions": [asdict(region) for region in network.regions],
        "other_labels": options.other_labels,
    }


def _check_unrecorded(paths: Sequence[Path], new_folder: Path) -> None:
    """Refuse to replace files that this command may not have made, unless they are as the new ones, or damaged.

    Raises:
        InvalidInputError: All such files.
    """
    problems = Problems()
    for path in filter(Path.is_file, paths):
        if fingerprint(path) == fingerprint(new_folder / path.name):
            continue
        try:
            read_case_image(path)
        except InvalidInputError:
            continue
        problems.add(
            str(path),
            f"is another image than this command would write, and no record in {_CASE_RECORDS}/ says that it made it",
            "choose another folder, or replace the file with --overwrite",
        )
    problems.raise_if_any()


def _write_record(options: Preparation, network: ScoreNetwork) -> None:
    """Record the network for which the folder's files are made, and refuse to mix files made for different networks."""
    settings = network.block_settings()
    path = options.output / _RECORD
    if path.is_file() and not options.overwrite:
        if load_json(path) != settings:
            raise InvalidInputError(
                f"{options.output}: holds files that were prepared for a network with other regions or another prior "
                "(remedy: choose another folder, or --overwrite)"
            )
        return
    with atomic_file(path) as partial_file:
        partial_file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main(None))
