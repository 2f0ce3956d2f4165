"""TIFF files: what SimpleITK reads from ordinary ones, and refusals where its reader would damage memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.read import read_image, read_label_map
from nnunet_weak.images.tiff import read_tiff

SLICES = np.random.default_rng(0).integers(0, 100, (3, 40, 50))  # z, y, x


def write(path: Path, array: np.ndarray = SLICES, kind: str = "uint16", **options: Any) -> Path:
    settings = {"photometric": "minisblack", "metadata": None, "resolution": (20, 40), "resolutionunit": 3}
    tifffile.imwrite(path, array.astype(kind), **{**settings, **options})
    return path


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "lzw"},
        {"compression": "zlib", "predictor": True},
        {"compression": "packbits"},
        {"byteorder": ">", "rowsperstrip": 3},
        {"resolutionunit": 2},
        {"resolutionunit": 1},
        {"photometric": "miniswhite"},
        {"bigtiff": True},
    ],
    ids=str,
)
def test_ordinary_files_are_read_as_by_simpleitk(tmp_path: Path, kind: str, options: dict[str, Any]):
    path = write(tmp_path / "image.tif", kind=kind, **options)
    own, other = read_image(path), sitk.ReadImage(str(path))
    assert own.GetPixelID() == other.GetPixelID()
    assert own.GetSpacing() == pytest.approx(other.GetSpacing()) and own.GetOrigin() == other.GetOrigin()
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(own), sitk.GetArrayViewFromImage(other))


def test_tiles_are_read_without_loss(tmp_path: Path):
    path = write(tmp_path / "image.tiff", SLICES * 500, tile=(16, 16))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_label_map(path)), SLICES * 500)


def test_a_page_is_an_image_of_two_dimensions(tmp_path: Path):
    path = write(tmp_path / "image.tif", SLICES[0])
    assert read_tiff(path).GetSize() == (50, 40)
    with pytest.raises(InvalidInputError, match="image.tif: 2D image"):
        read_image(path)


def _another_page(path: Path) -> None:
    tifffile.imwrite(path, SLICES[0, :30].astype(np.uint16), append=True, photometric="minisblack", metadata=None)


def test_a_preview_beside_the_slices_is_left_out(tmp_path: Path):
    path = write(tmp_path / "image.tif")
    tifffile.imwrite(path, np.zeros((4, 5), np.uint8), append=True, subfiletype=1, metadata=None)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(path)), SLICES)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (_another_page, r"page 3 is \(30, 50\)"),
        (lambda path: write(path, compression="zstd"), "compression 50000, supported are none, LZW"),
        (lambda path: write(path, extratags=[(274, "H", 1, 4, True)]), "turned or mirrored"),
        (
            lambda path: write(path, np.zeros((3, 9, 8, 3)), "uint8", photometric="rgb"),
            "needed is one number per voxel",
        ),
        (lambda path: write(path, SLICES > 9, "bool"), "needed is one number per voxel"),
        (lambda path: path.write_bytes(path.read_bytes()[:-5000]), "invalid page offset"),
        (lambda path: path.write_bytes(b"II*\0"), "unreadable"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, spoil: Any, message: str):
    path = write(tmp_path / "image.tif")
    spoil(path)
    with pytest.raises(InvalidInputError, match=f"image.tif: .*{message}.*remedy"):
        read_image(path)


def test_the_ending_chooses_the_reader(tmp_path: Path):
    """SimpleITK would let the file choose among 20 readers, of TIFF for example, whatever its name is."""
    path = write(tmp_path / "image.tif").rename(tmp_path / "image.nii.gz")
    with pytest.raises(InvalidInputError, match="image.nii.gz: unreadable"):
        read_image(path)
