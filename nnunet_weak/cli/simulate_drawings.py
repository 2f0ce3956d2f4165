"""`nnunet_weak_simulate_drawings`: rough drawings from reference segmentations, for benchmarks and teaching."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_weak import __version__
from nnunet_weak.cli.console import console_command
from nnunet_weak.errors import InvalidInputError, Problems

if TYPE_CHECKING:
    from nnunet_weak.drawings.legend import ClassSource

RECORD, EFFORT = "simulation.json", "effort.csv"
_NO_BLANK = 0  # references have no blank voxels; 0 is their background
_EPILOG = """\
what is written:
  OUTPUT/positive_NAME/CASE.nii.gz   what annotator NAME drew: 0 background, 1 to K the targets, K + 1 blank
  OUTPUT/negative_NAME/CASE.nii.gz   with --negative: the same values say "this is not ..."
  OUTPUT/effort.csv                  for each drawing: mm of outline, clicks, share of each class drawn, share of errors
  OUTPUT/simulation.json             seed, annotators, values

annotators draw rough polygons slice by slice: careful, typical, or hasty (every other slice, overlooks more).

examples:
  nnunet_weak_simulate_drawings --references labels --labels RV=1 MYO=2 LV=3 -o drawings --negative
  nnunet_weak_simulate_drawings --references labels --labels RV=1 MYO=2 LV=3 -o drawings \\
      --annotators anna=careful ben=hasty --seed 1
The same seed gives the same drawings, however many processes and annotators there are. The command that converts the
drawings is printed at the end.
"""


@dataclass(frozen=True)
class _Job:
    case: str
    reference: Path
    folder: Path
    targets: tuple[ClassSource, ...]
    annotators: tuple[tuple[str, str], ...]
    negative: bool
    slice_axis: int | None
    seed: int


@dataclass(frozen=True)
class _Drawn:
    rows: list[dict[str, Any]]
    problems: tuple[str, ...] = ()


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    args = _parser().parse_args(argv)

    import pandas as pd

    from nnunet_weak.drawings.legend import parse_drawing_code
    from nnunet_weak.images.read import list_images
    from nnunet_weak.parallel import default_processes, run_tasks

    problems = Problems()
    annotators = _annotators(args.annotators, problems)
    _check_options(args, problems)
    texts = args.labels if args.labels else _labels_of(args.dataset_json, problems)
    try:
        targets = parse_drawing_code(texts, blank=_NO_BLANK).targets if texts else ()
        references = list_images(args.references)
        if not references:
            problems.add(str(args.references), "no reference label maps found")
    except InvalidInputError as error:
        problems.extend(error)
    problems.raise_if_any("nnunet_weak_simulate_drawings")

    partial = args.output.with_name(f".{args.output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        jobs = [
            _Job(case, path, partial, targets, annotators, args.negative, _SLICE_AXES.get(args.slice_axis), args.seed)
            for case, path in references.items()
        ]
        results = run_tasks(_draw_case, jobs, processes=args.np or default_processes(), description="drawings")
        for result in results:
            problems.extend(InvalidInputError(result.problems))
        problems.raise_if_any("nnunet_weak_simulate_drawings")
        frame = pd.DataFrame([row for result in results for row in result.rows])
        frame.to_csv(partial / EFFORT, index=False, lineterminator="\n", float_format="%.4g")
        names = ["background", *(target.name for target in targets)]
        record = {
            "made_by": f"nnunet_weak_simulate_drawings {__version__}",
            "seed": args.seed,
            "annotators": dict(annotators),
            "labels": {name: value for value, name in enumerate(names)},
            "blank": len(names),
        }
        (partial / RECORD).write_text(json.dumps(record, indent=4) + "\n", encoding="utf-8")
        if args.output.exists():
            shutil.rmtree(args.output)
        partial.rename(args.output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shares = [column for column in frame.columns if column.startswith("drawn_")]
    means = frame.groupby(["annotator", "kind"], sort=False)[["outline_mm", "clicks", "errors", *shares]].mean()
    print(f"{args.output}: {len(references)} cases, seed {args.seed}; means over the cases:")
    print(means.to_string(float_format=lambda value: f"{value:.3g}"))
    print("\nTo convert them:\n  nnunet_weak_convert_drawings --images IMAGES " + _conversion(args, annotators, names))
    return 0


def case_seed(seed: int, case: str, annotator: str) -> int:
    """Seed of one annotator's drawings of one case."""
    import zlib

    import numpy as np

    parts = [seed, zlib.crc32(case.encode()), zlib.crc32(annotator.encode())]
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def _draw_case(job: _Job) -> _Drawn:
    import numpy as np
    import SimpleITK as sitk

    from nnunet_weak.drawings.legend import class_numbers
    from nnunet_weak.images.read import read_label_map
    from nnunet_weak.images.write import write_volume
    from nnunet_weak.simulation.annotators import ANNOTATORS
    from nnunet_weak.simulation.drawings import draw_negative, draw_positive, merge_negative

    try:
        reference = read_label_map(job.reference)
        labels = class_numbers(sitk.GetArrayViewFromImage(reference), job.targets, str(job.reference))
    except InvalidInputError as error:
        return _Drawn([], error.problems)
    spacing_mm, classes = reference.GetSpacing()[::-1], len(job.targets) + 1
    names = ["background", *(target.name for target in job.targets)]
    rows = []
    for annotator, style in job.annotators:
        seed = case_seed(job.seed, job.case, annotator)
        options: dict[str, Any] = {"num_classes": classes, "seed": seed, "slice_axis": job.slice_axis}
        drawings = [draw_positive(labels, spacing_mm, ANNOTATORS[style], **options)]
        if job.negative:
            by_class = draw_negative(labels, spacing_mm, ANNOTATORS[style], **options)
            drawings.append(merge_negative(by_class, labels, spacing_mm, slice_axis=job.slice_axis))
        for drawing in drawings:
            values = np.where(drawing.annotation > 0, drawing.annotation.astype(np.int32) - 1, classes)
            path = job.folder / f"{drawing.kind}_{annotator}" / f"{job.case}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            write_volume(values.astype(np.uint8 if classes < 256 else np.uint16), reference, path)
            coverage = {f"drawn_{name}": share for name, share in zip(names, drawing.coverage, strict=True)}
            row = {"case": job.case, "annotator": annotator, "kind": drawing.kind}
            effort = {"outline_mm": drawing.contour_length_mm, "clicks": drawing.corners, "errors": drawing.error_rate}
            rows.append({**row, **effort, **coverage})
    return _Drawn(rows)


