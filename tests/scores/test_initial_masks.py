from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.scores.initial_masks import find_initial_masks, read_initial_mask
from nnunet_weak.scores.regions import RegionSource, keep_largest_components, parse_regions

SHAPE = (4, 5, 6)  # z, y, x


def image_of(array: np.ndarray, spacing_mm: tuple[float, float, float] = (0.5, 0.7, 2.0)) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_mm)
    image.SetOrigin((10.0, -20.0, 30.0))
    return image


def write_mask(path: Path, *slices: Any, dtype: Any = np.uint8, value: int = 1) -> Path:
    array = np.zeros(SHAPE, dtype)
    for part in slices:
        array[part] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image_of(array), str(path))
    return path


@pytest.fixture
def reference() -> sitk.Image:
    return image_of(np.zeros(SHAPE, np.int16))


def array_of(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


# ---------------------------------------------------------------- regions as text


def test_parse_regions():
    assert parse_regions(["proximal=1", "shaft = 2, 5-7"]) == (
        RegionSource("proximal", labels=(1,)),
        RegionSource("shaft", labels=(2, 5, 6, 7)),
    )
    assert parse_regions(["ribs=rib_left_*,rib_right_*", "hip_left", "spine=vertebrae_L1.nii.gz"]) == (
        RegionSource("ribs", patterns=("rib_left_*", "rib_right_*")),
        RegionSource("hip_left", patterns=("hip_left",)),
        RegionSource("spine", patterns=("vertebrae_L1",)),
    )


@pytest.mark.parametrize(
    "texts, expected",
    [
        ([], "none given"),
        (["=1"], "the name is empty"),
        (["background=1"], "has a meaning of its own in nnU-Net"),
        (["Ignore=1"], "has a meaning of its own in nnU-Net"),
        (["a/b=1"], "may not contain /"),
        (["a,b=1"], "may not contain ,"),
        (["3=1"], "a number is no name"),
        (["shaft="], "no label or file is given"),
        (["shaft=1,"], "no label or file is given"),
        (["shaft=0"], "0 is the background"),
        (["shaft=70000"], "from 1 to 65535"),
        (["shaft=5-3"], "ranges run upwards"),
        (["shaft=1,rib_*"], "labels and file names are mixed"),
        (["shaft=1", "ribs=rib_*"], "some are given as labels of a label map, some as files"),
        (["shaft=1", "head=1"], "label 1 is shaft already"),
        (["shaft=1", "Shaft=2"], "named twice"),
    ],
)
def test_bad_regions(texts, expected):
    with pytest.raises(InvalidInputError) as caught:
        parse_regions(texts)
    assert expected in str(caught.value)


def test_bad_regions_are_listed_together():
    with pytest.raises(InvalidInputError) as caught:
        parse_regions(["background=1", "a/b=2", "c=0"])
    assert len(caught.value.problems) == 3


# ---------------------------------------------------------------- label maps


def test_label_map(tmp_path, reference):
    array = np.zeros(SHAPE, np.uint16)
    array[0, 0, 0], array[1, 2, 3], array[3, 4, 5], array[2, 2, 2] = 4, 300, 7, 9
    path = tmp_path / "case.nii.gz"
    sitk.WriteImage(image_of(array), str(path))
    mask = read_initial_mask(path, parse_regions(["far=7,300", "near=4", "nowhere=1", "other=8-9"]), reference)
    expected = np.zeros(SHAPE, np.uint8)
    expected[0, 0, 0], expected[1, 2, 3], expected[3, 4, 5], expected[2, 2, 2] = 2, 1, 1, 4
    assert np.array_equal(array_of(mask.label_map), expected)
    assert mask.label_map.GetPixelID() == sitk.sitkUInt8 and mask.label_map.GetSpacing() == reference.GetSpacing()
    assert mask.empty_regions == ("nowhere",)
    assert mask.overlaps == {}


def test_label_map_with_other_values(tmp_path, reference):
    array = np.arange(np.prod(SHAPE), dtype=np.uint8).reshape(SHAPE) % 30
    path = tmp_path / "case.nii.gz"
    sitk.WriteImage(image_of(array), str(path))
    regions = parse_regions(["a=1-8", "b=20"])
    with pytest.raises(InvalidInputError, match=r"values 9, 10, .* 19, 21, .*none of the regions a=1,2,.*b=20"):
        read_initial_mask(path, regions, reference)
    mask = read_initial_mask(path, regions, reference, other_labels="background")
    assert np.array_equal(array_of(mask.label_map), np.where((array > 0) & (array < 9), 1, np.where(array == 20, 2, 0)))


def test_label_map_inside_the_folder_of_a_case(tmp_path, reference):
    write_mask(tmp_path / "case" / "segmentation.nii.gz", np.s_[1:3])
    source = find_initial_masks(tmp_path, ["case"], parse_regions(["a=1"]), Problems())["case"]
    assert array_of(read_initial_mask(source, parse_regions(["a=1"]), reference).label_map).sum() == 2 * 5 * 6
    write_mask(tmp_path / "case" / "other.nii.gz", np.s_[1:3])
    with pytest.raises(InvalidInputError, match="holds 2 images"):
        read_initial_mask(source, parse_regions(["a=1"]), reference)


def test_label_map_where_files_were_named_and_the_other_way_round(tmp_path, reference):
    path = write_mask(tmp_path / "case.nii.gz", np.s_[0])
    with pytest.raises(InvalidInputError, match="give them as NAME=LABEL"):
        read_initial_mask(path, parse_regions(["a=liver"]), reference)
    with pytest.raises(InvalidInputError, match="no such folder of masks"):
        read_initial_mask(tmp_path / "none", parse_regions(["a=liver"]), reference)
    with pytest.raises(InvalidInputError, match="no such file"):
        read_initial_mask(tmp_path / "none", parse_regions(["a=1"]), reference)


def test_label_map_with_fractions_is_refused(tmp_path, reference):
    array = np.zeros(SHAPE, np.float32)
    array[0] = 0.5
    sitk.WriteImage(image_of(array), str(tmp_path / "case.nii.gz"))
    with pytest.raises(InvalidInputError, match="not a label map, it holds 0.5"):
        read_initial_mask(tmp_path / "case.nii.gz", parse_regions(["a=1"]), reference)


# ---------------------------------------------------------------- folders of binary masks


@pytest.mark.parametrize("subfolder", ["", "segmentations"])
def test_folder_of_masks(tmp_path, reference, subfolder):
    folder = tmp_path / "case" / subfolder
    write_mask(folder / "rib_left_1.nii.gz", np.s_[0, 0])
    write_mask(folder / "rib_left_2.nii.gz", np.s_[0, 1], value=255)  # as other programs write true
    write_mask(folder / "rib_right_1.nii.gz")
    write_mask(folder / "liver.nii.gz", np.s_[2], dtype=np.float64)
    write_mask(folder / "colon.nii.gz")
    (folder / "statistics.json").write_text("{}")
    regions = parse_regions(["liver", "gut=colon", "ribs=rib_left_*,rib_right_*"])
    source = find_initial_masks(tmp_path, ["case"], regions, Problems())["case"]
    assert source == folder
    mask = read_initial_mask(source, regions, reference)
    expected = np.zeros(SHAPE, np.uint8)
    expected[2], expected[0, :2] = 1, 3
    assert np.array_equal(array_of(mask.label_map), expected)
    assert mask.empty_regions == ("gut",)
    names = {region: [path.name.removesuffix(".nii.gz") for path in files] for region, files in mask.files.items()}
    assert names == {"liver": ["liver"], "gut": ["colon"], "ribs": ["rib_left_1", "rib_left_2", "rib_right_1"]}


def test_overlap_goes_to_the_region_named_first(tmp_path, reference):
    write_mask(tmp_path / "a.nii.gz", np.s_[0:3])
    write_mask(tmp_path / "b1.nii.gz", np.s_[2:4])
    write_mask(tmp_path / "b2.nii.gz", np.s_[3:4])  # overlaps b1 only, within one region
    write_mask(tmp_path / "c.nii.gz", np.s_[2:4, 0])
    mask = read_initial_mask(tmp_path, parse_regions(["a", "b=b*", "c"]), reference)
    plane = 5 * 6
    assert mask.overlaps == {("a", "b"): plane, ("a", "c"): 6, ("b", "c"): 6}
    assert mask.empty_regions == ("c",)
    assert np.array_equal(array_of(mask.label_map)[:, 0, 0], [1, 1, 1, 2])
    backwards = read_initial_mask(tmp_path, parse_regions(["c", "b=b*", "a"]), reference)
    assert backwards.overlaps == {("c", "b"): 12, ("c", "a"): 6, ("b", "a"): plane - 6}
    assert backwards.empty_regions == ()


def test_file_of_two_regions_belongs_to_the_first(tmp_path, reference):
    for number in (1, 2, 3):
        write_mask(tmp_path / f"vertebrae_L{number}.nii.gz", np.s_[number])
    mask = read_initial_mask(tmp_path, parse_regions(["L1=vertebrae_L1", "spine=vertebrae_*"]), reference)
    first, *others = sorted(tmp_path.iterdir())
    assert mask.files == {"L1": (first,), "spine": tuple(others)} and mask.overlaps == {}
    with pytest.raises(
        InvalidInputError, match="all its files belong to regions before it .spine.*more specific region first"
    ):
        read_initial_mask(tmp_path, parse_regions(["spine=vertebrae_*", "L1=vertebrae_L1"]), reference)


def test_only_the_needed_files_are_read(tmp_path, reference):
    write_mask(tmp_path / "a.nii.gz", np.s_[0])
    (tmp_path / "b.nii.gz").write_bytes(b"broken")
    assert read_initial_mask(tmp_path, parse_regions(["a"]), reference).empty_regions == ()
    with pytest.raises(InvalidInputError, match="unreadable or truncated"):
        read_initial_mask(tmp_path, parse_regions(["a", "b"]), reference)


def test_more_regions_than_fit_into_a_byte(tmp_path, reference):
    array = np.zeros(SHAPE, np.uint16)
    array[0, 0, 0] = 260
    sitk.WriteImage(image_of(array), str(tmp_path / "case.nii.gz"))
    regions = tuple(RegionSource(f"r{number}", labels=(number,)) for number in range(1, 261))
    mask = read_initial_mask(tmp_path / "case.nii.gz", regions, reference)
    assert array_of(mask.label_map).max() == 260 and len(mask.empty_regions) == 259


def test_all_problems_of_a_folder_at_once(tmp_path, reference):
    write_mask(tmp_path / "liver.nii.gz", np.s_[0])
    sitk.WriteImage(image_of(np.ones(SHAPE, np.uint8), spacing_mm=(0.5, 0.7, 3.0)), str(tmp_path / "coarse.nii.gz"))
    sitk.WriteImage(image_of(np.ones((4, 5, 7), np.uint8)), str(tmp_path / "wide.nii.gz"))
    sitk.WriteImage(image_of(np.arange(120, dtype=np.uint8).reshape(SHAPE) % 3), str(tmp_path / "two.nii.gz"))
    with pytest.raises(InvalidInputError) as caught:
        read_initial_mask(tmp_path, parse_regions(["livr", "ribs=rib_*", "coarse", "wide", "two", "liver"]), reference)
    text = str(caught.value)
    assert len(caught.value.problems) == 5
    assert "no file livr.nii.gz" in text and "perhaps liver" in text
    assert "no file rib_*.nii.gz" in text
    assert "spacing (0.5, 0.7, 3.0) mm instead of (0.5, 0.7, 2.0) mm" in text
    assert "size (7, 5, 4) instead of (6, 5, 4)" in text
    assert "not a binary mask, it holds the values 0, 1, 2" in text


def test_label_map_on_another_grid(tmp_path, reference):
    path = tmp_path / "case.nii.gz"
    moved = image_of(np.ones(SHAPE, np.uint8))
    moved.SetOrigin((10.4, -20.0, 30.0))
    sitk.WriteImage(moved, str(path))
    with pytest.raises(InvalidInputError, match="mm away"):
        read_initial_mask(path, parse_regions(["a=1"]), reference)
    moved.SetOrigin((10.0000001, -20.0, 30.0))  # headers round
    sitk.WriteImage(moved, str(path))
    assert read_initial_mask(path, parse_regions(["a=1"]), reference).empty_regions == ()


# ---------------------------------------------------------------- where the masks are


def test_missing_masks_are_listed(tmp_path):
    write_mask(tmp_path / "case_01.nii.gz", np.s_[0])
    (tmp_path / "case_02").mkdir()
    missing, regions = Problems(), parse_regions(["a=1"])
    assert list(find_initial_masks(tmp_path, ["case_01", "case_02", "case_1", "x"], regions, missing)) == ["case_01"]
    assert len(missing) == 3
    assert any("case 'case_1'" in text and "perhaps it is called case_01" in text for text in missing)
    with pytest.raises(InvalidInputError, match="no such folder"):
        find_initial_masks(tmp_path / "none", ["a"], regions, missing)


def test_file_or_folder_by_what_the_regions_need(tmp_path):
    file = write_mask(tmp_path / "case.nii.gz", np.s_[0])
    folder = write_mask(tmp_path / "case" / "liver.nii.gz", np.s_[0]).parent
    assert find_initial_masks(tmp_path, ["case"], parse_regions(["a=1"]), Problems()) == {"case": file}
    assert find_initial_masks(tmp_path, ["case"], parse_regions(["liver"]), Problems()) == {"case": folder}


def test_the_largest_component_of_the_regions_that_ask_for_it(tmp_path, reference):
    """Voxels that touch at an edge or a corner are not connected; other regions keep their parts."""
    labels = np.zeros(array_of(reference).shape, np.uint8)
    labels[0, 0, :3], labels[1, 1, 3], labels[0, 2, 0], labels[2, 2, :2] = 1, 1, 1, 2
    labels[0, 3, 0] = 2
    sitk.WriteImage(image_of(labels), str(tmp_path / "a.nii.gz"))
    regions = keep_largest_components(parse_regions(["first=1", "second=2"]), ["first"])
    expected = labels.copy()
    expected[1, 1, 3] = expected[0, 2, 0] = 0
    mask = read_initial_mask(tmp_path / "a.nii.gz", regions, reference)
    np.testing.assert_array_equal(array_of(mask.label_map), expected)
    with pytest.raises(InvalidInputError, match="--largest-component third.*the regions are first, second"):
        keep_largest_components(regions, ["third"])
