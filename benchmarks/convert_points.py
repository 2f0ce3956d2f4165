"""Time of `nnunet_weak_convert_points`, against merely reading and writing the same files with SimpleITK.

Large ellipsoids in noise, points on their surfaces, one process. The yardstick reads the images and writes them and the
label maps, as a converter of a few lines would. The conversion adds all checks, the fit, the rasterising, meshes,
previews and SHA-256 sums. Imports are in neither.

    python benchmarks/convert_points.py --size 512 512 300 --cases 2
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

# Imported now, so that it is not timed: the converter imports it when it draws.
import nnunet_weak.points.preview  # noqa: F401
from nnunet_weak.dataset_conversion.points import main as convert
from nnunet_weak.points.files import write_points
from nnunet_weak.points.points import ObjectPoints, PointSet
from nnunet_weak.simulation.points import simulate_points

RADII = (0.4, 0.43, 0.55)  # of half the image, z, y, x
SPACING_MM = (0.8, 0.8, 1.5)


def make_inputs(folder: Path, size: tuple[int, int, int], cases: int, points: int) -> None:
    """`images` and `points`."""
    for kind in ("images", "points"):
        (folder / kind).mkdir()
    axes = np.meshgrid(*(np.linspace(-1, 1, voxels) for voxels in size[::-1]), indexing="ij", sparse=True)
    inside = sum(np.square(axis / radius) for axis, radius in zip(axes, RADII, strict=True)) < 1
    label = sitk.GetImageFromArray(inside.astype(np.uint8))
    label.SetSpacing(SPACING_MM)
    for case in range(cases):
        noise = np.random.default_rng(case).normal(0, 20, inside.shape)
        image = sitk.GetImageFromArray((noise + 60 * inside).astype(np.int16))
        image.CopyInformation(label)
        sitk.WriteImage(image, str(folder / "images" / f"case_{case}.nii.gz"))
        clicked = simulate_points(label, points, seed=case)
        write_points(folder / "points" / f"case_{case}.csv", PointSet((ObjectPoints(clicked, "organ"),)))


def read_and_write(folder: Path, raw: Path) -> None:
    """The yardstick; the outputs' voxels lie in memory before."""
    maps = [sitk.ReadImage(str(path)) for path in sorted((raw / "labelsTr").iterdir())]
    start = time.perf_counter()
    for path in sorted((folder / "images").iterdir()):
        sitk.WriteImage(sitk.ReadImage(str(path)), str(folder / "written.nii.gz"), True)
    for image in maps:
        sitk.WriteImage(image, str(folder / "written.nii.gz"), True)
    print(f"reading and writing {time.perf_counter() - start:6.1f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs=3, type=int, default=(512, 512, 300), help="voxels along x, y, z")
    parser.add_argument("--cases", type=int, default=2)
    parser.add_argument("--points", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "raw").mkdir()
        os.environ["nnUNet_raw"] = str(folder / "raw")
        make_inputs(folder, tuple(arguments.size), arguments.cases, arguments.points)
        start = time.perf_counter()
        inputs = f"--images {folder}/images --points {folder}/points --classes organ --channel-names MRI"
        status = convert([*inputs.split(), *"-d 599 -n Benchmark -np 1".split()])
        print(f"conversion          {time.perf_counter() - start:6.1f} s")
        read_and_write(folder, folder / "raw" / "Dataset599_Benchmark")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
