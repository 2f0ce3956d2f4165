"""Regions that are not there: how often are they invented, and how often is one missed that the mask lacks?

    python -m benchmarks.missing_regions --work WORK --seeds 0 1 2

Phantoms have two organs in a body. The small one is absent from a third of the images, of which half show a weaker
and smaller structure in its place, and it is missing from the initial masks of another third, although it is there.
SCORE and SCOREPlus are trained twice with each seed: once with the missing regions scored (quality 0, under), once
with these scores left out. Held-out masks are then refined as nnU-Net predicts, and by the rules of
`nnunet_weak_refine`, with and without scores; a fall-back because of the other organ would hide what is counted.

An invention is a voxel of the small organ in an image without it; a miss is a small organ whose Dice is below 0.5.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from benchmarks.rows import commit_of_this
from benchmarks.runs import HERE
from examples.command_folder import CommandFolder
from nnunet_weak.images.atomic import atomic_file
from nnunet_weak.options import option, parse, record_of

SHAPE = (24, 32, 36)  # z, y, x
SPACING_MM = (2.0, 1.5, 1.5)
KINDS = ("masked", "absent", "missing")
AS_NNUNET = "--allow-new-regions --no-fall-back"
SCHEDULES = {
    "SCORE": {"BENCHMARK_EPOCHS": 8, "BENCHMARK_LEARNING_RATE": 3e-3},
    "SCOREPlus": {"BENCHMARK_EPOCHS": 24},  # begins without a mask
}
SMALLEST_DICE = 0.5


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is run."""

    work: Path = option(metavar="DIR", recorded=False, help="working folder; nothing complete in it is done again")
    results: Path | None = option(default=None, metavar="FILE", recorded=False, help="JSON to write as well")
    seeds: tuple[int, ...] = option(default=(0, 1, 2), help="(default: 0 1 2)")
    trainers: tuple[str, ...] = option(default=("SCORE", "SCOREPlus"), help="(default: both)")
    train: int = option(default=24, help="training cases (default: %(default)s)")
    test: int = option(default=24, help="held-out cases (default: %(default)s)")
    iterations: int = option(default=40, help="per epoch (default: %(default)s)")
    prior: str = option(default="local", help="boundary prior (default: %(default)s)")


@dataclass(frozen=True)
class Count:
    """Inventions among images without the region, and misses among masks that lack it."""

    inventions: int
    absent: int
    misses: int
    missing: int


def make_cases(folder: Path, count: int, seed: int) -> None:
    """Write `images`, `labels` and `initial_masks`; the name of a case says of which kind it is."""
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        kind = KINDS[number % len(KINDS)]
        image, labels = _phantom(rng, kind, decoy=number % 2 == 0)
        mask = _initial_mask(rng, labels)
        if kind == "missing":
            mask[mask == 2] = 0
        for name, array in (("images", image), ("labels", labels), ("initial_masks", mask)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            written = sitk.GetImageFromArray(array)
            written.SetSpacing(SPACING_MM[::-1])
            sitk.WriteImage(written, str(folder / name / f"{kind}{number:03d}.nii.gz"))


def count(prediction: Path, labels: Path) -> Count:
    """Count over the cases of a folder."""
    inventions, misses, numbers = 0, 0, dict.fromkeys(KINDS, 0)
    for path in sorted(labels.glob("*.nii.gz")):
        kind = path.name[: -len("000.nii.gz")]
        numbers[kind] += 1
        found, true = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(file))) == 2 for file in (prediction / path.name, path)
        )
        if kind == "absent":
            inventions += bool(found.any())
        if kind == "missing":
            misses += 2 * (found & true).sum() < SMALLEST_DICE * (found.sum() + true.sum())
    return Count(inventions, numbers["absent"], int(misses), numbers["missing"])


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(Options, argv, description=__doc__)
    start = time.perf_counter()
    folder = CommandFolder(
        options.work,
        HERE / "trainers",
        1,
        nnUNet_compile="f",
        OMP_NUM_THREADS=1,
        BENCHMARK_ITERATIONS=options.iterations,
        BENCHMARK_ADAMW=1,
        BENCHMARK_THREADS=1,
    )
    for part, size, seed in (("train", options.train, 0), ("test", options.test, 1)):
        if (folder.folder / f"{part}_unscored.csv").exists():
            continue
        make_cases(folder.folder / part, size, seed)
        folder.run(
            f"nnunet_weak_simulate_scores --references {part}/labels --masks {part}/initial_masks --classes large=1 "
            f"small=2 -o {part}_scored.csv -np 1 --overwrite"
        )
        _leave_out_missing(folder.folder / f"{part}_scored.csv", folder.folder / f"{part}_unscored.csv")
    found: dict[tuple[str, str, str], list[Count]] = {}
    datasets = {"unscored": "Dataset511_unscored", "scored": "Dataset512_scored"}
    for scores, dataset in datasets.items():
        number, complete = dataset[7:10], folder.folder / "nnUNet_preprocessed" / dataset / "complete"
        if complete.exists():
            continue
        folder.run(
            "nnunet_weak_convert_scores --images train/images --masks train/initial_masks "
            f"--scores train_{scores}.csv --regions large=1 small=2 --prior {options.prior} -d {number} -n {scores} "
            "--channel-names CT -np 1 --overwrite"
        )
        folder.run(f"nnUNetv2_plan_and_preprocess -d {number} -c 3d_fullres -npfp 1 --no_pp", show=False)
        folder.thin_plan(dataset, "--features 8 --batch 2")
        folder.run(f"nnUNetv2_preprocess -d {number} -c 3d_fullres -np 1", show=False)
        complete.touch()
    for seed in options.seeds:
        for trainer in options.trainers:
            for scores, dataset in datasets.items():
                for prediction, counted in _train_and_refine(folder, dataset, trainer, seed):
                    found.setdefault((trainer, scores, prediction), []).append(counted)
                    print(trainer, scores, seed, prediction, counted, flush=True)
    _report(options, found)
    print(f"{time.perf_counter() - start:.0f} s")


