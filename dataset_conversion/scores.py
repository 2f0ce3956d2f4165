"""From images, automatic masks and quality scores to an nnU-Net raw data set for SCORE.

`labelsTr` holds the initial mask of a scored case (regions 1 to K), and the reference labels of a fully annotated one.
The network's input channels are the images, one mask for each region, and the boundary prior P. Scores, error labels
and how all this was made stand in `dataset.json`.

Either everything fits and the data set appears as a whole, or all that is wrong is listed and nothing is left behind.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from nnunet_weak.annotations import CaseAnnotation, ChannelLayout, ErrorType, RegionScore, WeakAnnotations
from nnunet_weak.cli.console import console_command
from nnunet_weak.dataset_conversion.score_cases import CheckedCase, ScoreCase, check_case, write_case
from nnunet_weak.dataset_conversion.score_inputs import ScoreInputs, gather_inputs
from nnunet_weak.dataset_conversion.score_options import ScoreConversion, parse_options
from nnunet_weak.dataset_conversion.score_report import (
    MANY_MASK_CHANNELS,
    channel_names_from,
    common_left_right_axis,
    masks_report,
    memory_report,
    prior_report,
    provenance_of,
)
from nnunet_weak.dataset_conversion.score_tables import format_matched_table
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.parallel import run_tasks
from nnunet_weak.raw_dataset import RawDataset, shortened, target_folder, write_raw_dataset
from nnunet_weak.volume_files import voxels_in_header

logger = logging.getLogger(__name__)

_ASSESSED_CASES = 20  # P is computed twice for these, and the mean of more would tell nothing new


def convert(
    options: ScoreConversion, say: Callable[[str], None] = logger.info, command: Sequence[str] = ()
) -> Path | None:
    """Check all inputs, report on them, and write the data set.

    Args:
        options: What to convert.
        say: Takes the lines of the report.
        command: The command line, for the record.

    Returns:
        The folder of the data set; None after a dry run.

    Raises:
        InvalidInputError: Everything that is wrong with the inputs, in one list; nothing was written.
        OSError: The disk is full, for example; nothing was written.
    """
    problems = Problems()
    target: Path | None = None
    if not options.dry_run:
        try:
            target = target_folder(options.dataset_id, options.name, overwrite=options.overwrite)
        except InvalidInputError as error:
            problems.extend(error)
    if (options.prior.kind == "file") != (options.prior_folder is not None):
        problems.add("prior", "the kind 'file' and a folder of priors need each other", "write --prior file=DIR")
    inputs = gather_inputs(
        options.images,
        options.masks,
        options.scores,
        options.regions,
        problems,
        references=options.references,
        prior_folder=options.prior_folder,
        patients=options.patients,
        channel_suffixes=options.channel_suffixes,
        case_layout=options.case_layout,
        table_format=options.table_format,
        allow_missing=options.allow_missing,
        report_names=options.dry_run,
    )
    if inputs.table is not None:
        say(format_matched_table(inputs.table))
    cases = _score_cases(options, inputs)
    if not cases and not len(problems):
        problems.add(str(options.images), "no complete case: images, initial mask and score", "compare the names")
    _check_channels(options, inputs, problems, say)

    def describe(checked: Sequence[CheckedCase]) -> RawDataset:
        for case in checked:
            problems.extend(InvalidInputError(case.problems))
        names, axis = _report(options, inputs, [case for case in checked if not case.problems], say)
        problems.raise_if_any("SCORE data set, nothing was written")
        dataset = _raw_dataset(options, inputs, checked, names, axis, command)
        _report_splits(dataset, say)
        return dataset

    if target is None or len(problems):
        describe(run_tasks(check_case, cases, processes=options.processes, description="Checking"))
        say("Dry run: everything fits, nothing was written.")
        return None
    roots = {name: getattr(options, name) for name in ("images", "masks", "references", "prior_folder")}
    write_raw_dataset(
        target,
        cases,
        write_case,
        describe,
        processes=options.processes,
        input_roots={name: path for name, path in roots.items() if path is not None},
        further_inputs=[path for path in (options.scores, options.patients) if path is not None],
    )
    say(f"Wrote {len(cases)} case{'s' if len(cases) != 1 else ''} to {target}")
    say(f"Next: nnUNetv2_plan_and_preprocess -d {options.dataset_id} --verify_dataset_integrity")
    return target


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run `nnunet_weak_convert_scores`."""
    arguments = sys.argv[1:] if argv is None else argv
    convert(parse_options(arguments), print, ["nnunet_weak_convert_scores", *arguments])
    return 0


