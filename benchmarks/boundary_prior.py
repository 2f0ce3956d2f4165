"""The Otsu boundary prior of a large CT against the obvious route: SimpleITK's Otsu filter and numpy's percentile on
every voxel.

Each route runs in a process of its own, so that its peak memory is its own. The volume is synthetic: air, soft tissue,
bones.

    python benchmarks/boundary_prior.py --size 512 512 300
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from nnunet_weak.priors import PriorOptions, boundary_prior

ROUTES = ("otsu", "obvious", "local", "posterior", "gradient")


def synthetic_ct(size_xyz: Sequence[int]) -> tuple[sitk.Image, sitk.Image]:
    """A body of soft tissue in air with two bones along z, float32, and a mask that holds one of them and a margin."""
    nx, ny, nz = size_xyz
    rng = np.random.default_rng(0)
    y, x = np.meshgrid(np.linspace(-1, 1, ny), np.linspace(-1, 1, nx), indexing="ij")
    ct = np.empty((nz, ny, nx), dtype=np.float32)
    plane = np.where(np.hypot(x, y) < 0.8, 40.0, -1000.0)
    for centre in (-0.4, 0.4):
        radius = np.hypot(x - centre, y)
        plane = np.where(radius < 0.12, np.where(radius < 0.08, 60.0, 900.0), plane)
    for z in range(nz):
        ct[z] = np.rint(plane + rng.normal(0, 20, plane.shape))
    mask = np.zeros(ct.shape, dtype=np.uint8)
    mask[nz // 10 : -nz // 10] = np.hypot(x - 0.4, y) < 0.13
    images = sitk.GetImageFromArray(ct), sitk.GetImageFromArray(mask)
    for image in images:
        image.SetSpacing((0.6, 0.6, 1.0))
    return images


def obvious_prior(image: sitk.Image) -> sitk.Image:
    """The same definition with a filter for each step and every voxel in each statistic."""
    array = sitk.GetArrayFromImage(image)
    body = array[array > -300]
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.SetNumberOfHistogramBins(256)
    otsu.SetMaskValue(1)
    otsu.Execute(image, sitk.Cast(image > -300, sitk.sitkUInt8))
    low, high = otsu.GetThreshold(), np.percentile(body, 99.5)
    prior = np.clip((array - low) / (high - low), 0, 1).astype(np.float32)
    inside = sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.Cast(image != 0, sitk.sitkUInt8)))
    result = sitk.GetImageFromArray(prior * inside)
    result.CopyInformation(image)
    return result


def measure(route: str, size_xyz: Sequence[int]) -> tuple[float, float, float]:
    """Seconds, peak memory above the input in float32 volumes, and mean of P."""
    image, mask = synthetic_ct(size_xyz)
    with open("/proc/self/clear_refs", "w") as reset:  # peak memory from here on
        reset.write("5")
    before = _status_kib("VmRSS")
    start = time.perf_counter()
    if route == "obvious":
        prior = obvious_prior(image)
    else:
        prior = boundary_prior(image, PriorOptions.from_json({"kind": route}, "benchmark"), mask=mask)
    seconds = time.perf_counter() - start
    volume_kib = 4 * np.prod(size_xyz) / 1024
    mean = float(sitk.GetArrayViewFromImage(prior).mean(dtype=np.float64))
    return seconds, (_status_kib("VmHWM") - before) / volume_kib, mean


def main(argv: Sequence[str] | None = None) -> int:
    """Print time and memory of each route and the ratio of the obvious one to ours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs=3, type=int, default=(512, 512, 300), metavar=("X", "Y", "Z"))
    parser.add_argument("--routes", nargs="+", choices=ROUTES, default=ROUTES, help="ratios need otsu and obvious")
    args = parser.parse_args(argv)
    if sys.platform != "linux":
        parser.error("peak memory is read from /proc, which Linux alone has")
    found = {}
    for route in args.routes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found[route] = pool.apply(measure, (route, args.size))
        seconds, volumes, mean = found[route]
        print(f"{route:10s} {seconds:7.2f} s   peak above the input {volumes:5.2f} float32 volumes   mean P {mean:.4f}")
    if {"otsu", "obvious"} <= found.keys():
        ratios = [found["obvious"][k] / found["otsu"][k] for k in (0, 1)]
        print(f"the obvious route takes {ratios[0]:.1f} times as long and {ratios[1]:.1f} times the memory")
    return 0


def _status_kib(field: str) -> float:
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(field):
                return float(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


if __name__ == "__main__":
    raise SystemExit(main())
