"""`nnunet_weak_make_phantoms`: a CT-like data set with masks to refine, made on the spot."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from nnunet_weak import __version__
from nnunet_weak.cli.console import console_command
from nnunet_weak.errors import Problems

RECORD = "phantoms.json"
_EPILOG = """\
what is written:
  OUTPUT/images/train_000.nii.gz ...          CT-like volumes in Hounsfield units
  OUTPUT/initial_masks/train_000.nii.gz ...   what a coarse model would give: 1 proximal end, 2 shaft, 3 distal end
  OUTPUT/scores.csv                           quality and error type of each region of each initial mask
  OUTPUT/labels/train_000.nii.gz ...          the truth, for comparison and for full supervision
  OUTPUT/test/{images,initial_masks,labels}   held-out cases test_000 ...
  OUTPUT/phantoms.json                        seed, size, names of the labels

example, some seconds:
  nnunet_weak_make_phantoms phantoms --preview phantoms.png
and on to training:
  nnunet_weak_convert_scores --images phantoms/images --masks phantoms/initial_masks --scores phantoms/scores.csv \\
      --regions proximal=1 shaft=2 distal=3 -d 511 -n Phantoms

On one computer the same seed and size give the same files, byte for byte, however many processes make them. More cases
add to those there would be anyway. A larger --size shows the same bones with finer voxels.
"""


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    args = _parser().parse_args(argv)
    make_phantoms(
        args.output,
        cases=args.cases,
        test_cases=args.test_cases,
        size=tuple(args.size),
        seed=args.seed,
        processes=args.np,
        preview=args.preview,
        overwrite=args.overwrite,
    )
    return 0


def make_phantoms(
    output: Path,
    *,
    cases: int = 24,
    test_cases: int = 12,
    size: tuple[int, int, int] = (48, 44, 64),
    seed: int = 0,
    processes: int | None = None,
    preview: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Write the data set into a folder that appears only when it is complete.

    Args:
        output: Folder to make.
        cases: Number of training cases.
        test_cases: Number of held-out cases. Neither number changes what any single case looks like.
        size: Largest number of voxels along x, y, z.
        seed: Of everything random.
        processes: Number of processes; as many as there are cores where None.
        preview: Picture to write as well.
        overwrite: Replace the folder if an earlier run made it.

    Raises:
        InvalidInputError: Options out of range, or the folder exists.
    """
    import pandas as pd

    from nnunet_weak.parallel import default_processes, run_tasks
    from nnunet_weak.simulation.phantoms import REGIONS
    from nnunet_weak.simulation.scores import score_summary

    output = Path(output)
    _check(output, cases, test_cases, size, seed, processes, preview, overwrite)
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for folder in ("images", "labels", "initial_masks"):
            (partial / folder).mkdir(parents=True)
            if test_cases:
                (partial / "test" / folder).mkdir(parents=True)
        jobs = [(partial, False, index, seed, size) for index in range(cases)]
        jobs += [(partial / "test", True, index, seed, size) for index in range(test_cases)]
        results = run_tasks(
            _write_case,
            jobs,
            processes=processes or default_processes(),
            description="phantoms",
        )
        rows = [row for rows, _ in results[:cases] for row in rows]
        pd.DataFrame(rows).to_csv(partial / "scores.csv", index=False, lineterminator="\n")
        record = {
            "made_by": f"nnunet_weak_make_phantoms {__version__}",
            "seed": seed,
            "size": list(size),
            "cases": cases,
            "test_cases": test_cases,
            "labels": {"background": 0, **REGIONS},
        }
        (partial / RECORD).write_text(json.dumps(record, indent=4) + "\n", encoding="utf-8")
        _move_in_place(partial, output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if preview is not None:
        _write_preview(Path(preview), min(cases, 8), seed, size)
    dice = [value for _, value in results]
    print(f"{output}: {cases} training and {test_cases} held-out cases, seed {seed}")
    print(f"Dice of the initial masks: mean {sum(dice) / len(dice):.3f}, from {min(dice):.3f} to {max(dice):.3f}")
    print("Scores of the training cases (scores.csv):")
    print(score_summary(rows, list(REGIONS)))


def case_seed(seed: int, test: bool, index: int) -> tuple[int, int, int]:
    """Seed of one case of a data set, for `make_phantom`."""
    return seed, int(test), index


def _write_case(job: tuple[Path, bool, int, int, tuple[int, int, int]]) -> tuple[list[dict[str, str | float]], float]:
    """Write the files of one case; returns its rows of scores.csv and the Dice of its initial mask."""
    import SimpleITK as sitk

    from nnunet_weak.images.write import write_volume
    from nnunet_weak.simulation.phantoms import REGIONS, make_phantom
    from nnunet_weak.simulation.scores import score_rows, simulate_scores

    folder, test, index, seed, size = job
    name = f"{'test' if test else 'train'}_{index:03d}"
    phantom = make_phantom(case_seed(seed, test, index), size)
    for kind, image in (
        ("images", phantom.image),
        ("labels", phantom.labels),
        ("initial_masks", phantom.initial_mask),
    ):
        write_volume(sitk.GetArrayViewFromImage(image), image, folder / kind / f"{name}.nii.gz")
    truth, mask = (sitk.GetArrayViewFromImage(image) for image in (phantom.labels, phantom.initial_mask))
    dice = 2 * float(((truth > 0) & (mask > 0)).sum()) / float((truth > 0).sum() + (mask > 0).sum())
    return score_rows(name, simulate_scores(truth, mask, REGIONS, phantom.image.GetSpacing()[::-1])), dice


def _write_preview(path: Path, count: int, seed: int, size: tuple[int, int, int]) -> None:
    from nnunet_weak.simulation.phantom_preview import save_preview
    from nnunet_weak.simulation.phantoms import make_phantom

    save_preview(
        [(f"train_{index:03d}", make_phantom(case_seed(seed, False, index), size)) for index in range(count)], path
    )


def _check(
    output: Path,
    cases: int,
    test_cases: int,
    size: tuple[int, int, int],
    seed: int,
    processes: int | None,
    preview: Path | None,
    overwrite: bool,
) -> None:
    problems = Problems()
    limits = (("--cases", cases, 1), ("--test-cases", test_cases, 0), ("--seed", seed, 0), ("-np", processes, 1))
    for option, value, least in limits:
        if value is not None and value < least:
            problems.add(option, f"{value} is below {least}")
    if min(size) < 16:
        problems.add(
            "--size",
            f"{' '.join(map(str, size))}: a bone needs at least 16 voxels along each axis",
            "48 44 64 is the default",
        )
    if preview is not None and Path(preview).suffix.lower() != ".png":
        problems.add("--preview", f"{preview} does not end in .png")
    if preview is not None and not Path(preview).absolute().parent.is_dir():
        problems.add("--preview", f"{Path(preview).absolute().parent}: no such folder")
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        if not overwrite:
            problems.add(str(output), "exists already", "choose another folder, or give --overwrite")
        elif not (output / RECORD).is_file():
            problems.add(
                str(output),
                f"holds no {RECORD}, so this command did not make it and will not delete it",
                "choose another folder",
            )
    problems.raise_if_any("nnunet_weak_make_phantoms")


def _move_in_place(partial: Path, output: Path) -> None:
    if output.is_dir():
        old = output.with_name(f".{output.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        os.replace(output, old)
        os.replace(partial, output)
        shutil.rmtree(old)
    else:
        os.replace(partial, output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnunet_weak_make_phantoms",
        description="Make a small CT-like data set of a long bone with its joints, with masks as a coarse segmentation "
        "model gives them and simulated quality scores: everything that trying SCORE needs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="folder to make")
    parser.add_argument("--cases", type=int, default=24, metavar="N", help="training cases (default: %(default)s)")
    parser.add_argument("--test-cases", type=int, default=12, metavar="N", help="held-out cases (default: %(default)s)")
    parser.add_argument(
        "--size",
        type=int,
        nargs=3,
        default=(48, 44, 64),
        metavar=("X", "Y", "Z"),
        help="largest number of voxels along x, y, z; the bones stay the same in mm (default: 48 44 64, voxels of "
        "about 1.7 x 1.7 x 2.1 mm)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    parser.add_argument(
        "--preview", type=Path, metavar="FILE.png", help="also draw the first training cases with both outlines"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUTPUT if an earlier run made it")
    parser.add_argument("-np", type=int, default=None, metavar="N", help="number of processes (default: all cores)")
    return parser
