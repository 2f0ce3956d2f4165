from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak.annotations import WeakAnnotations
from nnunet_weak.dataset_conversion.coarse import main
from nnunet_weak.drawings.codes import (
    ClassSource,
    class_numbers,
    parse_drawing_code,
    read_label_descriptions,
)
from nnunet_weak.errors import InvalidInputError

SHAPE = (5, 6, 8)  # z, y, x
BLANK = 9
LABELS = ("--labels", "background=0", "liver=1", "spleen=5", "--blank", str(BLANK))


class Drawings:
    """Images and drawings that the converter takes, to be spoilt by each test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for number in range(3):
            rng = np.random.default_rng(number)
            self.write(f"images/case_{number}.nii.gz", rng.integers(0, 99, SHAPE).astype(np.int16))
            self.write(f"anna/case_{number}.nii.gz", self.drawn())

    @staticmethod
    def drawn(liver=(slice(1, 3), slice(1, 3), slice(1, 4)), spleen=(slice(1, 3), slice(3, 5), slice(4, 7))):
        array = np.full(SHAPE, BLANK, np.uint8)
        array[0] = 0
        array[liver], array[spleen] = 1, 5
        return array

    def write(self, path: str, array: np.ndarray, origin=(-12.3, 45.6, 7.8)) -> Path:
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.6, 0.75, 2.5))
        image.SetOrigin(origin)
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(target))
        return target

    def write_segmentation(self, path: str, segments: dict, layers: np.ndarray, first_voxel=(0, 0, 0)) -> None:
        """As 3D Slicer saves it: `segments` {name: (layer, value)}, `layers` (layer, z, y, x), perhaps cropped."""
        planes = [sitk.GetImageFromArray(layer.astype(np.uint8)) for layer in layers]
        image = planes[0] if len(planes) == 1 else sitk.Compose(planes)
        spacing = np.array((0.6, 0.75, 2.5))
        image.SetSpacing(spacing.tolist())
        image.SetOrigin((np.array((-12.3, 45.6, 7.8)) + np.array(first_voxel) * spacing).tolist())
        for number, (name, (layer, value)) in enumerate(segments.items()):
            image.SetMetaData(f"Segment{number}_Name", name)
            image.SetMetaData(f"Segment{number}_Layer", str(layer))
            image.SetMetaData(f"Segment{number}_LabelValue", str(value))
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(target))

    def convert(self, *further: str, labels=LABELS, positive=("anna=anna",), sheets=False) -> int:
        annotators = [word for text in positive for word in ("--positive", text)]
        options = ["-d", "521", "-n", "Organs", "-np", "1", *([] if sheets else ["--no-sheets"])]
        return main(["--images", "images", *annotators, *labels, *options, *further])

    @property
    def dataset(self) -> Path:
        return self.folder / "nnUNet_raw" / "Dataset521_Organs"

    def voxels(self, path: str) -> np.ndarray:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(self.dataset / path)))


@pytest.fixture
def drawings(nnunet_folders: Path) -> Drawings:
    return Drawings(nnunet_folders)


# ---------------------------------------------------------------- what is written


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
    assert drawings.convert("--negative", "anna=no", "--none-of-the-targets", "7") == 0
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


def test_a_channel_off_the_grid_is_told_once(drawings, capsys):
    for number in range(3):
        (drawings.folder / f"images/case_{number}.nii.gz").rename(drawings.folder / f"images/case_{number}_0000.nii.gz")
        origin = (0.0, 0.0, 0.0) if number == 1 else (-12.3, 45.6, 7.8)
        drawings.write(f"images/case_{number}_0001.nii.gz", np.zeros(SHAPE, np.int16), origin)
    assert drawings.convert("--random-walker") == 2
    told = capsys.readouterr().err
    assert told.count("case_1_0001.nii.gz: not on the grid of case_1_0000.nii.gz") == 1 and "1 problem" in told


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
    assert drawings.convert(*options, sheets=True) == 0
    assert "sheets before training" in capsys.readouterr().out
    assert titles["case_0.png"] == [
        text
        for index in (1, 2, 4)  # those with a target in some map
        for text in (f"slice {index}", "anna: is", "anna_not: is not", "random_walker: is")
    ]
    assert titles["case_1.png"][1:3] == ["anna: is", "reference"]
    titles.clear()
    assert drawings.convert("--overwrite") == 0 and not titles
    assert not (drawings.dataset / "sheets").exists()


# ---------------------------------------------------------------- 3D Slicer, ITK-SNAP

NAMES = ("--labels", "background", "Liver", "spleen=Milz", "--blank", "0")


def test_segmentation_of_slicer_cropped_with_overlapping_layers(drawings):
    for number in range(3):
        (drawings.folder / f"anna/case_{number}.nii.gz").unlink()
    layers = np.zeros((2, 2, 3, 4), np.uint8)  # of the image: z 1 to 2, y 2 to 4, x 3 to 6
    layers[0, :, :, :3], layers[0, 1, 2, 3], layers[1, :, :2, 2:] = 1, 2, 1
    segments = {"liver": (0, 1), "Background": (0, 2), "Milz": (1, 1)}
    for number in range(3):
        drawings.write_segmentation(f"anna/case_{number}.seg.nrrd", segments, layers, first_voxel=(3, 2, 1))
    assert drawings.convert(labels=NAMES) == 0
    expected = np.zeros(SHAPE, int)
    expected[1:3, 2:5, 3:6], expected[1:3, 2:4, 6], expected[2, 4, 6] = 2, 3, 1
    np.testing.assert_array_equal(drawings.voxels("annotationsTr/anna/case_2.nii.gz"), expected)
    conflicts = json.loads((drawings.dataset / "conversion.json").read_text())["conflicting_voxels"]["case_0"]
    assert conflicts == {"segments of anna overlap, the first-named stays": 4}


def test_negative_segments_of_all_targets_say_background(drawings):
    layers = np.zeros((2, *SHAPE), np.uint8)
    layers[0, :, :, :4], layers[1, :, :, 2:6] = 1, 1
    drawings.write_segmentation("no/case_0.seg.nrrd", {"liver": (0, 1), "spleen": (1, 1)}, layers)
    drawings.write_segmentation("yes/case_0.seg.nrrd", {"liver": (0, 1)}, np.arange(8) * np.ones((1, *SHAPE)) == 7)
    labels = ("--labels", "liver", "spleen", "--blank", "0", "--allow-missing")
    assert drawings.convert("--negative", "anna=no", labels=labels, positive=("anna=yes",)) == 0
    negative = drawings.voxels("annotationsTr/anna_not/case_0.nii.gz")[0, 0]
    positive = drawings.voxels("annotationsTr/anna/case_0.nii.gz")[0, 0]
    assert negative.tolist() == [2, 2, 0, 0, 3, 3, 0, 0] and positive.tolist() == [0, 0, 1, 1, 0, 0, 0, 2]


def test_slicer_problems_name_segment_and_remedy(drawings, capsys):
    layers = np.ones((1, *SHAPE), np.uint8)
    drawings.write_segmentation("slicer/case_0.seg.nrrd", {"kidney": (0, 1)}, layers)
    drawings.write_segmentation("slicer/case_1.seg.nrrd", {"liver": (0, 1)}, layers, first_voxel=(0.5, 0, 0))
    drawings.write_segmentation("slicer/case_2.seg.nrrd", {"liver": (0, 1)}, layers, first_voxel=(1, 0, 0))
    assert drawings.convert(labels=NAMES, positive=("anna=slicer",)) == 2
    told = capsys.readouterr().err
    assert "segment 'kidney': is none of Liver, spleen, Milz, background" in told
    assert "case_1.seg.nrrd: its voxels are not those of the image" in told and "source geometry" in told
    assert "segment 'liver': 30 voxels lie outside the image" in told
    assert not drawings.dataset.exists()


def test_itk_snap_label_descriptions_give_values_to_names(drawings, tmp_path):
    description = tmp_path / "labels.txt"
    description.write_text(
        "################\n# ITK-SnAP Label Description File\n"
        '    0     0    0    0        0  0  0    "Clear Label"\n'
        '    1   255    0    0        1  1  1    "liver"\n'
        '    5     0  255    0      0.5  1  1    "Milz"\n'
        '    7     0    0  255        1  1  1    "Background"\n'
    )
    assert read_label_descriptions(description)["Milz"] == 5
    code = parse_drawing_code(["background", "Liver", "spleen=Milz"], 0, description=description)
    assert [target.values for target in code.targets] == [(1,), (5,)] and code.background.values == (7,)
    with pytest.raises(InvalidInputError, match="kidney.*no label of this name is described"):
        parse_drawing_code(["kidney"], 0, description=description)


# ---------------------------------------------------------------- what is refused


def test_all_problems_in_one_list_and_nothing_written(drawings, capsys):
    odd = drawings.drawn()
    odd[4, 5, 7] = 6
    drawings.write("anna/case_0.nii.gz", odd)
    drawings.write("anna/case_1.nii.gz", drawings.drawn(), origin=(0.0, 45.6, 7.8))
    drawings.write("anna/case_2.nii.gz", np.full(SHAPE, BLANK, np.uint8))
    drawings.write("anna/Case2.nii.gz", drawings.drawn())
    assert drawings.convert() == 2
    told = capsys.readouterr().err
    assert "4 problems" in told and not drawings.dataset.exists()
    assert "the value 6 (1 voxels) is neither a class of --labels nor --blank 9" in told
    assert "case_1.nii.gz: not on the image's grid" in told and "mm away" in told
    assert "case_2: its drawings are blank" in told
    assert "Case2.nii.gz: positive drawing of anna without an image" in told and "perhaps it belongs to case_2" in told


def test_a_case_that_nobody_drew(drawings, capsys):
    (drawings.folder / "anna/case_1.nii.gz").unlink()
    assert drawings.convert() == 2
    assert "case 'case_1': nobody drew in it" in capsys.readouterr().err
    assert drawings.convert("--allow-missing") == 0
    assert set(WeakAnnotations.read(drawings.dataset).cases) == {"case_0", "case_2"}


def test_dry_run_and_existing_data_set(drawings, capsys):
    assert drawings.convert("--dry-run") == 0 and not drawings.dataset.exists()
    assert "nothing was written" in capsys.readouterr().out
    assert drawings.convert() == 0
    assert drawings.convert() == 2 and "exists already" in capsys.readouterr().err
    assert drawings.convert("--overwrite") == 0


def test_the_random_walker_needs_drawings_and_its_name(drawings, capsys):
    assert drawings.convert("--random-walker", positive=("random_walker=anna",)) == 2
    assert "is the map of --random-walker" in capsys.readouterr().err
    assert drawings.convert("--random-walker", "--negative", "anna=anna", positive=()) == 2
    assert "carries on positive drawings, and there are none" in capsys.readouterr().err


def test_blank_is_never_guessed(drawings, capsys):
    with pytest.raises(SystemExit):
        drawings.convert(labels=LABELS[:-2])
    assert "--blank" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("texts", "blank", "message"),
    [
        (["liver=1", "spleen=1"], 0, "value 1: means both liver and spleen"),
        (["liver=1"], 1, "is also the value of liver"),
        (["liver=0"], 4, "0 is the background"),
        (["background=0"], 4, "names no target"),
        (["liver=1", "Liver=2"], 0, "liver is named twice"),
        (["liver=1,Milz"], 0, "mixed"),
        (["ignore=3"], 0, "--blank"),
        (["liver="], 0, "is not NAME"),
    ],
)
def test_labels_that_mean_nothing_clear(texts, blank, message):
    with pytest.raises(InvalidInputError, match=message):
        parse_drawing_code(texts, blank)


def test_references_with_values_of_no_target():
    targets = (ClassSource("liver", (1, 4)), ClassSource("spleen", (5,)))
    np.testing.assert_array_equal(class_numbers(np.array([[0, 4, 5, 1]]), targets, "x"), [[0, 1, 2, 1]])
    with pytest.raises(InvalidInputError, match=r"x: holds the values \[2\]"):
        class_numbers(np.array([2]), targets, "x")


def test_warnings_that_save_a_training(drawings, caplog):
    for number in range(3):
        array = drawings.drawn()
        array[array != 1] = BLANK
        drawings.write(f"anna/case_{number}.nii.gz", array)
    assert drawings.convert("--channel-names", "CT", "--dry-run") == 0
    told = " ".join(record.message for record in caplog.records)
    assert "Nobody drew spleen" in told and "Nobody drew background" in told
    assert "counts blank ones as labelled" in told and "--channel-names zscore" in told


def test_a_file_with_the_header_that_slicer_writes(drawings):
    """Layers are a list axis of NRRD, which SimpleITK itself never writes; `layers` has the axes (z, y, x, layer)."""
    layers = np.zeros((2, 3, 4, 2), np.uint8)
    layers[0, :, :2, 0], layers[1, 0, :, 0], layers[1, 1:, 3, 1] = 1, 2, 1
    header = (
        "NRRD0004\n# Complete NRRD file format specification at:\n"
        "# http://teem.sourceforge.net/nrrd/format.html\n"
        "type: unsigned char\ndimension: 4\nspace: left-posterior-superior\nsizes: 2 4 3 2\n"
        "space directions: none (0.6,0,0) (0,0.75,0) (0,0,2.5)\nkinds: list domain domain domain\nencoding: raw\n"
        f"space origin: ({-12.3 + 2 * 0.6},{45.6 + 3 * 0.75},{7.8 + 2.5})\n"
        "Segment0_ID:=Segment_1\nSegment0_Extent:=0 1 0 2 0 0\nSegment0_LabelValue:=1\nSegment0_Layer:=0\n"
        "Segment0_Name:=liver\nSegment0_NameAutoGenerated:=0\n"
        "Segment1_ID:=Segment_2\nSegment1_LabelValue:=2\nSegment1_Layer:=0\nSegment1_Name:=background\n"
        "Segment2_ID:=Segment_3\nSegment2_LabelValue:=1\nSegment2_Layer:=1\nSegment2_Name:=Milz\n"
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|Closed surface|\n"
        "Segmentation_ReferenceImageExtentOffset:=2 3 1\n\n"
    )
    for number in range(3):
        (drawings.folder / f"anna/case_{number}.nii.gz").unlink()
        (drawings.folder / f"anna/case_{number}.seg.nrrd").write_bytes(header.encode() + layers.tobytes())
    assert drawings.convert(labels=NAMES) == 0
    expected = np.zeros(SHAPE, int)
    expected[1, 3:6, 2:4], expected[2, 3, 2:6], expected[2, 4:6, 5] = 2, 1, 3
    np.testing.assert_array_equal(drawings.voxels("annotationsTr/anna/case_0.nii.gz"), expected)
