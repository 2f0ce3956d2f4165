"""Morphology on torch tensors against the way round through scipy, and the cost of what is built on it, at 128^3.

Run ``python benchmarks/morphology.py``; ``--device cuda`` for a GPU, where the way round includes the transfers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from nnunet_weak.losses.score import RegionTargets, score_domains
from nnunet_weak.losses.score_plus import score_plus_domains
from nnunet_weak.morphology import dilate, erode
from nnunet_weak.transforms.mask_morphology import morphological_augmentation

SIZE = 128


def band(mask: Tensor, eta: float, spacing: Sequence[float]) -> Tensor:
    """SCORE's correction band around the edge of a mask."""
    return dilate(mask, eta, spacing) & ~erode(mask, eta, spacing)


def scipy_band(mask: Tensor, eta: float, spacing: Sequence[float]) -> Tensor:
    """The same as `band` by two Euclidean distance transforms of scipy."""
    array = mask.cpu().numpy()
    outer = distance_transform_edt(~array, sampling=spacing) <= eta
    inner = distance_transform_edt(array, sampling=spacing) > eta
    return torch.from_numpy(outer & ~inner).to(mask.device)


def best_ms(function: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Shortest time of several calls, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return 1000 * min(times[1:])


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table of milliseconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch (default: 1, as scipy has)")
    parser.add_argument("--repeats", type=int, default=3, help="repetitions, of which the best counts (default: 3)")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)

    grid = torch.stack(torch.meshgrid(*[torch.arange(float(SIZE))] * 3, indexing="ij"))
    radii = torch.tensor([50.0, 22.0, 18.0]).view(3, 1, 1, 1)
    bone = (((grid - SIZE / 2) / radii) ** 2).sum(0).le(1).to(device)
    scattered = torch.rand(SIZE, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).lt(0.02).to(device)

    print(f"{'band at 128^3':34} {'scipy':>9} {'here':>9} {'ratio':>7}   (milliseconds, {device})")
    for name, mask in (("ellipsoid, 4 % of the volume", bone), ("2 % of voxels, scattered", scattered)):
        for eta, spacing in ((2.0, (1.0, 1.0, 1.0)), (3.0, (1.5, 0.7, 0.7))):
            if not torch.equal(band(mask, eta, spacing), scipy_band(mask, eta, spacing)):
                raise RuntimeError(f"band and scipy differ for {name}, eta {eta}, spacing {spacing}")
            reference = best_ms(partial(scipy_band, mask, eta, spacing), device, arguments.repeats)
            ours = best_ms(partial(band, mask, eta, spacing), device, arguments.repeats)
            print(f"{f'{name}, eta {eta}':34} {reference:9.1f} {ours:9.1f} {reference / ours:6.0f}x")

    targets = RegionTargets(
        masks=bone[None, None],
        quality=torch.tensor([[2.0]], device=device),
        error=torch.tensor([[2]], device=device),
        prior=torch.rand(1, 1, SIZE, SIZE, SIZE, device=device),
        inside=torch.ones(1, 1, SIZE, SIZE, SIZE, dtype=torch.bool, device=device),
        spacing=(1.0, 1.0, 1.0),
    )
    steps: dict[str, Callable[[], object]] = {
        "SCORE domains, one region": lambda: score_domains(targets, 2.0),
        "SCOREPlus domains, one region": lambda: score_plus_domains(targets, 2.0),
        "morphological augmentation": lambda: morphological_augmentation(
            targets.masks.float(), targets.quality, targets.error, targets.spacing, max_radius=2.0, probability=1.0
        ),
    }
    for name, step in steps.items():
        print(f"{name:34} {'':9} {best_ms(step, device, arguments.repeats):9.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
