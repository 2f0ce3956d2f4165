"""One case of a RefineSeg data set: checked and written in a worker process. Arrays are (z, y, x)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_weak.dataset.annotations import ChannelLayout
from nnunet_weak.dataset.case_files import CaseFiles
from nnunet_weak.dataset.convert import ConvertedCase, files_in
from nnunet_weak.dataset.input_channels import (
    further_channels,
    lowest_intensities,
    read_first_channel,
    write_input_channels,
)
from nnunet_weak.drawings.files import read_drawing
from nnunet_weak.drawings.legend import IGNORE, DrawingCode, class_numbers
from nnunet_weak.drawings.random_walker import RANDOM_WALKER, carry_on_drawings
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.read import read_label_map_on_grid, with_geometry_of

NEGATIVE_SUFFIX = "_not"
"""Map `anna` holds what anna drew as being there, map `anna_not` what she drew as not being there."""
PREVIEWS = "previews"
"""Folder of the raw data set with a picture of each case."""
_REFERENCE = "reference"


@dataclass(frozen=True)
class DrawingsCase:
    """A case's files and how to read them.

    Attributes:
        name: The case.
        images: Its image channels.
        positive: Positive drawing of each annotator who made one.
        negative: Negative drawing of each annotator who made one.
        reference: Its reference labels, if it is fully annotated.
        code: What the values of drawings mean.
        carry_on: Whether to add the map of the random walker.
        preview: Whether to draw a preview.
        file_ending: Ending of the files to write.
    """

    name: str
    images: tuple[Path, ...]
    positive: Mapping[str, Path]
    negative: Mapping[str, Path]
    reference: Path | None
    code: DrawingCode
    carry_on: bool = False
    preview: bool = True
    file_ending: str = ".nii.gz"


@dataclass(frozen=True, kw_only=True)
class CheckedDrawingsCase(ConvertedCase):
    """What was found in a case's files.

    Attributes:
        drawn: Voxels drawn as each class, by map.
        conflicts: Voxels that contradict each other, by description; only what occurs.
        fully_annotated: Whether there is a reference.
    """

    drawn: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    conflicts: Mapping[str, int] = field(default_factory=dict)
    fully_annotated: bool = False


@dataclass(frozen=True)
class CaseMaps:
    """The annotation maps of a case.

    Attributes:
        maps: 0 = blank, k + 1 = class k; positive maps first of each annotator.
        conflicts: As in `CheckedDrawingsCase`.
    """

    maps: Mapping[str, np.ndarray]
    conflicts: Mapping[str, int]


def convert_case(case: DrawingsCase, folder: Path | None) -> CheckedDrawingsCase:
    """Check a case and write its images, label map, annotation maps and preview into a raw folder; None checks only.

    Raises:
        InvalidInputError: All problems of its files.
    """
    problems = Problems()
    image = read_first_channel(case.images)
    found = problems.attempt(read_maps, case, image) or CaseMaps({}, {})
    reference = problems.attempt(read_reference, case, image)
    maps = dict(found.maps)
    if case.carry_on and case.reference is None and not problems:
        carried_on = problems.attempt(carried_on_map, case, maps, image)
        if carried_on is not None:
            maps[RANDOM_WALKER] = carried_on
    drawn = {
        name: tuple(int(count) for count in np.bincount(array.ravel(), minlength=case.code.num_classes + 1)[1:])
        for name, array in maps.items()
    }
    if not problems and case.reference is None and not any(any(counts) for counts in drawn.values()):
        problems.add(case.name, "its drawings are blank", "check --blank, draw something, or remove the drawings")
    if folder is None or problems:
        minima = problems.attempt(lowest_intensities, case.images, image)
    else:
        files = CaseFiles(folder, case.name, case.file_ending, image)
        labels = first_positive(case, found.maps, image) if reference is None else reference
        files.write_labels(with_geometry_of(labels, image))
        for name, array in maps.items():
            if any(drawn[name]):
                files.write_annotation_map(name, with_geometry_of(array, image))
        if case.preview:
            _draw_preview(folder / PREVIEWS, case, image, maps, reference)
        layout = ChannelLayout(len(case.images))
        written = problems.attempt(write_input_channels, files, case.images, image, layout, None)
        minima = None if written is None else written.minima
    problems.raise_if_any()
    return CheckedDrawingsCase(
        name=case.name,
        minima=minima or (),
        inputs=files_in([*case.images, *case.positive.values(), *case.negative.values(), case.reference]),
        drawn=drawn,
        conflicts=found.conflicts,
        fully_annotated=case.reference is not None,
    )


def _draw_preview(
    folder: Path, case: DrawingsCase, image: sitk.Image, maps: Mapping[str, np.ndarray], reference: np.ndarray | None
) -> None:
    from nnunet_weak.drawings.overview import draw_preview

    titles = {name: f"{name}: is not" if _is_negative(case, name) else f"{name}: is" for name in maps}
    shown = dict(maps)
    if reference is not None:
        shown[_REFERENCE], titles[_REFERENCE] = reference + 1, _REFERENCE
    folder.mkdir(exist_ok=True)
    labels = [label for label in case.code.labels if label != IGNORE]
    draw_preview(folder / f"{case.name}.png", case.name, image, shown, titles, labels)


def read_maps(case: DrawingsCase, image: sitk.Image) -> CaseMaps:
    """Read all drawings of a case, and count where they contradict each other.

    A negative drawing that excludes all targets says background, which goes into the positive map of the same
    annotator wherever that is blank. Contradictions stay as they are drawn.

    Raises:
        InvalidInputError: Everything that is wrong with any of them.
    """
    problems: list[str] = []
    conflicts: dict[str, int] = {}
    maps: dict[str, np.ndarray] = {}
    none = case.code.num_classes + 1
    for annotator in dict.fromkeys([*case.positive, *case.negative]):
        try:
            positive = _codes(case.positive.get(annotator), annotator, image, case.code, conflicts, negative=False)
            negative = _codes(case.negative.get(annotator), annotator, image, case.code, conflicts, negative=True)
        except InvalidInputError as error:
            problems += error.problems
            continue
        if negative is not None and (negative == none).any():
            background = negative == none
            positive = np.zeros_like(negative) if positive is None else positive
            _count(conflicts, f"{annotator} draws a target and excludes all of them", background & (positive > 1))
            positive[background & (positive == 0)] = 1
            negative[background] = 0
        if positive is not None:
            maps[annotator] = positive
        if negative is not None:
            maps[annotator + NEGATIVE_SUFFIX] = negative
    if problems:
        raise InvalidInputError(problems)
    for (one, a), (other, b) in combinations(maps.items(), 2):
        kinds = {_is_negative(case, one), _is_negative(case, other)}
        if kinds == {False}:
            _count(conflicts, f"{one} and {other} draw different classes", (a > 0) & (b > 0) & (a != b))
        elif len(kinds) == 2:
            _count(conflicts, f"{one} and {other} contradict each other", (a > 0) & (a == b))
    return CaseMaps(maps, conflicts)


def first_positive(case: DrawingsCase, maps: Mapping[str, np.ndarray], image: sitk.Image) -> np.ndarray:
    """Label map of the first positive map, blank = ignore: what the stock trainer learns from."""
    ignore = case.code.num_classes
    for name, array in maps.items():
        if not _is_negative(case, name) and array.any():
            return np.where(array > 0, array.astype(np.int32) - 1, ignore).astype(np.uint16)
    return np.full(image.GetSize()[::-1], ignore, np.uint16)


def carried_on_map(case: DrawingsCase, maps: Mapping[str, np.ndarray], image: sitk.Image) -> np.ndarray | None:
    """The drawings of a case carried on into their blanks, see `carry_on_drawings`; None without a positive drawing.

    Raises:
        InvalidInputError: A channel cannot be read, or is not on the grid of the first.
    """
    positive = [array for name, array in maps.items() if not _is_negative(case, name)]
    if not positive:
        return None
    channels = [image, *further_channels(case.images, image)]
    return carry_on_drawings(
        [sitk.GetArrayViewFromImage(channel) for channel in channels],
        positive,
        [array for name, array in maps.items() if _is_negative(case, name)],
        case.code.num_classes,
        image.GetSpacing()[::-1],
    )


def read_reference(case: DrawingsCase, image: sitk.Image) -> np.ndarray | None:
    """Reference labels as classes 0 to K; None where there are none. They use the drawings' values, 0 is background."""
    if case.reference is None:
        return None
    labels = read_label_map_on_grid(case.reference, image)
    return class_numbers(sitk.GetArrayViewFromImage(labels), case.code.targets, str(case.reference))


def _codes(
    path: Path | None,
    annotator: str,
    image: sitk.Image,
    code: DrawingCode,
    conflicts: dict[str, int],
    *,
    negative: bool,
) -> np.ndarray | None:
    if path is None:
        return None
    drawing = read_drawing(path, image, code, negative=negative)
    if drawing.overlapping_voxels:
        name = annotator + NEGATIVE_SUFFIX if negative else annotator
        conflicts[f"segments of {name} overlap, the first-named stays"] = drawing.overlapping_voxels
    return drawing.codes


def _is_negative(case: DrawingsCase, name: str) -> bool:
    return name.endswith(NEGATIVE_SUFFIX) and name.removesuffix(NEGATIVE_SUFFIX) in case.negative


def _count(conflicts: dict[str, int], what: str, where: np.ndarray) -> None:
    voxels = int(where.sum())
    if voxels:
        conflicts[what] = voxels
