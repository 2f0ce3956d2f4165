"""Images and label maps on disk, read through SimpleITK and checked.

Arrays are (z, y, x), the reverse of SimpleITK's (x, y, z). World coordinates are LPS in mm. Nothing here imports torch.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.dicom import read_dicom_series
from nnunet_weak.images.integrity import is_truncated, non_finite_voxels

IMAGE_ENDINGS = (
    ".nii.gz",
    ".nii",
    ".nrrd",
    ".nhdr",
    ".mha",
    ".mhd",
    ".gipl",
    ".gipl.gz",
    ".img",
    ".hdr",
    ".tif",
    ".tiff",
)


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
        InvalidInputError: The folder does not exist, or two files differ in their ending only.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InvalidInputError(f"{folder}: no such folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.name.lower().endswith(IMAGE_ENDINGS):
            continue
        name = strip_ending(path)
        if name in found:
            raise InvalidInputError(
                f"{folder}: {found[name].name} and {path.name} name the same case twice (remedy: keep one)"
            )
        found[name] = path
    return found


def read_image(path: Path | str) -> sitk.Image:
    """Read a scalar 3D image and check that its voxels are finite.

    Raises:
        InvalidInputError: Unreadable or truncated file, not 3D, several components per voxel, NaN or infinity among
        the voxels.
    """
    image = _read(path)
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


def read_label_map(path: Path | str) -> sitk.Image:
    """Read a 3D label map without loss as an integer image.

    Files of floating-point type are accepted where every voxel is a whole number.

    Raises:
        InvalidInputError: As `read_image`; also negative values, values above 65535, or values that are not whole
        numbers.
    """
    image = read_image(path)
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
        raise InvalidInputError(f"{path}: label values range from {low} to {high}, allowed are 0 to 65535")
    return sitk.Cast(image, sitk.sitkUInt8 if high <= np.iinfo(np.uint8).max else sitk.sitkUInt16)


def read_label_map_on_grid(path: Path | str, image: sitk.Image) -> sitk.Image:
    """Read a label map that must be on the grid of an image.

    Raises:
        InvalidInputError: As `read_label_map`; or the grids differ.
    """
    labels = read_label_map(path)
    difference = geometry_difference(image, labels)
    if difference:
        raise InvalidInputError(
            f"{path}: not on the image's grid: {difference} (remedy: resample it with nearest neighbour)"
        )
    return labels


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


def _read(path: Path | str) -> sitk.Image:
    path = Path(path)
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file")
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InvalidInputError(f"{path}: unreadable or truncated ({reason})") from error
    array = sitk.GetArrayViewFromImage(image)
    if is_truncated(path, array.size, array.itemsize):
        raise InvalidInputError(f"{path}: truncated, it ends before its last voxel (remedy: copy or export it again)")
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
    return image


def _rounded(values: npt.ArrayLike) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in np.ravel(values))
