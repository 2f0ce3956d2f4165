"""`nnunet_weak_refine` against `nnunet_weak_prepare_inputs` and `nnUNetv2_predict`: time, peak memory, equal bytes.

    python -m benchmarks.refine --images DIR --masks DIR --model MODEL --device cuda
    python -m benchmarks.refine --model MODEL --size 512 512 300 --without-tta

Without images, one phantom of `--size` is made, with the masks of the model's first region.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_weak.cli.console import Device
from nnunet_weak.dataset.annotations import WeakAnnotations
from nnunet_weak.options import option, parse


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    model: Path = option(metavar="MODEL", help="model folder of a SCORE training")
    images: Path | None = option(default=None, metavar="DIR", help="images (default: one phantom)")
    masks: Path | None = option(default=None, metavar="DIR", help="their initial masks")
    regions: tuple[str, ...] = option(default=(), metavar="NAME=SOURCE", help="where the regions are in the masks")
    size: tuple[int, ...] = option(default=(512, 512, 300), help="of the phantom, x y z (default: 512 512 300)")
    fold: str = option("-f", default="0", help="(default: %(default)s)")
    device: Device = option("-device", default="cpu", help="(default: %(default)s)")
    without_tta: bool = option(default=False, help="predict without mirroring")


@dataclass(frozen=True)
class Cost:
    """Time of commands, on the clock and of the CPU, and the largest memory of any of their processes."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def make_phantom(folder: Path, size: Sequence[int]) -> None:
    """Write a bright cylinder in noise in air, and a mask of it that is a little too small."""
    shape = tuple(size)[::-1]
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    radius = np.hypot(y - shape[1] / 2, x - shape[2] / 2)
    rng = np.random.default_rng(0)
    array = np.full(shape, -1000, np.int16)
    for plane in array:
        plane[radius[0] < shape[1] * 0.4] = rng.normal(40, 20, int((radius[0] < shape[1] * 0.4).sum()))
    bone = (radius < shape[1] * 0.08) & (z > shape[0] * 0.2) & (z < shape[0] * 0.8)
    array[bone] += 900
    mask = ((radius < shape[1] * 0.07) & (z > shape[0] * 0.2) & (z < shape[0] * 0.8)).astype(np.uint8)
    for kind, voxels in (("images", array), ("masks", mask)):
        (folder / kind).mkdir()
        image = sitk.GetImageFromArray(voxels)
        image.SetSpacing((0.8, 0.8, 1.0))
        sitk.WriteImage(image, str(folder / kind / "phantom.nii.gz"))


def cost_of(folder: Path, *commands: Sequence[str]) -> Cost:
    """Run commands one after the other in processes of their own."""
    seconds, cpu, peak = 0.0, 0.0, 0
    for words in commands:
        start = time.perf_counter()
        process = subprocess.Popen(
            words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ}
        )
        output = process.stdout.read() if process.stdout else b""
        _, status, usage = os.wait4(process.pid, 0)
        seconds += time.perf_counter() - start
        cpu += usage.ru_utime + usage.ru_stime
        if status:
            sys.exit(f"{' '.join(words)}\n{output.decode(errors='replace')[-3000:]}")
        peak = max(peak, _peak_bytes(usage))
    return Cost(seconds, cpu, peak)


def _peak_bytes(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(Options, argv, description=__doc__)
    model = options.model.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images, masks = options.images, options.masks
        regions = list(options.regions)
        if images is None or masks is None:
            make_phantom(folder, options.size)
            images, masks = folder / "images", folder / "masks"
            names = WeakAnnotations.read(model).channels.masks
            regions = [f"{name}={number}" for number, name in enumerate(names, start=1)]
        given = ["-i", str(images.resolve()), "--masks", str(masks.resolve()), "-m", str(model)]
        given += ["--regions", *regions] if regions else []
        predict = ["-f", options.fold, "-device", options.device, *(["--disable_tta"] if options.without_tta else [])]
        scripts = Path(sys.executable).parent
        single = cost_of(
            folder,
            [
                str(scripts / "nnunet_weak_refine"),
                *given,
                *predict,
                "-o",
                "refined",
                "--allow-new-regions",
                "--no-fall-back",
            ],
        )
        two = cost_of(
            folder,
            [str(scripts / "nnunet_weak_prepare_inputs"), *given, "-o", "channels", "-np", "1"],
            [
                *(str(scripts / "nnUNetv2_predict_from_modelfolder"), "-i", "channels", "-o", "predicted"),
                *("-m", str(model), "-npp", "1", "-nps", "1", *predict),
            ],
        )
        between = sum(path.stat().st_size for path in (folder / "channels").iterdir() if path.is_file())
        names = sorted(path.name for path in (folder / "predicted").glob("*.nii.gz"))
        equal = all(
            (folder / "refined" / each).read_bytes() == (folder / "predicted" / each).read_bytes() for each in names
        )
        shutil.rmtree(folder / "channels")
    print(f"{len(names)} cases, device {options.device}")
    print(f"{'':28}{'seconds':>10}{'of the CPU':>12}{'peak of a process, GiB':>24}")
    for title, cost in (("nnunet_weak_refine", single), ("the two commands", two)):
        print(f"{title:28}{cost.seconds:10.1f}{cost.cpu_seconds:12.1f}{cost.peak_bytes / 2**30:24.2f}", flush=True)
    print(f"the same bytes: {equal}; the two commands leave {between / 2**20:.0f} MiB between them")
    if not equal:
        sys.exit(1)


if __name__ == "__main__":
    main()
