"""From images, automatic masks and quality scores to an nnU-Net raw data set for SCORE.

`labelsTr` holds the initial mask of a scored case (regions 1 to K), and the reference labels of a fully annotated one.
The network's input channels are the images, one mask for each region, and the boundary prior P. `dataset.json` holds
scores, error labels and the kind of prior.

The data set is written as a whole, or all problems are listed and nothing is written.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from nnunet_weak.cli.console import console_command
from nnunet_weak.dataset.annotations import CaseAnnotation, WeakAnnotations
from nnunet_weak.dataset.channel_names import channel_names_from, check_channel_names
from nnunet_weak.dataset.convert import find_target, left_out_lines, raw_dataset_of, write_raw_dataset
from nnunet_weak.dataset.raw import RawDataset
from nnunet_weak.errors import Problems, printable
from nnunet_weak.images.write import voxels_in_header
from nnunet_weak.options import parse
from nnunet_weak.scores.cases import CheckedCase, ScoreCase, convert_case
from nnunet_weak.scores.inputs import ScoreInputs, gather_inputs
from nnunet_weak.scores.options import ScoreConversion
from nnunet_weak.scores.report import (
    MANY_MASK_CHANNELS,
    common_left_right_axis,
    format_table,
    masks_report,
    memory_report,
    prior_report,
    provenance_of,
)
from nnunet_weak.scores.table import missing_regions, report_unknown_regions

logger = logging.getLogger(__name__)


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
    inputs = gather_inputs(options, problems)
    if inputs.table is not None and inputs.cases:
        say(format_table(options, inputs.table))
        report_unknown_regions(inputs.table.source, inputs.table.unmatched, options.region_names, problems)
    if not inputs.cases and not problems:
        problems.add(str(options.images), "no complete case: images, initial mask and score", "compare the names")
    check_channel_names(options.channel_names, inputs.image_channels, problems)
    layout = options.channel_layout(inputs.image_channels)
    many = len(layout.masks) > MANY_MASK_CHANNELS
    largest = max((voxels_in_header(case.images[0]) for case in inputs.cases), default=0) if many else 0
    for line in memory_report(len(layout.masks), layout.count, largest, options.allow_many_channels, problems):
        say(line)

    def describe(checked: Sequence[CheckedCase]) -> RawDataset:
        names, axis = _report(options, inputs, checked, say) if checked else ((), None)
        problems.raise_if_any("SCORE data set, nothing was written")
        return raw_dataset_of(
            options,
            names,
            {"background": 0, **{region: number for number, region in enumerate(layout.masks, start=1)}},
            _annotations(options, inputs, axis, {case.name: case.empty_regions for case in checked}),
            inputs.patients,
            command,
            {"left_out": dict(inputs.left_out), **provenance_of(checked)},
        )

    folder = write_raw_dataset(
        target,
        {case.name: case for case in inputs.cases},
        partial(convert_case, options),
        describe,
        problems,
        options=options,
        replace=options.overwrite,
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
their mask. Quality 0, under, of a region that is empty in the mask says that it is missing: training then leaves it
free to appear. Without any score, leave --scores out, take --prior likelihood and train nnUNetTrainerSCOREPlus.
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
    convert(options, lambda text: print(printable(text)), ["nnunet_weak_convert_scores", *arguments])
    return 0


def _report(
    options: ScoreConversion, inputs: ScoreInputs, checked: Sequence[CheckedCase], say: Callable[[str], None]
) -> tuple[tuple[str, ...], int | None]:
    """Report on the cases; returns the names of the image channels and the left-right axis."""
    axis, remark = common_left_right_axis(checked)
    names, remarks = channel_names_from(checked, options.channel_names)
    lines = left_out_lines(inputs.left_out)
    scores = inputs.table.scores if inputs.table is not None else {}
    lines += [
        *masks_report(checked, scores),
        *filter(None, [remark]),
        *remarks,
        *prior_report(checked, options.prior_settings),
    ]
    if lines:
        say("\n".join(["", *lines]))
    return names, axis


def _annotations(
    options: ScoreConversion, inputs: ScoreInputs, axis: int | None, empty: Mapping[str, Sequence[str]]
) -> WeakAnnotations:
    scores = inputs.table.scores if inputs.table is not None else {}

    def annotation(case: ScoreCase) -> CaseAnnotation:
        known = scores.get(case.name, {})
        missing = missing_regions(known, empty.get(case.name, ())) if case.reference is None else ()
        return CaseAnnotation(case.reference is not None, known, missing=missing)

    return WeakAnnotations(
        method="score",
        channels=options.channel_layout(inputs.image_channels),
        cases={case.name: annotation(case) for case in inputs.cases},
        prior=options.prior_settings,
        left_right_axis=axis,
        largest_component=options.largest_component,
        mask_sources={region.name: ",".join(map(str, region.labels or region.patterns)) for region in options.regions},
    )


if __name__ == "__main__":
    raise SystemExit(main(None))
