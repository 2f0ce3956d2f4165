"""Headers of image files, examined before memory is taken for voxels.

Readers allocate what a header claims. A file of a few hundred bytes can claim a terabyte, and a compressed file of a
megabyte can hold a gigabyte of zeros; either would end the process, or the machine, before a reader sees an error. So
the claim is compared with the size of the file first, and what no compression could hold is refused.

Sizes are (x, y, z), as SimpleITK's.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError, printable
from nnunet_weak.images.tiff import TIFF_ENDINGS, tiff_size

_READERS = {
    ".nii.gz": "NiftiImageIO",
    ".nii": "NiftiImageIO",
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
    ".gipl": "GiplImageIO",
    ".gipl.gz": "GiplImageIO",
    ".img": "NiftiImageIO",
    ".hdr": "NiftiImageIO",
}
IMAGE_ENDINGS = (*_READERS, *TIFF_ENDINGS)

MOST_VOXELS = 1 << 32
"""Of one image; 1625 voxels along each axis."""

MOST_UNPACKED_BYTES = 1 << 30
MOST_UNPACKING = 200
"""A compressed file whose voxels take more than the first and more than the second times its size is refused. Where
this is exceeded, nearly all voxels are the same."""

_DEFLATE_LIMIT = 1100
"""Deflate makes nothing smaller than a 1032nd."""

_HEADER_TEXT_BYTES = 1 << 20
_LONGEST_FIELD = 500
_LONGEST_SHOWN = 80
_END_OF_NRRD = re.compile(rb"\r?\n\r?\n")
_END_OF_META = re.compile(rb"ElementDataFile *=")
_COUNTS_OF_META = re.compile(rb"(NDims|ElementNumberOfChannels)[ \t]*[=:]([^\r\n]*)")
_MOST_DIMENSIONS = 10  # of MetaImage
_TEXT_HEADERS = (".nrrd", ".nhdr", ".mha", ".mhd")
_COMPONENT_BYTES = {
    sitk.sitkInt16: 2,
    sitk.sitkUInt16: 2,
    sitk.sitkInt32: 4,
    sitk.sitkUInt32: 4,
    sitk.sitkInt64: 8,
    sitk.sitkUInt64: 8,
    sitk.sitkFloat32: 4,
    sitk.sitkFloat64: 8,
    sitk.sitkComplexFloat32: 8,
    sitk.sitkComplexFloat64: 16,
    sitk.sitkVectorInt16: 2,
    sitk.sitkVectorUInt16: 2,
    sitk.sitkVectorInt32: 4,
    sitk.sitkVectorUInt32: 4,
    sitk.sitkVectorInt64: 8,
    sitk.sitkVectorUInt64: 8,
    sitk.sitkVectorFloat32: 4,
    sitk.sitkVectorFloat64: 8,
}


@dataclass(frozen=True)
class Header:
    """What an image file says before its voxels: how many there are along each axis, and the memory they take."""

    size: tuple[int, ...]
    voxel_bytes: int

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.size)

    @property
    def memory_bytes(self) -> int:
        """Memory of the voxels."""
        return self.voxels * self.voxel_bytes


def read_header(path: Path, most_voxels: int = MOST_VOXELS) -> Header:
    """Read the header of an image file.

    Raises:
        InvalidInputError: No such file, a name that the readers cannot take, an unreadable header, or more than
            `most_voxels`.
    """
    check_name(path)
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file (remedy: check path and name)")
    header = Header(*tiff_size(path)) if path.name.lower().endswith(TIFF_ENDINGS) else _sitk_header(path)
    if not 0 < header.voxels <= most_voxels:
        raise InvalidInputError(
            f"{path}: its header claims {_product(header.size)} voxels, allowed are 1 to {most_voxels} "
            "(remedy: export it again, cropped or at a lower resolution)"
        )
    return header


def image_reader(path: Path) -> sitk.ImageFileReader:
    """SimpleITK's reader for a file's ending.

    Left to itself, SimpleITK asks the file, and a file of any name could choose among 20 readers, for microscopes and
    scanners of long ago.

    Raises:
        InvalidInputError: An ending that is not that of an image, or is `.tif`.
    """
    name = path.name.lower()
    for ending, kind in _READERS.items():
        if name.endswith(ending):
            reader = sitk.ImageFileReader()
            reader.SetImageIO(kind)
            reader.SetFileName(str(path))
            return reader
    raise InvalidInputError(f"{path}: not an image file (remedy: choose one of {', '.join(IMAGE_ENDINGS)})")


def header_of(reader: sitk.ImageFileReader) -> Header:
    """What a reader has found in the header of its file."""
    size = tuple(int(length) for length in reader.GetSize())
    return Header(size, _COMPONENT_BYTES.get(reader.GetPixelID(), 1) * reader.GetNumberOfComponents())


def check_claim(path: Path, header: Header, *, expected: bool = False) -> None:
    """Refuse a file that cannot hold the voxels that its header claims, or holds far more than its size suggests.

    Args:
        path: The file.
        header: Its header.
        expected: Whether an image of this size is known to be of use, because another one is on the same grid.

    Raises:
        InvalidInputError: Such a file; or one with its voxels in another folder.
    """
    stored, plain = _stored_bytes(path)
    if stored is None:
        return
    if header.memory_bytes > stored * (1 if plain else _DEFLATE_LIMIT):
        raise InvalidInputError(
            f"{path}: truncated, its header claims {_product(header.size)} voxels, for which {stored} bytes are too "
            "few (remedy: copy or export it again)"
        )
    if not (plain or expected) and header.memory_bytes > max(MOST_UNPACKED_BYTES, MOST_UNPACKING * stored):
        raise InvalidInputError(
            f"{path}: {stored} bytes would unpack to {header.memory_bytes}, which only an image of a single value does "
            "(remedy: check that it is the right file; crop it, or save it without compression)"
        )


def check_name(path: Path) -> None:
    """Refuse a file name that is no text in UTF-8, by which the readers of images would end the process.

    A name with control characters is refused too; in a report it would take control of the terminal.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = str(path).encode("utf-8", "backslashreplace").decode()
        raise InvalidInputError(f"{shown}: the name is no text in UTF-8 (remedy: rename it)") from None
    if printable(path.name) != path.name or "\n" in path.name:
        raise InvalidInputError(f"{str(path)!r}: the name has control characters (remedy: rename it)")


