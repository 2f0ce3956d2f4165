"""From images, automatic masks and quality scores to an nnU-Net raw data set for SCORE.

`labelsTr` holds the initial mask of a scored case (regions 1 to K), and the reference labels of a fully annotated one.
The network's input channels are the images, one mask for each region, and the boundary prior P. Scores, error labels
and how all this was made stand in `dataset.json`.

Everything is checked before anything is written.
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
    if not options.dry_run:
        try:
            target_folder(options.dataset_id, options.name, overwrite=options.overwrite)
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
    checked = run_tasks(check_case, cases, processes=options.processes, description="Checking")
    for case in checked:
        problems.extend(InvalidInputError(case.problems))
    names, axis = _report(options, inputs, [case for case in checked if not case.problems], problems, say)
    if not cases and not len(problems):
        problems.add(str(options.images), "no complete case: images, initial mask and score", "compare the names")
    problems.raise_if_any("SCORE data set, nothing was written")
    if options.dry_run:
        say("Dry run: everything fits, nothing was written.")
        return None
    dataset = RawDataset(
        options.dataset_id,
        options.name,
        names,
        {"background": 0, **{region.name: number for number, region in enumerate(options.regions, start=1)}},
        _annotations(options, inputs, axis),
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
    tables = [path for path in (options.scores, options.patients) if path is not None]
    roots = {
        name: path
        for name in ("images", "masks", "references", "prior_folder")
        if isinstance(path := getattr(options, name), Path)
    }
    folder = write_raw_dataset(
        dataset,
        cases,
        write_case,
        overwrite=options.overwrite,
        processes=options.processes,
        input_roots=roots,
        further_inputs=tables,
    )
    _report_splits(dataset, say)
    say(f"Wrote {len(cases)} cases to {folder}")
    say(f"Next: nnUNetv2_plan_and_preprocess -d {options.dataset_id} --verify_dataset_integrity")
    return folder


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


def _report(
    options: ScoreConversion,
    inputs: ScoreInputs,
    checked: Sequence[CheckedCase],
    problems: Problems,
    say: Callable[[str], None],
) -> tuple[tuple[str, ...], int | None]:
    """Tell what the checks found; returns the names of the image channels and the left-right axis."""
    if not checked:
        return (), None
    lines = [f"Left out {case}: {reason}" for case, reason in inputs.left_out.items()]
    lines += masks_report(checked)
    axis, remark = common_left_right_axis(checked)
    image_channels = len(checked[0].minima)
    if options.channel_names is not None and len(options.channel_names) != image_channels:
        given = " ".join(options.channel_names)
        problems.add(
            f"--channel-names {given}",
            f"the images have {image_channels} channels",
            "name each channel once, in their order",
        )
    names, remarks = channel_names_from(checked, options.channel_names)
    layout = _layout(options, image_channels)
    largest = max(case.voxels for case in checked)
    prior_lines, warnings = prior_report(checked, options.prior)
    lines += [*([remark] if remark else []), *remarks, *prior_lines]
    lines += memory_report(len(layout.masks), layout.count, largest, options.allow_many_channels, problems)
    if lines:
        say("\n" + "\n".join(lines))
    for warning in warnings:
        logger.warning(warning)
    return names, axis


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
