"""Volumes to disk: fast, the same bytes for the same voxels, and with an honest error where the disk is full.

NIfTI files are streamed through zlib here instead of going through SimpleITK, which takes three times as long for
masks, knows no scale factor (8-bit files of numbers in [0, 1] need one) and can leave a truncated file on a full disk
without an error that says so. Their header is the one that SimpleITK writes, so that both read the same geometry, bit
for bit. All other formats go through SimpleITK.

Arrays are (z, y, x).
"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import struct
import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.atomic import removed_on_failure
from nnunet_weak.images.header import image_reader, read_header
from nnunet_weak.images.read import with_geometry_of

WRITABLE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
"""File endings that nnU-Net reads and that keep origin, spacing and direction."""

# Level 1 makes masks 1.7 times as large as level 6 (a few hundred kB either way) and noise 1 % larger, in a third of
# the time.
_GZIP_LEVEL = 1
_CHUNK_BYTES = 4 << 20
_HEADER_BYTES = 352
_DIM_OFFSET, _SLOPE_OFFSET = 40, 112
_LARGEST_NIFTI_SIDE = 32767


def write_volume(array: np.ndarray, reference: sitk.Image, path: Path, *, slope: float = 1.0) -> None:
    """Write an array on the grid of an image.

    Args:
        array: Voxels, (z, y, x), any integer or floating-point type.
        reference: Image whose origin, spacing and direction the file gets.
        path: Target; its ending is one of `WRITABLE_ENDINGS`.
        slope: Factor that readers apply to the stored values. NIfTI keeps it in the header; in other formats the
            products are stored, as float32, so that all formats read the same.

    Raises:
        InvalidInputError: Unknown ending, or the shapes differ.
        OSError: The file cannot be written, because the disk is full for example. What was written of it is removed.
    """
    ending = writable_ending(path)
    if array.shape != reference.GetSize()[::-1]:
        raise InvalidInputError(f"{path}: shape {array.shape} (z, y, x) instead of {reference.GetSize()[::-1]}")
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    with removed_on_failure(path):
        if ending in (".nii", ".nii.gz") and max(array.shape) <= _LARGEST_NIFTI_SIDE:
            _write_nifti(array, reference, path, slope, compress=ending == ".nii.gz")
        else:
            scaled = array if slope == 1 else (array * np.float64(np.float32(slope))).astype(np.float32)
            _write_with_sitk(with_geometry_of(scaled, reference), path)


def copy_volume(source: Path, target: Path) -> None:
    """Copy a file's bytes; nothing remains of the copy if that fails."""
    with removed_on_failure(target):
        shutil.copyfile(source, target)


def is_plain_3d_file(path: Path) -> bool:
    """Whether a file holds one 3D volume with one value per voxel, told from its header alone."""
    reader = image_reader(path)
    reader.ReadImageInformation()
    return reader.GetDimension() == 3 and reader.GetNumberOfComponents() == 1


def voxels_in_header(path: Path) -> int:
    """Number of voxels that a file's header tells; 0 where there is none to read."""
    try:
        return read_header(path).voxels
    except InvalidInputError:
        return 0


def writable_ending(path: Path | str) -> str:
    """The ending of a file name, checked to be one of `WRITABLE_ENDINGS`."""
    name = Path(path).name.lower()
    for ending in WRITABLE_ENDINGS:
        if name.endswith(ending):
            return ending
    raise InvalidInputError(
        f"{path}: cannot be written in this format (remedy: choose one of {', '.join(WRITABLE_ENDINGS)})"
    )


def _write_nifti(array: np.ndarray, reference: sitk.Image, path: Path, slope: float, *, compress: bool) -> None:
    header = _nifti_header(array, reference, slope)
    with path.open("wb") as file:
        if compress:
            # No time stamp and no file name, for the same voxels shall give the same bytes.
            with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=_GZIP_LEVEL, mtime=0) as stream:
                _stream(header, array, stream)
        else:
            _stream(header, array, file)


def _stream(header: bytes, array: np.ndarray, stream: BinaryIO | gzip.GzipFile) -> None:
    stream.write(header)
    rows = max(1, _CHUNK_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        stream.write(np.ascontiguousarray(array[start : start + rows]).data)


def _nifti_header(array: np.ndarray, reference: sitk.Image, slope: float) -> bytes:
    """The header that SimpleITK would write, taken from a file of a single voxel: only `dim` depends on the size."""
    voxel = sitk.GetImageFromArray(np.zeros((1, 1, 1), dtype=array.dtype.newbyteorder("=")))
    voxel.SetSpacing(reference.GetSpacing())
    voxel.SetOrigin(reference.GetOrigin())
    voxel.SetDirection(reference.GetDirection())
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "voxel.nii")
        _write_with_sitk(voxel, Path(path))
        header = bytearray(Path(path).read_bytes()[:_HEADER_BYTES])
    struct.pack_into("=3h", header, _DIM_OFFSET + 2, *reference.GetSize())
    if slope != 1:
        struct.pack_into("=2f", header, _SLOPE_OFFSET, slope, 0.0)
    return bytes(header)


def _write_with_sitk(image: sitk.Image, path: Path) -> None:
    try:
        sitk.WriteImage(image, str(path), useCompression=not path.name.endswith(".nii"))
    except RuntimeError as error:
        full = shutil.disk_usage(path.parent).free < 1 << 20
        reason = str(error).strip().splitlines()[-1].strip()
        raise OSError(errno.ENOSPC if full else errno.EIO, reason, str(path)) from error
