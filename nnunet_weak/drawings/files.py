"""Drawings on disk: label maps in any format, and segmentations of 3D Slicer (`.seg.nrrd`).

A drawing is read onto the grid of its image and encoded 0 = blank, k + 1 = class k, L + 1 = none of the targets
(negative drawings only). Arrays are (z, y, x).

A segmentation of 3D Slicer has segments with names, in one or several layers, and may cover only a part of the image.
Where segments overlap the one named first in `--labels` stays, as a voxel of a map makes one statement; the voxels are
counted. In a negative drawing a voxel in the segments of all targets says none of the targets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_weak.drawings.legend import ClassSource, DrawingCode, encode_values
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.read import geometry_difference, list_images, read_label_map

_SEGMENT_NAME = re.compile(r"Segment(\d+)_Name")
_SEGMENTATION_ENDING = ".seg"
_WHOLE_VOXEL = 0.01


@dataclass(frozen=True)
class Drawing:
    """A drawing as read.

    Attributes:
        codes: 0 = blank, k + 1 = class k, L + 1 = none of the targets.
        overlapping_voxels: Voxels that lie in several segments.
    """

    codes: np.ndarray
    overlapping_voxels: int = 0


def find_drawings(folder: Path) -> dict[str, Path]:
    """Drawings of a folder by case: `CASE.nii.gz`, `CASE.seg.nrrd` and the like.

    Raises:
        InvalidInputError: No such folder, or two files of one case.
    """
    found: dict[str, Path] = {}
    for name, path in list_images(folder).items():
        case = name[: -len(_SEGMENTATION_ENDING)] if name.lower().endswith(_SEGMENTATION_ENDING) else name
        if case in found:
            raise InvalidInputError(
                f"{folder}: {found[case].name} and {path.name} are drawings of the same case (remedy: keep one)"
            )
        found[case] = path
    return found


def read_drawing(path: Path, image: sitk.Image, code: DrawingCode, *, negative: bool) -> Drawing:
    """Read a drawing.

    Args:
        path: The file.
        image: The image it was drawn on.
        code: What its values and segments mean.
        negative: Whether it says what is not there.

    Raises:
        InvalidInputError: Unreadable, off the image's grid, values or segments without a meaning.
    """
    segments = _read_segmentation(path)
    if segments is not None:
        return _encode_segments(path, segments, image, code, negative)
    labels = read_label_map(path)
    difference = geometry_difference(image, labels)
    if difference:
        raise InvalidInputError(
            f"{path}: not on the image's grid: {difference} (remedy: draw on the image itself, or resample the drawing "
            "with nearest neighbour)"
        )
    problems = Problems()
    array = sitk.GetArrayViewFromImage(labels)
    for source, _ in code.codes(negative):
        if not source.values and any(label.values for label, _ in code.codes(negative)):
            problems.add(str(path), f"nothing says which value is {source.name}", f"write --labels {source.name}=VALUE")
    if not any(source.values for source, _ in code.codes(negative)):
        problems.add(
            str(path),
            "is a label map, and --labels gives no values",
            "write --labels NAME=VALUE, or give ITK-SNAP's file with --label-descriptions",
        )
        problems.raise_if_any()
    encoded = encode_values(array, code.codes(negative), code.blank, str(path), problems)
    problems.raise_if_any()
    return Drawing(encoded)


def _read_segmentation(path: Path) -> tuple[sitk.Image, dict[str, tuple[int, int]]] | None:
    """Image and {segment name: (layer, value)} of a segmentation of 3D Slicer; None for any other file."""
    if not path.name.lower().endswith((".nrrd", ".nhdr")):
        return None
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InvalidInputError(f"{path}: unreadable or truncated ({reason})") from error
    found = [match for key in image.GetMetaDataKeys() if (match := _SEGMENT_NAME.fullmatch(key))]
    if not found:
        return None
    segments: dict[str, tuple[int, int]] = {}
    for match in sorted(found, key=lambda match: int(match[1])):
        name = image.GetMetaData(match[0])
        if name in segments:
            raise InvalidInputError(f"{path}: two segments are called '{name}' (remedy: rename or merge them)")
        # Segmentations of Slicer before 4.11 have neither key: each segment is a layer of its own.
        layer = _number(image, f"Segment{match[1]}_Layer", int(match[1]))
        segments[name] = (layer, _number(image, f"Segment{match[1]}_LabelValue", 1))
    return image, segments


def _number(image: sitk.Image, key: str, default: int) -> int:
    return int(image.GetMetaData(key)) if image.HasMetaDataKey(key) else default


def _encode_segments(
    path: Path,
    segmentation: tuple[sitk.Image, dict[str, tuple[int, int]]],
    image: sitk.Image,
    code: DrawingCode,
    negative: bool,
) -> Drawing:
    drawn, segments = segmentation
    problems = Problems()
    if code.blank != 0:
        problems.add(
            str(path), f"--blank {code.blank} makes no sense for segments", "what is in no segment is blank: 0"
        )
    if drawn.GetDimension() != 3:
        problems.add(str(path), f"a segmentation of {drawn.GetDimension()} dimensions, 3 are needed")
    problems.raise_if_any()
    layers = sitk.GetArrayViewFromImage(drawn)
    layers = layers[..., None] if drawn.GetNumberOfComponentsPerPixel() == 1 else layers
    inside, target = _place(path, drawn, image)
    result = np.zeros(image.GetSize()[::-1], np.uint16)
    found = np.zeros(result.shape, np.uint16)
    excluded = np.zeros(result.shape, np.uint16)
    matched: set[str] = set()
    for source, value in code.codes(negative):
        of_class = np.zeros(result.shape, bool)
        for name, (layer, label) in segments.items():
            if source.has_name(name):
                matched.add(name)
                of_class[target] |= _segment(path, layers, layer, label, name)[inside]
        result[of_class & (result == 0)] = value
        found += of_class
        excluded += of_class & (value != 1) & (value != code.num_classes + 1)
    for name, (layer, label) in segments.items():
        voxels = _segment(path, layers, layer, label, name)
        if name not in matched and voxels.any():
            known = ", ".join(_names(code.codes(negative)))
            problems.add(f"{path}, segment '{name}'", f"is none of {known}", "rename it, or name it in --labels")
        outside = int(voxels.sum() - voxels[inside].sum())
        if outside:
            problems.add(f"{path}, segment '{name}'", f"{outside} voxels lie outside the image", "crop it")
    problems.raise_if_any()
    overlapping = found > 1
    if negative:
        everything = excluded == len(code.targets)
        if len(code.targets) > 1:
            result[everything] = code.num_classes + 1
            overlapping &= ~everything
    return Drawing(result, int(overlapping.sum()))


def _segment(path: Path, layers: np.ndarray, layer: int, label: int, name: str) -> np.ndarray:
    if layer >= layers.shape[-1]:
        raise InvalidInputError(
            f"{path}, segment '{name}': lies in layer {layer}, the file has {layers.shape[-1]} (remedy: save it again)"
        )
    return layers[..., layer] == label


def _names(codes: Sequence[tuple[ClassSource, int]]) -> list[str]:
    return [name for source, _ in codes for name in (source.name, *source.names)]


def _place(path: Path, drawn: sitk.Image, image: sitk.Image) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a cropped segmentation and its image overlap, in the indices of each."""
    spacing, spacing_of_image = np.array(drawn.GetSpacing()), np.array(image.GetSpacing())
    directions = np.abs(np.array(drawn.GetDirection()) - np.array(image.GetDirection())).max()
    offset = np.array(image.TransformPhysicalPointToContinuousIndex(drawn.GetOrigin()))
    shift = np.rint(offset).astype(int)
    same_spacing = bool(np.all(np.abs(spacing - spacing_of_image) < 1e-3 * spacing_of_image))
    if not same_spacing or directions > 1e-3 or np.abs(offset - shift).max() > _WHOLE_VOXEL:
        difference = geometry_difference(image, drawn)
        raise InvalidInputError(
            f"{path}: its voxels are not those of the image: {difference} (remedy: in Slicer set the image as the "
            "segmentation's source geometry, then save again)"
        )
    low = np.maximum(shift, 0)
    high = np.maximum(np.minimum(shift + drawn.GetSize(), image.GetSize()), low)
    target = tuple(slice(int(a), int(b)) for a, b in zip(low[::-1], high[::-1], strict=True))
    inside = tuple(slice(int(a - s), int(b - s)) for a, b, s in zip(low[::-1], high[::-1], shift[::-1], strict=True))
    return inside, target
