from __future__ import annotations

import locale
import resource
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak.dataset.find_cases import discover_cases, why_not_a_case_name
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.read import read_case_image


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names_of(folder: Path, **options: object) -> dict[str, list[str]]:
    cases = discover_cases(folder, **options)  # type: ignore[arg-type]
    return {case: [str(path.relative_to(folder)) for path in paths] for case, paths in cases.items()}


def problems_of(folder: Path, **options: object) -> tuple[str, ...]:
    with pytest.raises(InvalidInputError) as caught:
        discover_cases(folder, **options)  # type: ignore[arg-type]
    return caught.value.problems


def write_series(folder: Path, array: np.ndarray, uid: str) -> None:
    before = locale.setlocale(locale.LC_ALL)
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, plane in enumerate(array):
        image = sitk.GetImageFromArray(plane[None])[:, :, 0]
        image.SetSpacing((0.5, 0.7))
        tags = {"0008|0060": "CT", "0020|000e": uid, "0020|000d": "1.2.3", "0020|0032": f"1\\2\\{3 * number}",
                "0020|0037": "1\\0\\0\\0\\1\\0", "0020|0013": str(number), "0008|0018": f"{uid}.{number}"}  # fmt: skip
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{uid}_{len(array) - number}.dcm"))
        writer.Execute(image)
    locale.setlocale(locale.LC_ALL, before)  # which writing changes


def test_one_file_for_each_case(tmp_path):
    touch(tmp_path, "b.nii.gz", "a.mha", "patient001_frame01.nii.gz", "readme.txt", ".hidden.nii.gz")
    assert names_of(tmp_path) == {
        "a": ["a.mha"],
        "b": ["b.nii.gz"],
        "patient001_frame01": ["patient001_frame01.nii.gz"],
    }
    assert list(names_of(tmp_path)) == ["a", "b", "patient001_frame01"]


def test_nnunet_channels(tmp_path):
    touch(tmp_path, "b_0001.nii.gz", "b_0000.nii.gz", "a_0000.nii.gz", "a_0001.nii.gz")
    assert names_of(tmp_path) == {"a": ["a_0000.nii.gz", "a_0001.nii.gz"], "b": ["b_0000.nii.gz", "b_0001.nii.gz"]}


def test_years_are_not_channels(tmp_path):
    touch(tmp_path, "scan_2021.nii.gz", "scan_2022.nii.gz")
    assert list(names_of(tmp_path)) == ["scan_2021", "scan_2022"]


def test_numbers_that_look_like_channels(tmp_path):
    touch(tmp_path, "scan_0000.nii.gz", "scan_0001.nii.gz", "scan_0002.nii.gz")
    assert list(names_of(tmp_path)) == ["scan"]
    assert list(names_of(tmp_path, layout="files")) == ["scan_0000", "scan_0001", "scan_0002"]


def test_channel_suffixes(tmp_path):
    touch(tmp_path, "a_T2.nii.gz", "a_T1.nii.gz", "b_T1.nii.gz", "b_T2.nii.gz")
    assert names_of(tmp_path, channel_suffixes=["_T2", "_T1"]) == {
        "a": ["a_T2.nii.gz", "a_T1.nii.gz"],
        "b": ["b_T2.nii.gz", "b_T1.nii.gz"],
    }


def test_folder_for_each_case(tmp_path):
    touch(tmp_path, "a/T1.nii.gz", "a/T2.nii.gz", "b/b_T1.nii.gz", "b/b_T2.nii.gz")
    assert names_of(tmp_path) == {"a": ["a/T1.nii.gz", "a/T2.nii.gz"], "b": ["b/b_T1.nii.gz", "b/b_T2.nii.gz"]}
    assert names_of(tmp_path, channel_suffixes=["_T2", "_T1"])["a"] == ["a/T2.nii.gz", "a/T1.nii.gz"]


def test_single_images_in_folders_may_be_called_anything(tmp_path):
    touch(tmp_path, "a/ct.nii.gz", "b/scan_of_b.nrrd")
    assert names_of(tmp_path) == {"a": ["a/ct.nii.gz"], "b": ["b/scan_of_b.nrrd"]}


def test_folders_beside_images_are_named_in_the_log(tmp_path, caplog):
    touch(tmp_path, "a.nii.gz", "old/b.nii.gz")
    assert list(names_of(tmp_path)) == ["a"]
    assert "1 folders are not searched" in caplog.text


def test_dicom_series(tmp_path):
    array = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)
    write_series(tmp_path / "a", array, "1.2.3.4")
    cases = discover_cases(tmp_path)
    assert cases == {"a": [tmp_path / "a"]}
    before = locale.setlocale(locale.LC_ALL)
    image = read_case_image(cases["a"][0])
    assert locale.setlocale(locale.LC_ALL) == before
    # File names run against the slices' positions, which decide.
    assert np.array_equal(sitk.GetArrayFromImage(image), array)
    assert image.GetSpacing() == pytest.approx((0.5, 0.7, 3.0)) and image.GetOrigin() == pytest.approx((1, 2, 0))
    write_series(tmp_path / "a", array, "1.2.3.5")
    assert "2 DICOM series" in problems_of(tmp_path)[0]
    with pytest.raises(InvalidInputError, match="2 DICOM series, one is needed"):
        read_case_image(tmp_path / "a")


