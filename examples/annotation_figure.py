"""The figure of the README: each method's annotation with its minutes, and what a training gets from it.

    python examples/annotation_figure.py --folder .demo/annotation --figure docs/images/annotation.png

Phantoms of long bones and simulated annotation with a person's errors. Minutes are estimated: 6 s for a score, 1 s for
a corner of an outline, 3 s for a point. What is complete is not made again.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

LABELS = {"proximal": 1, "shaft": 2, "distal": 3}
CLASSES = [f"{name}={value}" for name, value in LABELS.items()]
SECONDS = {"score": 6, "corner": 1, "point": 3}
SHOWN = {"scores": "SCORE", "drawings": "RefineSeg", "points": "Weak-Net"}
WINDOW_HU = (-250, 1000)
SIZE = ("40", "36", "52")
CASES = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(".demo/annotation"), help="(default: %(default)s)")
    parser.add_argument(
        "--figure", type=Path, default=Path("docs/images/annotation.png"), help="(default: %(default)s)"
    )
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    make_annotation(folder)
    draw_annotation(folder, arguments.figure)


def make_annotation(folder: Path) -> None:
    """Phantoms, and what three people would say about them."""
    from nnunet_weak.cli.make_phantoms import main as make_phantoms
    from nnunet_weak.cli.simulate_drawings import main as simulate_drawings
    from nnunet_weak.cli.simulate_points import main as simulate_points
    from nnunet_weak.cli.simulate_scores import main as simulate_scores

    phantoms = folder / "phantoms"
    numbers = ["--cases", str(CASES), "--test-cases", "0"]
    references = ["--references", str(phantoms / "labels"), "-np", "1", "--classes"]
    masks = ["--masks", str(phantoms / "initial_masks"), "-o", str(folder / "scores.csv")]
    once(phantoms, lambda: make_phantoms([str(phantoms), "--size", *SIZE, *numbers, "-np", "1"]))
    once(folder / "scores.csv", lambda: simulate_scores([*references, *CLASSES, *masks]))
    drawings = ["-o", str(folder / "drawings"), "--annotators", "anna=typical", "ben=hasty", "--negative"]
    once(folder / "drawings", lambda: simulate_drawings([*references, *CLASSES, *drawings]))
    once(folder / "points", lambda: simulate_points([*references, "bone=1,2,3", "-o", str(folder / "points")]))


def once(product: Path, make: Callable[[], Any]) -> None:
    """Make a file or folder, unless it is there."""
    if not product.exists() and make():
        raise SystemExit(f"{product} could not be made")


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
