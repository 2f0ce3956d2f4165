"""Images and label maps on disk, read through SimpleITK and checked.

Arrays are (z, y, x), the reverse of SimpleITK's (x, y, z). World coordinates are LPS in mm. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.dicom import read_dicom_series
from nnunet_weak.images.header import (
    IMAGE_ENDINGS,
    MOST_VOXELS,
    check_claim,
    check_name,
    image_reader,
    read_header,
    unreadable,
)
from nnunet_weak.images.integrity import check_length, has_finite_affine, non_finite_voxels
from nnunet_weak.images.tiff import TIFF_ENDINGS, read_tiff


def strip_ending(path: Path | str) -> str:
    """File name without its image ending: `case_01.nii.gz` becomes `case_01`; dots inside a case's name survive."""
    name = Path(path).name
    for ending in sorted(IMAGE_ENDINGS, key=len, reverse=True):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return Path(name).stem


def list_images(folder: Path) -> dict[str, Path]:
    """All images of a folder by their name without ending, sorted.

    Raises:
        InvalidInputError: The folder does not exist, two files differ in their ending only, or a name is no text in
            UTF-8.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InvalidInputError(f"{folder}: no such folder (remedy: check path and name)")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.name.lower().endswith(IMAGE_ENDINGS):
            continue
        check_name(path)
        name = strip_ending(path)
        if name in found:
            raise InvalidInputError(
                f"{folder}: {found[name].name} and {path.name} name the same case twice (remedy: keep one)"
            )
        found[name] = path
    return found


def read_image(path: Path | str, size: Sequence[int] | None = None) -> sitk.Image:
    """Read a scalar 3D image and check that its voxels and its grid are finite.

    Args:
        path: The file.
        size: The (x, y, z) that it must have, checked before memory is taken for its voxels.

    Raises:
        InvalidInputError: Unreadable or truncated file, a header that claims more than the file can hold, not 3D,
            another size, several components per voxel, NaN or infinity among the voxels or in the grid.
    """
    image = _read(Path(path), size)
    if image.GetPixelID() in (sitk.sitkFloat32, sitk.sitkFloat64):
        # A sum is finite only if every voxel is, and needs no temporary array; overflow alone sends us to the slow,
        # exact test.
        array = sitk.GetArrayViewFromImage(image)
        count = 0
        if not np.isfinite(array.sum(dtype=np.float64)):
            count = int(array.size - sum(int(np.isfinite(plane).sum()) for plane in array))
        elif any((plane == 0).any() for plane in array):  # SimpleITK turns NaN of NIfTI files into 0
            count = non_finite_voxels(Path(path))
        if count:
            raise InvalidInputError(
                f"{path}: {count} voxels are NaN or infinite (remedy: replace them, with air for example)"
            )
    return image


def read_case_image(path: Path | str) -> sitk.Image:
    """Read one channel of a case: an image file, or a folder with one DICOM series.

    Raises:
        InvalidInputError: As `read_image`; or the folder holds no series or several.
    """
    path = Path(path)
    return read_dicom_series(path) if path.is_dir() else read_image(path)


def read_label_map(path: Path | str, size: Sequence[int] | None = None) -> sitk.Image:
    """Read a 3D label map without loss as an integer image.

    Files of floating-point type are accepted where every voxel is a whole number. `size` is as for `read_image`.

    Raises:
        InvalidInputError: As `read_image`; also negative values, values above 65535, or values that are not whole
        numbers.
    """
    image = read_image(path, size)
    array = sitk.GetArrayViewFromImage(image)
    if array.dtype.kind == "f":
        for plane in array:  # a rounded copy of the whole volume would double the memory
            if not np.array_equal(plane, np.rint(plane)):
                example = float(plane[plane != np.rint(plane)].flat[0])
                raise InvalidInputError(
                    f"{path}: not a label map, it holds {example:g} "
                    "(remedy: write whole numbers; resample labels with nearest neighbour)"
                )
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise InvalidInputError(
            f"{path}: label values range from {low} to {high}, allowed are 0 to 65535 (remedy: renumber the labels)"
        )
    return sitk.Cast(image, sitk.sitkUInt8 if high <= np.iinfo(np.uint8).max else sitk.sitkUInt16)


def read_label_map_on_grid(path: Path | str, image: sitk.Image) -> sitk.Image:
    """Read a label map that must be on the grid of an image.

    Raises:
        InvalidInputError: As `read_label_map`; or the grids differ.
    """
    labels = read_label_map(path, image.GetSize())
    difference = geometry_difference(image, labels)
    if difference:
        raise InvalidInputError(
            f"{path}: not on the image's grid: {difference} (remedy: resample it with nearest neighbour)"
        )
    return labels


def read_volume(path: Path, size: Sequence[int] | None = None, most_voxels: int = MOST_VOXELS) -> sitk.Image:
    """Read an image of any number of dimensions and values per voxel, whose voxels the file really holds.

    Args:
        path: The file.
        size: The (x, y, z) that it must have, if it is 3D.
        most_voxels: How many it may have.

    Raises:
        InvalidInputError: Unreadable or truncated file, a header that claims more than the file can hold, another size.
    """
    header = read_header(path, most_voxels)
    found = header.size[:3] if header.size[3:] == (1,) else header.size
    if size is not None and len(found) == 3 and found != tuple(size):
        raise InvalidInputError(
            f"{path}: not on the image's grid: size {found} instead of {tuple(size)} (remedy: resample it with nearest "
            "neighbour)"
        )
    check_claim(path, header, expected=found == size)
    check_length(path, header)
    try:
        image = read_tiff(path) if path.name.lower().endswith(TIFF_ENDINGS) else image_reader(path).Execute()
    except RuntimeError as error:
        raise unreadable(path, error) from error
    grid = (*image.GetSpacing(), *image.GetOrigin(), *image.GetDirection())
    if not (np.isfinite(grid).all() and has_finite_affine(path)):
        raise InvalidInputError(f"{path}: its spacing, origin or direction is not finite (remedy: export it again)")
    return image


def geometry_difference(image: sitk.Image, other: sitk.Image, tolerance: float = 1e-3) -> str:
    """How the voxel grids of two images differ, as a sentence; empty where they are the same.

    Args:
        image: Reference image.
        other: Image to compare.
        tolerance: Largest difference that counts as the same: of spacing as a share of it, of direction cosines, and
            of the position of the farthest corner as a share of a voxel's size times ten (headers written by different
            programs round differently).
    """
    if image.GetSize() != other.GetSize():
        return f"size {other.GetSize()} instead of {image.GetSize()}"
    spacing, spacing_other = np.array(image.GetSpacing()), np.array(other.GetSpacing())
    if np.any(np.abs(spacing - spacing_other) > tolerance * spacing):
        return f"spacing {_rounded(spacing_other)} mm instead of {_rounded(spacing)} mm"
    if np.abs(np.array(image.GetDirection()) - np.array(other.GetDirection())).max() > tolerance:
        return f"direction {_rounded(other.GetDirection())} instead of {_rounded(image.GetDirection())}"
    corners = [(0,) * image.GetDimension(), tuple(n - 1 for n in image.GetSize())]
    for corner in corners:
        shift = np.subtract(other.TransformIndexToPhysicalPoint(corner), image.TransformIndexToPhysicalPoint(corner))
        if np.linalg.norm(shift) > 10 * tolerance * spacing.min():
            return f"voxel {corner} lies {_rounded(shift)} mm away"
    return ""


def with_geometry_of(array: np.ndarray, reference: sitk.Image) -> sitk.Image:
    """Array (z, y, x) as an image on the grid of `reference`."""
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(reference)
    return image


def left_right_axis(image: sitk.Image) -> int:
    """SimpleITK axis (0 = x, 1 = y, 2 = z) that runs most nearly left-right in the patient."""
    direction = np.array(image.GetDirection()).reshape(image.GetDimension(), image.GetDimension())
    return int(np.argmax(np.abs(direction[0])))


def _read(path: Path, size: Sequence[int] | None) -> sitk.Image:
    image = read_volume(path, size)
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    if image.GetDimension() != 3:
        raise InvalidInputError(
            f"{path}: {image.GetDimension()}D image of size {image.GetSize()}, 3D is needed "
            "(remedy: write one file for each time point)"
        )
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InvalidInputError(
            f"{path}: {image.GetNumberOfComponentsPerPixel()} values per voxel, one is needed "
            "(remedy: write one file for each channel)"
        )
    if image.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise InvalidInputError(f"{path}: complex numbers, real ones are needed (remedy: write their magnitude)")
    return image


def _rounded(values: npt.ArrayLike) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in np.ravel(values))
