"""Files of drawings: label maps in any format, and segmentations of 3D Slicer (`.seg.nrrd`).

A drawing is encoded on the grid of its image: 0 = blank, k + 1 = class k, L + 1 = none of the targets (negative
drawings only). Arrays are (z, y, x).

A segmentation of 3D Slicer has named segments in one or several layers, and may cover a part of the image. Where
segments overlap, the class named first in `--labels` stays, as a voxel of a map holds one class. In a negative drawing
a voxel in the segments of all targets says none of the targets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_weak.drawings.legend import DrawingCode, encode_values
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.read import (
    geometry_difference,
    list_images,
    read_label_map_on_grid,
    read_volume,
    with_geometry_of,
)

_MOST_TIMES = 8  # as many voxels as the image
_SEGMENT_NAME = re.compile(r"Segment(0|[1-9][0-9]{0,8})_Name")


def find_drawings(folder: Path) -> dict[str, Path]:
    """Find the drawings of a folder by case: `CASE.nii.gz`, `CASE.seg.nrrd` and the like.

    Raises:
        InvalidInputError: No such folder, or two files of one case.
    """
    found: dict[str, Path] = {}
    for name, path in list_images(folder).items():
        case = re.sub(r"\.seg$", "", name, flags=re.IGNORECASE)
        if case in found:
            raise InvalidInputError(
                f"{folder}: {found[case].name} and {path.name} are drawings of the same case (remedy: keep one)"
            )
        found[case] = path
    return found


def read_drawing(path: Path, image: sitk.Image, code: DrawingCode, *, negative: bool) -> tuple[np.ndarray, int]:
    """Read a drawing onto the grid of its image.

    Args:
        path: The file.
        image: The image it was drawn on.
        code: Meaning of its values and segments.
        negative: Whether it is a negative drawing.

    Returns:
        The codes, and the number of voxels that lie in several segments.

    Raises:
        InvalidInputError: Unreadable, off the image's grid, values or segments without a meaning.
    """
    if path.name.lower().endswith((".nrrd", ".nhdr")):
        # A segmentation may exceed its image where it is empty, but there is no reason for much of that.
        segmentation = read_volume(path, most_voxels=_MOST_TIMES * image.GetNumberOfPixels())
        segments = _segments(path, segmentation)
        if segments:
            codes, overlapping = _encode_segments(path, segmentation, segments, code, negative)
            return _paste(path, with_geometry_of(codes, segmentation), image), overlapping
    labels = read_label_map_on_grid(path, image)
    return encode_values(sitk.GetArrayViewFromImage(labels), code, negative, str(path)), 0


def _segments(path: Path, segmentation: sitk.Image) -> dict[str, tuple[int, int]]:
    """Layer and value of each segment, by name; empty for a file that is no segmentation of 3D Slicer."""
    try:
        metadata = {key: segmentation.GetMetaData(key) for key in segmentation.GetMetaDataKeys()}
    except (TypeError, UnicodeError) as error:
        raise InvalidInputError(f"{path}: its metadata are no text in UTF-8 (remedy: save it again)") from error
    segments: dict[str, tuple[int, int]] = {}
    for number in sorted({int(match[1]) for key in metadata if (match := _SEGMENT_NAME.fullmatch(key))}):
        name = metadata[f"Segment{number}_Name"]
        where = f"{path}, segment '{name}'"
        # Segmentations of Slicer before 4.11 have neither key: each segment is a layer of its own.
        layer = _whole_number(metadata.get(f"Segment{number}_Layer", str(number)), f"{where}: its layer")
        value = _whole_number(metadata.get(f"Segment{number}_LabelValue", "1"), f"{where}: its label value")
        if name in segments:
            raise InvalidInputError(f"{path}: two segments are called '{name}' (remedy: rename or merge them)")
        if segmentation.GetDimension() != 3 or layer >= segmentation.GetNumberOfComponentsPerPixel():
            raise InvalidInputError(f"{where}: layer {layer} is no 3D volume (remedy: save it again)")
        segments[name] = (layer, value)
    return segments


def _whole_number(text: str, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()):
        raise InvalidInputError(f"{what} is {text[:20]!r}, no number from 0 (remedy: save it again from Slicer)")
    return int(text)


def _encode_segments(
    path: Path, segmentation: sitk.Image, segments: Mapping[str, tuple[int, int]], code: DrawingCode, negative: bool
) -> tuple[np.ndarray, int]:
    """Encode the segments on their own grid; also the number of voxels in several segments."""
    if code.blank != 0:
        raise InvalidInputError(f"{path}: --blank {code.blank} does not suit segments (remedy: --blank 0)")
    layers = sitk.GetArrayViewFromImage(segmentation).reshape(*segmentation.GetSize()[::-1], -1)
    codes = np.zeros(layers.shape[:3], np.uint16)
    classes_drawn, targets_drawn = np.zeros_like(codes), np.zeros_like(codes)
    unknown = {name for name, (layer, value) in segments.items() if (layers[..., layer] == value).any()}
    for source, code_value in code.codes(negative):
        drawn = np.zeros(codes.shape, bool)
        for name in filter(source.has_name, segments):
            layer, value = segments[name]
            drawn |= layers[..., layer] == value
            unknown.discard(name)
        codes[drawn & (codes == 0)] = code_value
        classes_drawn += drawn
        if source in code.targets:
            targets_drawn += drawn
    if unknown:
        names = ", ".join(name for source, _ in code.codes(negative) for name in (source.name, *source.names))
        raise InvalidInputError(
            f"{path}: segment '{', '.join(sorted(unknown))}' is none of {names} (remedy: rename it, or name it in "
            "--labels)"
        )
    overlapping = classes_drawn > 1
    if negative and len(code.targets) > 1:
        all_targets = targets_drawn == len(code.targets)
        codes[all_targets] = code.num_classes + 1
        overlapping &= ~all_targets
    return codes, int(overlapping.sum())


def _paste(path: Path, drawn: sitk.Image, image: sitk.Image) -> np.ndarray:
    """Extend or crop a drawing, whose voxels must be some of the image's, to the grid of the image."""
    first_voxel = np.rint(image.TransformPhysicalPointToContinuousIndex(drawn.GetOrigin())).astype(int).tolist()
    expected = sitk.Image(drawn.GetSize(), sitk.sitkUInt8)
    expected.SetSpacing(image.GetSpacing())
    expected.SetDirection(image.GetDirection())
    expected.SetOrigin(image.TransformIndexToPhysicalPoint(first_voxel))
    difference = geometry_difference(expected, drawn)
    if difference:
        raise InvalidInputError(
            f"{path}: its voxels are not those of the image: {difference} (remedy: in Slicer set the image as the "
            "segmentation's source geometry, then save again)"
        )
    pasted = sitk.GetArrayFromImage(sitk.Resample(drawn, image, sitk.Transform(), sitk.sitkNearestNeighbor))
    outside = np.count_nonzero(sitk.GetArrayViewFromImage(drawn)) - np.count_nonzero(pasted)
    if outside:
        raise InvalidInputError(f"{path}: {outside} voxels lie outside the image (remedy: crop the segmentation)")
    return pasted
