"""The steps that every converter takes: from options and cases to a data set that is complete, or to all problems.

Cases are checked and written in parallel, by the converter's own function, into `imagesTr`, `labelsTr` and, where there
are further maps, `annotationsTr/MAP`. The folder appears complete or not at all.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from nnunet_weak import __version__
from nnunet_weak.dataset.annotations import WeakAnnotations
from nnunet_weak.dataset.convert_parts import InputFile, PartStore, read_all
from nnunet_weak.dataset.folders import new_dataset_folder
from nnunet_weak.dataset.options import ConversionOptions
from nnunet_weak.dataset.parts import without_parts
from nnunet_weak.dataset.raw import RawDataset
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.atomic import atomic_folder
from nnunet_weak.images.integrity import fingerprint
from nnunet_weak.images.outputs import check_place
from nnunet_weak.options import record_of, shorten_path
from nnunet_weak.parallel import run_cases

logger = logging.getLogger(__name__)

_FAILED = ".failed"
_MOST_LINES = 50


@dataclass(frozen=True, kw_only=True)
class ConvertedCase:
    """What a converter reports of one case; each adds its own fields.

    Attributes:
        name: The case.
        minima: Lowest intensity of each image channel.
        inputs: The files that were read.
    """

    name: str
    minima: tuple[float, ...] = ()
    inputs: tuple[Path, ...] = ()


Task = TypeVar("Task")
Case = TypeVar("Case", bound=ConvertedCase)
Say = Callable[[str], None]


def find_target(options: ConversionOptions, problems: Problems) -> Path | None:
    """Name the folder of the new data set; None for a dry run, or with a problem where it cannot be made.

    A dry run has the problems that the run itself would have.
    """
    target = problems.attempt(new_dataset_folder, options.dataset_id, options.name, overwrite=options.overwrite)
    return None if options.dry_run else target


def write_raw_dataset(
    target: Path | None,
    cases: Mapping[str, Task],
    convert_case: Callable[[Task, Path | None], Case],
    describe: Callable[[Sequence[Case]], RawDataset],
    problems: Problems,
    *,
    options: ConversionOptions | None = None,
    replace: bool = True,
    processes: int | None = None,
    description: str = "Checking",
    input_roots: Mapping[str, Path | None] | None = None,
    further_inputs: Iterable[Path | None] = (),
    progress: bool = True,
    say: Say = logger.info,
) -> Path | None:
    """Check all cases, and write the data set if nothing is wrong and it is no dry run.

    Args:
        target: Its folder, see `new_dataset_folder`; None checks only. An old data set is replaced when the new one is
            complete.
        cases: The argument of `convert_case`, by case.
        convert_case: Called as `convert_case(task, folder)`, in parallel: reads and checks a case, and writes it below
            `folder` through `CaseFiles`; checks only if that is None. Raises all problems of the case.
        describe: Called with all cases that could be used: reports on them, raises `problems` if there are any, and
            returns what the data set says beside its images.
        problems: What was found before any case was read; takes those of the cases.
        options: The command's, which say whether the conversion is split; None does not split it.
        replace: Whether an old data set of this number and name may be replaced.
        processes: Number of processes; None takes all cores.
        description: Text beside the progress bar of a check.
        input_roots: Folders, by name, under which `conversion.json` lists the input files that lie in them.
        further_inputs: Input files that belong to no case: tables.
        progress: Whether to show a progress bar.
        say: Takes the lines of the report.

    Returns:
        The folder; None after a dry run, or a part.

    Raises:
        InvalidInputError: Everything that is wrong with the inputs, in one list.
        OSError: The disk is full, or a file cannot be read or written. Nothing new is left behind, an old data set
            stays.
    """

    def convert(folder: Path | None) -> tuple[RawDataset, list[InputFile]]:
        outcomes = run_cases(
            partial(_convert_case, convert_case, folder),
            cases,
            problems,
            processes=processes,
            description=description if folder is None else "Writing",
            progress=progress,
        ).values()
        dataset = describe([case for case, _ in outcomes])
        problems.raise_if_any("Nothing was written")
        _report_splits(dataset, say)
        return dataset, [file for _, files in outcomes for file in files]

    roots = {name: root for name, root in (input_roots or {}).items() if root is not None}
    further = [path for path in further_inputs if path is not None]
    if target is not None:
        check_place(target, [*roots.values(), *further], "the new data set", problems)
    merging = options is not None and options.merge
    if options is not None and options.num_parts > 1 and not merging:
        options.check_part(problems)
        cases = options.of(cases)
    if merging:
        problems.raise_if_any("Nothing was merged")
    if target is None or problems:
        convert(None)
        say("Dry run: everything fits, nothing was written.")
        return None
    store: PartStore[Case] | None = None
    if options is not None and options.is_part:
        store = PartStore.beside(target, {"version": __version__, **record_of(options)})
        if not merging:
            _convert_part(store, cases, convert_case, problems, options, progress=progress, say=say)
            return None
    replacing = target.exists()
    one_for_each_number = f"{target.name.partition('_')[0]}_*"
    with atomic_folder(target, rivals=one_for_each_number, replace=replace) as folder:
        for name in ("imagesTr", "labelsTr"):
            (folder / name).mkdir()
        if store is None or options is None:
            dataset, files = convert(folder)
        else:
            dataset, files = _merge_parts(store, cases, describe, problems, folder, options.num_parts, say)
        if dataset.folder_name != target.name:
            raise InvalidInputError(f"{target}: the data set is called {dataset.folder_name}")
        files += [(path, fingerprint(path)) for path in further]
        dataset.write_texts(folder, {_listed_name(path, roots): facts for path, facts in files})
    if store is not None:
        store.remove()
    if replacing:
        _warn_of_old_preprocessing(target)
    say(f"Wrote {len(cases)} case{'s' if len(cases) != 1 else ''} to {target}")
    return target


def raw_dataset_of(
    options: ConversionOptions,
    channel_names: tuple[str, ...],
    labels: Mapping[str, int],
    annotations: WeakAnnotations,
    patients: Mapping[str, str] | None,
    command: Sequence[str],
    provenance: Mapping[str, Any],
    texts: Mapping[str, str] | None = None,
) -> RawDataset:
    """Describe the data set of a converter; command, options and `provenance` go into `conversion.json`."""
    return RawDataset(
        options.dataset_id,
        options.name,
        channel_names,
        labels,
        annotations,
        options.file_ending,
        patients,
        options.split_seed,
        {
            "command": [shorten_path(argument) for argument in without_parts(command)],
            "options": record_of(options),
            **provenance,
        },
        texts or {},
    )


def left_out_lines(left_out: Mapping[str, str]) -> list[str]:
    """Lines of the report on cases that were left out, each with its reason; of very many, the first ones."""
    lines = [f"Left out {case}: {reason}" for case, reason in left_out.items()]
    more = len(lines) - _MOST_LINES
    return lines if more <= 0 else [*lines[:_MOST_LINES], f"Left out {more} more: conversion.json lists them"]


def files_in(sources: Iterable[Path | None]) -> tuple[Path, ...]:
    """Files, and those in folders, in the order given."""
    return tuple(
        path
        for source in sources
        if source is not None
        for path in (sorted(filter(Path.is_file, source.iterdir())) if source.is_dir() else [source])
    )


def _convert_case(
    convert_case: Callable[[Task, Path | None], Case], folder: Path | None, task: Task
) -> tuple[Case, list[InputFile]]:
    # As soon as one case has a problem, the others are checked only, for the folder will be removed.
    failed = None if folder is None else folder / _FAILED
    try:
        case = convert_case(task, None if failed is None or failed.exists() else folder)
    except InvalidInputError:
        if failed is not None:
            failed.touch()
        raise
    return case, [] if failed is None or failed.exists() else [(path, fingerprint(path)) for path in case.inputs]


def _convert_part(
    store: PartStore,
    cases: Mapping[str, Task],
    convert_case: Callable[[Task, Path | None], Case],
    problems: Problems,
    options: ConversionOptions,
    *,
    progress: bool,
    say: Say,
) -> None:
    store.folder.mkdir(parents=True, exist_ok=True)
    outcomes = run_cases(
        partial(_convert_into, store, convert_case),
        {name: (name, task) for name, task in cases.items()},
        problems,
        processes=options.processes,
        description=f"Part {options.part_id} of {options.num_parts}",
        progress=progress,
    )
    written = sum(outcomes.values())
    counts = f"{written} cases converted, {len(outcomes) - written} were complete before"
    problems.raise_if_any(counts)
    say(f"{counts}. When all {options.num_parts} parts are done, run the command once with --merge")


def _convert_into(store: PartStore, convert_case: Callable[[Task, Path | None], Case], named: tuple[str, Task]) -> bool:
    return store.convert(convert_case, *named)


def _merge_parts(
    store: PartStore[Case],
    cases: Mapping[str, Task],
    describe: Callable[[Sequence[Case]], RawDataset],
    problems: Problems,
    folder: Path,
    num_parts: int,
    say: Say,
) -> tuple[RawDataset, list[InputFile]]:
    found = read_all(store, cases, num_parts, problems)
    problems.raise_if_any("Nothing was merged")
    dataset = describe([case for case, _ in found.values()])
    problems.raise_if_any("Nothing was merged")
    _report_splits(dataset, say)
    for name in found:
        store.link_into(folder, name)
    return dataset, [file for _, files in found.values() for file in files]


def _listed_name(path: Path, roots: Mapping[str, Path]) -> str:
    for name, root in roots.items():
        if path.absolute().is_relative_to(root.absolute()):
            return f"{name}/{path.absolute().relative_to(root.absolute()).as_posix()}"
    return path.name


def _report_splits(dataset: RawDataset, say: Say) -> None:
    splits = dataset.splits()
    full = len(dataset.annotations.fully_annotated_cases)
    if splits is not None:
        kind = "fully annotated " if full else ""
        held_out = sum(len(fold["val"]) for fold in splits)
        say(f"splits_final.json: {len(splits)} folds, which validate on {held_out} {kind}cases in all")
    elif len(dataset.annotations.cases) < 2 or dataset.patients and len(set(dataset.patients.values())) < 2:
        say("All cases are of one patient: no folds are possible, train with fold 'all'.")


def _warn_of_old_preprocessing(target: Path) -> None:
    root = os.environ.get("nnUNet_preprocessed")
    if not root:
        return
    preprocessed = Path(root) / target.name
    if preprocessed.exists():
        logger.warning(
            "%s has been preprocessed before: run nnUNetv2_plan_and_preprocess again, or training goes on with the "
            "old data.",
            target.name,
        )
    if (preprocessed / "splits_final.json").exists():
        logger.warning("Its splits_final.json in nnUNet_preprocessed is kept by nnU-Net; delete it for the new folds.")
