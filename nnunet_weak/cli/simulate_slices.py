"""`nnunet_weak_simulate_slices`: slice-wise annotation from reference segmentations, the baseline of Weak-Net."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_weak.cli.console import console_command
from nnunet_weak.errors import InvalidInputError, Problems

if TYPE_CHECKING:
    import SimpleITK as sitk

    from nnunet_weak.simulation.slices import SliceAnnotation

_EPILOG = """\
effort, as in the Weak-Net paper: the length of all outlines in the slices, in voxels, counts as that many points. An
outline is never shorter than a slice's, so small efforts are overshot.

examples:
  Three slices of each case, one of each plane:
  nnunet_weak_simulate_slices --references labels --classes liver=1 --slices 3 -o sparse
  As much effort as 125 points on each object:
  nnunet_weak_simulate_slices --references labels --classes liver=1 --effort 125 -o sparse

Classes become 1, 2, ... in their order, and what is not annotated gets the next value: declare it as "ignore" in the
labels of dataset.json.
"""


@dataclass(frozen=True)
class _Drawn:
    case: str
    slices: int = 0
    length_mm: float = 0.0
    length_vox: float = 0.0
    problems: tuple[str, ...] = ()


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    args = _parser().parse_args(argv)

    from nnunet_weak import __version__
    from nnunet_weak.cli.reference_cases import appearing_folder, check_output, files_by_case
    from nnunet_weak.dataset.classes import parse_classes
    from nnunet_weak.parallel import default_processes, run_tasks

    problems = Problems()
    classes = problems.attempt(parse_classes, args.classes) or {}
    for option, value in (("--slices", args.slices), ("--effort", args.effort)):
        if value is not None and value < 1:
            problems.add(f"{option} {value:g}", "at least 1 is needed")
    check_output(args.output, args.overwrite, problems)
    files = files_by_case(args.references, problems)
    problems.raise_if_any("nnunet_weak_simulate_slices")

    with appearing_folder(args.output) as folder:
        draw = partial(_draw, folder=folder, classes=classes, slices=args.slices, effort=args.effort, seed=args.seed)
        results = run_tasks(
            draw, list(files.items()), processes=args.np or default_processes(), description="Annotating"
        )
        for result in results:
            if result.problems:
                problems.extend(InvalidInputError(result.problems))
        problems.raise_if_any("nnunet_weak_simulate_slices")
        with (folder / "effort.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["case", "slices", "contour_length_mm", "contour_length_vox"])
            for result in results:
                table.writerow([result.case, result.slices, f"{result.length_mm:.2f}", f"{result.length_vox:.2f}"])
        labels = {"background": 0, **{name: number for number, name in enumerate(classes, start=1)}}
        record = {
            "nnunet_weak": __version__,
            "classes": classes,
            "labels": {**labels, "ignore": len(classes) + 1},
            "slices": args.slices,
            "effort": args.effort,
            "seed": args.seed,
        }
        (folder / "simulation.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    mean = sum(result.length_vox for result in results) / len(results)
    slices = sum(result.slices for result in results) / len(results)
    print(
        f"{args.output}: {slices:.2g} slices and outlines of {mean:.0f} voxels for each of {len(results)} cases, "
        f"seed {args.seed}"
    )
    print(f"Labels: {json.dumps(record['labels'])}")
    return 0


def _draw(
    file: tuple[str, Path],
    *,
    folder: Path,
    classes: Mapping[str, tuple[int, ...]],
    slices: int | None,
    effort: float | None,
    seed: int,
) -> _Drawn:
    import SimpleITK as sitk

    from nnunet_weak.cli.reference_cases import read_classes, seed_of
    from nnunet_weak.images.write import write_volume
    from nnunet_weak.simulation.slices import simulate_slices

    case, path = file
    try:
        labels = read_classes(path, classes)
        if not sitk.GetArrayViewFromImage(labels).any():
            values = ", ".join(f"{name} = {' or '.join(map(str, values))}" for name, values in classes.items())
            raise InvalidInputError(f"holds none of {values} (remedy: check --classes, or leave the case out)")
        drawn = (
            simulate_slices(labels, slices, len(classes) + 1, seed=seed_of(seed, case))
            if slices is not None
            else slices_for_effort(labels, float(effort or 1), len(classes) + 1, seed_of(seed, case))
        )
    except InvalidInputError as error:
        return _Drawn(case, problems=tuple(f"{path}: {problem}" for problem in error.problems))
    write_volume(sitk.GetArrayViewFromImage(drawn.label), labels, folder / f"{case}.nii.gz")
    return _Drawn(case, len(drawn.slices), drawn.contour_length_mm, drawn.contour_length_vox)


def slices_for_effort(label: sitk.Image, effort: float, ignore_label: int, seed: int) -> SliceAnnotation:
    """As many slices as come nearest to a total length of outlines in voxels; one at least.

    The same seed picks the same slices first, so more effort adds to what is there.
    """
    from nnunet_weak.simulation.slices import simulate_slices

    best = simulate_slices(label, 1, ignore_label, seed=seed)
    while best.contour_length_vox < effort:
        try:
            more = simulate_slices(label, len(best.slices) + 1, ignore_label, seed=seed)
        except InvalidInputError:  # all slices are annotated
            return best
        if more.contour_length_vox - effort > effort - best.contour_length_vox:
            return best
        best = more
    return best


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnunet_weak_simulate_slices",
        description="Keep a few slices of three planes of reference label maps and set the rest to 'ignore': what "
        "Weak-Net is compared with. For benchmarks and teaching.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--references", type=Path, required=True, metavar="FOLDER", help="reference label maps")
    parser.add_argument(
        "--classes",
        nargs="+",
        required=True,
        metavar="NAME=VALUES",
        help="classes and their values, for example liver=1",
    )
    how_many = parser.add_mutually_exclusive_group(required=True)
    how_many.add_argument("--slices", type=int, metavar="N", help="slices of each case")
    how_many.add_argument(
        "--effort", type=float, metavar="POINTS", help="length of all outlines of each case, in voxels"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder of label maps to write"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the choice of slices (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder if it exists")
    parser.add_argument("-np", type=int, default=None, metavar="N", help="number of processes (default: all cores)")
    return parser
