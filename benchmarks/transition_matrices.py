"""Memory and time of RefineSeg's annotation heads against transition matrices that are materialised as a whole.

Runs one forward and backward pass (probabilities, positive loss, regulariser) of the last convolution and ``u = A p``,
without the hidden convolution, which is the same in both. Prints the naive cost, ours and the ratio.

    python benchmarks/transition_matrices.py [--device cuda] [--full-patch]

On the CPU memory is the rise of the process's peak resident set in a fresh process per run; on CUDA it is the
allocator's peak.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

CASES = {
    "2d 224x224, batch 10, L = 4, two strategies": (10, 4, (224, 224), 2),
    "3d 64^3, batch 1, L = 20, one strategy": (1, 20, (64, 64, 64), 1),
    "3d 128^3, batch 1, L = 20, one strategy": (1, 20, (128, 128, 128), 1),
}
FEATURES = 32


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--full-patch", action="store_true", help="also 128^3 with 20 classes (about 20 GB if naive)")
    parser.add_argument("--one", nargs=2, metavar=("CASE", "WAY"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.one:
        seconds, megabytes = _measure(arguments.one[0], arguments.one[1], arguments.device, arguments.repeats)
        print(seconds, megabytes)
        return 0
    print(f"{'':45} {'naive':>18} {'ours':>18} {'memory':>8} {'time':>6}")
    for case in list(CASES)[: 3 if arguments.full_patch else 2]:
        command = [sys.executable, __file__, "--device", arguments.device, "--repeats", str(arguments.repeats)]
        results = {}
        for way in ("naive", "streamed"):
            output = subprocess.run([*command, "--one", case, way], check=True, capture_output=True, text=True).stdout
            results[way] = tuple(float(value) for value in output.split())
        (naive_s, naive_mb), (ours_s, ours_mb) = results["naive"], results["streamed"]
        print(
            f"{case:45} {naive_mb:7.0f} MB {naive_s:6.2f} s {ours_mb:7.0f} MB {ours_s:6.2f} s "
            f"{naive_mb / ours_mb:7.1f}x {naive_s / ours_s:5.1f}x"
        )
    return 0


def _measure(case: str, way: str, device: str, repeats: int) -> tuple[float, float]:
    import torch

    from nnunet_weak.losses.refineseg import positive_loss
    from nnunet_weak.networks.annotation_heads import AnnotationHeads

    batch, num_classes, spatial, strategies = CASES[case]
    torch.manual_seed(0)
    names = [f"annotator{index}" for index in range(strategies)]
    heads = AnnotationHeads(names, num_classes, FEATURES, len(spatial), hidden_channels=0).to(device)
    features = torch.randn(batch, FEATURES, *spatial, device=device, requires_grad=True)
    logits = torch.randn(batch, num_classes, *spatial, device=device, requires_grad=True)
    annotation = torch.randint(0, num_classes + 1, (batch, *spatial), device=device)

    def naive(index: int) -> tuple[torch.Tensor, torch.Tensor]:
        head: Any = heads.heads[index]
        convolution = torch.nn.functional.conv2d if len(spatial) == 2 else torch.nn.functional.conv3d
        weight = head.weight.flatten(0, 1).view(num_classes**2, FEATURES, *[1] * len(spatial))
        matrix = convolution(features, weight, head.bias.flatten()).unflatten(1, (num_classes, num_classes))
        matrix = matrix.softmax(2).transpose(1, 2)
        identity = torch.eye(num_classes, device=device)[None, :, :, None]
        distance = (matrix.flatten(3) - identity).square().sum((1, 2)).mean(1)
        return torch.einsum("bmk...,bk...->bm...", matrix, logits.softmax(1)), distance

    def step() -> None:
        if way == "naive":
            outputs = [naive(index) for index in range(strategies)]
        else:
            outputs = [output[:2] for output in heads(features, logits.softmax(1)).values()]
        losses = [positive_loss(u, annotation).sum() + 0.2 * distance.sum() for u, distance in outputs]
        torch.stack(losses).sum().backward()

    positive_loss(logits[:1].softmax(1), annotation[:1]).sum().backward()  # loads what the first call loads
    before = _start_of_memory(device)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), _peak_of_memory(device) - before


def _start_of_memory(device: str) -> float:
    import torch

    if device == "cpu":
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 2**20
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated() / 2**20


def _peak_of_memory(device: str) -> float:
    import torch

    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return torch.cuda.max_memory_allocated() / 2**20


if __name__ == "__main__":
    sys.exit(main())
