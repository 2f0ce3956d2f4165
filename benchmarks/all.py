"""How good are models from weak annotation? All trainings behind the tables of the documentation.

    python -m benchmarks.all --data DATA --work WORK --device cuda --jobs 16 --minutes 25
    python -m benchmarks.all --data DATA --work WORK --rows acdc-coarse acdc-full --seeds 0 1 2 --part development

The groups of rows ask:

- scores: do SCORE and SCOREPlus improve the initial masks of a real, weak model, and more than training on the masks
  as if they were labels? (hippocampus in MRI, mandible in CT)
- drawings: what do RefineSeg and the stock trainer learn from rough drawings, real scribbles, and what STAPLE or a
  random walker makes of them, beside all labels; and which parts of RefineSeg matter? (heart in MRI)
- points: what do Weak-Net and the stock trainer learn from templates of surface points, beside slices of equal effort,
  a few patients with all labels, and all labels? (hippocampus in MRI, mandible in CT)
- outlines: what does the stock trainer learn from real outlines, filled, or as templates? (vertebrae in MRI)

Nothing is chosen on the test cases. Prints the tables.
"""

from __future__ import annotations

from benchmarks.annotations import FEW
from benchmarks.data import DATA
from benchmarks.rows import run_rows
from benchmarks.runs import Row, RunOptions
from benchmarks.tables import print_tables
from nnunet_weak import trainers
from nnunet_weak.options import parse

ABLATIONS = [
    name.removeprefix("nnUNetTrainer")
    for name in trainers.__all__
    if name.startswith("nnUNetTrainerRefineSeg")
    and name not in ("nnUNetTrainerRefineSeg", "nnUNetTrainerRefineSegPlus")
]
SCORES = [
    Row(data, annotation, trainer)
    for data in ("hippocampus", "mandible_ct")
    for annotation, trainer in [
        ("scores", ""),
        ("masks", "Stock"),
        ("scores_likelihood" if DATA[data].prior == "likelihood" else "scores", "SCOREPlus"),
        ("scores", "SCORE"),
        ("full", "Stock"),
        *((f"few{patients}", "Stock") for patients in FEW),
        *((f"scores_few{patients}", "SCOREPlus") for patients in FEW),
    ]
]
DRAWINGS = [
    Row("acdc", annotation, trainer)
    for annotation, names in {
        "full": ["Stock"],
        "coarse": ["Stock", "RefineSeg", "RefineSegPlus", *ABLATIONS],
        "coarse_filled": ["Stock"],
        "coarse_walker": ["RefineSeg", "RefineSegPlus"],
        "coarse_second": ["RefineSegPlus"],
        "two": ["Stock", "RefineSeg", "RefineSegPlus"],
        "staple": ["Stock"],
        "scribbles": ["Stock", "RefineSeg", "RefineSegPlus"],
        "scribbles_background": ["Stock"],
        "scribbles_filled": ["Stock"],
        "scribbles_walker": ["RefineSeg", "RefineSegPlus"],
        "scribbles_second": ["RefineSegPlus"],
        **{f"few{patients}": ["Stock"] for patients in FEW},
        **{f"scribbles_few{patients}": ["RefineSegPlus"] for patients in FEW},
    }.items()
    for trainer in names
]
DRAWINGS += [
    Row("mandible_ct", annotation, trainer)
    for annotation, trainer in [("coarse", "Stock"), ("coarse_filled", "Stock"), ("coarse_walker", "RefineSegPlus")]
]
POINTS = [
    Row("hippocampus", annotation, trainer)
    for annotation, names in {
        **{
            f"points{count}_{sampling}": ["Stock", "WeakNet", "WeakNetNoReconstruction"]
            for count in (25, 125)
            for sampling in ("spread", "random")
        },
        **{f"points{count}_second": ["Stock"] for count in (25, 125)},
        **{f"points25_few{patients}": ["Stock"] for patients in FEW},
        **{f"points25_few{patients}_second": ["Stock"] for patients in FEW},
        **{f"slices{count}": ["Stock"] for count in (25, 125)},
    }.items()
    for trainer in names
]
POINTS += [
    Row("mandible_ct", annotation, "Stock")
    for annotation in ("points25_spread", *(f"points25_few{patients}_second" for patients in FEW))
]
OUTLINES = [
    Row("spine_mri", annotation, "Stock") for annotation in ("full", "outlines_filled", "outlines", "outlines_inset")
]


def main() -> None:
    rows = [*SCORES, *DRAWINGS, *POINTS, *OUTLINES]
    print_tables(run_rows(rows, parse(RunOptions, None, description=__doc__)).values())


if __name__ == "__main__":
    main()
