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

from nnunet_weak.cli.console import console_command
from nnunet_weak.dataset.annotations import CaseAnnotation, ChannelLayout, WeakAnnotations
from nnunet_weak.dataset.channel_names import channel_names_from, check_channel_names
from nnunet_weak.dataset.convert import find_target, raw_dataset_of, write_raw_dataset
from nnunet_weak.dataset.raw import RawDataset
from nnunet_weak.errors import Problems
from nnunet_weak.images.write import voxels_in_header
from nnunet_weak.options import parse
from nnunet_weak.scores.cases import CheckedCase, ScoreCase, convert_case
from nnunet_weak.scores.inputs import ScoreInputs, gather_inputs
from nnunet_weak.scores.listing import format_matched_table
from nnunet_weak.scores.options import ScoreConversion
from nnunet_weak.scores.report import (
    MANY_MASK_CHANNELS,
    common_left_right_axis,
    masks_report,
    memory_report,
    prior_report,
    provenance_of,
)

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
    target = find_target(options, problems)
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
        names, axis = _report(options, inputs, checked, say)
        problems.raise_if_any("SCORE data set, nothing was written")
        return raw_dataset_of(
            options,
            names,
            {"background": 0, **{region.name: number for number, region in enumerate(options.regions, start=1)}},
            _annotations(options, inputs, axis),
            inputs.patients,
            command,
            {"left_out": dict(inputs.left_out), **provenance_of(checked)},
        )

    folder = write_raw_dataset(
        target,
        {case.name: case for case in cases},
        convert_case,
        describe,
        problems,
        processes=options.processes,
        input_roots={name: getattr(options, name) for name in ("images", "masks", "references", "prior_folder")},
        further_inputs=(options.scores, options.patients),
        say=say,
    )
    if folder is not None:
        say(f"Next: nnUNetv2_plan_and_preprocess -d {options.dataset_id} --verify_dataset_integrity")
    return folder


_EPILOG = """
example: 40 CTs with TotalSegmentator's masks, scored in a spreadsheet with the columns case, region, quality, error
  images/case_01.nii.gz
  masks/case_01/segmentations/humerus_left.nii.gz, humerus_right.nii.gz, rib_left_1.nii.gz, ...

  nnunet_weak_convert_scores --images images --masks masks --scores scores.xlsx \\
      --regions humerus=humerus_left,humerus_right 'ribs=rib_*' -d 511 -n HumerusScore --dry-run

Look at the table it prints, then run it again without --dry-run, and go on with
  nnUNetv2_plan_and_preprocess -d 511 --verify_dataset_integrity
  nnUNetv2_train 511 3d_fullres 0 -tr nnUNetTrainerSCORE

Qualities run from 0 (unusable) to 5 (excellent); errors are under, over, both or none. Regions that have no score keep
their mask.
"""


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run `nnunet_weak_convert_scores`."""
    arguments = sys.argv[1:] if argv is None else argv
    options = parse(
        ScoreConversion,
        arguments,
        prog="nnunet_weak_convert_scores",
        description="Make an nnU-Net data set for SCORE of images, automatic masks and quality scores.",
        epilog=_EPILOG,
    )
    convert(options, print, ["nnunet_weak_convert_scores", *arguments])
    return 0


def _score_cases(options: ScoreConversion, inputs: ScoreInputs) -> list[ScoreCase]:
    complete = [case for case in inputs.images if case in inputs.masks]
    if options.prior == "file":
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
            options.prior_settings if layout.prior else None,
            inputs.references.get(case),
            inputs.prior_files.get(case),
            options.other_labels,
            options.file_ending,
            case in assessed,
        )
        for case in complete
    ]


def _layout(options: ScoreConversion, image_channels: int) -> ChannelLayout:
    return ChannelLayout(image_channels, tuple(region.name for region in options.regions), options.prior != "none")


def _check_channels(
    options: ScoreConversion, inputs: ScoreInputs, problems: Problems, say: Callable[[str], None]
) -> None:
    """Whether the number of channels fits their names and the memory; from the images' headers alone."""
    image_channels = len(next(iter(inputs.images.values()), ()))
    check_channel_names(options.channel_names, image_channels, problems)
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
    prior_lines, warnings = prior_report(checked, options.prior_settings)
    lines = [f"Left out {case}: {reason}" for case, reason in inputs.left_out.items()]
    lines += [*masks_report(checked), *([remark] if remark else []), *remarks, *prior_lines]
    if lines:
        say("\n".join(["", *lines]))
    for warning in warnings:
        logger.warning(warning)
    return names, axis


def _annotations(options: ScoreConversion, inputs: ScoreInputs, axis: int | None) -> WeakAnnotations:
    scores = inputs.table.scores if inputs.table is not None else {}
    cases = {
        case: CaseAnnotation(
            fully_annotated=case in inputs.references,
            scores=scores.get(case, {}),
        )
        for case in inputs.images
    }
    layout = _layout(options, len(next(iter(inputs.images.values()))))
    return WeakAnnotations(
        method="score",
        channels=layout,
        cases=cases,
        prior=options.prior_settings,
        left_right_axis=axis,
        mask_sources={region.name: ",".join(map(str, region.labels or region.patterns)) for region in options.regions},
    )


if __name__ == "__main__":
    raise SystemExit(main(None))
