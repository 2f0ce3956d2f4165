"""A case of a RefineSeg data set, checked and written. Arrays are (z, y, x)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_weak.dataset.annotations import MAP_KINDS, ChannelLayout
from nnunet_weak.dataset.case_files import CaseFiles
from nnunet_weak.dataset.convert import ConvertedCase, files_in
from nnunet_weak.dataset.input_channels import (
    further_channels,
    lowest_intensities,
    read_first_channel,
    write_input_channels,
)
from nnunet_weak.drawings.files import read_drawing
from nnunet_weak.drawings.fusion import majority_vote
from nnunet_weak.drawings.inputs import DrawingsCase
from nnunet_weak.drawings.legend import class_numbers
from nnunet_weak.drawings.options import NEGATIVE_SUFFIX, DrawingsConversion
from nnunet_weak.drawings.random_walker import propagate_random_walker
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.read import read_label_map_on_grid, with_geometry_of

PREVIEWS = "previews"
"""Folder of the raw data set with a picture of each case."""


@dataclass(frozen=True, kw_only=True)
class ConvertedDrawings(ConvertedCase):
    """Contents of a case's files.

    Attributes:
        fully_annotated: Whether there is a reference.
        drawn: Voxels drawn as each class, by map; maps that are blank are left out.
        conflicts: Voxels that contradict each other, by description; only those that occur.
    """

    fully_annotated: bool
    drawn: Mapping[str, tuple[int, ...]]
    conflicts: Mapping[str, int]


def convert_case(options: DrawingsConversion, case: DrawingsCase, folder: Path | None) -> ConvertedDrawings:
    """Check a case and write its images, label map, annotation maps and preview.

    Args:
        options: Meaning of the drawings.
        case: Files of the case.
        folder: The raw folder; None checks only.

    Raises:
        InvalidInputError: Everything that is wrong with the files.
    """
    problems = Problems()
    image = read_first_channel(case.images)
    maps, conflicts = problems.attempt(read_maps, options, case, image) or ({}, {})
    labels = problems.attempt(_read_labels, options, case, maps, image)
    if options.filled_map is not None and case.reference is None and not problems:
        filled = problems.attempt(_fill_blank_voxels, options, case, maps, image)
        maps |= {} if filled is None else {options.filled_map: filled}
    maps = {name: array for name, array in maps.items() if array.any()}
    if not maps and case.reference is None and not problems:
        problems.add(case.name, "its drawings are blank", "check --blank, draw something, or remove the drawings")
    if folder is None or labels is None or problems:
        minima = problems.attempt(lowest_intensities, case.images, image)
    else:
        files = CaseFiles(folder, case.name, options.file_ending, image)
        files.write_labels(with_geometry_of(labels, image))
        for name, array in maps.items():
            files.write_annotation_map(name, with_geometry_of(array, image))
        if options.previews:
            from nnunet_weak.drawings.preview import draw_preview

            titles = {"positive": "is", "negative": "is not"}
            shown = {f"{name}: {titles[options.map_kinds[name]]}": array for name, array in maps.items()}
            shown |= {"reference": labels + 1} if case.reference is not None else {}
            draw_preview(folder / PREVIEWS / f"{case.name}.png", image, shown, options.code.class_names)
        layout = ChannelLayout(len(case.images))
        minima = write_input_channels(files, case.images, image, layout, None).minima
    problems.raise_if_any()
    counts = {name: np.bincount(array.ravel(), minlength=options.code.num_classes + 1) for name, array in maps.items()}
    return ConvertedDrawings(
        name=case.name,
        minima=minima or (),
        inputs=files_in([*case.images, *case.drawings.values(), case.reference, case.prediction]),
        fully_annotated=case.reference is not None,
        drawn={name: tuple(int(count) for count in array[1:]) for name, array in counts.items()},
        conflicts=conflicts,
    )


def read_maps(
    options: DrawingsConversion, case: DrawingsCase, image: sitk.Image
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Read all drawings of a case as annotation maps, and count voxels that contradict each other.

    A negative drawing that excludes all targets says background, which goes into the positive map of the same
    annotator where that is blank. Contradictions stay as they are drawn.

    Returns:
        Maps (0 = blank, k + 1 = class k) by name, and numbers of voxels by description of the conflict.

    Raises:
        InvalidInputError: Everything that is wrong with any of the drawings.
    """
    problems = Problems()
    kinds = options.map_kinds
    found: dict[str, np.ndarray] = {}
    conflicts: dict[str, int] = {}
    for name, path in case.drawings.items():
        read = problems.attempt(read_drawing, path, image, options.code, negative=kinds[name] == "negative")
        if read is not None:
            found[name], conflicts[f"segments of {name} overlap, the first-named stays"] = read
    problems.raise_if_any()
    for annotator in options.negative:
        negative = found.get(annotator + NEGATIVE_SUFFIX)
        if negative is not None and (background := negative > options.code.num_classes).any():
            positive = found.setdefault(annotator, np.zeros_like(negative))
            conflict = f"{annotator} draws a target and excludes all of them"
            conflicts[conflict] = int((background & (positive > 1)).sum())
            positive[background & (positive == 0)] = 1
            negative[background] = 0
    maps = {name: found[name] for name in kinds if name in found}
    for (one, a), (other, b) in combinations(maps.items(), 2):
        if kinds[one] == kinds[other] == "positive":
            conflicts[f"{one} and {other} draw different classes"] = int(((a > 0) & (b > 0) & (a != b)).sum())
        elif kinds[one] != kinds[other]:
            conflicts[f"{one} and {other} contradict each other"] = int(((a > 0) & (a == b)).sum())
    return maps, {conflict: voxels for conflict, voxels in conflicts.items() if voxels}


