"""A whole task of each kind on images of every orientation, by mouse and keys, then reloaded, then converted.

A study has a case of each orientation, named after it, and a test walks through all of them on one page.
"""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
from annotation_person import ORIENTATIONS, Grid, Person, make_study, served

from nnunet_weak.dataset_conversion.drawings import main as convert_drawings
from nnunet_weak.dataset_conversion.points import main as convert_points
from nnunet_weak.dataset_conversion.scores import main as convert_scores
from nnunet_weak.points.files import read_points
from nnunet_weak.surface.fit import fit_surface

pytestmark = pytest.mark.browser
BRIGHT = (4, 13, 6)


@pytest.fixture
def study(tmp_path, monkeypatch):
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for orientation in ORIENTATIONS:
        make_study(tmp_path / "Größe und Lage", orientation, cases=(orientation,), bright=BRIGHT)
    return tmp_path / "Größe und Lage"


@pytest.fixture
def images(study):
    return {case: sitk.ReadImage(str(study / "images" / f"{case}.nii.gz")) for case in ORIENTATIONS}


def test_scores(study, images, page, tmp_path):
    page.set_viewport_size({"width": 960, "height": 600})  # voxels have some pixels in the small planes too
    with served(study, "scores") as server:
        person = Person(page, server)
        person.begin()
        for number, case in enumerate(ORIENTATIONS):
            person.open(case, images[case])
            look_at_voxels(person, case)
            person.press("t")
            page.keyboard.type(f"{case}, a bit")
            person.press("Enter", str(number % 5), "u" if number % 2 else "b", "5")
        person.saved()
        page.reload()
        for number, case in reversed(list(enumerate(ORIENTATIONS))):  # the last one is open
            if case != ORIENTATIONS[-1]:
                person.open(case, images[case])
            person.seen(images[case])
            rows = [row.split() for row in page.locator(".row").all_inner_texts()]
            assert rows == [["region_1", str(number % 5), "under" if number % 2 else "both"], ["region_2", "5", "none"]]
        assert person.complaints == []
    with (study / "annotation" / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    told = {(row["case"], row["region"]): (row["quality"], row["error"], row["comment"], row["rater"]) for row in rows}
    assert len(rows) == len(told) == 2 * len(ORIENTATIONS)
    for number, case in enumerate(ORIENTATIONS):
        error = "under" if number % 2 else "both"
        assert told[case, "region_1"] == (str(number % 5), error, f"{case}, a bit", "anna")
        assert told[case, "region_2"] == ("5", "none", "", "anna")
    status = convert_scores(
        ["--images", str(study / "images"), "--masks", str(study / "masks")]
        + ["--scores", str(study / "annotation" / "scores.csv"), "--regions", "region_1=1", "region_2=2"]
        + ["-d", "511", "-n", "Scored", "-np", "1"]
    )
    assert status == 0
    block = json.loads((tmp_path / "nnUNet_raw" / "Dataset511_Scored" / "dataset.json").read_text(encoding="utf-8"))
    for number, case in enumerate(ORIENTATIONS):
        scores = block["nnunet_weak"]["cases"][case]["scores"]
        assert {name: score["quality"] for name, score in scores.items()} == {"region_1": number % 5, "region_2": 5}


def look_at_voxels(person: Person, case: str) -> None:
    """Each plane shows the voxel that is brighter than all others where the file has it."""
    bright = person.grid.to_screen(BRIGHT).astype(int)
    for axis, plane in ((2, "axial"), (1, "coronal"), (0, "sagittal")):
        person.go_to_slice(plane, int(bright[axis]))
    person.page.mouse.move(5, 5)
    person.page.keyboard.down(" ")
    person.press("w")
    person.settle()
    picture = person.picture()
    # the cross leaves a gap where the voxel is; its neighbours are dark
    for axis, plane in ((2, "axial"), (1, "coronal"), (0, "sagittal")):
        assert person.brightness(plane, bright, picture) > 200, (case, plane)
        for other in range(3):
            if other != axis:
                aside = bright.copy()
                aside[other] += -2 if bright[other] > 2 else 2
                assert person.brightness(plane, aside + 0.2, picture) < 160, (case, plane, other)
    person.press("w")
    person.page.keyboard.up(" ")


def test_drawings(study, images, page, tmp_path):
    expected = {}
    with served(study, "drawings", classes=("liver", "spleen")) as server:
        person = Person(page, server)
        person.begin()
        for case in ORIENTATIONS:
            person.open(case, images[case])
            expected[case] = draw(person)
        person.saved()
        page.reload()
        person.seen(images[ORIENTATIONS[-1]])
        for case in reversed(ORIENTATIONS):
            if case != ORIENTATIONS[-1]:
                person.open(case, images[case])
            person.press("b", *["["] * 12, "2")
            person.go_to_slice("axial", 8)
            person.drag("axial", [(6, 6, 8)])
            expected[case][0][6, 6, 8] = 3
        person.saved()
        assert person.complaints == []

    folder = study / "annotation" / "drawings"
    status = convert_drawings(
        ["--images", str(study / "images"), "--positive", f"anna={folder / 'anna'}", "--negative"]
        + [f"anna={folder / 'anna_not'}", "--blank", "0", "--labels", "background=1", "liver=2", "spleen=3"]
        + ["-d", "521", "-n", "Drawn", "-np", "1"]
    )
    assert status == 0
    raw = tmp_path / "nnUNet_raw" / "Dataset521_Drawn" / "annotationsTr"
    for case in ORIENTATIONS:
        for name, drawn in zip(("anna", "anna_not"), expected[case], strict=True):
            for written in (folder / name, raw / name):
                found = sitk.GetArrayFromImage(sitk.ReadImage(str(written / f"{case}.nii.gz"))).T
                assert np.array_equal(on_screen(found, Grid(images[case])), drawn), (case, written)


def draw(person: Person) -> tuple[np.ndarray, np.ndarray]:
    """Draw with all tools; returns what is and what is not there afterwards, in the order of the screen."""
    middle = (person.grid.size - 1) // 2
    inside, outside = np.zeros(person.grid.size, np.uint8), np.zeros(person.grid.size, np.uint8)

    # a loop around a box of voxels in an axial slice says where the liver is
    person.press("g", "1")
    person.go_to_slice("axial", 5)
    low, high = middle - 3, middle + 2
    corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]
    person.drag(
        "axial", [(x + (0.4 if x > low[0] else -0.4), y + (0.4 if y > low[1] else -0.4), 5) for x, y in corners]
    )
    inside[low[0] : high[0] + 1, low[1] : high[1] + 1, 5] = 2

    # single voxels with the smallest brush: spleen in a sagittal, background in a coronal slice
    person.press("b", *["["] * 12, "2")
    person.go_to_slice("sagittal", 1)
    for voxel in ((1, 2, 3), (1, 4, 7)):
        person.drag("sagittal", [voxel])
        inside[voxel] = 3
    person.press("0")
    person.go_to_slice("coronal", 1)
    person.drag("coronal", [(3, 1, 9)])
    inside[3, 1, 9] = 1

    # "is not": liver in a voxel, and in one that was drawn as liver, which takes that back
    person.press("1", "-")
    person.go_to_slice("axial", 5)
    for voxel in ((2, 2, 5), (middle[0], middle[1], 5)):
        person.drag("axial", [voxel])
        outside[tuple(voxel)] = 2
    inside[middle[0], middle[1], 5] = 0
    return inside, outside


