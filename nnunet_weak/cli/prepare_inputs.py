"""`nnunet_weak_prepare_inputs`: the input channels that a SCORE network needs for stock `nnUNetv2_predict`.

Regions, their order and the boundary prior come from the `dataset.json` of the model folder, and the channels are
written by the function that the converter uses. Cases are independent: the command can be interrupted and run again,
and split over machines.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nnunet_weak.cli.console import console_command
from nnunet_weak.errors import InvalidInputError, Problems

if TYPE_CHECKING:
    from nnunet_weak.dataset.annotations import ChannelLayout, WeakAnnotations
    from nnunet_weak.dataset.find_cases import CaseLayout
    from nnunet_weak.priors import PriorOptions
    from nnunet_weak.scores.regions import RegionSource

_RECORD = "prepared.json"


@dataclass(frozen=True)
class Preparation:
    """What to prepare, and how.

    Attributes:
        images: Folder of images, see `discover_cases`.
        masks: Folder of initial masks, see `find_initial_masks`.
        model: Model folder, data set folder, or number or name of a data set.
        output: Folder to write to.
        regions: Regions as on the converter's command line, where the masks are stored differently than at training.
        prior_folder: Folder of boundary priors, for the prior kind `file`.
        channel_suffixes: Endings of file names by channel.
        case_layout: How images are stored.
        other_labels: What to do about values of a mask that belong to no region.
        num_parts: In how many parts the work is split.
        part_id: Which part to do, from 0.
        overwrite: Write files again that are complete.
        processes: Number of processes.
    """

    images: Path
    masks: Path
    model: str
    output: Path
    regions: tuple[str, ...] | None = None
    prior_folder: Path | None = None
    channel_suffixes: tuple[str, ...] | None = None
    case_layout: CaseLayout = "auto"
    other_labels: Literal["refuse", "background"] = "refuse"
    num_parts: int = 1
    part_id: int = 0
    overwrite: bool = False
    processes: int = 1


@dataclass(frozen=True)
class PreparedFiles:
    """How many cases were written, and how many were complete before."""

    written: int
    complete: int


def prepare(options: Preparation) -> PreparedFiles:
    """Write the input channels of all cases of a folder.

    A case with a problem does not keep the others from being written.

    Raises:
        InvalidInputError: Everything that is wrong with the inputs, in one list.
        OSError: A file cannot be written; complete files stay.
    """
    from nnunet_weak.dataset.annotations import WeakAnnotations
    from nnunet_weak.dataset.find_cases import discover_cases
    from nnunet_weak.dataset.folders import dataset_folder
    from nnunet_weak.images.read import list_images
    from nnunet_weak.parallel import run_tasks
    from nnunet_weak.scores.initial_masks import find_initial_masks

    if not 0 <= options.part_id < options.num_parts:
        raise InvalidInputError(f"--part_id {options.part_id}: parts are numbered from 0 to {options.num_parts - 1}")
    folder = Path(options.model)
    if not folder.is_dir():
        folder = dataset_folder(options.model, "nnUNet_raw", "nnUNet_preprocessed", option="-m")
    annotations = WeakAnnotations.read(folder)
    file_ending = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["file_ending"]
    if annotations.method != "score":
        raise InvalidInputError(
            f"{folder}: trained by the method '{annotations.method}', which needs the images alone "
            "(remedy: give them to nnUNetv2_predict as they are)"
        )
    regions = _regions(annotations, options.regions)
    found = discover_cases(options.images, channel_suffixes=options.channel_suffixes, layout=options.case_layout)
    problems = Problems()
    for case, paths in found.items():
        if len(paths) != annotations.channels.images:
            problems.add(
                f"{options.images}, case '{case}'",
                f"{len(paths)} image channels, the network was trained with {annotations.channels.images}",
                "give the channels of the training images, in their order",
            )
    masks = problems.attempt(find_initial_masks, options.masks, list(found), regions) or {}
    prior_files: dict[str, Path] = {}
    if annotations.prior is not None and annotations.prior.kind == "file":
        if options.prior_folder is None:
            problems.add(
                "boundary prior", "the network was trained with priors of your own", "give them with --prior-folder DIR"
            )
        else:
            prior_files = list_images(options.prior_folder)
            for case in found:
                if case not in prior_files:
                    problems.add(f"{options.prior_folder}, case '{case}'", "no boundary prior", "add it")
    problems.raise_if_any("nothing was written")
    options.output.mkdir(parents=True, exist_ok=True)
    _record(options, annotations)
    tasks = [
        _CaseToPrepare(
            case,
            tuple(found[case]),
            masks[case],
            regions,
            annotations.channels,
            annotations.prior if annotations.channels.prior else None,
            prior_files.get(case),
            options.other_labels,
            options.output,
            file_ending,
            options.overwrite,
        )
        for case in sorted(found)[options.part_id :: options.num_parts]
    ]
    outcomes = run_tasks(_prepare_case, tasks, processes=options.processes, description="Preparing")
    for outcome in outcomes:
        problems.extend(InvalidInputError(outcome.problems))
    written = sum(outcome.written for outcome in outcomes)
    complete = len(outcomes) - written - sum(bool(outcome.problems) for outcome in outcomes)
    problems.raise_if_any(f"{written} cases were written, {complete} were complete before")
    return PreparedFiles(written, complete)


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run `nnunet_weak_prepare_inputs`."""
    arguments = _parser().parse_args(argv)
    done = prepare(
        Preparation(
            images=arguments.i,
            masks=arguments.masks,
            model=arguments.m,
            output=arguments.o,
            regions=tuple(arguments.regions) if arguments.regions else None,
            prior_folder=arguments.prior_folder,
            channel_suffixes=tuple(arguments.channel_suffixes) if arguments.channel_suffixes else None,
            case_layout=arguments.layout,
            other_labels=arguments.other_labels,
            num_parts=arguments.num_parts,
            part_id=arguments.part_id,
            overwrite=arguments.overwrite,
            processes=arguments.np,
        )
    )
    print(f"{done.written} cases written to {arguments.o}, {done.complete} were complete before")
    return 0