def _annotators(texts: Sequence[str], problems: Problems) -> tuple[tuple[str, str], ...]:
    from nnunet_weak.simulation.annotators import ANNOTATORS

    found: dict[str, str] = {}
    for text in texts:
        name, _, style = text.partition("=")
        if style not in ANNOTATORS or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            problems.add(f"--annotators {text}", f"is not NAME=STYLE with a style of {', '.join(ANNOTATORS)}")
        elif name in found:
            problems.add(f"--annotators {text}", f"{name} is named twice")
        found[name] = style
    return tuple(found.items())


def _labels_of(path: Path, problems: Problems) -> list[str]:
    path = path / "dataset.json" if path.is_dir() else path
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
        texts = [f"{name}={value}" for name, value in labels.items() if name not in ("background", "ignore")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        texts = []
    if not texts or not all(re.fullmatch(r"[^=]+=\d+", text) for text in texts):
        problems.add(str(path), 'no object "labels" with names and whole numbers, as nnU-Net has it')
        return []
    return texts


def _check_options(args: argparse.Namespace, problems: Problems) -> None:
    for option, value, least in (("--seed", args.seed, 0), ("-np", args.np, 1)):
        if value is not None and value < least:
            problems.add(option, f"{value} is below {least}")
    if not args.output.absolute().parent.is_dir():
        problems.add("--output", f"{args.output.absolute().parent}: no such folder")
    elif args.output.exists():
        if not args.overwrite:
            problems.add("--output", f"{args.output} exists already", "choose another folder, or give --overwrite")
        elif not (args.output / RECORD).is_file():
            problems.add(
                "--output",
                f"{args.output} holds no {RECORD}, so this command did not make it and will not delete it",
                "choose another folder",
            )


def _conversion(args: argparse.Namespace, annotators: Sequence[tuple[str, str]], names: Sequence[str]) -> str:
    drawings = [f"--positive {name}={args.output}/positive_{name}" for name, _ in annotators]
    if args.negative:
        drawings += [f"--negative {name}={args.output}/negative_{name}" for name, _ in annotators]
    labels = " ".join(f"{name}={value}" for value, name in enumerate(names))
    return f"{' '.join(drawings)} --labels {labels} --blank {len(names)} -d ID -n NAME"


_SLICE_AXES = {"x": 2, "y": 1, "z": 0}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnunet_weak_simulate_drawings",
        description="Draw roughly what reference segmentations show: positive drawings (this is ...) and negative ones "
        "(this is not ...), by one or several simulated annotators.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--references", type=Path, required=True, metavar="DIR", help="folder of dense label maps")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--labels", nargs="+", metavar="NAME=VALUE", help="targets and their values; all others refused")
    what.add_argument("--dataset-json", type=Path, metavar="FILE", help="take the targets from an nnU-Net dataset.json")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--annotators",
        nargs="+",
        default=["anna=typical"],
        metavar="NAME=STYLE",
        help="who draws, and how: careful, typical or hasty (default: anna=typical)",
    )
    parser.add_argument("--negative", action="store_true", help="each annotator also draws what is not there")
    parser.add_argument(
        "--slice-axis",
        choices=tuple(_SLICE_AXES),
        help="axis of the file along which slices are stacked (default: the one with the largest spacing)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUTPUT if an earlier run made it")
    parser.add_argument("-np", type=int, default=None, metavar="N", help="number of processes (default: all cores)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(None))
