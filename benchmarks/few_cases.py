"""How many cases need a full drawing? The figure of the documentation, from files of results.

    python -m benchmarks.few_cases --results benchmarks/results/test --output docs/images/few_cases.png

For each data set: mean Dice of the held-out cases over the number of patients whose structures are drawn completely, of
the stock trainer on these alone and with weak annotation of all others beside them. The mean over seeds, with their
standard deviation where there are several; the band is the stock trainer on all labels.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from benchmarks.annotations import FEW
from nnunet_weak.options import option, parse

ALONE, MASKS = "drawn cases alone, stock nnU-Net", "with automatic masks, SCOREPlus"
POINTS, SCRIBBLES = "with 25 points on the others", "with scribbles, RefineSegPlus"
COLORS = {ALONE: "#444444", MASKS: "#0072b2", POINTS: "#009e73", SCRIBBLES: "#d55e00"}


@dataclass(frozen=True)
class Panel:
    """A data set: its title, and for each curve the row (annotation, trainer) of every number of drawn patients."""

    title: str
    curves: Mapping[str, Mapping[int, tuple[str, str]]]


def beside(annotation: str, trainer: str, none: tuple[str, str] | None = None) -> dict[int, tuple[str, str]]:
    """Rows of an annotation with drawn patients, `{}` in its name stands for their number; `none`: without any."""
    return ({0: none} if none else {}) | {number: (annotation.format(number), trainer) for number in FEW}


PANELS = {
    "mandible_ct": Panel(
        "mandible, CT",
        {
            ALONE: beside("few{}", "Stock"),
            MASKS: beside("scores_few{}", "SCOREPlus", ("scores_likelihood", "SCOREPlus")),
            POINTS: beside("points25_few{}_second", "Stock"),
        },
    ),
    "hippocampus": Panel(
        "hippocampus, MRI",
        {
            ALONE: beside("few{}", "Stock"),
            POINTS: beside("points25_few{}_second", "Stock", ("points25_spread", "Stock")),
        },
    ),
    "acdc": Panel(
        "heart, MRI",
        {
            ALONE: beside("few{}", "Stock"),
            SCRIBBLES: beside("scribbles_few{}", "RefineSegPlus", ("scribbles_walker", "RefineSegPlus")),
        },
    ),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    results: Path = option(metavar="DIR", help="folder of results")
    output: Path = option(metavar="PNG", help="the figure")


def dice_of_rows(results: Path) -> dict[tuple[str, str, str], list[float]]:
    """Mean Dice over the held-out cases of each seed, by data set, annotation and trainer."""
    dice = defaultdict(list)
    for path in sorted(results.glob("*.json")):
        result = json.loads(path.read_text())
        row = result["row"]
        dice[row["data"], row["annotation"], row["trainer"]].append(mean(case["dice"] for case in result["metrics"]))
    return dict(dice)


def draw(dice: Mapping[tuple[str, str, str], list[float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    (axes,) = figure.subplots(1, len(PANELS), squeeze=False)
    places = {number: place for place, number in enumerate((0, *FEW))}
    for axis, (data, panel) in zip(axes, PANELS.items(), strict=True):
        full = dice[data, "full", "Stock"]
        axis.axhline(mean(full), color="#888888", linestyle="--", linewidth=1)
        if len(full) > 1:
            axis.axhspan(mean(full) - stdev(full), mean(full) + stdev(full), color="#888888", alpha=0.2, linewidth=0)
        axis.text(0, mean(full), "all drawn", va="bottom", fontsize=8, color="#555555")
        for name, rows in panel.curves.items():
            measured = {places[number]: dice.get((data, *row)) for number, row in rows.items()}
            measured = {place: values for place, values in measured.items() if values}
            axis.errorbar(
                list(measured),
                [mean(values) for values in measured.values()],
                [stdev(values) if len(values) > 1 else 0.0 for values in measured.values()],
                marker="o",
                markersize=4,
                capsize=3,
                color=COLORS[name],
                label=name,
            )
        axis.set_title(panel.title, fontsize=10)
        axis.set_xticks(list(places.values()), [str(number) for number in places])
        axis.set_xlabel("patients drawn completely")
        axis.spines[["top", "right"]].set_visible(False)
    handles = {}
    for axis in axes:
        handles |= {label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)
    axes[0].set_ylabel("Dice of held-out cases")
    figure.savefig(path, dpi=150)


def main() -> None:
    options = parse(Options, None, description=__doc__)
    draw(dice_of_rows(options.results), options.output)


if __name__ == "__main__":
    main()
