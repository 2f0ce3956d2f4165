"""From images and rough drawings to an nnU-Net raw data set for RefineSeg.

`annotationsTr/MAP` holds every drawing, positive and negative, one map for each annotator and kind (0 = blank, k + 1 =
class k). `labelsTr` holds the first positive drawing of a case with nnU-Net's `ignore` label where it is blank, so that
the stock trainer on the same data is the baseline; of a fully annotated case it holds the reference.

Everything is checked before anything appears.
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
from nnunet_weak.drawings.cases import (
    NEGATIVE_SUFFIX,
    PREVIEWS,
    CheckedDrawingsCase,
    DrawingsCase,
    convert_case,
)
from nnunet_weak.drawings.inputs import DrawingsInputs, gather_inputs
from nnunet_weak.drawings.options import DrawingsConversion
from nnunet_weak.drawings.random_walker import RANDOM_WALKER
from nnunet_weak.drawings.report import (
    channel_warnings,
    conflicts_report,
    drawings_report,
    drawings_warnings,
)
from nnunet_weak.errors import Problems
from nnunet_weak.options import parse

logger = logging.getLogger(__name__)


def convert(
    options: DrawingsConversion, say: Callable[[str], None] = logger.info, command: Sequence[str] = ()
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
    cases = _drawing_cases(options, inputs)
    if not cases and not len(problems):
        problems.add(str(options.images), "no case has both images and a drawing", "compare the names")
    check_channel_names(options.channel_names, len(next(iter(inputs.images.values()), ())), problems)

    def describe(checked: Sequence[CheckedDrawingsCase]) -> RawDataset:
        names = _report(options, inputs, checked, say)
        problems.raise_if_any("RefineSeg data set, nothing was written")
        return raw_dataset_of(
            options,
            names,
            options.code.labels,
            _annotations(options, checked, len(names)),
            inputs.patients,
            command,
            {
                "left_out": dict(inputs.left_out),
                "conflicting_voxels": {case.name: dict(case.conflicts) for case in checked if case.conflicts},
                "drawn_voxels": {
                    case.name: {name: list(counts) for name, counts in case.drawn.items()} for case in checked
                },
            },
        )

    folder = write_raw_dataset(
        target,
        {case.name: case for case in cases},
        convert_case,
        describe,
        problems,
        processes=options.processes,
        input_roots={
            "images": options.images,
            "references": options.references,
            **{f"positive {name}": path for name, path in options.positive.items()},
            **{f"negative {name}": path for name, path in options.negative.items()},
        },
        further_inputs=(options.patients,),
        say=say,
    )
    if folder is not None:
        if options.previews:
            say(f"Look through {folder / PREVIEWS} before training.")
        say(f"Next: nnUNetv2_plan_and_preprocess -d {options.dataset_id} -c 2d --verify_dataset_integrity")
        say(f"Then: nnunet_weak_preprocess_annotations -d {options.dataset_id}")
    return folder


_EPILOG = """
examples
  Label maps that hold 0 where background was drawn, 1 to 3 for three structures, 4 where nothing was drawn:
    nnunet_weak_convert_drawings --images images --positive anna=drawings --labels background=0 RV=1 MYO=2 LV=3 \\
        --blank 4 -d 521 -n Heart --dry-run
  Segmentations of 3D Slicer (CASE.seg.nrrd) by two annotators, one of whom also drew what is not the liver or spleen:
    nnunet_weak_convert_drawings --images images --positive anna=anna --positive ben=ben --negative anna=anna_not \\
        --labels background liver spleen --not-any-target outside --blank 0 -d 522 -n Organs
  ITK-SNAP label maps with the names of the saved label descriptions:
    nnunet_weak_convert_drawings ... --labels background liver spleen --label-descriptions labels.txt --blank 0
then
  nnUNetv2_plan_and_preprocess -d 521 -c 2d --verify_dataset_integrity
  nnunet_weak_preprocess_annotations -d 521
  nnUNetv2_train 521 2d 0 -tr nnUNetTrainerRefineSeg

A drawing is CASE.nii.gz, CASE.nrrd, CASE.mha ... or CASE.seg.nrrd in the annotator's folder. Nobody needs to have drawn
everything or in every case. In labelsTr goes the first positive drawing of the case, with nnU-Net's label "ignore"
where it is blank, so that stock trainers learn from it too.
"""


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run `nnunet_weak_convert_drawings`."""
    arguments = sys.argv[1:] if argv is None else argv
    options = parse(
        DrawingsConversion,
        arguments,
        prog="nnunet_weak_convert_drawings",
        description="Make an nnU-Net data set for RefineSeg of images and rough drawings: what is the target "
        "(positive), and what is not (negative).",
        epilog=_EPILOG,
    )
    convert(options, print, ["nnunet_weak_convert_drawings", *arguments])
    return 0


def _drawing_cases(options: DrawingsConversion, inputs: DrawingsInputs) -> list[DrawingsCase]:
    return [
        DrawingsCase(
            case,
            tuple(inputs.images[case]),
            {name: files[case] for name, files in inputs.positive.items() if case in files},
            {name: files[case] for name, files in inputs.negative.items() if case in files},
            inputs.references.get(case),
            options.code,
            options.random_walker,
            options.previews,
            options.file_ending,
        )
        for case in inputs.images
    ]


def _report(
    options: DrawingsConversion,
    inputs: DrawingsInputs,
    checked: Sequence[CheckedDrawingsCase],
    say: Callable[[str], None],
) -> tuple[str, ...]:
    """Tell what was found; returns the names of the image channels."""
    if not checked:
        return ()
    names, remarks = channel_names_from(checked, options.channel_names)
    lines = [f"Left out {case}: {reason}" for case, reason in inputs.left_out.items()]
    lines += [*remarks, *drawings_report(checked, _maps(options, checked), options.code), *conflicts_report(checked)]
    say("\n".join(["", *lines]))
    for warning in [*drawings_warnings(checked, _maps(options, checked), options.code), *channel_warnings(names)]:
        logger.warning(warning)
    return names


def _annotations(
    options: DrawingsConversion, checked: Sequence[CheckedDrawingsCase], image_channels: int
) -> WeakAnnotations:
    cases = {
        case.name: CaseAnnotation(
            fully_annotated=case.fully_annotated, maps=tuple(name for name, counts in case.drawn.items() if any(counts))
        )
        for case in checked
    }
    layout = ChannelLayout(image_channels)
    return WeakAnnotations(method="refineseg", channels=layout, cases=cases, maps=_maps(options, checked))


def _maps(options: DrawingsConversion, checked: Sequence[CheckedDrawingsCase]) -> dict[str, str]:
    """Kind of each map with something in it, positive before negative for each annotator, the random walker's last."""
    drawn = {name for case in checked for name, counts in case.drawn.items() if any(counts)}
    kinds: dict[str, str] = {}
    for annotator in options.annotators:
        kinds[annotator] = "positive"
        if annotator in options.negative:
            kinds[annotator + NEGATIVE_SUFFIX] = "negative"
    if options.random_walker:
        kinds[RANDOM_WALKER] = "positive"
    return {name: kind for name, kind in kinds.items() if name in drawn}


if __name__ == "__main__":
    raise SystemExit(main(None))