def unreadable(path: Path, error: Exception) -> InvalidInputError:
    """The error for a file that SimpleITK cannot read."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = re.sub(r"\(0x[0-9a-f]+\)", "", lines[-1].strip())  # an address in memory
    return InvalidInputError(f"{path}: unreadable or truncated ({reason}) (remedy: copy or export it again)")


def _sitk_header(path: Path) -> Header:
    reader = image_reader(path)
    _check_lines(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise unreadable(path, error) from error
    return header_of(reader)


def _check_lines(path: Path) -> None:
    """Refuse what ends the readers of a header of text: lines longer than their buffers, negative dimensions."""
    with path.open("rb") as file:
        start = file.read(4)
        nrrd = start == b"NRRD" or path.name.lower().endswith((".nrrd", ".nhdr"))
        if not nrrd and not path.name.lower().endswith((".mha", ".mhd")):
            return
        text = start + file.read(_HEADER_TEXT_BYTES)
    end = _END_OF_NRRD.search(text) if nrrd else _END_OF_META.search(text)
    if end is None and len(text) > _HEADER_TEXT_BYTES:
        raise InvalidInputError(f"{path}: its header has no end (remedy: copy or export it again)")
    header = text[: end.start()] if end else text
    for name, value in [] if nrrd else _COUNTS_OF_META.findall(header):
        if not value.strip().isdigit() or not 0 < int(value[:_LONGEST_FIELD]) <= _MOST_DIMENSIONS:
            raise InvalidInputError(
                f"{path}: its header has {name.decode()} = {value[:_LONGEST_SHOWN].decode('latin-1').strip()}, allowed "
                f"are 1 to {_MOST_DIMENSIONS} (remedy: copy or export it again)"
            )
    for number, line in enumerate(re.split(rb"[\r\n]+", header), start=1):
        # Of keys with values, b":=" in NRRD files, the length is free; the others are known fields.
        if len(line) > _LONGEST_FIELD and not (nrrd and b":=" in line[:_LONGEST_FIELD] or line.startswith(b"#")):
            raise InvalidInputError(
                f"{path}: line {number} of its header has {len(line)} characters, a field has at most {_LONGEST_FIELD} "
                "(remedy: copy or export it again)"
            )


def _stored_bytes(path: Path) -> tuple[int | None, bool]:
    """Size of the file with the voxels, None where several have them; and whether they are stored as they are."""
    size = path.stat().st_size
    if not path.name.lower().endswith(_TEXT_HEADERS):
        return max(size, _pair_bytes(path)), False
    with path.open("rb") as file:
        text = file.read(_HEADER_TEXT_BYTES).decode("latin-1")
    if path.name.lower().endswith((".nrrd", ".nhdr")):
        text = re.split(r"\r?\n\r?\n", text, maxsplit=1)[0]
        fields = {key.strip().lower(): value.strip() for key, value in re.findall(r"^([^:=#\n]+):\s(.*)$", text, re.M)}
        plain = fields.get("encoding", "").lower() == "raw"
        data = fields.get("data file", fields.get("datafile", ""))
    else:
        found = re.findall(r"^\s*(\w+)\s*=(.*)$", text, re.M)
        fields = {key: value.strip() for key, value in reversed(found)}
        plain = fields.get("CompressedData", "False").lower() != "true" and fields.get("BinaryData", "True") != "False"
        data = fields.get("ElementDataFile", "")
    if data in ("", "LOCAL"):
        return size, plain
    if data.startswith("LIST") or "%" in data:
        return None, plain
    if Path(data).name != data:
        raise InvalidInputError(
            f"{path}: its voxels are in another folder, {data[:_LONGEST_SHOWN]} (remedy: put that file beside it, and "
            "its name alone in the header)"
        )
    if not os.path.isfile(path.parent / data):  # False for names that are too long, where Path.is_file raises
        raise InvalidInputError(
            f"{path}: its voxels are in {data[:_LONGEST_SHOWN]}, which does not exist (remedy: copy it as well)"
        )
    return (path.parent / data).stat().st_size, plain


def _pair_bytes(path: Path) -> int:
    """Size of the file of voxels beside a `.hdr`."""
    endings = (".img", ".img.gz", ".IMG") if path.suffix.lower() == ".hdr" else ()
    pair = [path.with_suffix(ending) for ending in endings]
    return max((data.stat().st_size for data in pair if data.is_file()), default=0)


def _product(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))
