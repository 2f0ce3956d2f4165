"""A cohort in parts: is it the same as in one run, whatever is killed, and what does a scan cost?

    python -m benchmarks.cohort --scans 200 --parts 4

Synthetic scans are converted for SCORE once in a single run and once in parts that run at the same time. One part is
killed (SIGKILL) after its first cases and started again. Both data sets must be equal byte by byte, and no case that
was complete may be converted again.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_weak.options import option, parse

_CODE = "import sys; from nnunet_weak.dataset_conversion.scores import main; sys.exit(main(sys.argv[1:]))"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Size of the cohort."""

    scans: int = option(default=200, help="(default: %(default)s)")
    parts: int = option(default=4, help="(default: %(default)s)")
    size: tuple[int, ...] = option(default=(48, 44, 40), help="voxels, x y z (default: 48 44 40)")


@dataclass(frozen=True)
class Outcome:
    """What was seen.

    Attributes:
        equal: Whether both data sets have the same files with the same bytes.
        kept: Cases that the killed part had complete and did not convert again.
        repeated: Cases of the killed part whose files were written a second time.
        single_seconds: Time of the single run, with one process.
        parts_seconds: Time of all parts and the merge.
    """

    equal: bool
    kept: int
    repeated: int
    single_seconds: float
    parts_seconds: float


def run(folder: Path, options: Options) -> Outcome:
    """Make a cohort in a folder and convert it in both ways."""
    make_cohort(folder, options.scans, options.size)
    for root in ("single", "parts"):
        (folder / root).mkdir()
    start = time.perf_counter()
    _finish(_start(folder, "single"))
    single_seconds = time.perf_counter() - start
    start = time.perf_counter()
    victim = _start(folder, "parts", "-num_parts", str(options.parts), "-part_id", "0")
    others = [
        _start(folder, "parts", "-num_parts", str(options.parts), "-part_id", str(part))
        for part in range(1, options.parts)
    ]
    store = folder / "parts" / ".parts-Dataset511_Cohort"
    while len(_complete(store, options.parts)) < 2 and victim.poll() is None:
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    before = _complete(store, options.parts)
    _finish(_start(folder, "parts", "-num_parts", str(options.parts), "-part_id", "0"))
    for process in others:
        _finish(process)
    after = _complete(store, options.parts)
    _finish(_start(folder, "parts", "-num_parts", str(options.parts), "--merge"))
    parts_seconds = time.perf_counter() - start
    kept = sum(after[case] == stamp for case, stamp in before.items())
    return Outcome(
        _files(folder / "single") == _files(folder / "parts"),
        kept,
        len(before) - kept,
        single_seconds,
        parts_seconds,
    )


def make_cohort(folder: Path, scans: int, size: Sequence[int]) -> None:
    """Write images, masks of two regions, and scores."""
    rows = [("case", "region", "quality", "error")]
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for number in range(scans):
        rng = np.random.default_rng(number)
        array = rng.normal(0, 30, tuple(size)[::-1]).astype(np.int16)
        mask = np.zeros(array.shape, np.uint8)
        mask[8:20, 10:30, 10:24], mask[20:32, 12:28, 12:22] = 1, 2
        array[mask > 0] += 900
        for kind, voxels in (("images", array), ("masks", mask)):
            image = sitk.GetImageFromArray(voxels)
            image.SetSpacing((0.7, 0.8, 1.5))
            sitk.WriteImage(image, str(folder / kind / f"scan{number:04d}.nii.gz"))
        rows += [(f"scan{number:04d}", region, number % 6, "under" if number % 6 < 5 else "none") for region in "ab"]
    with (folder / "scores.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def _start(folder: Path, root: str, *further: str) -> subprocess.Popen:
    arguments = ["--images", "images", "--masks", "masks", "--scores", "scores.csv", "--regions", "a=1", "b=2"]
    environment = {**os.environ, "nnUNet_raw": str(folder / root), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", _CODE, *arguments, "-d", "511", "-n", "Cohort", "-np", "1", *further],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _finish(process: subprocess.Popen) -> None:
    _, error = process.communicate()
    if process.returncode:
        sys.exit(error.decode(errors="replace")[-3000:])


def _complete(store: Path, parts: int) -> Mapping[str, int]:
    """Time of each complete case of the first part."""
    found = {path.parent.name: path.stat().st_mtime_ns for path in store.glob("scan*/result.json")}
    return {case: stamp for case, stamp in found.items() if int(case[-4:]) % parts == 0}


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(Options, argv, description=__doc__)
    with tempfile.TemporaryDirectory() as name:
        found = run(Path(name), options)
    print(f"{options.scans} scans of {options.size} in {options.parts} parts, part 0 killed and started again")
    print(f"equal byte by byte: {found.equal}; complete before the kill: {found.kept} kept, {found.repeated} repeated")
    print(f"single run {found.single_seconds:.1f} s, parts and merge {found.parts_seconds:.1f} s")
    if not found.equal or found.repeated:
        sys.exit(1)


if __name__ == "__main__":
    main()
