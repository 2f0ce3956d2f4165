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

from nnunet_weak.annotations import CaseAnnotation, ChannelLayout, WeakAnnotations
from nnunet_weak.cli.console import console_command
from nnunet_weak.dataset_conversion.channel_names import channel_names_from
from nnunet_weak.dataset_conversion.coarse_cases import (
    NEGATIVE_SUFFIX,
    CheckedCoarseCase,
    CoarseCase,
    check_case,
    write_case,
)
from nnunet_weak.dataset_conversion.coarse_inputs import CoarseInputs, gather_inputs
from nnunet_weak.dataset_conversion.coarse_options import CoarseConversion, parse_options
from nnunet_weak.dataset_conversion.coarse_report import (
    channel_warnings,
    conflicts_report,
    drawings_report,
    drawings_warnings,
)
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.parallel import run_tasks
from nnunet_weak.raw_dataset import RawDataset, shortened, target_folder, write_raw_dataset

logger = logging.getLogger(__name__)


def convert(
    options: CoarseConversion, say: Callable[[str], None] = logger.info, command: Sequence[str] = ()
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
    inputs = gather_inputs(options, problems)
    cases = _coarse_cases(options, inputs)
    if not cases and not len(problems):
        problems.add(str(options.images), "no case has both images and a drawing", "compare the names")
    channels = len(next(iter(inputs.images.values()), ()))
    if options.channel_names is not None and channels and len(options.channel_names) != channels:
        problems.add(
            f"--channel-names {' '.join(options.channel_names)}",
            f"the images have {channels} channels",
            "name each channel once, in their order",
        )

    def describe(checked: Sequence[CheckedCoarseCase]) -> RawDataset:
        for case in checked:
            problems.extend(InvalidInputError(case.problems))
        names = _report(options, inputs, [case for case in checked if not case.problems], say)
        problems.raise_if_any("RefineSeg data set, nothing was written")
        return _raw_dataset(options, inputs, checked, names, command)

    if target is None or len(problems):
        describe(run_tasks(check_case, cases, processes=options.processes, description="Checking"))
        say("Dry run: everything fits, nothing was written.")
        return None
    roots = {"images": options.images, **{f"positive {name}": path for name, path in options.positive.items()}}
    roots |= {f"negative {name}": path for name, path in options.negative.items()}
    if options.references is not None:
        roots["references"] = options.references
    write_raw_dataset(
        target,
        cases,
        write_case,
        describe,
        processes=options.processes,
        input_roots=roots,
        further_inputs=[options.patients] if options.patients is not None else [],
    )
    say(f"Wrote {len(cases)} case{'s' if len(cases) != 1 else ''} to {target}")
    say(f"Next: nnUNetv2_plan_and_preprocess -d {options.dataset_id} -c 2d --verify_dataset_integrity")
    say(f"Then: nnunet_weak_preprocess -d {options.dataset_id}")
    return target


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run `nnunet_weak_convert_coarse`."""
    arguments = sys.argv[1:] if argv is None else argv
    convert(parse_options(arguments), print, ["nnunet_weak_convert_coarse", *arguments])
    return 0


def _coarse_cases(options: CoarseConversion, inputs: CoarseInputs) -> list[CoarseCase]:
    return [
        CoarseCase(
            case,
            tuple(inputs.images[case]),
            {name: files[case] for name, files in inputs.positive.items() if case in files},
            {name: files[case] for name, files in inputs.negative.items() if case in files},
            inputs.references.get(case),
            options.code,
            options.file_ending,
        )
        for case in inputs.images
    ]


def _report(
    options: CoarseConversion,
    inputs: CoarseInputs,
    checked: Sequence[CheckedCoarseCase],
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


def _raw_dataset(
    options: CoarseConversion,
    inputs: CoarseInputs,
    checked: Sequence[CheckedCoarseCase],
    channel_names: tuple[str, ...],
    command: Sequence[str],
) -> RawDataset:
    cases = {
        case.name: CaseAnnotation(
            fully_annotated=case.fully_annotated, maps=tuple(name for name, counts in case.drawn.items() if any(counts))
        )
        for case in checked
    }
    annotations = WeakAnnotations(
        method="refineseg",
        channels=ChannelLayout(len(channel_names)),
        cases=cases,
        maps=_maps(options, checked),
    )
    return RawDataset(
        options.dataset_id,
        options.name,
        channel_names,
        options.code.labels,
        annotations,
        options.file_ending,
        inputs.patients,
        options.split_seed,
        {
            "command": [shortened(argument) for argument in command],
            "options": options.to_json(),
            "left_out": dict(inputs.left_out),
            "conflicting_voxels": {case.name: dict(case.conflicts) for case in checked if case.conflicts},
            "drawn_voxels": {
                case.name: {name: list(counts) for name, counts in case.drawn.items()} for case in checked
            },
        },
    )


def _maps(options: CoarseConversion, checked: Sequence[CheckedCoarseCase]) -> dict[str, str]:
    """Kind of each map in which something is drawn, positive before negative for each annotator."""
    drawn = {name for case in checked for name, counts in case.drawn.items() if any(counts)}
    kinds: dict[str, str] = {}
    for annotator in options.annotators:
        kinds[annotator] = "positive"
        if annotator in options.negative:
            kinds[annotator + NEGATIVE_SUFFIX] = "negative"
    return {name: kind for name, kind in kinds.items() if name in drawn}


if __name__ == "__main__":
    raise SystemExit(main(None))
