"""A whole task of each kind on images of every orientation, by mouse and keys, then reloaded, then converted."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
from annotation_person import ORIENTATIONS, Person, make_study, served

from nnunet_weak.dataset_conversion.drawings import main as convert_drawings
from nnunet_weak.dataset_conversion.points import main as convert_points
from nnunet_weak.dataset_conversion.scores import main as convert_scores
from nnunet_weak.points.files import read_points
from nnunet_weak.surface.fit import fit_surface

pytestmark = pytest.mark.browser
BRIGHT = (4, 13, 6)


@pytest.fixture(params=ORIENTATIONS)
def study(request, tmp_path, monkeypatch):
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return make_study(tmp_path / "Größe und Lage", request.param, bright=BRIGHT)


@pytest.fixture
def image(study):
    return sitk.ReadImage(str(study / "images" / "case_a.nii.gz"))


def test_slices_show_the_voxels_that_the_file_has_there(study, image, page):
    with served(study, "scores") as server:
        person = Person(page, server)
        person.begin()
        person.open("case_a", image)
        bright = person.grid.to_screen(BRIGHT).astype(int)
        for axis, plane in ((2, "axial"), (1, "coronal"), (0, "sagittal")):
            person.go_to_slice(plane, int(bright[axis]))
        page.mouse.move(5, 5)
        page.keyboard.down(" ")
        person.press("w")
        person.settle()
        # the cross leaves a gap where the voxel is; its neighbours are dark
        for axis, plane in ((2, "axial"), (1, "coronal"), (0, "sagittal")):
            assert person.brightness(plane, bright) > 200, plane
            for other in range(3):
                if other != axis:
                    aside = bright.copy()
                    aside[other] += -2 if bright[other] > 2 else 2
                    assert person.brightness(plane, aside + 0.2) < 160, (plane, other)
        assert person.complaints == []


def test_drawings(study, image, page, tmp_path):
    with served(study, "drawings", classes=("liver", "spleen")) as server:
        person = Person(page, server)
        person.begin()
        person.open("case_a", image)
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
        person.saved()

        page.reload()
        person.seen(image)
        person.press("b", *["["] * 12, "2")
        person.go_to_slice("axial", 8)
        person.drag("axial", [(6, 6, 8)])
        inside[6, 6, 8] = 3
        person.saved()
        assert person.complaints == []

    folder = study / "annotation" / "drawings"
    for name, expected in (("anna", inside), ("anna_not", outside)):
        drawn = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name / "case_a.nii.gz"))).T
        assert np.array_equal(on_screen(drawn, person.grid), expected), name

    status = convert_drawings(
        ["--images", str(study / "images"), "--positive", f"anna={folder / 'anna'}", "--negative"]
        + [f"anna={folder / 'anna_not'}", "--blank", "0", "--labels", "background=1", "liver=2", "spleen=3"]
        + ["-d", "521", "-n", "Drawn", "-np", "1"]
    )
    assert status == 0
    raw = tmp_path / "nnUNet_raw" / "Dataset521_Drawn" / "annotationsTr"
    for name, expected in (("anna", inside), ("anna_not", outside)):
        converted = sitk.GetArrayFromImage(sitk.ReadImage(str(raw / name / "case_a.nii.gz"))).T
        assert np.array_equal(on_screen(converted, person.grid), expected), name


def on_screen(array: np.ndarray, grid) -> np.ndarray:
    """Array (x, y, z) of a file in the order of the screen."""
    moved = array.transpose(grid.order)
    return moved[tuple(slice(None, None, -1 if flipped else 1) for flipped in grid.flipped)]


def test_points(study, image, page, tmp_path):
    with served(study, "points", classes=("liver",)) as server:
        person = Person(page, server)
        person.begin()
        person.open("case_a", image)
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
        person.saved()

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
        clicked.pop()
        person.saved()
        page.reload()
        person.seen(image)
        page.locator("#stage[data-fit^='liver#1 11 ']").wait_for(timeout=20_000)
        assert person.complaints == []

    path = study / "annotation" / "points" / "anna" / "case_a" / "liver.mrk.json"
    written = read_points(path).points_mm
    assert np.abs(written - np.array(clicked)).max() < 0.01
    assert json.loads(path.read_text(encoding="utf-8"))["markups"][0]["coordinateSystem"] == "LPS"
    status = convert_points(
        ["--images", str(study / "images"), "--points", str(path.parents[1]), "--classes", "liver", "-d", "531"]
        + ["-n", "Clicked", "-np", "1"]
    )
    assert status == 0
    labels = sitk.ReadImage(str(tmp_path / "nnUNet_raw" / "Dataset531_Clicked" / "labelsTr" / "case_a.nii.gz"))
    volume = (sitk.GetArrayFromImage(labels) == 1).sum() * np.prod(labels.GetSpacing())
    assert volume == pytest.approx(fit_surface(np.array(clicked)).volume_mm3, rel=0.1)
    middle = labels.TransformPhysicalPointToIndex(person.grid.world(centre).tolist())
    assert labels[middle] == 1


def test_scores(study, image, page, tmp_path):
    with served(study, "scores") as server:
        person = Person(page, server)
        person.begin()
        person.open("case_a", image)
        person.press("3", "u", "t")
        page.keyboard.type("a bit, too small")
        person.press("Enter", "5")
        person.saved()
        page.reload()
        person.seen(image)
        assert page.locator(".row").all_inner_texts()[1].split() == ["region_2", "5", "none"]
        person.press("Tab")
        assert person.complaints == []
    with (study / "annotation" / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["region"], row["quality"], row["error"], row["rater"]) for row in rows] == [
        ("case_a", "region_1", "3", "under", "anna"),
        ("case_a", "region_2", "5", "none", "anna"),
    ]
    status = convert_scores(
        ["--images", str(study / "images"), "--masks", str(study / "masks"), "--scores"]
        + [
            str(study / "annotation" / "scores.csv"),
            "--regions",
            "region_1=1",
            "region_2=2",
            "-d",
            "511",
            "-n",
            "Scored",
        ]
        + ["-np", "1"]
    )
    assert status == 0
    block = json.loads((tmp_path / "nnUNet_raw" / "Dataset511_Scored" / "dataset.json").read_text(encoding="utf-8"))
    scores = block["nnunet_weak"]["cases"]["case_a"]["scores"]
    assert {name: score["quality"] for name, score in scores.items()} == {"region_1": 3, "region_2": 5}
