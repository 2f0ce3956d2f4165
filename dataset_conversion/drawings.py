"""Conversion of images and rough drawings to an nnU-Net raw data set for RefineSeg.

`annotationsTr/MAP` holds every drawing, one map for each annotator and kind (0 = blank, k + 1 = class k). `labelsTr`
holds the first positive drawing of a case, with nnU-Net's label `ignore` where it is blank, so that the stock trainer
on the same data is the baseline; of a fully annotated case it holds the reference.

Everything is checked before anything is written.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from nnunet_weak.cli.console import console_command
from nnunet_weak.dataset.annotations import CaseAnnotation, ChannelLayout, WeakAnnotations
from nnunet_weak.dataset.channel_names import channel_names_from, check_channel_names
from nnunet_weak.dataset.convert import find_target, left_out_lines, raw_dataset_of, write_raw_dataset
from nnunet_weak.dataset.patients import read_patients
from nnunet_weak.dataset.raw import RawDataset
from nnunet_weak.drawings.cases import PREVIEWS, ConvertedDrawings, convert_case
from nnunet_weak.drawings.inputs import find_inputs
from nnunet_weak.drawings.options import DrawingsConversion
from nnunet_weak.drawings.report import drawings_report, drawings_warnings
from nnunet_weak.errors import Problems, printable
from nnunet_weak.options import parse

logger = logging.getLogger(__name__)

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
  nnUNetv2_train 521 2d 0 -tr nnUNetTrainerRefineSegPlus
a second round, whose blank voxels are filled where the random walker agrees with that model
  nnUNetv2_predict -i nnUNet_raw/Dataset521_Heart/imagesTr -o round1 -d 521 -c 2d -f 0 -tr nnUNetTrainerRefineSegPlus
  nnunet_weak_convert_drawings ... -d 523 -n Heart2 --follow-prediction round1

A drawing is CASE.nii.gz, CASE.nrrd, CASE.mha ... or CASE.seg.nrrd in the annotator's folder. Nobody needs to have drawn
everything or in every case. In labelsTr goes the first positive drawing of the case, with nnU-Net's label "ignore"
where it is blank, so that stock trainers learn from it too.
"""


def convert(
    options: DrawingsConversion, say: Callable[[str], None] = logger.info, command: Sequence[str] = ()
) -> Path | None:
    """Check all inputs, report on them, and write the data set.

    Args:
        options: Inputs, and how they are read.
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
    cases, left_out = find_inputs(options, problems)
    patients = None
    if options.patients is not None:
        patients = problems.attempt(read_patients, options.patients, list(cases))
    image_channels = len(next(iter(cases.values())).images) if cases else 0
    check_channel_names(options.channel_names, image_channels, problems)

    def describe(checked: Sequence[ConvertedDrawings]) -> RawDataset:
        drawn = {name for case in checked for name in case.drawn}
        maps = {name: kind for name, kind in options.map_kinds.items() if name in drawn}
        names: tuple[str, ...] = ()
        if checked:
            names, remarks = channel_names_from(checked, options.channel_names)
            say("\n".join(["", *left_out_lines(left_out), *remarks, *drawings_report(checked, maps, options.code)]))
            for warning in drawings_warnings(checked, maps, options.code, names):
                logger.warning(warning)
        problems.raise_if_any("RefineSeg data set, nothing was written")
        annotations = {
            case.name: CaseAnnotation(fully_annotated=case.fully_annotated, maps=tuple(case.drawn)) for case in checked
        }
        return raw_dataset_of(
            options,
            names,
            options.code.labels,
            WeakAnnotations(method="refineseg", channels=ChannelLayout(image_channels), cases=annotations, maps=maps),
            patients,
            command,
            {
                "left_out": left_out,
                "conflicting_voxels": {case.name: dict(case.conflicts) for case in checked if case.conflicts},
                "drawn_voxels": {
                    case.name: {name: list(counts) for name, counts in case.drawn.items()} for case in checked
                },
            },
        )

    folder = write_raw_dataset(
        target,
        cases,
        partial(convert_case, options),
        describe,
        problems,
        options=options,
        replace=options.overwrite,
        processes=options.processes,
        input_roots={
            "images": options.images,
            "references": options.references,
            "predictions": options.follow_prediction,
            **{f"positive {name}": path for name, path in options.positive.items()},
            **{f"negative {name}": path for name, path in options.negative.items()},
        },
        further_inputs=(options.patients, options.label_descriptions),
        say=say,
    )
    if folder is not None:
        if options.previews:
            say(f"Look through {folder / PREVIEWS} before training.")
        say(f"Next: nnUNetv2_plan_and_preprocess -d {options.dataset_id} -c 2d --verify_dataset_integrity")
        say(f"Then: nnunet_weak_preprocess_annotations -d {options.dataset_id}")
    return folder


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run `nnunet_weak_convert_drawings`."""
    arguments = sys.argv[1:] if argv is None else argv
    options = parse(
        DrawingsConversion,
        arguments,
        prog="nnunet_weak_convert_drawings",
        description="Make an nnU-Net data set for RefineSeg from images and rough drawings: positive ones, 'this is "
        "class k', and negative ones, 'this is not class k'.",
        epilog=_EPILOG,
    )
    convert(options, lambda text: print(printable(text)), ["nnunet_weak_convert_drawings", *arguments])
    return 0


if __name__ == "__main__":
    raise SystemExit(main(None))
