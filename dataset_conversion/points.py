"""From images and a few points on the surface of each object to an nnU-Net raw data set for Weak-Net.

`labelsTr` holds the rasterised templates that were fitted to the points; of a fully annotated case it holds the
reference. `templates` is for people to inspect: a mesh of each object (3D Slicer opens them), a preview of each case,
and tables of residuals and effort.

Everything is checked before anything appears.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from nnunet_weak.cli.console import console_command
from nnunet_weak.dataset.annotations import CaseAnnotation, ChannelLayout, WeakAnnotations
from nnunet_weak.dataset.channel_names import channel_names_from, check_channel_names
from nnunet_weak.dataset.convert import find_target, left_out_lines, raw_dataset_of, write_raw_dataset
from nnunet_weak.dataset.raw import RawDataset
from nnunet_weak.errors import Problems, printable
from nnunet_weak.options import parse
from nnunet_weak.points.cases import TEMPLATES, ConvertedPointCase, convert_case
from nnunet_weak.points.files import POINT_FILE_ENDINGS
from nnunet_weak.points.inputs import gather_inputs
from nnunet_weak.points.options import PointConversion
from nnunet_weak.points.report import template_tables, templates_report, templates_warnings
from nnunet_weak.surface.mesh_template import read_templates, template_files

logger = logging.getLogger(__name__)


def convert(
    options: PointConversion, say: Callable[[str], None] = logger.info, command: Sequence[str] = ()
) -> Path | None:
    """Check all inputs, fit the templates, report on them, and write the data set.

    Args:
        options: Inputs, and how templates are fitted.
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
    if not inputs.cases and not problems:
        problems.add(str(options.images), "no case has both images and points", "compare the names")
    check_channel_names(options.channel_names, len(inputs.cases[0].images) if inputs.cases else 0, problems)
    shapes: list[Path] = []
    for name, path in options.templates.items():
        if name in inputs.classes:
            shapes += template_files(path) if problems.attempt(read_templates, path, inputs.classes[name]) else []
        else:
            problems.add(f"--templates {name}={path}", f"'{name}' is none of the classes {', '.join(inputs.classes)}")

    spheres = [name for name in inputs.classes if options.references and name not in options.templates]
    better_templates = " ".join(["--templates", *(f"{name}={options.references}" for name in spheres)] * bool(spheres))

    def describe(cases: Sequence[ConvertedPointCase]) -> RawDataset:
        names: tuple[str, ...] = ()
        if cases:
            names, remarks = channel_names_from(cases, options.channel_names)
            found = templates_report(cases, options.follow_prediction is not None, better_templates)
            say("\n".join(["", *left_out_lines(inputs.left_out), *remarks, *found]))
            for warning in (*inputs.warnings, *templates_warnings(cases)):
                logger.warning(warning)
        problems.raise_if_any("Weak-Net data set, nothing was written")
        annotations = {case.name: CaseAnnotation(fully_annotated=case.fully_annotated) for case in cases}
        points = {case.name: {t.points.title: len(t.points.points_mm) for t in case.templates} for case in cases}
        overlaps = {case.name: {", ".join(pair): n for pair, n in case.overlaps.items()} for case in cases}
        return raw_dataset_of(
            options,
            names,
            {"background": 0, **{name: label for label, name in enumerate(inputs.classes, start=1)}},
            WeakAnnotations(method="weaknet", channels=ChannelLayout(len(names)), cases=annotations),
            inputs.patients,
            command,
            {
                "left_out": inputs.left_out,
                "points": {case: counts for case, counts in points.items() if counts},
                "overlapping_voxels": {case: voxels for case, voxels in overlaps.items() if voxels},
            },
            template_tables(cases),
        )

    folder = write_raw_dataset(
        target,
        {case.name: case for case in inputs.cases},
        partial(convert_case, replace(options, classes=inputs.classes)),
        describe,
        problems,
        options=options,
        replace=options.overwrite,
        processes=options.processes,
        description="Fitting",
        input_roots={
            "images": options.images,
            "points": options.points,
            "references": options.references,
            "predictions": options.follow_prediction,
        },
        further_inputs=(options.patients, *shapes),
        say=say,
    )
    if folder is not None:
        if options.previews:
            say(f"Look through {folder / TEMPLATES / 'previews'} before training.")
        say(f"Next: nnUNetv2_plan_and_preprocess -d {options.dataset_id} --verify_dataset_integrity")
    return folder


_EPILOG = f"""
example: livers and spleens of 20 CTs, clicked in 3D Slicer, one markups list for each organ
  images/case_01.nii.gz      points/case_01_liver.mrk.json, points/case_01_spleen.mrk.json
  nnunet_weak_convert_points --images images --points points --classes liver spleen -d 531 -n Abdomen --dry-run
Read its report on the fits, then run it again without --dry-run, look through templates/previews, and go on with
  nnUNetv2_plan_and_preprocess -d 531 --verify_dataset_integrity
  nnUNetv2_train 531 3d_fullres 0 -tr nnUNetTrainerWeakNet

Point files end in {", ".join(POINT_FILE_ENDINGS)}. They are called CASE or CASE_CLASS or CASE_CLASS-2, or lie
in a folder CASE. Click tips and extremes first, then fill the gaps; from 25 points on templates are good.
"""


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run `nnunet_weak_convert_points`."""
    arguments = sys.argv[1:] if argv is None else argv
    options = parse(
        PointConversion,
        arguments,
        prog="nnunet_weak_convert_points",
        description="Make an nnU-Net data set for Weak-Net of images and a few points on the surface of each object: "
        "a template is fitted to the points and becomes the label map.",
        epilog=_EPILOG,
    )
    convert(options, lambda text: print(printable(text)), ["nnunet_weak_convert_points", *arguments])
    return 0


if __name__ == "__main__":
    raise SystemExit(main(None))
