"""What should a template start from: a sphere, an annotated case, or several?

    python -m benchmarks.template_shapes --data DATA

IoU of templates with the truth on development cases, from well-spread points clicked with errors of 0.5 mm. The
annotated cases are training cases, spread evenly over the patients' numbers; nothing here is trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from tqdm import tqdm

from benchmarks.data import DATA, patient_of, spread_over
from nnunet_weak.images.read import with_geometry_of
from nnunet_weak.options import option, parse
from nnunet_weak.simulation.points import simulate_points
from nnunet_weak.surface.average import average_surface
from nnunet_weak.surface.fit import SurfaceFit, fit_surface
from nnunet_weak.surface.mesh_fit import fit_mesh
from nnunet_weak.surface.mesh_template import MeshTemplate, read_template
from nnunet_weak.surface.rasterise import rasterise

NOISE_MM = 0.5


@dataclass(frozen=True, kw_only=True)
class Options:
    data: Path = option(metavar="DIR", help="folder with a folder for each data set")
    sets: tuple[str, ...] = option(default=("mandible_ct", "hippocampus"), help="of one class (default: %(default)s)")
    points: tuple[int, ...] = option(default=(10, 25, 50, 125), help="on each object (default: %(default)s)")
    shapes: int = option(default=5, help="annotated cases (default: %(default)s)")
    most_cases: int = option(default=20, help="development cases (default: the first %(default)s)")


def shapes_of(folder: Path, count: int) -> list[MeshTemplate]:
    """Templates from training cases."""
    data = DATA[folder.name]
    (values,) = data.classes.values()
    patients = {patient_of(path.name): path for path in sorted((folder / "labels").glob("*.nii.gz"))}
    numbers = sorted(number for number in patients if data.part(number) == "train")
    return [read_template(patients[number], values) for number in sorted(spread_over(numbers, count))]


def fits(points: np.ndarray, shapes: list[MeshTemplate]) -> Iterator[tuple[str, SurfaceFit]]:
    """Surfaces through points, by what they start from."""
    yield "sphere", fit_surface(points)
    found = [fit_mesh(points, shape) for shape in shapes]
    yield from ((shape.name, fit) for shape, fit in zip(shapes, found, strict=True))
    yield "the first two", average_surface(found[:2], points)
    yield f"all {len(shapes)}", average_surface(found, points)


def main() -> None:
    options = parse(Options, None, description=__doc__)
    for name in options.sets:
        folder, (values,) = options.data / name, DATA[name].classes.values()
        labels = sorted((folder / "labels").glob("*.nii.gz"))
        cases = [path for path in labels if DATA[name].part(patient_of(path.name)) == "development"]
        shapes = shapes_of(folder, options.shapes)
        for count in options.points:
            found: dict[str, list[float]] = {}
            for seed, path in enumerate(tqdm(cases[: options.most_cases], f"{name}, {count} points", leave=False)):
                label = sitk.ReadImage(str(path))
                truth = np.isin(sitk.GetArrayFromImage(label), values)
                mask = with_geometry_of(truth.astype(np.uint8), label)
                for start, fit in fits(simulate_points(mask, count, noise_mm=NOISE_MM, seed=seed), shapes):
                    inside = sitk.GetArrayFromImage(rasterise(fit.vertices_mm, fit.faces, label)) > 0
                    found.setdefault(start, []).append((inside & truth).sum() / (inside | truth).sum())
            print(f"{name}, {count} points, IoU of {min(len(cases), options.most_cases)} cases")
            print("\n".join(f"  {np.mean(iou):.3f} {start}" for start, iou in found.items()), flush=True)


if __name__ == "__main__":
    main()
