"""The annotations that are trained on: how each becomes an nnU-Net data set, by commands, and what rows call it.

Annotators are simulated from the labels of the training cases, always with the same seed, so that all trainers and
seeds see the same annotation. The labels serve nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.outlines import write_filled_outlines, write_outline_points
from benchmarks.runs import DataFolder, Row
from benchmarks.scribbles import write_scribbles_with_background

DRAWERS = "anna=typical ben=hasty"
ANNA, BEN = "--positive anna=drawings/positive_anna", "--positive ben=drawings/positive_ben"
NOT_ANNA = "--negative anna=drawings/negative_anna"
SCRIBBLES = "--positive scribble=train/scribbles"
MM_PER_POINT = 0.5
FEW = (2, 5, 10)
"""Patients with dense labels, beside a weak annotation of all."""


@dataclass(frozen=True)
class Annotation:
    """An annotation of the training cases.

    Attributes:
        title: In tables.
        convert: Writes the raw data set of this name, unless it is there.
        from_masks: The network also reads initial masks, and refines those of the held-out cases.
    """

    title: str
    convert: Callable[[DataFolder, str], None]
    from_masks: bool = False

    def prepare(self, folder: DataFolder, name: str) -> None:
        """Raw data set, plans and preprocessed data."""
        with folder.only_one(f"data set {name}"):
            self.convert(folder, name)
            folder.plan(name)

    def predict(self, folder: DataFolder, row: Row) -> str:
        """Train a row and predict the held-out cases; returns the folder of the label maps."""
        if not row.trainer:
            return "held_out/initial_masks"
        self.prepare(folder, row.annotation)
        model = folder.train(row.annotation, row.trainer, row.seed)
        if not self.from_masks:
            return folder.predict(row.annotation, row.trainer, row.seed, folder.channel_zero("held_out"))
        return folder.refine(model, f"predictions/{row.annotation}-{row.trainer}-{row.seed}-refined", row.seed)


def full(folder: DataFolder, name: str) -> None:
    """Dense labels, as stock nnU-Net takes them."""
    folder.write_stock(name, "train/labels", {"background": 0, **_numbers(folder)})


def few(patients: int) -> Callable[[DataFolder, str], None]:
    """Dense labels of so many patients; the others are not there at all."""

    def convert(folder: DataFolder, name: str) -> None:
        folder.write_stock(name, folder.labels_of_few(patients), {"background": 0, **_numbers(folder)})

    return convert


def masks(folder: DataFolder, name: str) -> None:
    """The initial masks as they are, as if they were labels: what one trains on without this package."""
    folder.write_stock(name, "train/initial_masks", {"background": 0, **_numbers(folder)})


def scores(prior: str = "", full_patients: int = 0) -> Callable[[DataFolder, str], None]:
    """Initial masks with simulated quality scores, and dense labels of a few patients; prior: default the data's."""

    def convert(folder: DataFolder, name: str) -> None:
        wanted = prior or folder.data.prior
        table, regions = f"scores_{name}.csv", folder.data.labels
        references = f"--references {folder.labels_of_few(full_patients)}" if full_patients else ""
        options = folder.data.likelihood_options if wanted == "likelihood" else ""
        tuned = f"--prior-options {options}" if options else ""
        folder.make(
            table,
            "nnunet_weak_simulate_scores --references train/labels --masks train/initial_masks --images train/images "
            f"--classes {regions} --mm-per-point {MM_PER_POINT} -o {table} -np {folder.processes}",
        )
        _convert(
            folder,
            name,
            "scores",
            f"--masks train/initial_masks --scores {table} --regions {regions} --prior {wanted} {tuned} {references} "
            "--patients patients.csv",
        )

    return convert


