from __future__ import annotations

import json

import numpy as np
from drawing_study import BLANK, SHAPE

from nnunet_weak.dataset.annotations import WeakAnnotations


def test_label_map_ignores_blank_and_the_map_encodes_it_as_zero(drawings, capsys):
    assert drawings.convert() == 0
    drawn = drawings.drawn()
    expected = np.select([drawn == 0, drawn == 1, drawn == 5], [0, 1, 2], 3)
    np.testing.assert_array_equal(drawings.voxels("labelsTr/case_1.nii.gz"), expected)
    np.testing.assert_array_equal(drawings.voxels("annotationsTr/anna/case_1.nii.gz"), (expected + 1) % 4)
    content = json.loads((drawings.dataset / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "liver": 1, "spleen": 2, "ignore": 3}
    block = WeakAnnotations.read(drawings.dataset)
    assert block.method == "refineseg" and block.maps == {"anna": "positive"}
    assert block.cases["case_0"].maps == ("anna",) and not block.cases["case_0"].fully_annotated
    image = (drawings.folder / "images/case_2.nii.gz").read_bytes()
    assert (drawings.dataset / "imagesTr/case_2_0000.nii.gz").read_bytes() == image
    assert "background 144, liver 36, spleen 36" in capsys.readouterr().out


def test_annotators_may_have_drawn_different_cases(drawings):
    drawings.write("ben/case_2.mha", drawings.drawn(liver=(slice(3, 4), slice(0, 2), slice(0, 2))))
    (drawings.folder / "anna/case_2.nii.gz").unlink()
    drawings.write(
        "anna_no/case_0.nrrd", np.where(np.arange(8) < 3, 5, BLANK).astype(np.uint8) * np.ones(SHAPE, np.uint8)
    )
    assert drawings.convert("--negative", "anna=anna_no", positive=("anna=anna", "ben=ben")) == 0
    block = WeakAnnotations.read(drawings.dataset)
    assert dict(block.maps) == {"anna": "positive", "anna_not": "negative", "ben": "positive"}
    assert [block.cases[f"case_{n}"].maps for n in range(3)] == [("anna", "anna_not"), ("anna",), ("ben",)]
    labels = drawings.voxels("labelsTr/case_2.nii.gz")
    assert (labels[3, :2, :2] == 1).all(), "the first positive drawing of the case, here ben's"
    negative = drawings.voxels("annotationsTr/anna_not/case_0.nii.gz")
    assert (negative[..., :3] == 3).all() and (negative[..., 3:] == 0).all()


def test_excluding_all_targets_is_drawn_background(drawings):
    negative = np.full(SHAPE, BLANK, np.uint8)
    negative[..., 0], negative[..., 6], negative[..., 7] = 7, 1, 7
    drawings.write("no/case_0.nii.gz", negative)
    drawings.write("no/case_1.nii.gz", negative)
    (drawings.folder / "anna/case_1.nii.gz").unlink()
    assert drawings.convert("--negative", "anna=no", "--not-any-target", "7") == 0
    positive, excluded = (drawings.voxels(f"annotationsTr/{name}/case_0.nii.gz") for name in ("anna", "anna_not"))
    assert (positive[1:, :, 0] == 1).all() and (positive[1:3, 1:3, 1:4] == 2).all()
    assert (excluded[..., 6] == 2).all() and (excluded[..., :6] == 0).all() and (excluded[..., 7] == 0).all()
    lone = drawings.voxels("annotationsTr/anna/case_1.nii.gz")
    assert (lone[..., 0] == 1).all() and lone.sum() == 2 * 5 * 6, "a positive map of its own where there was none"


def test_contradictions_are_counted_and_kept(drawings, capsys):
    moved = drawings.drawn(spleen=(slice(1, 3), slice(1, 3), slice(3, 5)))
    drawings.write("ben/case_0.nii.gz", moved)  # 4 voxels of anna's liver are spleen to ben
    negative = np.full(SHAPE, BLANK, np.uint8)
    negative[1, 1] = 1  # not liver: 3 voxels of anna's liver, 2 of ben's
    drawings.write("no/case_0.nii.gz", negative)
    assert drawings.convert("--negative", "cleo=no", positive=("anna=anna", "ben=ben")) == 0
    record = json.loads((drawings.dataset / "conversion.json").read_text())
    assert record["conflicting_voxels"] == {
        "case_0": {
            "anna and ben draw different classes": 4,
            "anna and cleo_not contradict each other": 3,
            "ben and cleo_not contradict each other": 2,
        }
    }
    assert "anna and ben draw different classes: 4 voxels (case_0 4)" in capsys.readouterr().out
    assert (drawings.voxels("annotationsTr/anna/case_0.nii.gz")[1:3, 1:3, 3] == 2).all()


def test_references_are_fully_annotated_and_keep_their_drawings(drawings):
    reference = np.zeros(SHAPE, np.uint8)
    reference[2:4], reference[4] = 5, 1
    drawings.write("references/case_1.nii.gz", reference)
    assert drawings.convert("--references", "references") == 0
    np.testing.assert_array_equal(
        drawings.voxels("labelsTr/case_1.nii.gz"), np.select([reference == 5, reference == 1], [2, 1], 0)
    )
    block = WeakAnnotations.read(drawings.dataset)
    assert block.fully_annotated_cases == ("case_1",) and block.cases["case_1"].maps == ("anna",)
    splits = json.loads((drawings.dataset / "splits_final.json").read_text())
    assert {case for fold in splits for case in fold["val"]} == {"case_1"}


def test_drawings_are_carried_on_by_a_random_walker(drawings, capsys):
    image = np.zeros(SHAPE, np.int16)
    image[1:3, :, :4] = 50  # the liver, beyond what is drawn of it
    drawings.write("images/case_0.nii.gz", image)
    negative = np.full(SHAPE, BLANK, np.uint8)
    negative[1, 5, 0] = 1
    drawings.write("no/case_0.nii.gz", negative)
    drawings.write("references/case_1.nii.gz", np.zeros(SHAPE, np.uint8))
    options = ("--negative", "anna=no", "--references", "references", "--random-walker")
    assert drawings.convert(*options, "--dry-run") == 0
    assert "random_walker (positive): 2 cases; voxels of background 96, liver" in capsys.readouterr().out
    assert drawings.convert(*options) == 0
    drawn, filled = (drawings.voxels(f"annotationsTr/{name}/case_0.nii.gz") for name in ("anna", "random_walker"))
    assert np.array_equal(filled[drawn > 0], drawn[drawn > 0])
    expected = np.where(image[1:3] > 0, 2, 3)
    expected[0, 5, 0] = 3  # not liver
    assert np.array_equal(filled[1:3], expected)
    assert not filled[3:].any(), "nothing is drawn there"
    assert (drawings.voxels("labelsTr/case_0.nii.gz")[1:3] == 3).any(), "blank, as for the stock trainer"
    block = WeakAnnotations.read(drawings.dataset)
    assert list(block.maps.items()) == [("anna", "positive"), ("anna_not", "negative"), ("random_walker", "positive")]
    assert block.cases["case_0"].maps == ("anna", "anna_not", "random_walker")
    assert block.cases["case_1"].maps == ("anna",), "a reference needs no guess"
    assert json.loads((drawings.dataset / "conversion.json").read_text())["options"]["random_walker"] is True


def test_a_sheet_of_each_case_shows_all_maps(drawings, monkeypatch, capsys):
    from matplotlib.figure import Figure

    titles: dict[str, list[str]] = {}

    def remember(figure, path, **_):
        titles[path.name] = [axes.get_title() for axes in figure.axes]

    monkeypatch.setattr(Figure, "savefig", remember)
    negative = np.full(SHAPE, BLANK, np.uint8)
    negative[4] = 1
    drawings.write("no/case_0.nii.gz", negative)
    drawings.write("references/case_1.nii.gz", np.zeros(SHAPE, np.uint8))
    options = ("--negative", "anna=no", "--references", "references", "--random-walker")
    assert drawings.convert(*options, previews=True) == 0
    assert "previews before training" in capsys.readouterr().out
    assert titles["case_0.png"] == [
        text
        for index in (1, 2, 4)  # those with a target in some map
        for text in (f"slice {index}", "anna: is", "anna_not: is not", "random_walker: is")
    ]
    assert titles["case_1.png"][1:3] == ["anna: is", "reference"]
    titles.clear()
    assert drawings.convert("--overwrite") == 0 and not titles
    assert not (drawings.dataset / "previews").exists()
