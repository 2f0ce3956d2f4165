"""Checks of image files that SimpleITK does not make: truncated files, NaN; and SHA-256 sums.

SimpleITK's NIfTI and GIPL readers fill the missing end of a truncated file with arbitrary memory, another patient's
voxels for example, and its NIfTI reader turns NaN and infinity into 0. Neither raises an error, so the file itself is
examined.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.header import Header

_NIFTI_ENDINGS = (".nii", ".nii.gz", ".hdr", ".img")
_NIFTI_HEADER_BYTES = 348
_GIPL_ENDINGS = (".gipl", ".gipl.gz")
_GIPL_HEADER_BYTES = 256
_CHUNK_BYTES = 4 << 20
_MOST_SPARE_BYTES = 4096  # some programs fill up the last block of a disk


@dataclass(frozen=True)
class _Voxels:
    """Where a file has its voxels."""

    path: Path
    offset_bytes: int
    dtype: np.dtype
    count: int
    finite_affine: bool

    @property
    def end_bytes(self) -> int:
        return self.offset_bytes + self.count * self.dtype.itemsize


def check_length(path: Path, header: Header) -> None:
    """Refuse a file that ends before its last voxel, or holds more voxels than its header tells.

    Formats whose readers notice that themselves are not examined. The length of a compressed file is taken from its
    last bytes, where a truncated file has anything but the right number; only where it differs is the file
    decompressed to see.

    Raises:
        InvalidInputError: Such a file.
    """
    _check_offset(path)
    found = _nifti_voxels(path)
    if found is not None:
        data, expected = found.path, found.end_bytes
    elif path.name.lower().endswith(_GIPL_ENDINGS):
        data, expected = path, _GIPL_HEADER_BYTES + header.memory_bytes
    elif path.name.lower().endswith(_NIFTI_ENDINGS):
        data, expected = path, 0  # a file so short, or so strange, that only its compression can be checked
    else:
        return
    length = _length(data, expected, expected + _MOST_SPARE_BYTES)
    if length < expected:
        raise InvalidInputError(f"{path}: truncated, it ends before its last voxel (remedy: copy or export it again)")
    if expected and length > expected + _MOST_SPARE_BYTES:
        raise InvalidInputError(
            f"{path}: holds more voxels than the {' x '.join(map(str, header.size))} of its header (remedy: export it "
            "again)"
        )


def has_finite_affine(path: Path) -> bool:
    """Whether no number of a NIfTI file's grid is NaN or infinite, which SimpleITK may replace; True for all others."""
    found = _nifti_voxels(path)
    return found is None or found.finite_affine


def non_finite_voxels(path: Path) -> int:
    """How many voxels of a NIfTI file are NaN or infinite; 0 for all other formats, whose readers keep them."""
    found = _nifti_voxels(path)
    if found is None or found.dtype.kind != "f":
        return 0
    count = 0
    with _opened(found.path) as stream:
        stream.seek(found.offset_bytes)
        left = found.count * found.dtype.itemsize
        step = _CHUNK_BYTES // found.dtype.itemsize * found.dtype.itemsize
        while left > 0 and (chunk := stream.read(min(left, step))):
            left -= len(chunk)
            values = np.frombuffer(chunk, found.dtype, count=len(chunk) // found.dtype.itemsize)
            with np.errstate(over="ignore", invalid="ignore"):
                suspicious = not np.isfinite(values.sum(dtype=np.float64))
            if suspicious:
                count += int(values.size - np.isfinite(values).sum())
    return count


def sha256(path: Path) -> str:
    """SHA-256 sum of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def fingerprint(path: Path) -> dict[str, Any]:
    """Size and SHA-256 sum of a file, as JSON.

    Raises:
        InvalidInputError: It is none: missing, a folder, a pipe, or a link to itself.
    """
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file (remedy: check path and name)")
    return {"size_bytes": path.stat().st_size, "sha256": sha256(path)}


def _check_offset(path: Path) -> None:
    """Refuse a NIfTI-1 file of header and voxels whose voxels begin in its header, where SimpleITK reads some of it."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return
    try:
        with _opened(path) as stream:
            header = stream.read(_NIFTI_HEADER_BYTES)
    except (EOFError, OSError, zlib.error):
        return  # told by the length
    if header[344:] != b"n+1\0":
        return
    order = "<" if header[:4] == struct.pack("<i", _NIFTI_HEADER_BYTES) else ">"
    (offset,) = struct.unpack_from(f"{order}f", header, 108)
    if not (_NIFTI_HEADER_BYTES + 4 <= offset < math.inf):
        raise InvalidInputError(f"{path}: its voxels begin at byte {offset:g}, in its header (remedy: export it again)")


def _nifti_voxels(path: Path) -> _Voxels | None:
    if not path.name.lower().endswith(_NIFTI_ENDINGS):
        return None
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        image: Any = nibabel.load(path)
        file = Path(image.file_map["image"].filename or path)
        dtype = np.dtype(image.header.get_data_dtype())
        finite = bool(np.isfinite(image.affine).all())
        return _Voxels(file, int(image.dataobj.offset), dtype, math.prod(map(int, image.shape)), finite)
    except (ImageFileError, HeaderDataError, OSError, zlib.error, ValueError, OverflowError, AttributeError):
        return None  # SimpleITK will say what is wrong, or knows a variant that nibabel does not


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        if _is_gzip(path):
            with gzip.GzipFile(fileobj=file) as stream:
                yield stream  # type: ignore[misc]
        else:
            yield file


def _length(path: Path, expected: int, enough: int) -> int:
    """Length of a file's content: -1 where its compression ends too early; counted no further than `enough`."""
    if not _is_gzip(path):
        return path.stat().st_size
    with path.open("rb") as file:
        file.seek(-4, 2)
        if int.from_bytes(file.read(4), "little") == expected % 2**32:
            return expected
    total = 0
    try:
        with gzip.open(path) as stream:
            while total <= enough and (chunk := stream.read(_CHUNK_BYTES)):
                total += len(chunk)
    except (EOFError, OSError, zlib.error):
        return -1
    return total
