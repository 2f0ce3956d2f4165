"""How long do conversions take beside merely reading and writing the same files, and how much memory?

Two yardsticks read the inputs with SimpleITK and write the volumes that the conversion leaves behind: `plain` writes
all of them with SimpleITK, as a converter of a few lines would; `floor` copies the images' bytes and writes the rest
with the converter's own writer, the fastest possible. One process each. The conversion adds all checks, SHA-256 sums,
the boundary prior (SCORE), and surface fits, meshes and previews (Weak-Net).

    python -m benchmarks.converters --method scores --size 512 512 300 --cases 2
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from benchmarks.measure import measure
from nnunet_weak.options import option, parse

ARGUMENTS = {
    "scores": "--masks {0}/masks --scores {0}/scores.csv --regions upper=1 lower=2 --prior {1}",
    "points": "--points {0}/points --classes upper lower",
}
RADII = (0.2, 0.3, 0.4)  # of half the image, z, y, x
SPACING_MM = (0.7, 0.7, 1.5)


@dataclass(frozen=True, kw_only=True)
class Options:
    method: Literal["scores", "points"] = option(default="scores", help="converter (default: %(default)s)")
    size: tuple[int, ...] = option(default=(512, 512, 300), nargs=3, metavar=("X", "Y", "Z"), help="in voxels")
    cases: int = option(default=2, help="number of cases (default: %(default)s)")
    points: int = option(default=100, help="points on each object (default: %(default)s)")
    prior: str = option(default="otsu", help="boundary prior (default: %(default)s)")
    dtype: str = option(default="int16", help="type of the images' voxels (default: %(default)s)")


def make_inputs(folder: Path, options: Options) -> None:
    """CTs of a body with two ellipsoids in air; points on these, masks of them a little too small, and scores."""
    from nnunet_weak.points.files import write_points
    from nnunet_weak.points.points import ObjectPoints, PointSet
    from nnunet_weak.simulation.points import simulate_points

    for kind in ("images", "masks", "points"):
        (folder / kind).mkdir()
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in options.size[::-1]), indexing="ij", sparse=True)
    centres = {"upper": -0.45, "lower": 0.45}
    squares = [
        sum(((axis - c) / radius) ** 2 for axis, c, radius in zip(axes, (z, 0, 0), RADII, strict=True))
        for z in centres.values()
    ]
    ct = np.where(np.hypot(*axes[1:]) < 0.9, 40.0, -1000.0) + 660.0 * sum(square < 1 for square in squares)
    mask = sum(number * (square < 0.8).astype(np.uint8) for number, square in enumerate(squares, 1))
    rows = ["case,region,quality,error"]
    for case in range(options.cases):
        noisy = np.rint(ct + np.random.default_rng(case).normal(scale=15, size=mask.shape)).astype(options.dtype)
        for kind, voxels in (("images", noisy), ("masks", mask)):
            sitk.WriteImage(on_grid(voxels), str(folder / kind / f"case_{case}.nii.gz"))
        objects = [
            ObjectPoints(simulate_points(on_grid((square < 1).astype(np.uint8)), options.points), name)
            for name, square in zip(centres, squares, strict=True)
        ]
        write_points(folder / "points" / f"case_{case}.csv", PointSet(tuple(objects)))
        rows += [f"case_{case},{region},3,under" for region in centres]
    (folder / "scores.csv").write_text("\n".join(rows))


def on_grid(array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING_MM)
    return image


def conversion(folder: Path, options: Options) -> Callable[[], int]:
    # Imported by the converters when they need it: not the time of interest.
    import nibabel  # noqa: F401
    import scipy.ndimage  # noqa: F401

    import nnunet_weak.points.preview  # noqa: F401
    from nnunet_weak.dataset_conversion import points, scores

    converter = {"scores": scores, "points": points}[options.method]
    inputs = ARGUMENTS[options.method].format(folder, options.prior)
    command = f"--images {folder}/images {inputs} --channel-names CT -d 511 -n Benchmark -np 1"
    return lambda: converter.main(command.split())


def reading_and_writing(folder: Path, options: Options, plain: bool) -> Callable[[], None]:
    from nnunet_weak.images.write import write_volume

    raw = folder / "Dataset511_Benchmark"
    kinds = ("images", "masks") if options.method == "scores" else ("images",)
    inputs = sorted(path for kind in kinds for path in (folder / kind).iterdir())
    outputs = sorted(path for path in raw.rglob("*.nii.gz") if not path.name.endswith("_0000.nii.gz"))
    volumes = [sitk.ReadImage(str(path)) for path in outputs]  # making them is not the time of interest

    def run() -> None:
        for path in inputs:
            image = sitk.ReadImage(str(path))
            if path.parent.name == "images":
                if plain:
                    sitk.WriteImage(image, str(folder / "written.nii.gz"), True)
                else:
                    shutil.copyfile(path, folder / "written.nii.gz")
        for volume in volumes:
            if plain:
                sitk.WriteImage(volume, str(folder / "written.nii.gz"), True)
            else:
                array = sitk.GetArrayFromImage(volume)
                is_prior = array.dtype.kind == "f"  # written in 256 steps
                stored = np.rint(array * 255).astype(np.uint8) if is_prior else array
                write_volume(stored, volume, folder / "written.nii.gz", slope=1 / 255 if is_prior else 1.0)

    return run


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(Options, argv, description=__doc__)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["nnUNet_raw"] = name
        make_inputs(folder, options)
        done = measure(conversion, folder, options)
        if done.result:
            sys.exit("the conversion failed")
        rows = {
            "conversion": done,
            "reading and writing, plain": measure(reading_and_writing, folder, options, True),
            "reading and writing, floor": measure(reading_and_writing, folder, options, False),
        }
    print(f"{options.method}, {options.cases} cases of {options.size}, {options.dtype}")
    print(f"{'':28}{'seconds':>10}{'ratio':>8}{'CPU s':>10}{'ratio':>8}")
    for title, row in rows.items():
        ratios = done.seconds / row.seconds, done.cpu_seconds / row.cpu_seconds
        print(f"{title:28}{row.seconds:10.1f}{ratios[0]:8.2f}{row.cpu_seconds:10.1f}{ratios[1]:8.2f}")
    volume_bytes = 4 * int(np.prod(options.size))
    print(f"peak memory {done.peak_bytes / 2**20:.0f} MiB, {done.peak_bytes / volume_bytes:.2f} float32 volumes")


if __name__ == "__main__":
    main()
