"""`nnunet_weak_simulate_points`: surface points for Weak-Net from reference segmentations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nnunet_weak.cli.console import console_command
from nnunet_weak.cli.simulation import SimulationOptions
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.options import option, read_count, read_number

if TYPE_CHECKING:
    from nnunet_weak.points.points import ObjectPoints

_EPILOG = """\
example: 25 clicks on each liver and spleen, then the data set for Weak-Net
  nnunet_weak_simulate_points --references labels --classes liver=1 spleen=2 -n 25 -o points
  nnunet_weak_convert_points --images images --points points --classes liver spleen -d 531 -n Abdomen

Several values that are one object: --classes hippocampus=1,2. Of each class the largest component is clicked.
Well-spread, exact points (--noise-mm 0) flatter a method. Measure with --sampling random as well, and report both.
"""


@dataclass(frozen=True, kw_only=True)
class PointSimulation(SimulationOptions):
    """How to click."""

    command = "nnunet_weak_simulate_points"
    description = (
        "Click points on the surface of every object of reference label maps, as an annotator would for "
        "Weak-Net. For benchmarks and teaching."
    )
    epilog = _EPILOG
    record = "simulation.txt"  # JSON, but a .json would be a point file to the converter

    points: int = option(
        "-n",
        default=25,
        read=partial(read_count, "-n", most=10_000),
        metavar="N",
        help="points on each object (default: %(default)s)",
    )
    sampling: Literal["spread", "random", "clumped"] = option(
        default="spread",
        help="spread: tips and extremes first, then the gaps; random: uniform over the area; clumped: on one side "
        "(default: %(default)s)",
    )
    noise_mm: float = option(
        default=0.5,
        read=partial(read_number, "--noise-mm"),
        metavar="MM",
        help="standard deviation of the clicks' error along each axis; 0 is exact (default: %(default)s)",
    )
    format: Literal["mrk.json", "csv"] = option(
        default="mrk.json",
        help="mrk.json: 3D Slicer, one file for each object; csv: one table for each case (default: %(default)s)",
    )


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = PointSimulation.parse(argv)

    from nnunet_weak.images.atomic import atomic_folder
    from nnunet_weak.points.files import write_points
    from nnunet_weak.points.points import PointSet

    references = options.check_inputs()
    click = partial(_click, options=options, classes=references.classes)
    clicked = options.run_cases(click, references.files, "clicking")
    objects = [one for case in clicked.values() for one in case]
    if not objects:
        raise InvalidInputError(
            f"{options.references}: no case holds {references.describe_classes()} (remedy: check the values)"
        )
    with atomic_folder(options.output, replace=options.overwrite) as folder:
        for case, found in clicked.items():
            if options.format == "csv" and found:
                write_points(folder / f"{case}.csv", PointSet(found))
            elif options.format == "mrk.json":
                for one in found:
                    write_points(folder / f"{case}_{one.class_name}.mrk.json", PointSet((one,)))
        in_all = sum(len(one.points_mm) for one in objects)
        options.write_record(folder, classes=references.classes, points_in_all=in_all)
    print(
        f"{options.output}: {len(objects)} objects in {len(clicked)} cases, {options.points} points each, "
        f"{options.sampling}, noise {options.noise_mm:g} mm, seed {options.seed}"
    )
    for case, found in clicked.items():
        missing = [name for name in references.classes if name not in {one.class_name for one in found}]
        if missing:
            print(f"{case}: no {' and no '.join(missing)}")
    return 0


def _click(
    file: tuple[str, Path], *, options: PointSimulation, classes: Mapping[str, tuple[int, ...]]
) -> tuple[ObjectPoints, ...]:
    """The points on each object that is there."""
    import numpy as np
    import SimpleITK as sitk

    from nnunet_weak.points.points import ObjectPoints
    from nnunet_weak.simulation.points import simulate_points
    from nnunet_weak.simulation.references import case_seed, read_classes

    case, path = file
    labels = read_classes(path, classes)
    present = np.unique(sitk.GetArrayViewFromImage(labels))
    simulate = partial(simulate_points, labels, options.points, sampling=options.sampling, noise_mm=options.noise_mm)
    return tuple(
        ObjectPoints(simulate(value=number, seed=case_seed(options.seed, case, name)), name)
        for number, name in enumerate(classes, start=1)
        if number in present
    )
