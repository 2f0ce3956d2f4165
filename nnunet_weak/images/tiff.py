"""TIFF files with one slice in each page, read through tifffile.

SimpleITK's reader writes beyond its memory where a damaged file has pages of several kinds, which ends the process or
worse. Here every page must be like the first one, whole, and packed by a method whose decoder is simple.

Arrays are (z, y, x). The spacing within slices is that of the file's resolution, in mm; between slices it is 1, as TIFF
has no third axis. Origin and direction are SimpleITK's neutral ones.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError

TIFF_ENDINGS = (".tif", ".tiff")
_COMPRESSIONS = {1: "none", 5: "LZW", 8: "Deflate", 32773: "PackBits", 32946: "Deflate"}
_GREY = (0, 1)  # photometric interpretation: white or black is zero
_UPRIGHT = 1
_MM_OF_UNIT = {2: 25.4, 3: 10.0}  # inch, centimetre
_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
_MOST_PAGES = 1 << 16


def tiff_size(path: Path) -> tuple[tuple[int, ...], int]:
    """Number of voxels along x, y and, of several pages, z; and the bytes of a voxel.

    Raises:
        InvalidInputError: Damaged, or not grey slices of one size.
    """
    with _pages(path) as pages:
        height, width = pages[0].shape
        return (width, height, len(pages))[: 3 if len(pages) > 1 else 2], pages[0].dtype.itemsize


def read_tiff(path: Path) -> sitk.Image:
    """Read a TIFF file as an image, of two dimensions if it has one page.

    Raises:
        InvalidInputError: As `tiff_size`.
    """
    with _pages(path) as pages:
        array = np.stack([page.asarray(maxworkers=1) for page in pages])
        spacing = _spacing(pages[0])
    image = sitk.GetImageFromArray(array if len(array) > 1 else array[0])
    image.SetSpacing((*spacing, 1.0)[: image.GetDimension()])
    return image


@contextmanager
def _pages(path: Path) -> Iterator[list[Any]]:
    """The pages with slices; previews and masks beside them are left out."""
    import tifffile

    logger = logging.getLogger("tifffile")
    logger.addFilter(_raise_errors)
    try:
        with tifffile.TiffFile(path) as file:
            if len(file.pages) > _MOST_PAGES:
                raise ValueError(f"more than {_MOST_PAGES} pages")
            everything: list[Any] = list(file.pages)
            pages = [page for page in everything if not (page.is_reduced or page.is_mask)]
            for number, page in enumerate(pages):
                _check_page(page, pages[0], number)
            if not pages:
                raise ValueError("no page with an image")
            yield pages
    except Exception as error:  # every decoder has its own exceptions
        raise InvalidInputError(
            f"{path}: unreadable or truncated TIFF ({error}) (remedy: save it as grey slices without compression, or "
            "as NIfTI)"
        ) from error
    finally:
        logger.removeFilter(_raise_errors)


def _raise_errors(record: logging.LogRecord) -> bool:
    """Make an error of what tifffile only logs, pages that a truncated file lacks for example."""
    if record.levelno >= logging.ERROR:
        raise ValueError(re.sub("<.*?> *", "", record.getMessage()))
    return False


def _check_page(page: Any, first: Any, number: int) -> None:
    """Refuse a page that is not whole, of another kind than the first one, or of a kind that is not supported."""
    if (page.shape, page.dtype) != (first.shape, first.dtype):
        raise ValueError(f"page {number} is {page.shape} {page.dtype}, the first one {first.shape} {first.dtype}")
    if len(page.shape) != 2 or str(page.dtype) not in _TYPES or page.bitspersample != 8 * page.dtype.itemsize:
        raise ValueError(f"page {number} is {page.shape} {page.dtype}, needed is one number per voxel")
    if page.photometric not in _GREY:
        raise ValueError(f"page {number} is not grey")
    if page.compression not in _COMPRESSIONS:
        known = ", ".join(dict.fromkeys(_COMPRESSIONS.values()))
        raise ValueError(f"page {number} has compression {int(page.compression)}, supported are {known}")
    if _tag(page, "Orientation", _UPRIGHT) != _UPRIGHT:
        raise ValueError(f"page {number} is turned or mirrored")
    parts = math.prod(page.chunked)
    if not len(page.dataoffsets) == len(page.databytecounts) == parts or 0 in (*page.dataoffsets, *page.databytecounts):
        raise ValueError(f"page {number} is not whole")


def _spacing(page: Any) -> tuple[float, float]:
    """Spacing (x, y) in mm; 1 where the file has no resolution in units of length."""
    length = _MM_OF_UNIT.get(_tag(page, "ResolutionUnit", 2))
    per_unit = [_tag(page, f"{axis}Resolution", (0, 1)) for axis in "XY"]
    if length is None or not all(count and unit for count, unit in per_unit):
        return 1.0, 1.0
    x, y = (length * unit / count for count, unit in per_unit)
    return x, y


def _tag(page: Any, name: str, otherwise: Any) -> Any:
    tag = page.tags.get(name)
    return otherwise if tag is None else tag.value
