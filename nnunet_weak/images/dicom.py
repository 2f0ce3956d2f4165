"""Folders with one DICOM series, read through SimpleITK.

World coordinates are LPS in mm. Slices are ordered by their positions, whatever their files are called.
"""

from __future__ import annotations

import locale
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.header import check_claim, header_of, unreadable


@contextmanager
def kept_locale() -> Iterator[None]:
    """Undo what GDCM does to the process: it can leave the locale "C", in which Python takes text files for ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


@kept_locale()
def dicom_series(folder: Path) -> tuple[str, ...]:
    """Identifiers of the DICOM series whose files lie in a folder.

    Raises:
        InvalidInputError: A file that is damaged so that no series can be told.
    """
    previous = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # it warns of every folder without DICOM files
    try:
        return tuple(sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)))
    except RuntimeError as error:
        raise unreadable(folder, error) from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(previous)


@kept_locale()
def read_dicom_series(folder: Path) -> sitk.Image:
    """Read the series of a folder as a 3D image.

    Raises:
        InvalidInputError: The folder holds no series or several, or one that is unreadable or not of grey 3D images.
    """
    series = dicom_series(folder)
    if len(series) != 1:
        raise InvalidInputError(
            f"{folder}: {len(series)} DICOM series, one is needed (remedy: keep one series in each folder)"
        )
    try:
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0])
        for name in names:
            _check_slice(Path(name))
        reader = sitk.ImageSeriesReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileNames(names)
        image = reader.Execute()
    except RuntimeError as error:
        raise unreadable(folder, error) from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InvalidInputError(
            f"{folder}: a DICOM series of grey 3D images is needed (remedy: export the reconstructed slices)"
        )
    return image


def _check_slice(path: Path) -> None:
    """Refuse a file that claims more voxels than it can hold, before memory is taken for them."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    check_claim(path, header_of(reader))
