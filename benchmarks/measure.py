"""Time and peak memory of an action in a process of its own."""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """Medians over the repeats, the peak of memory above the state before the first, and the last result."""

    seconds: float
    cpu_seconds: float
    peak_bytes: float
    result: Any


def measure(
    prepare: Callable[..., Callable[[], Any]], *arguments: Any, device: str = "cpu", repeats: int = 1
) -> Measurement:
    """Measure `prepare(*arguments)()`; imports and inputs that `prepare` makes do not count.

    Peak memory is that of the process, or of PyTorch's allocator on a GPU.
    """
    pool = multiprocessing.get_context("spawn").Pool(1)
    try:
        return pool.apply(_measure, (prepare, arguments, device, repeats))
    finally:
        pool.close()
        pool.join()


def time_of(action: Callable[[], object], device: str = "cpu") -> float:
    """Seconds of one call, until a GPU has finished."""
    start = time.perf_counter()
    action()
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()
    return time.perf_counter() - start


def _measure(prepare, arguments, device: str, repeats: int) -> Measurement:
    action = prepare(*arguments)
    before = _start_of_peak(device)
    seconds, cpu_seconds, results = [], [], [None]

    def keep() -> None:
        results[0] = action()

    for _ in range(repeats):
        cpu_start = time.process_time()
        seconds.append(time_of(keep, device))
        cpu_seconds.append(time.process_time() - cpu_start)
    return Measurement(statistics.median(seconds), statistics.median(cpu_seconds), _peak(device) - before, results[0])


def _start_of_peak(device: str) -> int:
    if device != "cpu":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    if sys.platform != "linux":
        sys.exit("peak memory is read from /proc, which only Linux has")
    Path("/proc/self/clear_refs").write_text("5")  # starts a new peak
    return _process_memory("VmRSS")


def _peak(device: str) -> int:
    if device != "cpu":
        import torch

        return torch.cuda.max_memory_allocated()
    return _process_memory("VmHWM")


def _process_memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))
