from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.integrity import non_finite_voxels
from nnunet_weak.images.read import read_image

SHAPE = (4, 5, 7)  # z, y, x


def volume(dtype: type = np.float32) -> np.ndarray:
    return (np.random.default_rng(0).random(SHAPE) * 100).astype(dtype)


def write(path: Path, array: np.ndarray) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path), True)
    return path


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".img", ".gipl", ".nrrd", ".mha"])
def test_truncated_files_are_refused(tmp_path: Path, ending: str):
    """SimpleITK fills the end of a truncated NIfTI or GIPL file with what stood in memory."""
    path = write(tmp_path / f"image{ending}", volume())
    read_image(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InvalidInputError, match=f"image{ending}.*truncated"):
        read_image(path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("offset", [np.nan, np.inf, -5, 0, 351])
def test_voxels_in_the_header_are_refused(tmp_path: Path, ending: str, offset: float):
    """SimpleITK reads voxels from byte 348 on, or from anywhere."""
    path = write(tmp_path / f"image{ending}", volume())
    content = gzip.decompress(path.read_bytes()) if ending == ".nii.gz" else path.read_bytes()
    content = content[:108] + np.float32(offset).tobytes() + content[112:]
    path.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    with pytest.raises(InvalidInputError, match=f"image{ending}: its voxels begin at byte .*remedy"):
        read_image(path)


def test_a_large_truncated_file(tmp_path: Path):
    """The header can be read, as it cannot from the small ones above."""
    path = write(tmp_path / "image.nii.gz", np.random.default_rng(0).random((30, 40, 50)))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InvalidInputError, match="truncated"):
        read_image(path)


def test_a_compressed_file_of_several_members_is_complete(tmp_path: Path):
    """Its last four bytes tell the length of the last member only."""
    whole = write(tmp_path / "whole.nii", volume()).read_bytes()
    path = tmp_path / "image.nii.gz"
    path.write_bytes(gzip.compress(whole[:500]) + gzip.compress(whole[500:]))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(path)), volume())


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".img", ".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_and_infinity_are_refused(tmp_path: Path, ending: str, dtype: type):
    """SimpleITK reads them as 0 from NIfTI files."""
    array = volume(dtype)
    array[1, 2, 3], array[3, 4, 6] = np.nan, -np.inf
    path = write(tmp_path / f"image{ending}", array)
    with pytest.raises(InvalidInputError, match="2 voxels are NaN or infinite"):
        read_image(path)


def test_large_numbers_are_finite(tmp_path: Path):
    array = np.full(SHAPE, 3e38, np.float32)
    array[0, 0, 0] = 0
    assert non_finite_voxels(write(tmp_path / "image.nii.gz", array)) == 0
    read_image(tmp_path / "image.nii.gz")


def test_big_endian_and_scaled_files(tmp_path: Path):
    array = volume().astype(">f4").transpose()
    array[0, 0, 0] = np.nan
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">f4")
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4), header), tmp_path / "big.nii.gz")
    assert non_finite_voxels(tmp_path / "big.nii.gz") == 1
    scaled = nibabel.Nifti1Image(volume(np.int16).transpose(), np.eye(4))
    scaled.header.set_slope_inter(0.5, 3)
    nibabel.save(scaled, tmp_path / "scaled.nii.gz")
    assert read_image(tmp_path / "scaled.nii.gz").GetSize() == (7, 5, 4)