@dataclass(frozen=True)
class _CaseToPrepare:
    name: str
    images: tuple[Path, ...]
    mask: Path
    regions: tuple[RegionSource, ...]
    layout: ChannelLayout
    prior: PriorOptions | None
    prior_file: Path | None
    other_labels: Literal["refuse", "background"]
    output: Path
    file_ending: str
    overwrite: bool


@dataclass(frozen=True)
class _Outcome:
    written: bool
    problems: tuple[str, ...] = ()


def _prepare_case(case: _CaseToPrepare) -> _Outcome:
    from nnunet_weak.dataset.case_files import CaseFiles, channel_file_name
    from nnunet_weak.dataset.input_channels import read_first_channel, write_input_channels
    from nnunet_weak.scores.initial_masks import read_initial_mask

    names = [channel_file_name(case.name, channel, case.file_ending) for channel in range(case.layout.count)]
    if not case.overwrite and _is_complete(case, names):
        return _Outcome(False)
    # A folder of its own, for nnU-Net takes every file of the output folder for a case, hidden ones too.
    partial = case.output / f".partial-{case.name}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        image = read_first_channel(case.images)
        mask = read_initial_mask(case.mask, case.regions, image, other_labels=case.other_labels).label_map
        files = CaseFiles(partial, case.name, case.file_ending, image, images="")
        write_input_channels(files, case.images, mask, case.layout, case.prior, case.prior_file)
        for name in names:
            os.replace(partial / name, case.output / name)
    except InvalidInputError as error:
        return _Outcome(False, error.problems)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return _Outcome(True)


def _is_complete(case: _CaseToPrepare, names: Sequence[str]) -> bool:
    targets = [case.output / name for name in names]
    if not all(target.is_file() for target in targets):
        return False
    sources = [*case.images, case.mask, *([case.prior_file] if case.prior_file else [])]
    files = [path for source in sources for path in (source.iterdir() if source.is_dir() else (source,))]
    return max(path.stat().st_mtime for path in files) <= min(target.stat().st_mtime for target in targets)


