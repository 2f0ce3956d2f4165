from __future__ import annotations

import errno
import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from oblique_grid import SHAPE, grid, write_grid

from nnunet_weak.dataset.case_files import CaseFiles, label_values
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images import write as volume_files
from nnunet_weak.images.write import write_volume


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_grid(tmp_path / "inputs" / "image.nii.gz")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("seed", [0, 1])
def test_nifti_bytes_are_those_of_simpleitk(tmp_path: Path, dtype: type, seed: int):
    image = sitk.Cast(grid(seed) + 1000, sitk.GetImageFromArray(np.zeros((1, 1, 1), dtype)).GetPixelID())
    sitk.WriteImage(image, str(tmp_path / "theirs.nii"))
    write_volume(sitk.GetArrayViewFromImage(image), image, tmp_path / "ours.nii.gz")
    assert gzip.decompress((tmp_path / "ours.nii.gz").read_bytes()) == (tmp_path / "theirs.nii").read_bytes()


@pytest.mark.parametrize("ending", volume_files.WRITABLE_ENDINGS)
def test_slope_gives_the_same_numbers_in_every_format(tmp_path: Path, ending: str):
    steps = np.arange(140, dtype=np.uint8).reshape(SHAPE) + 116  # up to 255
    path = tmp_path / f"p{ending}"
    write_volume(steps, grid(), path, slope=1 / 255)
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    np.testing.assert_allclose(values, steps / 255, atol=1e-7)
    assert values.max() == 1.0  # not 1.0000001, of which log(1 - P) would make NaN


def test_volume_of_another_shape_or_format_is_refused(tmp_path: Path):
    with pytest.raises(InvalidInputError, match="shape"):
        write_volume(np.zeros((4, 5, 6), np.uint8), grid(), tmp_path / "x.nii.gz")
    with pytest.raises(InvalidInputError, match=r"\.nrrd"):
        write_volume(np.zeros(SHAPE, np.uint8), grid(), tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_a_volume_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(header, array, stream):
        stream.write(header)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(volume_files, "_stream", full)
    with pytest.raises(OSError, match="No space"):
        write_volume(np.zeros(SHAPE, np.uint8), grid(), tmp_path / "x.nii.gz")
    assert not list(tmp_path.iterdir())


def test_an_image_of_the_right_format_is_copied_byte_for_byte(tmp_path: Path, source: Path):
    image = sitk.ReadImage(str(source))
    CaseFiles(tmp_path, "a", ".nii.gz", image).write_image(0, source, image)
    assert (tmp_path / "imagesTr" / "a_0000.nii.gz").read_bytes() == source.read_bytes()


def test_an_image_of_another_format_keeps_voxels_and_type(tmp_path: Path):
    path = tmp_path / "image.nrrd"
    sitk.WriteImage(grid(), str(path))
    CaseFiles(tmp_path, "a", ".nii.gz", grid()).write_image(0, path, sitk.ReadImage(str(path)))
    written = sitk.ReadImage(str(tmp_path / "imagesTr" / "a_0000.nii.gz"))
    assert written.GetPixelID() == sitk.sitkInt16
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), sitk.GetArrayFromImage(grid()))


def test_a_header_that_is_off_by_rounding_is_replaced_by_the_first_channels(tmp_path: Path):
    """nnU-Net compares spacings to 1e-5 and stops; programs differ by more than that."""
    second = grid(1)
    second.SetSpacing((0.6001, 0.75, 2.5))
    path = tmp_path / "second.nii.gz"
    sitk.WriteImage(second, str(path))
    CaseFiles(tmp_path, "a", ".nii.gz", grid()).write_image(1, path, sitk.ReadImage(str(path)))
    written = sitk.ReadImage(str(tmp_path / "imagesTr" / "a_0001.nii.gz"))
    np.testing.assert_allclose(written.GetSpacing(), grid().GetSpacing(), rtol=1e-6)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), sitk.GetArrayFromImage(second))


def test_a_4d_file_of_one_volume_is_not_copied_as_it_is(tmp_path: Path):
    """nnU-Net would read it as an image with four axes."""
    path = tmp_path / "image.nii.gz"
    sitk.WriteImage(sitk.JoinSeries([grid()]), str(path))
    CaseFiles(tmp_path, "a", ".nii.gz", grid()).write_image(0, path, grid())
    assert sitk.ReadImage(str(tmp_path / "imagesTr" / "a_0000.nii.gz")).GetDimension() == 3


def test_labels_stay_whole_numbers_on_the_images_grid(tmp_path: Path):
    files = CaseFiles(tmp_path, "a", ".nii.gz", grid())
    labels = sitk.Cast(grid() > 0, sitk.sitkUInt16) * 300
    files.write_labels(labels)
    written = sitk.ReadImage(str(tmp_path / "labelsTr" / "a.nii.gz"))
    assert written.GetPixelID() == sitk.sitkUInt16
    assert label_values(written) == (0, 300)
    files.write_annotation_map("anna", sitk.Cast(grid() > 0, sitk.sitkInt64))
    assert sitk.ReadImage(str(tmp_path / "annotationsTr" / "anna" / "a.nii.gz")).GetPixelID() == sitk.sitkUInt8
    with pytest.raises(InvalidInputError, match="whole numbers"):
        files.write_labels(sitk.Cast(labels, sitk.sitkFloat32))
    with pytest.raises(InvalidInputError, match="range from -1000"):
        files.write_labels(sitk.Threshold(grid(), -1000, -1000, -1000))
    labels.SetOrigin((0, 0, 0))
    with pytest.raises(InvalidInputError, match="a.nii.gz: not on the grid of a's image"):
        files.write_labels(labels)
