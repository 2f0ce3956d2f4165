"""How good and how fast are templates of the surface fit, beside the usual implicit surface through the same points?

Every label above 0 is taken as one object (its largest component). Points are simulated on its surface; the IoU of the
rasterised template with the object is averaged over the cases. Without a folder, a bent ellipsoid stands in. The
alternative is scipy's `RBFInterpolator` (linear kernel) of a signed distance: 0 at the points, -1 and 1 voxel along
normals by local principal components, oriented away from the centre.

Only every second case is used: the weights of the fit and of the image evidence were chosen on the others.

    python -m benchmarks.surface_fit --labels LABEL_FOLDER --images IMAGE_FOLDER --cases 20
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from benchmarks.measure import time_of
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.read import list_images, with_geometry_of
from nnunet_weak.options import option, parse
from nnunet_weak.simulation.points import Sampling, simulate_points
from nnunet_weak.surface.fit import fit_surface
from nnunet_weak.surface.image_evidence import follow_image
from nnunet_weak.surface.rasterise import rasterise, world_to_index

COUNTS = (10, 25, 50, 125, 250)
SETTINGS: tuple[tuple[Sampling, float], ...] = (("spread", 0.5), ("random", 0.5), ("spread", 0.0), ("random", 0.0))
Template = Callable[[np.ndarray, sitk.Image, "sitk.Image | None", float], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Options:
    labels: Path | None = option(default=None, help="folder of label maps")
    images: Path | None = option(default=None, help="folder of their images: adds the row with image evidence")
    cases: int = option(default=20, help="at most so many cases (default: %(default)s)")


def fitted(
    points: np.ndarray, label: sitk.Image, image: sitk.Image | None, noise_mm: float, follow: bool = False
) -> np.ndarray:
    fit = fit_surface(points, noise_mm=noise_mm)
    if follow and image is not None:
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


def read_cases(options: Options) -> list[tuple[sitk.Image, sitk.Image | None]]:
    if options.labels is None:
        return [(bean(), None)]
    images = list_images(options.images) if options.images else {}
    return [
        (one_object(sitk.ReadImage(str(path))), sitk.ReadImage(str(images[name])) if images else None)
        for name, path in list(list_images(options.labels).items())[::2][: options.cases]
    ]


def iou_and_seconds(
    template: Template, label: sitk.Image, image: sitk.Image | None, noise_mm: float, points: np.ndarray
) -> tuple[float, float]:
    truth = sitk.GetArrayFromImage(label) > 0
    masks = []

    def make() -> None:
        try:
            masks.append(template(points, label, image, noise_mm))
        except (InvalidInputError, np.linalg.LinAlgError):
            masks.append(np.zeros_like(truth))

    seconds = time_of(make)
    return float((masks[0] & truth).sum() / (masks[0] | truth).sum()), seconds


def main() -> None:
    options = parse(Options, None, description=__doc__)
    cases = read_cases(options)
    methods: dict[str, Template] = {"surface fit": fitted, "RBF implicit": implicit}
    if options.images:
        methods["surface fit + image"] = partial(fitted, follow=True)
    print(f"IoU, mean (min) over {len(cases)} cases; ms is the median of fit and rasterising together, one thread\n")
    for sampling, noise_mm in SETTINGS:
        print(f"{sampling} points, {noise_mm} mm noise" + "".join(f"{count:>22}" for count in COUNTS))
        rows: dict[str, str] = dict.fromkeys(methods, "")
        for count in COUNTS:
            points = [
                simulate_points(label, count, sampling=sampling, noise_mm=noise_mm, seed=seed)
                for seed, (label, _) in enumerate(cases)
            ]
            for name, template in methods.items():
                results = [
                    iou_and_seconds(template, *case, noise_mm, clicks)
                    for case, clicks in zip(cases, points, strict=True)
                ]
                ious, seconds = np.array(results).T
                summary = f"{ious.mean():.3f} ({ious.min():.2f}) {1e3 * np.median(seconds):4.0f} ms"
                rows[name] += f"{summary:>22}"
        for name, row in rows.items():
            print(f"{name:<26}{row}")
        print(flush=True)


if __name__ == "__main__":
    main()