def test_a_damaged_dicom_file_takes_no_memory(tmp_path):
    """SimpleITK takes as much as the file says, 2 GB here."""
    write_series(tmp_path / "a", np.ones((1, 4, 5), np.int16), "1.2.3.4")
    (path,) = (tmp_path / "a").iterdir()
    content = path.read_bytes()
    at = content.index(b"\x08\x00\x60\x00") + 4
    path.write_bytes(content[:at] + b"OB\0\0" + (2**31).to_bytes(4, "little") + content[at + 4 :])
    assert "no images" in problems_of(tmp_path)[0]
    with pytest.raises(InvalidInputError, match="0 DICOM series"):
        read_case_image(tmp_path / "a")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 1 << 20  # kB


def test_read_case_image_reads_files_too(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((3, 4, 5), np.float32)), str(tmp_path / "a.nii.gz"))
    assert read_case_image(tmp_path / "a.nii.gz").GetSize() == (5, 4, 3)


# ---------------------------------------------------------------- bad input


def test_no_images(tmp_path):
    assert "no such folder" in problems_of(tmp_path / "none")[0]
    assert "no images found" in problems_of(tmp_path)[0]
    touch(tmp_path, "readme.txt")
    assert "no images found" in problems_of(tmp_path)[0]
    touch(tmp_path, "a/readme.txt")
    assert "no images, images or one series are needed" in problems_of(tmp_path)[0]


def test_missing_channels(tmp_path):
    touch(tmp_path, "a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz", "c_0001.nii.gz")
    problems = problems_of(tmp_path)
    assert len(problems) == 2
    assert "case 'b': channel 0001 is missing" in problems[0] and "case 'c': channel 0000 is missing" in problems[1]


def test_a_gap_common_to_all_cases_is_missing_too(tmp_path):
    touch(tmp_path, "a_0000.nii.gz", "a_0002.nii.gz")
    assert "channel 0001 is missing" in problems_of(tmp_path)[0]


def test_names_without_channel_number(tmp_path):
    touch(tmp_path, "a_0000.nii.gz", "b.nii.gz")
    assert "does not end with a channel number" in problems_of(tmp_path, layout="channels")[0]


def test_missing_suffix_and_foreign_file(tmp_path):
    touch(tmp_path, "a_T1.nii.gz", "a_T2.nii.gz", "b_T1.nii.gz", "c_FLAIR.nii.gz")
    problems = problems_of(tmp_path, channel_suffixes=["_T1", "_T2"])
    assert "c_FLAIR.nii.gz: the name ends with none of _T1, _T2" in problems[0]
    assert "case 'b': channel _T2 is missing" in problems[1]


@pytest.mark.parametrize("suffixes", [["_T1", "_T1"], ["_T1", ""], ["_T1", "CE_T1"]])
def test_bad_suffixes(tmp_path, suffixes):
    touch(tmp_path, "a_T1.nii.gz")
    assert "channel suffixes" in problems_of(tmp_path, channel_suffixes=suffixes)[0]


def test_differing_channels_in_folders(tmp_path):
    touch(
        tmp_path,
        "a/T1.nii.gz",
        "a/T2.nii.gz",
        "b/T1.nii.gz",
        "b/T2.nii.gz",
        "c/T1.nii.gz",
        "c/PD.nii.gz",
        "d/T1.nii.gz",
    )
    problems = problems_of(tmp_path)
    assert len(problems) == 2
    assert "case 'c': 2 channels (PD, T1), most cases have 2 (T1, T2)" in problems[0]
    assert "case 'd': 1 channel (one file), most cases have 2" in problems[1]
    problems = problems_of(tmp_path, channel_suffixes=["T1", "T2"])
    assert "channel T2 is missing" in problems[0] and "channel T2 is missing" in problems[1]


def test_duplicates(tmp_path):
    touch(tmp_path, "a.nii.gz", "a.mha")
    assert "name the same case twice" in problems_of(tmp_path)[0]
    folder = tmp_path / "folders"
    touch(folder, "a/x_T1.nii.gz", "a/y_T1.nii.gz")
    assert "both end with _T1" in problems_of(folder, channel_suffixes=["_T1"])[0]


def test_names_that_differ_in_letter_case_only(tmp_path):
    touch(tmp_path, "case_a.nii.gz", "Case_A.nii.gz")
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("a file system that does not tell the names apart")
    assert "in letter case only" in problems_of(tmp_path)[0]


@pytest.mark.parametrize("name", ["case_seg", "a,b", "a:b", "a*b", " a", "a ", "a.", "-a", "a\nb", 'a"b', ""])
def test_names_nnunet_cannot_take(name):
    assert why_not_a_case_name(name)


@pytest.mark.parametrize("name", ["case_01", "Prénom", "a.b", "a b", "a_0000", "segment", "2024-01-01"])
def test_names_nnunet_can_take(name):
    assert why_not_a_case_name(name) == ""


def test_bad_names_are_listed(tmp_path):
    touch(tmp_path, "a_seg.nii.gz", "b,c.nii.gz", "d.nii.gz")
    problems = problems_of(tmp_path)
    assert len(problems) == 2 and "ends with _seg" in problems[0] and "contains ','" in problems[1]
