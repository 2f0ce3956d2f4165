"""The steps that every converter takes: from options and cases to a data set that is complete, or to all problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from nnunet_weak.dataset.annotations import WeakAnnotations
from nnunet_weak.dataset.options import ConversionOptions
from nnunet_weak.dataset.raw import RawDataset, WrittenCase, target_folder, write_raw_dataset
from nnunet_weak.errors import Problems
from nnunet_weak.options import record_of, shorten_path
from nnunet_weak.parallel import run_tasks

Task = TypeVar("Task")
Checked = TypeVar("Checked")
Say = Callable[[str], None]


def find_target(options: ConversionOptions, problems: Problems) -> Path | None:
    """Folder of the data set to be; None for a dry run, or with a problem where it cannot be made."""
    if options.dry_run:
        return None
    return problems.attempt(target_folder, options.dataset_id, options.name, overwrite=options.overwrite)


def check_channel_names(options: ConversionOptions, image_channels: int, problems: Problems) -> None:
    """Whether there are as many names as channels; 0 channels are none to compare with."""
    names = options.channel_names
    if names is not None and image_channels and len(names) != image_channels:
        problems.add(
            f"--channel-names {' '.join(names)}",
            f"the images have {image_channels} channels",
            "name each channel once, in their order",
        )


def carry_out(
    options: ConversionOptions,
    target: Path | None,
    problems: Problems,
    cases: Sequence[Task],
    *,
    check_case: Callable[[Task], Checked],
    write_case: Callable[[Path, Task], WrittenCase[Checked]],
    describe: Callable[[Sequence[Checked]], RawDataset],
    description: str,
    input_roots: Mapping[str, Path | None],
    further_inputs: Iterable[Path | None],
    say: Say,
) -> Path | None:
    """Check all cases, and write them where nothing is wrong so far and it is no dry run.

    Args:
        options: What to convert.
        target: See `find_target`.
        problems: What was found before any case was read.
        cases: What `check_case` and `write_case` need to know of each case.
        check_case: Reads a case; called in parallel.
        write_case: Reads a case and writes it into a folder; called in parallel.
        describe: Called with what these return. Adds the cases' problems to the others and raises them, or says what
            the data set holds beside its images.
        description: What stands beside the progress bar of a check.
        input_roots: See `write_raw_dataset`; None is left out.
        further_inputs: See `write_raw_dataset`; None is left out.
        say: Takes the lines of the report.

    Returns:
        The folder of the data set; None after a dry run.

    Raises:
        InvalidInputError: Everything that is wrong with the inputs, in one list; nothing was written.
        OSError: The disk is full, for example; nothing was written.
    """

    def described(checked: Sequence[Checked]) -> RawDataset:
        dataset = describe(checked)
        _report_splits(dataset, say)
        return dataset

    if target is None or len(problems):
        described(run_tasks(check_case, cases, processes=options.processes, description=description))
        say("Dry run: everything fits, nothing was written.")
        return None
    write_raw_dataset(
        target,
        cases,
        write_case,
        described,
        processes=options.processes,
        input_roots={name: path for name, path in input_roots.items() if path is not None},
        further_inputs=[path for path in further_inputs if path is not None],
    )
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
    """What the data set says beside its images; command, options and `provenance` go into `conversion.json`."""
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
            "command": [shorten_path(argument) for argument in command],
            "options": record_of(options),
            **provenance,
        },
        texts or {},
    )


def _report_splits(dataset: RawDataset, say: Say) -> None:
    splits = dataset.splits()
    full = len(dataset.annotations.fully_annotated_cases)
    if splits is not None:
        kind = "fully annotated " if full else ""
        held_out = sum(len(fold["val"]) for fold in splits)
        say(f"splits_final.json: {len(splits)} folds, which validate on {held_out} {kind}cases in all")
    elif len(dataset.annotations.cases) < 2 or dataset.patients and len(set(dataset.patients.values())) < 2:
        say("All cases are of one patient: no folds are possible, train with fold 'all'.")
