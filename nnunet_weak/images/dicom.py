"""Folders with one DICOM series, read through SimpleITK in a process of its own.

SimpleITK's reader is GDCM, which takes as much memory as a damaged file of a kilobyte tells it to, keeps it after the
error, and can leave the locale "C", in which Python takes text files for ASCII.

World coordinates are LPS in mm. Slices are ordered by their positions, whatever their files are called.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.header import check_claim, header_of, unreadable
from nnunet_weak.parallel import run_apart

_MEMORY_BYTES = 1 << 30
_UNPACKING = 100  # memory for the voxels of compressed files, as a multiple of these files


def dicom_series(folders: Sequence[Path]) -> list[tuple[str, ...]]:
    """Identifiers of the DICOM series whose files lie in each folder; none where its files are damaged."""
    if not folders:
        return []
    try:
        return run_apart(_series_of_all, list(folders), memory_bytes=_MEMORY_BYTES)
    except BrokenProcessPool:  # by the files of one of them
        return [()] if len(folders) == 1 else [series for folder in folders for series in dicom_series([folder])]


def read_dicom_series(folder: Path) -> sitk.Image:
    """Read the series of a folder as a 3D image.

    Raises:
        InvalidInputError: The folder holds no series or several, or one that is unreadable or not of grey 3D images.
    """
    stored = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    try:
        return run_apart(read_dicom_series_here, folder, memory_bytes=_MEMORY_BYTES + _UNPACKING * stored)
    except BrokenProcessPool as error:
        raise unreadable(folder, error) from error


def read_dicom_series_here(folder: Path) -> sitk.Image:
    """As `read_dicom_series`, in this process."""
    series = _series(folder)
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


def _series_of_all(folders: Sequence[Path]) -> list[tuple[str, ...]]:
    return [_series(folder) for folder in folders]


def _series(folder: Path) -> tuple[str, ...]:
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # it warns of every folder without DICOM files
    try:
        return tuple(sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)))
    except RuntimeError:
        return ()


def _check_slice(path: Path) -> None:
    """Refuse a file that claims more voxels than it can hold, before memory is taken for them."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    check_claim(path, header_of(reader))
