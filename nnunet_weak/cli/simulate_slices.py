"""`nnunet_weak_simulate_slices`: slice-wise annotation from reference segmentations, the baseline of Weak-Net."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nnunet_weak.cli.console import console_command
from nnunet_weak.cli.simulation import References, SimulationOptions
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.options import option, read_count, read_number
from nnunet_weak.tables import table_text

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


@dataclass(frozen=True, kw_only=True)
class SliceSimulation(SimulationOptions):
    """How many slices to annotate."""

    command = "nnunet_weak_simulate_slices"
    description = (
        "Keep a few slices of three planes of reference label maps and set the rest to 'ignore', the annotation that "
        "Weak-Net is compared with. For benchmarks and teaching."
    )
    epilog = _EPILOG

    slices: int | None = option(
        default=None, read=partial(read_count, "--slices"), metavar="N", help="slices of each case"
    )
    effort: float | None = option(
        default=None,
        read=partial(read_number, "--effort", least=1),
        metavar="POINTS",
        help="instead: length of all outlines of each case, in voxels",
    )

    def __post_init__(self) -> None:
        if (self.slices is None) == (self.effort is None):
            raise InvalidInputError("--slices, --effort: one of the two is needed (remedy: --slices 3, for example)")


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = SliceSimulation.parse(argv)

    import pandas as pd

    from nnunet_weak.images.atomic import atomic_folder

    references = options.check_inputs()
    labels = {**references.labels, "ignore": len(references.classes) + 1}
    with atomic_folder(options.output, replace=options.overwrite) as folder:
        annotate = partial(_annotate, folder=folder, options=options, references=references)
        rows = list(options.run_cases(annotate, references.files, "annotating").values())
        effort = pd.DataFrame(rows)
        (folder / "effort.csv").write_text(table_text(rows, ".2f"), encoding="utf-8", newline="")
        options.write_record(folder, classes=references.classes, labels=labels)
    print(
        f"{options.output}: {effort.slices.mean():.2g} slices and outlines of {effort.contour_length_vox.mean():.0f} "
        f"voxels for each of {len(effort)} cases, seed {options.seed}"
    )
    print(f"Labels: {json.dumps(labels)}")
    return 0


def _annotate(
    file: tuple[str, Path], *, folder: Path, options: SliceSimulation, references: References
) -> dict[str, Any]:
    """Write the sparse label map of a case; returns its row of effort.csv."""
    import SimpleITK as sitk

    from nnunet_weak.images.write import write_volume
    from nnunet_weak.simulation.references import case_seed, read_classes
    from nnunet_weak.simulation.slices import simulate_slices

    case, path = file
    labels = read_classes(path, references.classes)
    if not sitk.GetArrayViewFromImage(labels).any():
        raise InvalidInputError(
            f"{path}: holds none of {references.describe_classes()} (remedy: check --classes, or leave the case out)"
        )
    try:
        drawn = simulate_slices(
            labels,
            len(references.classes) + 1,
            n_slices=options.slices,
            effort_vox=options.effort or 0,
            seed=case_seed(options.seed, case),
        )
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from error
    write_volume(sitk.GetArrayViewFromImage(drawn.label), labels, folder / f"{case}.nii.gz")
    return {
        "case": case,
        "slices": len(drawn.slices),
        "contour_length_mm": drawn.contour_length_mm,
        "contour_length_vox": drawn.contour_length_vox,
    }