def drawings(
    *maps: str, options: str = "", second_round_of: str = "", full_patients: int = 0
) -> Callable[[DataFolder, str], None]:
    """Rough drawings of simulated annotators, or scribbles, and dense labels of a few patients.

    In a second round blank voxels are filled where the random walker agrees with a model of the first.
    """

    def convert(folder: DataFolder, name: str) -> None:
        if "drawings/" in " ".join(maps):
            folder.make(
                "drawings",
                f"nnunet_weak_simulate_drawings --references train/labels --classes {folder.data.labels} -o drawings "
                f"--negative --annotators {DRAWERS} -np {folder.processes}",
            )
        blank = len(folder.data.classes) + 1
        labels = f"--labels background=0 {folder.data.labels} --blank {blank} --patients patients.csv"
        further = options
        if second_round_of:
            further = f"--follow-prediction {_first_round(folder, second_round_of, 'RefineSegPlus')}"
        if full_patients:
            further += f" --references {folder.labels_of_few(full_patients)}"
        _convert(folder, name, "drawings", f"{' '.join(maps)} {labels} {further}")

    return convert


def fused(source: str, method: str) -> Callable[[DataFolder, str], None]:
    """The drawings of another data set as one label map."""

    def convert(folder: DataFolder, name: str) -> None:
        ANNOTATIONS[source].prepare(folder, source)
        folder.make(
            f"nnUNet_raw/{folder.dataset(name)}",
            f"nnunet_weak_fuse -d {folder.number(source)} --method {method} -o {folder.number(name)} -n {name} "
            f"-np {folder.processes}",
        )

    return convert


def scribbles_with_background(folder: DataFolder, name: str) -> None:
    """Scribbles, and background far from them, as labels for the stock trainer."""
    scribbles, count = folder.folder / "train" / "scribbles", len(folder.data.classes)
    drawn = folder.once(name, lambda path: write_scribbles_with_background(scribbles, path, count))
    folder.write_stock(name, drawn, {"background": 0, **_numbers(folder), "ignore": count + 1})


def points(
    count: int, sampling: str = "spread", second_round_of: str = "", full_patients: int = 0
) -> Callable[[DataFolder, str], None]:
    """Templates from so many simulated points on each object, and dense labels of a few patients.

    The templates start from the densely labelled patients, where there are any. In a second round they follow the
    probabilities that the stock trainer's model of the first has for the training images.
    """

    def convert(folder: DataFolder, name: str) -> None:
        clicks, options = f"points_{count}_{sampling}", ""
        folder.make(
            clicks,
            f"nnunet_weak_simulate_points --references train/labels --classes {folder.data.labels} -n {count} "
            f"--sampling {sampling} -o {clicks} -np {folder.processes}",
        )
        if second_round_of:
            options = f"--follow-prediction {_first_round(folder, second_round_of, 'Stock', probabilities=True)}"
        if full_patients:
            few = folder.labels_of_few(full_patients)
            shapes = " ".join(f"{name}={few}" for name in folder.data.classes)
            options += f" --references {few} --templates {shapes}"
        classes = " ".join(folder.data.classes)
        _convert(folder, name, "points", f"--points {clicks} --classes {classes} {options}")

    return convert


def outlines(inset_mm: float) -> Callable[[DataFolder, str], None]:
    """Templates through real outlines, or inside of them."""

    def convert(folder: DataFolder, name: str) -> None:
        curves = folder.folder / "train" / "outlines"
        clicks = folder.once("outline_points", lambda path: write_outline_points(curves, path))
        classes = " ".join(folder.data.classes)
        _convert(folder, name, "points", f"--points {clicks} --classes {classes} --inset-mm {inset_mm:g}")

    return convert


def outlines_filled(folder: DataFolder, name: str) -> None:
    """Real outlines as one fills them by hand: labels for the stock trainer."""
    curves = folder.folder / "train" / "outlines"
    drawn = folder.once("outlines_filled", lambda path: write_filled_outlines(curves, path))
    ignore = len(folder.data.classes) + 1
    folder.write_stock(name, drawn, {"background": 0, **_numbers(folder), "ignore": ignore})


def slices(effort: int) -> Callable[[DataFolder, str], None]:
    """Dense labels of a few slices whose outlines are as long, in voxels, as so many points; the rest is ignored."""

    def convert(folder: DataFolder, name: str) -> None:
        drawn = f"slices_{effort}"
        folder.make(
            drawn,
            f"nnunet_weak_simulate_slices --references train/labels --classes {folder.data.labels} --effort {effort} "
            f"-o {drawn} -np {folder.processes}",
        )
        ignore = len(folder.data.classes) + 1
        folder.write_stock(name, drawn, {"background": 0, **_numbers(folder), "ignore": ignore})

    return convert