def on_screen(array: np.ndarray, grid: Grid) -> np.ndarray:
    """Array (x, y, z) of a file in the order of the screen."""
    moved = array.transpose(grid.order)
    return moved[tuple(slice(None, None, -1 if flipped else 1) for flipped in grid.flipped)]


def test_points(study, images, page, tmp_path):
    clicked = {}
    with served(study, "points", classes=("liver",)) as server:
        person = Person(page, server)
        person.begin()
        for case in ORIENTATIONS:
            person.open(case, images[case])
            clicked[case] = set_points(person, images[case])
        person.saved()
        page.reload()
        person.seen(images[ORIENTATIONS[-1]])
        for case in reversed(ORIENTATIONS):
            if case != ORIENTATIONS[-1]:
                person.open(case, images[case])
            page.locator("#stage[data-fit^='liver#1 11 ']").wait_for(timeout=20_000)
        assert person.complaints == []

    folder = study / "annotation" / "points" / "anna"
    status = convert_points(
        ["--images", str(study / "images"), "--points", str(folder), "--classes", "liver", "-d", "531"]
        + ["-n", "Clicked", "-np", "1"]
    )
    assert status == 0
    for case, points in clicked.items():
        path = folder / case / "liver.mrk.json"
        assert np.abs(read_points(path).points_mm - points).max() < 0.01, case
        assert json.loads(path.read_text(encoding="utf-8"))["markups"][0]["coordinateSystem"] == "LPS"
        labels = sitk.ReadImage(str(tmp_path / "nnUNet_raw" / "Dataset531_Clicked" / "labelsTr" / f"{case}.nii.gz"))
        volume = (sitk.GetArrayFromImage(labels) == 1).sum() * np.prod(labels.GetSpacing())
        assert volume == pytest.approx(fit_surface(points).volume_mm3, rel=0.1), case
        grid = Grid(images[case])
        assert labels[labels.TransformPhysicalPointToIndex(grid.world((grid.size - 1) / 2).tolist())] == 1, case


def set_points(person: Person, image: sitk.Image) -> np.ndarray:
    """Click twelve points in three planes, drag one and delete one; returns where the others are, LPS mm."""
    page = person.page
    centre = (person.grid.size - 1) / 2
    clicked = []
    for plane, axis in (("axial", 2), ("coronal", 1), ("sagittal", 0)):
        person.go_to_slice(plane, int(centre[axis]))
        for angle in np.arange(0.3, 6.28, 1.57):
            voxel = centre.copy()
            to_left, up = [side for side in range(3) if side != axis]
            voxel[to_left] += 12 * np.cos(angle) / person.grid.spacing[to_left]
            voxel[up] += 12 * np.sin(angle) / person.grid.spacing[up]
            x, y = (round(value) for value in person.pixel(plane, voxel))
            clicked.append(person.grid.world(person.place(plane, x, y)))
            page.mouse.click(x, y)
    page.locator("#stage[data-fit^='liver#1 12 ']").wait_for(timeout=20_000)

    # drag the first point, delete the last, undo that, delete it again
    person.go_to_slice("axial", int(centre[2]))
    index = np.array(image.TransformPhysicalPointToContinuousIndex(clicked[0].tolist()))
    x, y = (round(value) for value in person.pixel("axial", person.grid.to_screen(index)))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 9, y + 4, steps=3)
    page.mouse.up()
    clicked[0] = person.grid.world(person.place("axial", x + 9, y + 4))
    page.mouse.move(5, 5)
    person.press("Delete", "Control+z", "Delete")
    return np.array(clicked[:-1])
