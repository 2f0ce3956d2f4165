"""Time and memory of `nnunet_weak_convert_scores`, against merely reading and writing the same files.

Two yardsticks, both reading the images and initial masks with SimpleITK and writing the files that the conversion
leaves behind: `plain` writes all of them with SimpleITK, as a converter of a few lines would (the prior as float32);
`floor` copies the images' bytes and writes the rest with the converter's own writer, which is as fast as it gets. One
process each; the conversion includes all checks, SHA-256 sums and the boundary prior.

    python benchmarks/convert_scores.py --size 512 512 300 --cases 2
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from nnunet_weak.images.write import write_volume


class Seconds(NamedTuple):
    wall: float
    cpu: float


def make_inputs(folder: Path, size: tuple[int, int, int], cases: int, dtype: str) -> None:
    """CTs of a body with bones in air, with noise as in a CT, and masks of the bones that are a little too small."""
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    rows = ["case,region,quality,error"]
    x, y, z = size
    for case in range(cases):
        rng = np.random.default_rng(case)
        coarse = rng.normal(size=(max(2, z // 30), max(2, y // 30), max(2, x // 30))).astype(np.float32)
        zoom = [n / m for n, m in zip((z, y, x), coarse.shape, strict=True)]
        texture = ndimage.zoom(coarse, zoom, order=1)
        body = np.hypot(*np.meshgrid(np.linspace(-1.2, 1.2, y), np.linspace(-1.2, 1.2, x), indexing="ij")) < 1
        array = np.where(body, 40.0, -1000.0).astype(np.float32) + np.zeros((z, 1, 1), np.float32)
        bone = (texture > 1.2) & body
        array[bone] = 700
        array += rng.normal(scale=15, size=array.shape).astype(np.float32)
        mask = (texture > 1.35) & body
        labels = mask.astype(np.uint8)
        labels[: z // 2] *= 2
        for kind, voxels in (("images", np.rint(array).astype(dtype)), ("masks", labels)):
            image = sitk.GetImageFromArray(voxels)
            image.SetSpacing((0.7, 0.7, 1.0))
            sitk.WriteImage(image, str(folder / kind / f"case_{case}.nii.gz"))
        rows += [f"case_{case},{region},3,under" for region in ("upper", "lower")]
    (folder / "scores.csv").write_text("\n".join(rows))


def convert(folder: Path, prior: str) -> tuple[Seconds, float]:
    """Time and peak bytes of the conversion in a process of its own, without what Python and its libraries take."""
    code = (
        "import re, sys, time\n"
        "from pathlib import Path\n"
        "from nnunet_weak.dataset_conversion.scores import main\n"
        "import nibabel, scipy.ndimage\n"
        # Not ru_maxrss, which a process inherits from the one that started it.
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) * 1024\n"
        "before = peak()\n"
        "start = time.perf_counter(), time.process_time()\n"
        "code = main(sys.argv[1:])\n"
        "print('RESULT', code, time.perf_counter() - start[0], time.process_time() - start[1], peak() - before)\n"
    )
    arguments = ["--images", "images", "--masks", "masks", "--scores", "scores.csv", "--regions", "upper=2", "lower=1"]
    arguments += ["--prior", prior, "-d", "511", "-n", "Benchmark", "-np", "1", "--overwrite"]
    output = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "nnUNet_raw": str(folder / "nnUNet_raw")},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    _, status, wall, cpu, peak = output.splitlines()[-1].split()
    if status != "0":
        raise SystemExit(output)
    return Seconds(float(wall), float(cpu)), float(peak)


def read_and_write(folder: Path, plain: bool) -> Seconds:
    """Time of reading the inputs and writing the outputs of the conversion, and nothing else."""
    outputs = folder / "nnUNet_raw" / "Dataset511_Benchmark"
    target = folder / "copy"
    target.mkdir()
    wall = cpu = 0.0
    for source in sorted((folder / "images").iterdir()):
        name = source.name.removesuffix(".nii.gz")
        # What is to be written lies in memory: making it is not the time of interest.
        volumes: dict[str, tuple[sitk.Image, np.ndarray, float]] = {}
        for path in [*sorted((outputs / "imagesTr").glob(f"{name}_*")), outputs / "labelsTr" / source.name]:
            if not path.name.endswith("_0000.nii.gz"):
                image = sitk.ReadImage(str(path))
                array = sitk.GetArrayFromImage(image)
                is_prior = array.dtype.kind == "f"
                stored = np.rint(array * 255).astype(np.uint8) if is_prior else array
                volumes[path.name] = image, stored, 1 / 255 if is_prior else 1.0
        start = time.perf_counter(), time.process_time()
        image = sitk.ReadImage(str(source))
        sitk.ReadImage(str(folder / "masks" / source.name))
        if plain:
            sitk.WriteImage(image, str(target / source.name), True)
        else:
            shutil.copyfile(source, target / source.name)
        for file, (volume, array, slope) in volumes.items():
            if plain:
                sitk.WriteImage(volume, str(target / f"w_{file}"), True)
            else:
                write_volume(array, volume, target / f"w_{file}", slope=slope)
        wall, cpu = wall + time.perf_counter() - start[0], cpu + time.process_time() - start[1]
    shutil.rmtree(target)
    return Seconds(wall, cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs=3, type=int, default=(512, 512, 300), help="voxels along x, y, z")
    parser.add_argument("--cases", type=int, default=2)
    parser.add_argument("--prior", default="otsu")
    parser.add_argument("--dtype", default="int16", help="type of the images' voxels")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder, tuple(arguments.size), arguments.cases, arguments.dtype)
        done, peak = convert(folder, arguments.prior)
        plain, floor = read_and_write(folder, plain=True), read_and_write(folder, plain=False)
    volume_bytes = 4 * int(np.prod(arguments.size))
    print(f"{arguments.cases} cases of {tuple(arguments.size)}, {arguments.dtype}, prior {arguments.prior}")
    print(f"{'':28}{'seconds':>10}{'ratio':>8}{'CPU s':>10}{'ratio':>8}")
    for name, time_of in (
        ("conversion", done),
        ("reading and writing, plain", plain),
        ("reading and writing, floor", floor),
    ):
        ratios = done.wall / time_of.wall, done.cpu / time_of.cpu
        print(f"{name:28}{time_of.wall:10.1f}{ratios[0]:8.2f}{time_of.cpu:10.1f}{ratios[1]:8.2f}")
    print(f"peak memory {peak / 2**20:.0f} MiB, {peak / volume_bytes:.2f} float32 volumes")


if __name__ == "__main__":
    main()