def _regions(annotations: WeakAnnotations, given: Sequence[str] | None) -> tuple[RegionSource, ...]:
    from nnunet_weak.scores.regions import parse_regions

    names = annotations.channels.masks
    sources = annotations.mask_sources
    texts = given or [f"{name}={sources.get(name, number)}" for number, name in enumerate(names, start=1)]
    regions = parse_regions(texts)
    if tuple(region.name for region in regions) != names:
        raise InvalidInputError(
            f"--regions {' '.join(texts)}: the network was trained with the regions {', '.join(names)} (remedy: name "
            "these, in this order)"
        )
    return regions


def _record(options: Preparation, annotations: WeakAnnotations) -> None:
    """Say beside the files what they were made for, and refuse to mix files made for different networks."""
    block = annotations.to_json(with_cases=False)
    settings: dict[str, Any] = {key: block[key] for key in ("channels", "prior") if key in block}
    path = options.output / _RECORD
    if path.is_file() and not options.overwrite:
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InvalidInputError(f"{path}: not valid JSON ({error}) (remedy: delete it)") from error
        if earlier != settings:
            raise InvalidInputError(
                f"{options.output}: holds files that were prepared for a network with other regions or another prior "
                "(remedy: choose another folder, or --overwrite)"
            )
        return
    partial = options.output / f".{_RECORD}.{os.getpid()}"
    partial.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)


_EPILOG = """
example: refine TotalSegmentator's masks of new CTs
  nnunet_weak_prepare_inputs -i new_cts --masks new_masks -o imagesTs \\
      -m "$nnUNet_results/Dataset511_HumerusScore/nnUNetTrainerSCORE__nnUNetPlans__3d_fullres"
  nnUNetv2_predict -i imagesTs -o refined -d 511 -c 3d_fullres -f 0 -tr nnUNetTrainerSCORE

Masks are read as at training; --regions says where the regions are if they are stored in another way. Cases that are
complete are skipped, so an interrupted run can be repeated. On two machines: --num_parts 2 --part_id 0 and --num_parts
2 --part_id 1.
"""


def _parser() -> argparse.ArgumentParser:
    from nnunet_weak.parallel import default_processes

    parser = argparse.ArgumentParser(
        prog="nnunet_weak_prepare_inputs",
        description="Write the image, mask and prior channels that a network trained by SCORE needs at inference.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("-i", type=Path, required=True, metavar="DIR", help="images, stored as for the converter")
    add("--masks", type=Path, required=True, metavar="DIR", help="initial masks, stored as for the converter")
    add(
        "-m", required=True, metavar="MODEL", help="model folder (with dataset.json), or number or name of the data set"
    )
    add("-o", type=Path, required=True, metavar="DIR", help="folder to write to")
    add(
        "--regions",
        nargs="+",
        metavar="NAME=SOURCE",
        help="where the regions are, as for the converter (default: as at training)",
    )
    add("--prior-folder", type=Path, metavar="DIR", help="boundary priors, for networks trained with --prior file")
    add("--channel-suffixes", nargs="+", metavar="SUFFIX", help="what file names end with, channel by channel")
    add(
        "--layout",
        choices=("auto", "files", "channels", "folders"),
        default="auto",
        help="how images are stored (default: %(default)s)",
    )
    add(
        "--other-labels",
        choices=("refuse", "background"),
        default="refuse",
        help="values of a mask that belong to no region (default: %(default)s)",
    )
    add("--num_parts", type=int, default=1, metavar="P", help="split the cases in P parts (default: %(default)s)")
    add("--part_id", type=int, default=0, metavar="I", help="the part to do, from 0 (default: %(default)s)")
    add("--overwrite", action="store_true", help="write files again that are complete")
    add("-np", type=int, default=default_processes(), metavar="N", help="processes (default: %(default)s)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(None))