def _score_cases(options: ScoreConversion, inputs: ScoreInputs) -> list[ScoreCase]:
    complete = [case for case in inputs.images if case in inputs.masks]
    if options.prior.kind == "file":
        complete = [case for case in complete if case in inputs.prior_files]
    with_reference = [case for case in complete if case in inputs.references]
    assessed = set(with_reference[:: -(-len(with_reference) // _ASSESSED_CASES) or 1])
    channels = len(next(iter(inputs.images.values()), ()))
    layout = _layout(options, channels)
    return [
        ScoreCase(
            case,
            tuple(inputs.images[case]),
            inputs.masks[case],
            options.regions,
            layout,
            options.prior if layout.prior else None,
            inputs.references.get(case),
            inputs.prior_files.get(case),
            options.other_labels,
            options.file_ending,
            case in assessed,
        )
        for case in complete
    ]


def _layout(options: ScoreConversion, image_channels: int) -> ChannelLayout:
    return ChannelLayout(image_channels, tuple(region.name for region in options.regions), options.prior.kind != "none")


def _check_channels(
    options: ScoreConversion, inputs: ScoreInputs, problems: Problems, say: Callable[[str], None]
) -> None:
    """Whether the number of channels fits their names and the memory; from the images' headers alone."""
    image_channels = len(next(iter(inputs.images.values()), ()))
    names = options.channel_names
    if names is not None and image_channels and len(names) != image_channels:
        problems.add(
            f"--channel-names {' '.join(names)}",
            f"the images have {image_channels} channels",
            "name each channel once, in their order",
        )
    layout = _layout(options, image_channels)
    if len(layout.masks) > MANY_MASK_CHANNELS:
        largest = max((voxels_in_header(paths[0]) for paths in inputs.images.values()), default=0)
        for line in memory_report(len(layout.masks), layout.count, largest, options.allow_many_channels, problems):
            say(line)


def _report(
    options: ScoreConversion, inputs: ScoreInputs, checked: Sequence[CheckedCase], say: Callable[[str], None]
) -> tuple[tuple[str, ...], int | None]:
    """Tell what was found; returns the names of the image channels and the left-right axis."""
    if not checked:
        return (), None
    axis, remark = common_left_right_axis(checked)
    names, remarks = channel_names_from(checked, options.channel_names)
    prior_lines, warnings = prior_report(checked, options.prior)
    lines = [f"Left out {case}: {reason}" for case, reason in inputs.left_out.items()]
    lines += [*masks_report(checked), *([remark] if remark else []), *remarks, *prior_lines]
    if lines:
        say("\n".join(["", *lines]))
    for warning in warnings:
        logger.warning(warning)
    return names, axis


def _raw_dataset(
    options: ScoreConversion,
    inputs: ScoreInputs,
    checked: Sequence[CheckedCase],
    channel_names: tuple[str, ...],
    left_right_axis: int | None,
    command: Sequence[str],
) -> RawDataset:
    return RawDataset(
        options.dataset_id,
        options.name,
        channel_names,
        {"background": 0, **{region.name: number for number, region in enumerate(options.regions, start=1)}},
        _annotations(options, inputs, left_right_axis),
        options.file_ending,
        inputs.patients,
        options.split_seed,
        {
            "command": [shortened(argument) for argument in command],
            "options": options.to_json(),
            "left_out": dict(inputs.left_out),
            **provenance_of(checked),
        },
    )


def _annotations(options: ScoreConversion, inputs: ScoreInputs, axis: int | None) -> WeakAnnotations:
    scores = inputs.table.scores if inputs.table is not None else {}
    cases = {
        case: CaseAnnotation(
            fully_annotated=case in inputs.references,
            scores={
                region: RegionScore(score.quality, ErrorType(score.error))
                for region, score in scores.get(case, {}).items()
            },
        )
        for case in inputs.images
    }
    layout = _layout(options, len(next(iter(inputs.images.values()))))
    return WeakAnnotations(
        method="score",
        channels=layout,
        cases=cases,
        prior=options.prior,
        left_right_axis=axis,
        mask_sources={region.name: ",".join(map(str, region.labels or region.patterns)) for region in options.regions},
    )


def _report_splits(dataset: RawDataset, say: Callable[[str], None]) -> None:
    splits = dataset.splits()
    full = len(dataset.annotations.fully_annotated_cases)
    if splits is not None:
        kind = "fully annotated " if full else ""
        held_out = sum(len(fold["val"]) for fold in splits)
        say(f"splits_final.json: {len(splits)} folds, which validate on {held_out} {kind}cases in all")
    elif len(dataset.annotations.cases) < 2 or dataset.patients and len(set(dataset.patients.values())) < 2:
        say("All cases are of one patient: no folds are possible, train with fold 'all'.")


if __name__ == "__main__":
    raise SystemExit(main(None))
