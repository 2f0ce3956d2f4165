"""The figure of the README: for each method an annotation with its minutes, then a held-out case before and after.

    python examples/overview_figure.py --folder .demo/overview --figure docs/images/overview.png

Phantoms of long bones, simulated annotation with a person's errors, and a thin 2d network that a CPU trains in a
minute or two: the figure shows what goes in and what comes out, and is no benchmark. "Before" is the initial mask, or
the stock trainer's segmentation from the same annotation. The case shown is the one whose change of Dice is the
median of the held-out cases, so it is neither the best nor the worst. Minutes are estimated: 6 s for a score, 1 s for
a corner of an outline, 3 s for a point.

Everything runs in one process, by the functions behind the commands; what is complete is not done again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

HERE = Path(__file__).resolve().parent
LABELS = {"proximal": 1, "shaft": 2, "distal": 3}
CLASSES = [f"{name}={value}" for name, value in LABELS.items()]
SECONDS = {"score": 6, "corner": 1, "point": 3}
SHOWN = {"scores": "SCORE", "drawings": "RefineSeg", "points": "Weak-Net"}
WINDOW_HU = (-250, 1000)
SIZE = ("40", "36", "52")
CASES, HELD_OUT = 16, 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(".demo/overview"), help="(default: %(default)s)")
    parser.add_argument("--figure", type=Path, default=Path("docs/images/overview.png"), help="(default: %(default)s)")
    parser.add_argument("--annotation", type=Path, help="draw only what trainings get, without any training, here")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        os.environ[name] = str(folder / name)
    os.environ |= {"nnUNet_extTrainer": str(HERE / "trainers"), "nnUNet_n_proc_DA": "1", "nnUNet_compile": "f"}
    make_annotation(folder)
    if arguments.annotation:
        draw_annotation(folder, arguments.annotation)
        return
    draw(folder, make_rows(folder), arguments.figure)


def make_annotation(folder: Path) -> None:
    """Phantoms, and what three people would say about them."""
    from nnunet_weak.cli.make_phantoms import main as make_phantoms
    from nnunet_weak.cli.simulate_drawings import main as simulate_drawings
    from nnunet_weak.cli.simulate_points import main as simulate_points
    from nnunet_weak.cli.simulate_scores import main as simulate_scores

    phantoms = folder / "phantoms"
    numbers = ["--cases", str(CASES), "--test-cases", str(HELD_OUT)]
    references = ["--references", str(phantoms / "labels"), "-np", "1", "--classes"]
    masks = ["--masks", str(phantoms / "initial_masks"), "-o", str(folder / "scores.csv")]
    once(phantoms, lambda: make_phantoms([str(phantoms), "--size", *SIZE, *numbers, "-np", "1"]))
    once(folder / "scores.csv", lambda: simulate_scores([*references, *CLASSES, *masks]))
    drawings = ["-o", str(folder / "drawings"), "--annotators", "anna=typical", "ben=hasty", "--negative"]
    once(folder / "drawings", lambda: simulate_drawings([*references, *CLASSES, *drawings]))
    once(folder / "points", lambda: simulate_points([*references, "bone=1,2,3", "-o", str(folder / "points")]))


def make_rows(folder: Path) -> list[dict[str, Any]]:
    """Train and predict; returns what each row of the figure shows."""
    import nnunet_weak
    from nnunet_weak.cli.prepare_inputs import main as prepare_inputs

    phantoms, images = folder / "phantoms", folder / "phantoms" / "images"
    test = phantoms / "test"
    common: dict[str, Any] = {"images": images, "processes": 1, "say": lambda line: None}
    plain = folder / "imagesTs"
    plain.mkdir(exist_ok=True)
    for path in sorted((test / "images").iterdir()):
        shutil.copyfile(path, plain / path.name.replace(".nii.gz", "_0000.nii.gz"))

    dataset(511, "Scores", lambda name: nnunet_weak.convert_scores(
        **common, masks=phantoms / "initial_masks", scores=folder / "scores.csv", regions=LABELS, prior="local",
        dataset_id=511, name=name,
    ))  # fmt: skip
    train("Dataset511_Scores", "nnUNetTrainerSCORE_short")
    prepared = folder / "inputs"
    masks = ["-i", str(test / "images"), "--masks", str(test / "initial_masks")]
    once(prepared, lambda: prepare_inputs([*masks, "-m", "511", "-o", str(prepared), "-np", "1"]))

    drawn = folder / "drawings"
    dataset(521, "Drawings", lambda name: nnunet_weak.convert_drawings(
        **common, positive={"anna": drawn / "positive_anna", "ben": drawn / "positive_ben"},
        negative={"anna": drawn / "negative_anna"}, labels={"background": 0, **LABELS}, blank=4,
        channel_names=["zscore"], previews=False, dataset_id=521, name=name,
    ))  # fmt: skip
    dataset(531, "Points", lambda name: nnunet_weak.convert_points(
        **common, points=folder / "points", classes=["bone"], previews=False, dataset_id=531, name=name
    ))  # fmt: skip
    for name, trainer in (("Dataset521_Drawings", "RefineSeg"), ("Dataset531_Points", "WeakNet")):
        train(name, "nnUNetTrainer_short")
        train(name, f"nnUNetTrainer{trainer}_short")
    return [
        {
            "method": "SCORE", "annotation": "scores", "labels": LABELS,
            "before": (test / "initial_masks", "initial mask"),
            "after": (predict("Dataset511_Scores", "nnUNetTrainerSCORE_short", prepared), "refined"),
        },
        {
            "method": "RefineSeg", "annotation": "drawings", "labels": LABELS,
            "before": (predict("Dataset521_Drawings", "nnUNetTrainer_short", plain), "stock trainer"),
            "after": (predict("Dataset521_Drawings", "nnUNetTrainerRefineSeg_short", plain), "RefineSeg"),
        },
        {
            "method": "Weak-Net", "annotation": "points", "labels": {"bone": (1, 2, 3)},
            "before": (predict("Dataset531_Points", "nnUNetTrainer_short", plain), "stock trainer"),
            "after": (predict("Dataset531_Points", "nnUNetTrainerWeakNet_short", plain), "Weak-Net"),
        },
    ]  # fmt: skip


def once(product: Path, make: Callable[[], Any]) -> None:
    """Make a file or folder, unless it is there."""
    if not product.exists() and make():
        raise SystemExit(f"{product} could not be made")


def dataset(number: int, name: str, convert: Callable[[str], Path | None]) -> None:
    """Convert, plan a thin 2d network, and preprocess."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )
    from thin_plan import thin

    folder = Path(os.environ["nnUNet_preprocessed"]) / f"Dataset{number}_{name}"
    if (folder / "complete").exists():
        return
    shutil.rmtree(Path(os.environ["nnUNet_raw"]) / folder.name, ignore_errors=True)
    convert(name)
    extract_fingerprints([number], num_processes=1, check_dataset_integrity=False)
    plan_experiments([number])
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    thin(plans["configurations"]["2d"], 8, 64, 12, None)
    (folder / "nnUNetPlans.json").write_text(json.dumps(plans))
    preprocess([number], configurations=("2d",), num_processes=(1,))
    (folder / "complete").touch()