ANNOTATIONS = {
    "full": Annotation("all labels", full),
    "masks": Annotation("initial masks as labels", masks),
    "scores": Annotation("initial masks and scores", scores("posterior"), from_masks=True),
    "scores_likelihood": Annotation("initial masks, likelihood prior", scores("likelihood"), from_masks=True),
    **{
        f"scores_few{number}": Annotation(
            f"initial masks, and all labels of {number} patients", scores(full_patients=number), from_masks=True
        )
        for number in FEW
    },
    "coarse": Annotation("rough drawings and negatives of one annotator", drawings(ANNA, NOT_ANNA)),
    "coarse_walker": Annotation(
        "the same and a random walker's map", drawings(ANNA, NOT_ANNA, options="--random-walker")
    ),
    "coarse_second": Annotation(
        "the same and what walker and model agree on (second round)", drawings(ANNA, NOT_ANNA, second_round_of="coarse")
    ),
    "coarse_filled": Annotation("rough drawings filled by a random walker", fused("coarse", "random_walker")),
    "two": Annotation("rough drawings of two annotators, one hasty", drawings(ANNA, BEN)),
    "staple": Annotation("the same, fused by STAPLE", fused("two", "staple")),
    "scribbles": Annotation("scribbles", drawings(SCRIBBLES)),
    "scribbles_walker": Annotation(
        "scribbles and a random walker's map", drawings(SCRIBBLES, options="--random-walker")
    ),
    "scribbles_second": Annotation(
        "scribbles and what walker and model agree on (second round)",
        drawings(SCRIBBLES, second_round_of="scribbles_walker"),
    ),
    **{
        f"scribbles_few{number}": Annotation(
            f"scribbles and a random walker's map, and all labels of {number} patients",
            drawings(SCRIBBLES, options="--random-walker", full_patients=number),
        )
        for number in FEW
    },
    "scribbles_background": Annotation("scribbles, and background far from them", scribbles_with_background),
    "scribbles_filled": Annotation("scribbles filled by a random walker", fused("scribbles", "random_walker")),
    **{
        f"points{count}_{sampling}": Annotation(f"{count} {sampling} points", points(count, sampling))
        for count in (25, 125)
        for sampling in ("spread", "random")
    },
    **{
        f"points{count}_second": Annotation(
            f"{count} spread points, second round", points(count, second_round_of=f"points{count}_spread")
        )
        for count in (25, 125)
    },
    **{f"few{number}": Annotation(f"all labels of {number} patients only", few(number)) for number in FEW},
    **{
        f"points25_few{number}": Annotation(
            f"25 spread points, and all labels of {number} patients", points(25, full_patients=number)
        )
        for number in FEW
    },
    **{
        f"points25_few{number}_second": Annotation(
            f"the same, points weighed against a model of these {number}",
            points(25, second_round_of=f"few{number}", full_patients=number),
        )
        for number in FEW
    },
    "outlines_filled": Annotation("real outlines, filled; slices without any ignored", outlines_filled),
    "outlines": Annotation("surfaces through the outlines", outlines(0.0)),
    "outlines_inset": Annotation("surfaces 3 mm inside of the outlines", outlines(3.0)),
    **{f"slices{count}": Annotation(f"slices, effort of {count} points", slices(count)) for count in (25, 125)},
}


def _convert(folder: DataFolder, name: str, converter: str, options: str) -> None:
    folder.make(
        f"nnUNet_raw/{folder.dataset(name)}",
        f"nnunet_weak_convert_{converter} --images train/images {options} --channel-names {folder.data.channel} "
        f"-d {folder.number(name)} -n {name} -np {folder.processes}",
    )


def _first_round(folder: DataFolder, name: str, trainer: str, probabilities: bool = False) -> str:
    """What a model of an annotation predicts for all training images."""
    ANNOTATIONS[name].prepare(folder, name)
    folder.train(name, trainer)
    return folder.predict(name, trainer, images=folder.channel_zero("train"), probabilities=probabilities)


def _numbers(folder: DataFolder) -> dict[str, int]:
    return {name: number for number, name in enumerate(folder.data.classes, start=1)}