def _train_and_refine(folder: CommandFolder, dataset: str, trainer: str, seed: int) -> list[tuple[str, Count]]:
    name = f"nnUNetTrainer{trainer}_benchmark" + (f"_seed{seed}" if seed else "")
    model = f"nnUNet_results/{dataset}/{name}__nnUNetPlans__3d_fullres"
    if not (folder.folder / model / "fold_all" / "checkpoint_final.pth").exists():
        folder.run(
            f"nnUNetv2_train {dataset} 3d_fullres all -tr {name} -device cpu",
            show=False,
            BENCHMARK_SEED=seed,
            nnUNet_n_proc_DA=0,
            **SCHEDULES[trainer],
        )
    counts = []
    for title, switches in (
        ("as nnU-Net predicts", AS_NNUNET),
        ("nnunet_weak_refine", "--no-fall-back"),
        ("nnunet_weak_refine --scores", "--no-fall-back --scores test_scored.csv"),
    ):
        output = f"refined/{dataset}-{name}-{title.replace(' ', '_')}"
        if not (folder.folder / output / "refinement.csv").exists():
            folder.run(
                f"nnunet_weak_refine -i test/images --masks test/initial_masks -m {model} -o {output} -f all "
                f"-device cpu --disable_tta {switches}",
                BENCHMARK_SEED=seed,
            )
        counts.append((title, count(folder.folder / output, folder.folder / "test/labels")))
    return counts


def _report(options: Options, found: dict[tuple[str, str, str], list[Count]]) -> None:
    rows = []
    print(f"{'trainer':12}{'missing regions':17}{'prediction':30}{'inventions':>12}{'misses':>10}")
    for (trainer, scores, prediction), counts in found.items():
        row = {
            "trainer": trainer,
            "missing regions": scores,
            "prediction": prediction,
            "seeds": len(counts),
            **{
                name: sum(getattr(each, name) for each in counts)
                for name in ("inventions", "absent", "misses", "missing")
            },
        }
        rows.append(row)
        invented, missed = f"{row['inventions']} of {row['absent']}", f"{row['misses']} of {row['missing']}"
        print(f"{trainer:12}{scores:17}{prediction:30}{invented:>12}{missed:>10}")
    if options.results is not None:
        content = {"date": time.strftime("%Y-%m-%d"), "commit": commit_of_this(), "options": record_of(options)}
        with atomic_file(options.results) as partial:
            partial.write_text(json.dumps({**content, "counts": rows}, indent=1) + "\n")


def _leave_out_missing(source: Path, target: Path) -> None:
    with source.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row for row in rows if not (row["case"].startswith("missing") and row["region"] == "small"))


def _phantom(rng: np.random.Generator, kind: str, decoy: bool) -> tuple[np.ndarray, np.ndarray]:
    z, y, x = np.ogrid[tuple(slice(size) for size in SHAPE)]

    def ellipsoid(centre: Sequence[float], radii: Sequence[float]) -> np.ndarray:
        distances = ((axis - at) / radius for axis, at, radius in zip((z, y, x), centre, radii, strict=True))
        return sum(distance**2 for distance in distances) <= 1

    labels = np.zeros(SHAPE, np.uint8)
    labels[ellipsoid(rng.normal((12, 16, 10), 1), rng.uniform((5, 7, 5), (7, 9, 7)))] = 1
    small = ellipsoid(rng.normal((12, 16, 26), 1.5), rng.uniform((3, 3.5, 3.5), (4.5, 5, 5)))
    image = np.full(SHAPE, -1000.0)
    image[ellipsoid((11.5, 15.5, 17.5), (13, 15, 17))] = 40
    image[labels == 1] = rng.uniform(130, 170)
    if kind != "absent":
        labels[small & (labels == 0)] = 2
        image[labels == 2] = rng.uniform(180, 240)
    elif decoy:
        image[ndimage.binary_erosion(small, iterations=2) & (labels == 0)] = rng.uniform(100, 150)
    image = ndimage.gaussian_filter(image, 0.6) + rng.normal(0, 30, SHAPE)
    return image.astype(np.int16), labels


def _initial_mask(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Each region a voxel too small, or too large, on one side along each axis."""
    mask = np.zeros_like(labels)
    for number in (1, 2):
        region = labels == number
        moved = np.roll(region, rng.choice((-1, 1), 3), (0, 1, 2))
        mask[(region & moved if rng.random() < 0.7 else region | moved) & (mask == 0)] = number
    return mask


if __name__ == "__main__":
    main()
