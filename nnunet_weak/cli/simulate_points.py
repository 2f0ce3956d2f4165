"""`nnunet_weak_simulate_points`: surface points for Weak-Net from reference segmentations."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_weak.cli.console import console_command
from nnunet_weak.errors import InvalidInputError, Problems

if TYPE_CHECKING:
    from nnunet_weak.points.points import ObjectPoints

_EPILOG = """\
example: 25 clicks on each liver and spleen, then the data set for Weak-Net
  nnunet_weak_simulate_points --references labels --classes liver=1 spleen=2 -n 25 -o points
  nnunet_weak_convert_points --images images --points points --classes liver spleen -d 531 -n Abdomen

Several values that are one object: --classes hippocampus=1,2. Of each class the largest component is clicked.
"""


@dataclass(frozen=True)
class _Clicked:
    case: str
    objects: tuple[ObjectPoints, ...]
    missing: tuple[str, ...]
    problems: tuple[str, ...] = ()


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    args = _parser().parse_args(argv)

    from nnunet_weak import __version__
    from nnunet_weak.cli.reference_cases import appearing_folder, check_output, files_by_case
    from nnunet_weak.dataset.classes import parse_classes
    from nnunet_weak.parallel import default_processes, run_tasks
    from nnunet_weak.points.files import write_points
    from nnunet_weak.points.points import PointSet

    problems = Problems()
    classes = problems.attempt(parse_classes, args.classes) or {}
    if args.n < 1:
        problems.add(f"-n {args.n}", "at least one point is needed", "25 is a good number to begin with")
    if not args.noise_mm >= 0:
        problems.add(f"--noise-mm {args.noise_mm:g}", "must not be negative")
    check_output(args.output, args.overwrite, problems)
    files = files_by_case(args.references, problems)
    problems.raise_if_any("nnunet_weak_simulate_points")

    click = partial(
        _click, classes=classes, count=args.n, sampling=args.sampling, noise_mm=args.noise_mm, seed=args.seed
    )
    processes = args.np or default_processes()
    results = run_tasks(click, list(files.items()), processes=processes, description="Clicking")
    for result in results:
        if result.problems:
            problems.extend(InvalidInputError(result.problems))
    if not any(result.objects for result in results) and not len(problems):
        problems.add(str(args.references), f"no case holds {_shown(classes)}", "check the values in --classes")
    problems.raise_if_any("nnunet_weak_simulate_points")

    with appearing_folder(args.output) as folder:
        for result in results:
            if args.format == "csv" and result.objects:
                write_points(folder / f"{result.case}.csv", PointSet(result.objects))
            elif args.format == "mrk.json":
                for one in result.objects:
                    write_points(folder / f"{result.case}_{one.class_name}.mrk.json", PointSet((one,)))
        # No .json, which would be a point file to the converter.
        facts = {
            "nnunet_weak": __version__,
            "classes": " ".join(f"{name}={','.join(map(str, values))}" for name, values in classes.items()),
            "points on each object": args.n,
            "sampling": args.sampling,
            "noise_mm": args.noise_mm,
            "seed": args.seed,
            "points in all": sum(len(one.points_mm) for result in results for one in result.objects),
        }
        text = "".join(f"{name}: {value}\n" for name, value in facts.items())
        (folder / "simulation.txt").write_text(text, encoding="utf-8")
    objects = sum(len(result.objects) for result in results)
    print(f"{args.output}: {objects} objects in {len(results)} cases, {args.n} points each, seed {args.seed}")
    for result in results:
        if result.missing:
            print(f"{result.case}: no {' and no '.join(result.missing)}")
    return 0


def _click(
    file: tuple[str, Path],
    *,
    classes: Mapping[str, tuple[int, ...]],
    count: int,
    sampling: Any,
    noise_mm: float,
    seed: int,
) -> _Clicked:
    import numpy as np
    import SimpleITK as sitk

    from nnunet_weak.cli.reference_cases import read_classes, seed_of
    from nnunet_weak.points.points import ObjectPoints
    from nnunet_weak.simulation.points import simulate_points

    case, path = file
    try:
        labels = read_classes(path, classes)
    except InvalidInputError as error:
        return _Clicked(case, (), (), error.problems)
    present = set(np.unique(sitk.GetArrayViewFromImage(labels)).tolist())
    objects, missing = [], []
    for number, name in enumerate(classes, start=1):
        if number not in present:
            missing.append(name)
            continue
        clicked = simulate_points(
            labels,
            count,
            number,
            sampling=sampling,
            noise_mm=noise_mm,
            seed=seed_of(seed, case, name),
        )
        objects.append(ObjectPoints(clicked.points_mm, name))
    return _Clicked(case, tuple(objects), tuple(missing))


def _shown(classes: Mapping[str, tuple[int, ...]]) -> str:
    return " or ".join(f"{name} (value {', '.join(map(str, values))})" for name, values in classes.items())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnunet_weak_simulate_points",
        description="Click points on the surface of every object of reference label maps, as an annotator would for "
        "Weak-Net. For benchmarks and teaching.",
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
    parser.add_argument("-n", type=int, default=25, metavar="N", help="points on each object (default: %(default)s)")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder of point files to write"
    )
    parser.add_argument(
        "--sampling",
        choices=("spread", "random", "clumped"),
        default="spread",
        help="spread: tips and extremes first, then the gaps; random: uniform over the area; clumped: on one side "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--noise-mm",
        type=float,
        default=0.0,
        metavar="MM",
        help="how far clicks are off, SD per axis (default: %(default)s)",
    )
    parser.add_argument(
        "--format",
        choices=("mrk.json", "csv"),
        default="mrk.json",
        help="mrk.json: 3D Slicer, one file for each object; csv: one table for each case (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the places and the noise (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder if it exists")
    parser.add_argument("-np", type=int, default=None, metavar="N", help="number of processes (default: all cores)")
    return parser
