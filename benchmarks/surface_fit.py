"""Template quality and time of the surface fit, against the usual implicit surface through the same points.

    python benchmarks/surface_fit.py LABEL_FOLDER [--images IMAGE_FOLDER] [--cases 20]

Every label above 0 is taken as one object (its largest component). Points are simulated on its surface; the IoU of the
rasterised template with the object is averaged over the cases. Without a folder, a bent ellipsoid stands in. The
alternative is scipy's `RBFInterpolator` (linear kernel) of a signed distance: 0 at the points, -1 and 1 voxel along
normals by local principal components, oriented away from the centre: what a user would write in twenty lines.

Only every second case is used: the weights of the fit and of the image evidence were chosen on the others.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree
from tqdm import tqdm

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.read import list_images, with_geometry_of
from nnunet_weak.simulation.points import Sampling, simulate_points
from nnunet_weak.surface.fit import fit_surface
from nnunet_weak.surface.image_evidence import follow_image
from nnunet_weak.surface.rasterise import rasterise, world_to_index

COUNTS = (10, 25, 50, 125, 250)
SETTINGS: tuple[tuple[Sampling, float], ...] = (("spread", 0.5), ("random", 0.5), ("spread", 0.0), ("random", 0.0))
Template = Callable[[np.ndarray, sitk.Image, sitk.Image | None, float], np.ndarray]


def fitted(points: np.ndarray, label: sitk.Image, image: sitk.Image | None, noise_mm: float) -> np.ndarray:
    fit = fit_surface(points, noise_mm=noise_mm)
    return sitk.GetArrayFromImage(rasterise(fit.vertices_mm, fit.faces, label)) > 0


def fitted_with_image(points: np.ndarray, label: sitk.Image, image: sitk.Image | None, noise_mm: float) -> np.ndarray:
    fit = fit_surface(points, noise_mm=noise_mm)
    if image is not None:
        fit = follow_image(fit, points, image)
    return sitk.GetArrayFromImage(rasterise(fit.vertices_mm, fit.faces, label)) > 0


def implicit(points: np.ndarray, label: sitk.Image, image: sitk.Image | None, noise_mm: float) -> np.ndarray:
    _, neighbours = cKDTree(points).query(points, k=min(8, len(points)))
    patches = points[neighbours] - points[neighbours].mean(axis=1, keepdims=True)
    normals = np.linalg.svd(patches)[2][:, -1]
    normals *= np.sign(((points - points.mean(axis=0)) * normals).sum(axis=1, keepdims=True))
    offset = float(np.prod(label.GetSpacing()) ** (1 / 3))
    places = np.concatenate([points, points + offset * normals, points - offset * normals])
    values = np.repeat([0.0, offset, -offset], len(points))
    distance = RBFInterpolator(places, values, kernel="linear", smoothing=noise_mm)
    index = world_to_index(points, label)
    low = np.maximum(np.floor(index.min(axis=0)).astype(int) - 3, 0)
    high = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 4, label.GetSize())
    grid = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1).reshape(-1, 3)
    matrix = np.array(label.GetDirection()).reshape(3, 3) * np.array(label.GetSpacing())
    inside = distance(grid @ matrix.T + np.array(label.GetOrigin())) < 0
    mask = np.zeros(label.GetSize(), dtype=bool)
    mask[tuple(grid.T)] = inside
    return mask.T


def bean() -> sitk.Image:
    z, y, x = np.meshgrid(np.arange(24), np.arange(40), np.arange(56), indexing="ij")
    mask = ((x - 27.5) / 24) ** 2 + ((y - 12 - 0.02 * (x - 27.5) ** 2) / 8) ** 2 + ((z - 11.5) / 7) ** 2 < 1
    return sitk.GetImageFromArray(mask.astype(np.uint8))


def one_object(label: sitk.Image) -> sitk.Image:
    components, _ = ndimage.label(sitk.GetArrayFromImage(label) > 0)
    mask = components == np.bincount(components.ravel())[1:].argmax() + 1
    return with_geometry_of(ndimage.binary_fill_holes(mask).astype(np.uint8), label)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", nargs="?", type=Path, help="folder of label maps")
    parser.add_argument(
        "--images", type=Path, help="folder of their images, same names: adds the row with image evidence"
    )
    parser.add_argument("--cases", type=int, default=20, help="at most so many cases (default: %(default)s)")
    arguments = parser.parse_args(argv)
    cases: list[tuple[sitk.Image, sitk.Image | None]] = [(bean(), None)]
    if arguments.labels:
        labels = list(list_images(arguments.labels).items())[::2][: arguments.cases]
        images = list_images(arguments.images) if arguments.images else {}
        cases = [
            (one_object(sitk.ReadImage(str(path))), sitk.ReadImage(str(images[name])) if images else None)
            for name, path in labels
        ]
    methods: dict[str, Template] = {"surface fit": fitted, "RBF implicit": implicit}
    if arguments.images:
        methods["surface fit + image"] = fitted_with_image
    print(f"IoU, mean (min) over {len(cases)} cases; ms is the median of fit and rasterising together, one thread\n")
    for sampling, noise_mm in SETTINGS:
        print(f"{sampling} points, {noise_mm} mm noise" + "".join(f"{count:>22}" for count in COUNTS))
        rows: dict[str, list[str]] = {name: [] for name in methods}
        for count in tqdm(COUNTS, leave=False):
            scores: dict[str, list[float]] = {name: [] for name in methods}
            times: dict[str, list[float]] = {name: [] for name in methods}
            for seed, (label, image) in enumerate(cases):
                points = simulate_points(label, count, sampling=sampling, noise_mm=noise_mm, seed=seed)
                truth = sitk.GetArrayFromImage(label) > 0
                for name, template in methods.items():
                    begin = time.perf_counter()
                    try:
                        mask = template(points, label, image, noise_mm)
                    except (InvalidInputError, np.linalg.LinAlgError):
                        mask = np.zeros_like(truth)
                    times[name].append(time.perf_counter() - begin)
                    scores[name].append(float((mask & truth).sum() / (mask | truth).sum()))
            for name in methods:
                summary = f"{np.mean(scores[name]):.3f} ({np.min(scores[name]):.2f})"
                rows[name].append(f"{summary} {1e3 * np.median(times[name]):4.0f} ms")
        for name, row in rows.items():
            print(f"{name:<26}" + "".join(f"{cell:>22}" for cell in row))
        print()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