def model_folder(name: str, trainer: str) -> Path:
    """Where nnU-Net keeps the model."""
    return Path(os.environ["nnUNet_results"]) / name / f"{trainer}__nnUNetPlans__2d"


def train(name: str, trainer: str) -> None:
    """Train fold 0, without nnU-Net's validation at the end."""
    if (model_folder(name, trainer) / "fold_0" / "checkpoint_final.pth").exists():
        return
    import torch
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    torch.manual_seed(0)
    np.random.seed(0)
    folder = Path(os.environ["nnUNet_preprocessed"]) / name
    plans, described = (json.loads((folder / file).read_text()) for file in ("nnUNetPlans.json", "dataset.json"))
    plans["continue_training"] = False
    made = recursive_find_trainer_class_by_name(trainer)(plans, "2d", 0, described, torch.device("cpu"))
    made.run_training()


def predict(name: str, trainer: str, images: Path) -> Path:
    """Segment the held-out cases; returns their folder."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    output = Path(os.environ["nnUNet_results"]).parent / "predictions" / f"{name}-{trainer}"
    if not (output / "complete").exists():
        output.mkdir(parents=True, exist_ok=True)
        predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(model_folder(name, trainer)), ("0",))
        predictor.predict_from_files_sequential(str(images), str(output))
        (output / "complete").touch()
    return output


def draw(folder: Path, rows: list[dict[str, Any]], path: Path) -> None:
    """Write the figure."""
    from matplotlib.figure import Figure

    import nnunet_weak

    test, case = folder / "phantoms" / "test", "train_000"
    figure = Figure(figsize=(8.6, 9.2), layout="constrained", facecolor="white")
    panels = figure.subplots(len(rows), 4, squeeze=False)
    for row, axes in zip(rows, panels, strict=True):
        dice = {}
        for when in ("before", "after"):
            table = nnunet_weak.evaluate(row[when][0], test / "labels", labels=row["labels"])
            dice[when] = table.groupby("case")["dice"].mean()
        change = (dice["after"] - dice["before"]).sort_values()
        shown = str(change.index[len(change) // 2])
        print(row["method"], {when: round(float(value.mean()), 3) for when, value in dice.items()}, "case", shown)
        title = show_annotation(axes[0], folder, row["annotation"], case)
        axes[0].set_ylabel(row["method"], fontsize=12)
        axes[0].set_title(title, fontsize=9)
        reference = read(test / "labels" / f"{shown}.nii.gz")
        image = read(test / "images" / f"{shown}.nii.gz")
        for axis, when in zip(axes[1:3], ("before", "after"), strict=True):
            place, name = row[when]
            show(axis, image, reference, [(read(place / f"{shown}.nii.gz"), "tab:orange"), (reference, "tab:green")])
            axis.set_title(f"{when}: {name}\nDice {dice[when][shown]:.2f}", fontsize=9)
        show(axes[3], image, reference, [(reference, "tab:green")])
        axes[3].set_title("reference\n", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def draw_annotation(folder: Path, path: Path) -> None:
    """Write a figure of the annotation of a training case, what a training gets from it, and the reference."""
    from matplotlib.figure import Figure

    import nnunet_weak
    from nnunet_weak.drawings.random_walker import propagate_random_walker

    case = next(f"train_{n:03d}" for n in range(CASES) if shows_all(folder / "phantoms" / "labels", f"train_{n:03d}"))
    image, labels, mask = (
        read(folder / "phantoms" / kind / f"{case}.nii.gz") for kind in ("images", "labels", "initial_masks")
    )
    x, _, z = image.GetSpacing()
    figure = Figure(figsize=(10.5, 3.3), layout="constrained", facecolor="white")
    panels = figure.subplots(1, 7)
    for axis, (kind, method) in zip(panels[::2], SHOWN.items(), strict=False):
        axis.set_title(f"{method}\n{show_annotation(axis, folder, kind, case)}", fontsize=9)
    prior = nnunet_weak.boundary_prior(image, nnunet_weak.PriorOptions("local"), mask)
    show(panels[1], image, labels, [])
    panels[1].imshow(coronal(prior, labels), cmap="magma", vmin=0, vmax=1, aspect=z / x, origin="lower")
    panels[1].set_title("boundary prior:\nwhere bone\nis plausible", fontsize=9)

    drawn = sitk.GetArrayFromImage(read(folder / "drawings" / "positive_anna" / f"{case}.nii.gz"))
    blank = len(LABELS) + 1
    codes = np.where(drawn == blank, 0, drawn + 1)
    walked = propagate_random_walker([sitk.GetArrayFromImage(image)], [codes], [], blank, image.GetSpacing()[::-1])
    filled = sitk.GetImageFromArray(np.where(codes > 0, codes, walked).astype(np.uint8) - 1)
    filled.CopyInformation(image)
    show(panels[3], image, labels, [])
    overlay(panels[3], filled, labels)
    panels[3].set_title("\ncarried on by\na random walker", fontsize=9)

    (points,) = nnunet_weak.read_points(folder / "points" / f"{case}_bone.mrk.json").objects
    fit = nnunet_weak.fit_surface(points.points_mm)
    template = nnunet_weak.rasterise(fit.vertices_mm, fit.faces, image)
    show(panels[5], image, labels, [(template, "tab:orange")])
    panels[5].set_title("\nsurface fitted\nto them", fontsize=9)
    show(panels[6], image, labels, [(labels, "tab:green")])
    panels[6].set_title("reference\n", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def shows_all(folder: Path, case: str) -> bool:
    """Whether a case shows both ends of the bone."""
    return set(LABELS.values()) <= set(np.unique(sitk.GetArrayViewFromImage(read(folder / f"{case}.nii.gz"))))


def show_annotation(axis: Any, folder: Path, kind: str, case: str) -> str:
    """Draw the annotation of a training case; returns a title with its minutes."""
    image = read(folder / "phantoms" / "images" / f"{case}.nii.gz")
    labels = read(folder / "phantoms" / "labels" / f"{case}.nii.gz")
    if kind == "scores":
        mask = read(folder / "phantoms" / "initial_masks" / f"{case}.nii.gz")
        show(axis, image, labels, [(mask, "tab:orange")])
        with (folder / "scores.csv").open() as file:
            scores = [row for row in csv.DictReader(file) if row["case"] == case]
        lines = [f"{row['region']}: {float(row['quality']):g}, {row['error']}" for row in scores]
        axis.text(0.03, 0.97, "\n".join(lines), transform=axis.transAxes, va="top", fontsize=7, color="white")
        return f"{len(scores)} scores\n{minutes(SECONDS['score'] * len(scores))}"
    if kind == "drawings":
        drawing = read(folder / "drawings" / "positive_anna" / f"{case}.nii.gz")
        show(axis, image, labels, [])
        overlay(axis, drawing, labels)
        with (folder / "drawings" / "effort.csv").open() as file:
            corners = sum(float(row["clicks"]) for row in csv.DictReader(file) if row["case"] == case)
        return f"3 rough drawings\n{minutes(SECONDS['corner'] * corners)}"
    import nnunet_weak

    (points,) = nnunet_weak.read_points(folder / "points" / f"{case}_bone.mrk.json").objects
    show(axis, image, labels, [])
    index = np.array([image.TransformPhysicalPointToContinuousIndex(point) for point in points.points_mm.tolist()])
    axis.scatter(index[:, 0], index[:, 2], s=9, color="tab:orange", edgecolors="white", linewidths=0.4)
    return f"{len(index)} points\n{minutes(SECONDS['point'] * len(index))}"


def minutes(seconds: float) -> str:
    """`about 1.3 min`."""
    return f"about {seconds / 60:.1f} min"


def read(path: Path) -> sitk.Image:
    """An image file."""
    return sitk.ReadImage(str(path))


def coronal(image: sitk.Image, reference: sitk.Image) -> np.ndarray:
    """The coronal slice in which the reference is widest."""
    widest = int((sitk.GetArrayViewFromImage(reference) > 0).sum(axis=(0, 2)).argmax())
    return sitk.GetArrayFromImage(image)[:, widest]


def show(axis: Any, image: sitk.Image, reference: sitk.Image, outlines: list[tuple[sitk.Image, str]]) -> None:
    """A slice with outlines of label maps."""
    x, _, z = image.GetSpacing()
    low, high = WINDOW_HU
    axis.imshow(coronal(image, reference), cmap="gray", vmin=low, vmax=high, aspect=z / x, origin="lower")
    for labels, colour in outlines:
        plane = coronal(labels, reference) > 0
        if plane.any() and not plane.all():
            axis.contour(plane, levels=[0.5], colors=colour, linewidths=1.4)
    axis.set_xticks([])
    axis.set_yticks([])


def overlay(axis: Any, drawing: sitk.Image, reference: sitk.Image) -> None:
    """What was drawn as background in blue, as a target in orange; blank is left as it is."""
    plane = coronal(drawing, reference)
    colours = np.zeros((*plane.shape, 4))
    colours[plane == 0] = (0.12, 0.47, 0.71, 0.35)
    colours[(plane > 0) & (plane < len(LABELS) + 1)] = (1.0, 0.5, 0.05, 0.7)
    x, _, z = drawing.GetSpacing()
    axis.imshow(colours, aspect=z / x, origin="lower", interpolation="nearest")


if __name__ == "__main__":
    main()
