"""`nnunet_weak_simulate_drawings`: rough drawings from reference segmentations, for benchmarks and teaching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from nnunet_weak.cli.console import console_command
from nnunet_weak.cli.simulation import OtherLabels, References, SimulationOptions
from nnunet_weak.errors import Problems
from nnunet_weak.options import option, read_assignments, read_number
from nnunet_weak.simulation.annotators import ANNOTATORS, MARGIN_MM
from nnunet_weak.tables import table_text

_SLICE_AXES = {"x": 2, "y": 1, "z": 0}
_EPILOG = """\
what is written:
  OUTPUT/positive_NAME/CASE.nii.gz   what annotator NAME drew: 0 background, 1 to K the classes, K + 1 blank
  OUTPUT/negative_NAME/CASE.nii.gz   with --negative: the same values say "this is not ..."
  OUTPUT/effort.csv                  for each drawing: mm of outline, clicks, share of each class drawn, share of errors
  OUTPUT/simulation.json             seed, annotators, values

annotators draw rough polygons slice by slice: careful, typical, or hasty (every other slice, overlooks more). Outlines
run inside a class by 15 to 35 % of its local half-thickness plus --margin-mm, and outside likewise.

examples:
  nnunet_weak_simulate_drawings --references labels --classes RV=1 MYO=2 LV=3 -o drawings --negative
  nnunet_weak_simulate_drawings --references labels --classes RV=1 MYO=2 LV=3 -o drawings \\
      --annotators anna=careful ben=hasty --seed 1
The same seed gives the same drawings, however many processes and annotators there are. The command that converts the
drawings is printed at the end.
"""


def _read_annotators(texts: Sequence[str]) -> dict[str, str]:
    form = f"NAME=STYLE with a style of {', '.join(ANNOTATORS)}"
    found = read_assignments("--annotators", texts, form)
    problems = Problems()
    for name, style in found.items():
        if style not in ANNOTATORS or not name.replace("-", "_").replace("_", "a").isalnum() or not name.isascii():
            problems.add(f"--annotators {name}={style}", f"is not {form}", "use letters, digits, - and _ for the name")
    problems.raise_if_any()
    return found


@dataclass(frozen=True, kw_only=True)
class DrawingSimulation(OtherLabels, SimulationOptions):
    """How to draw."""

    command = "nnunet_weak_simulate_drawings"
    description = (
        "Draw roughly what reference segmentations show: positive drawings (this is ...) and negative ones (this is "
        "not ...), by one or several simulated annotators."
    )
    epilog = _EPILOG

    annotators: Mapping[str, str] = option(
        default=dict,
        nargs="+",
        read=_read_annotators,
        metavar="NAME=STYLE",
        help="who draws, and how: careful, typical or hasty (default: anna=typical)",
    )
    margin_mm: float = option(
        default=MARGIN_MM,
        read=partial(read_number, "--margin-mm"),
        metavar="MM",
        help="width of the strip that is left blank along both sides of each edge, beside the share that the style "
        "leaves; 0 draws thin structures up to their edges (default: %(default)s)",
    )
    negative: bool = option(default=False, help="each annotator also draws what is not there")
    slice_axis: Literal["x", "y", "z"] | None = option(
        default=None,
        help="axis of the file along which slices are stacked (default: the one with the largest spacing)",
    )

    def __post_init__(self) -> None:
        if not self.annotators:
            object.__setattr__(self, "annotators", {"anna": "typical"})


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = DrawingSimulation.parse(argv)

    import pandas as pd

    from nnunet_weak.images.atomic import atomic_folder

    references = options.check_inputs()
    with atomic_folder(options.output, replace=options.overwrite) as folder:
        draw = partial(_draw, folder=folder, options=options, references=references)
        rows = options.run_cases(draw, references.files, "drawing")
        drawn = [row for case in rows.values() for row in case]
        effort = pd.DataFrame(drawn)
        (folder / "effort.csv").write_text(table_text(drawn, ".4g"), encoding="utf-8", newline="")
        options.write_record(folder, classes=references.classes, labels=references.labels, blank=len(references.labels))
    shares = [column for column in effort.columns if column.startswith("drawn_")]
    means = effort.groupby(["annotator", "kind"], sort=False)[["outline_mm", "clicks", "errors", *shares]].mean()
    print(f"{options.output}: {len(rows)} cases, seed {options.seed}; means over the cases:")
    print(means.to_string(float_format=lambda value: f"{value:.3g}"))
    kinds = ("positive", "negative") if options.negative else ("positive",)
    drawings = [f"--{kind} {name}={options.output}/{kind}_{name}" for kind in kinds for name in options.annotators]
    labels = " ".join(f"{name}={value}" for name, value in references.labels.items())
    print(
        f"\nTo convert them:\n  nnunet_weak_convert_drawings --images IMAGES {' '.join(drawings)} --labels {labels} "
        f"--blank {len(references.labels)} -d ID -n NAME"
    )
    return 0


def _draw(
    file: tuple[str, Path], *, folder: Path, options: DrawingSimulation, references: References
) -> list[dict[str, Any]]:
    """Write the drawings of a case; returns their rows of effort.csv."""
    import numpy as np
    import SimpleITK as sitk

    from nnunet_weak.images.write import write_volume
    from nnunet_weak.simulation.drawings import draw_negative, draw_positive
    from nnunet_weak.simulation.references import read_classes

    case, path = file
    reference = read_classes(
        path, references.classes, references.known_values if options.other_labels == "refuse" else None
    )
    labels, spacing_mm = sitk.GetArrayViewFromImage(reference), reference.GetSpacing()[::-1]
    blank = len(references.labels)
    axis = None if options.slice_axis is None else _SLICE_AXES[options.slice_axis]
    rows = []
    for name, style in options.annotators.items():
        annotator = replace(ANNOTATORS[style], margin_mm=options.margin_mm)
        how: dict[str, Any] = {
            "num_classes": blank,
            "seed": annotator_seed(options.seed, case, name),
            "slice_axis": axis,
        }
        drawings = [draw_positive(labels, spacing_mm, annotator, **how)]
        if options.negative:
            drawings.append(draw_negative(labels, spacing_mm, annotator, **how))
        for drawing in drawings:
            values = np.where(drawing.annotation > 0, drawing.annotation.astype(np.int32) - 1, blank)
            target = folder / f"{drawing.kind}_{name}" / f"{case}.nii.gz"
            target.parent.mkdir(exist_ok=True)
            write_volume(values.astype(np.uint8 if blank < 256 else np.uint16), reference, target)
            rows.append(
                {
                    **{"case": case, "annotator": name, "kind": drawing.kind, "outline_mm": drawing.contour_length_mm},
                    **{"clicks": drawing.corners, "errors": drawing.error_rate},
                    **{f"drawn_{k}": share for k, share in zip(references.labels, drawing.coverage, strict=True)},
                }
            )
    return rows


def annotator_seed(seed: int, case: str, annotator: str) -> int:
    """Seed of one annotator's drawings of one case."""
    import zlib

    import numpy as np

    parts = [seed, zlib.crc32(case.encode()), zlib.crc32(annotator.encode())]
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
