"""`nnunet_weak_make_phantoms`: a CT-like data set with masks to refine, made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nnunet_weak.cli.console import console_command
from nnunet_weak.cli.simulation import SeededOptions
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.options import option, read_count
from nnunet_weak.tables import table_text

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

Scores follow the rule of nnunet_weak_simulate_scores exactly, without a rater's errors.
On one computer the same seed and size give the same files, byte for byte, however many processes make them. More cases
add to those there would be anyway. A larger --size shows the same bones with finer voxels.
"""


def _read_size(texts: Sequence[str]) -> tuple[int, int, int]:
    if not all(text.isdecimal() and 16 <= int(text) <= 2048 for text in texts):
        raise InvalidInputError(
            f"--size {' '.join(texts)}: a bone needs 16 to 2048 voxels along each axis (remedy: 48 44 64)"
        )
    x, y, z = map(int, texts)
    return x, y, z


@dataclass(frozen=True, kw_only=True)
class PhantomOptions(SeededOptions):
    """What to make."""

    command = "nnunet_weak_make_phantoms"
    description = (
        "Make a small CT-like data set of a long bone with its joints, with masks as a coarse segmentation model gives "
        "them and simulated quality scores: everything that trying SCORE needs."
    )
    epilog = _EPILOG
    record = "phantoms.json"

    output: Path = option(positional=True, metavar="OUTPUT", recorded=False, help="folder to make")
    size: tuple[int, int, int] = option(
        default=(48, 44, 64),
        read=_read_size,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="largest number of voxels along x, y, z; the bones stay the same in mm (default: 48 44 64, voxels of "
        "about 1.7 x 1.7 x 2.1 mm)",
    )
    cases: int = option(
        default=24, read=partial(read_count, "--cases"), metavar="N", help="training cases (default: %(default)s)"
    )
    test_cases: int = option(
        default=12,
        read=partial(read_count, "--test-cases", least=0),
        metavar="N",
        help="held-out cases (default: %(default)s); neither number changes what any single case looks like",
    )
    preview: Path | None = option(
        default=None,
        recorded=False,
        metavar="FILE.png",
        help="also draw the first training cases with both outlines",
    )


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = PhantomOptions.parse(argv)

    from nnunet_weak.images.atomic import atomic_folder
    from nnunet_weak.parallel import run_tasks
    from nnunet_weak.simulation.phantoms import REGIONS, make_phantom, save_preview
    from nnunet_weak.simulation.scores import score_summary

    _check_outputs(options)
    with atomic_folder(options.output, replace=options.overwrite) as folder:
        cases = [(folder, f"train_{index:03d}", (options.seed, 0, index)) for index in range(options.cases)]
        cases += [
            (folder / "test", f"test_{index:03d}", (options.seed, 1, index)) for index in range(options.test_cases)
        ]
        for parent in dict.fromkeys(parent for parent, _, _ in cases):
            for kind in ("images", "labels", "initial_masks"):
                (parent / kind).mkdir(parents=True)
        write = partial(_write_case, size=options.size)
        results = run_tasks(write, cases, processes=options.processes, description="phantoms")
        rows = [row for scored, _ in results[: options.cases] for row in scored]
        (folder / "scores.csv").write_text(table_text(rows), encoding="utf-8", newline="")
        options.write_record(folder, labels={"background": 0, **REGIONS})
    if options.preview is not None:
        shown = {name: make_phantom(seed, options.size) for _, name, seed in cases[: min(options.cases, 8)]}
        save_preview(list(shown.items()), options.preview)
    dice = [value for _, value in results]
    print(f"{options.output}: {options.cases} training and {options.test_cases} held-out cases, seed {options.seed}")
    print(f"Dice of the initial masks: mean {sum(dice) / len(dice):.3f}, from {min(dice):.3f} to {max(dice):.3f}")
    print("Scores of the training cases (scores.csv):")
    print(score_summary(rows, list(REGIONS)))
    return 0


def _check_outputs(options: PhantomOptions) -> None:
    from nnunet_weak.images.outputs import check_output_file

    problems = Problems()
    problems.attempt(options.check_output)
    if options.preview is not None:
        if options.preview.suffix.lower() != ".png":
            problems.add(f"--preview {options.preview}", "does not end in .png", "it is written as PNG")
        check = partial(check_output_file, inputs=(), begins_with=b"\x89PNG", option="--preview")
        problems.attempt(check, options.preview, overwrite=options.overwrite)
    problems.raise_if_any(options.command)


def _write_case(
    case: tuple[Path, str, tuple[int, int, int]], *, size: tuple[int, int, int]
) -> tuple[list[dict[str, str | float]], float]:
    """Write the files of one case; returns its rows of scores.csv and the Dice of its initial mask."""
    import SimpleITK as sitk

    from nnunet_weak.images.write import write_volume
    from nnunet_weak.simulation.phantoms import REGIONS, make_phantom
    from nnunet_weak.simulation.scores import score_rows, simulate_scores

    folder, name, seed = case
    phantom = make_phantom(seed, size)
    files = {"images": phantom.image, "labels": phantom.labels, "initial_masks": phantom.initial_mask}
    for kind, image in files.items():
        write_volume(sitk.GetArrayViewFromImage(image), image, folder / kind / f"{name}.nii.gz")
    truth, mask = (sitk.GetArrayViewFromImage(image) for image in (phantom.labels, phantom.initial_mask))
    dice = 2 * float(((truth > 0) & (mask > 0)).sum()) / float((truth > 0).sum() + (mask > 0).sum())
    return score_rows(name, simulate_scores(truth, mask, REGIONS, phantom.image.GetSpacing()[::-1])), dice