def labels_of_map(array: np.ndarray, num_classes: int) -> np.ndarray:
    """Turn a positive map into a label map of nnU-Net, blank = ignore: the supervision of the stock trainer."""
    return np.where(array > 0, array.astype(np.int32) - 1, num_classes).astype(np.uint16)


def _read_labels(
    options: DrawingsConversion, case: DrawingsCase, maps: Mapping[str, np.ndarray], image: sitk.Image
) -> np.ndarray:
    """Read the reference as classes 0 to K; else make the label map of the first positive map, blank = ignore."""
    if case.reference is not None:
        labels = read_label_map_on_grid(case.reference, image)
        return class_numbers(sitk.GetArrayViewFromImage(labels), options.code.targets, str(case.reference))
    positive = [array for name, array in maps.items() if options.map_kinds[name] == "positive" and array.any()]
    first = positive[0] if positive else np.zeros(image.GetSize()[::-1], np.uint16)
    return labels_of_map(first, options.code.num_classes)


def _fill_blank_voxels(
    options: DrawingsConversion, case: DrawingsCase, maps: Mapping[str, np.ndarray], image: sitk.Image
) -> np.ndarray | None:
    """Propagate the drawings by a random walker, in a second round only to where the predicted class is the same."""
    positive, negative = (
        [array for name, array in maps.items() if options.map_kinds[name] == kind] for kind in MAP_KINDS
    )
    if not positive:
        return None
    num_classes = options.code.num_classes
    channels = [image, *further_channels(case.images, image)]
    arrays = [sitk.GetArrayViewFromImage(channel) for channel in channels]
    filled = propagate_random_walker(arrays, positive, negative, num_classes, image.GetSpacing()[::-1])
    if case.prediction is None:
        return filled
    predicted = sitk.GetArrayFromImage(read_label_map_on_grid(case.prediction, image))
    if predicted.max(initial=0) >= num_classes:
        raise InvalidInputError(
            f"{case.prediction}: holds the label {predicted.max()}, but the classes end at {num_classes - 1} (remedy: "
            "predict with a model that was trained on these drawings)"
        )
    drawn = majority_vote(positive, num_classes) > 0
    return np.where(drawn | (filled == predicted + 1), filled, 0).astype(filled.dtype)
