"""Initial masks: the segmentations that quality scores refer to, as label maps or as folders of binary masks.

A case's mask is one file with a number for each structure (`MASKS/case_01.nii.gz`), or a folder with one binary file
for each structure (`MASKS/case_01/segmentations/*.nii.gz` or `MASKS/case_01/*.nii.gz`), as TotalSegmentator writes
them. Either becomes one label map with the regions 1 to K in the order they were named. Arrays are (z, y, x).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from nnunet_weak.dataset.names import suggest
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.read import geometry_difference, list_images, read_label_map, with_geometry_of
from nnunet_weak.scores.regions import RegionSource, from_files

SUBFOLDER = "segmentations"
"""Name of the folder inside a case's folder that may hold its binary masks."""


@dataclass(frozen=True)
class InitialMask:
    """The initial mask of one case.

    Attributes:
        label_map: 0 background, 1 to K the regions in the order given, on the grid of the image.
        regions: Their names.
        overlaps: Voxels claimed by two regions, {(region that has them, region that lost them): count}.
        empty_regions: Regions without any voxel.
        files: The files of each region, without ending, where they come from a folder.
    """

    label_map: sitk.Image
    regions: tuple[str, ...]
    overlaps: Mapping[tuple[str, str], int] = field(default_factory=dict)
    empty_regions: tuple[str, ...] = ()
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def find_initial_masks(folder: Path, cases: Sequence[str], regions: Sequence[RegionSource]) -> dict[str, Path]:
    """The initial mask of each case: a file `CASE.nii.gz`, or the folder that holds its files.

    Args:
        folder: Folder with one entry for each case.
        cases: Names of the cases.
        regions: The regions; they decide whether a label map or a folder of masks is looked for first.

    Raises:
        InvalidInputError: Every case that has neither, in one list.
    """
    folder = Path(folder)
    files = list_images(folder)
    folders = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    problems = Problems()
    found = {}
    for case in cases:
        options = [files.get(case), _mask_folder(folders[case]) if case in folders else None]
        if from_files(regions):
            options.reverse()
        choice = next((option for option in options if option is not None), None)
        if choice is None:
            close = suggest(case, [*files, *folders])
            problems.add(
                f"{folder}, case '{case}'",
                f"no initial mask {case}.nii.gz and no folder {case} or {case}/{SUBFOLDER} with masks",
                f"perhaps it is called {' or '.join(close)}; names must be those of the images"
                if close
                else "add it, or leave the case out",
            )
        else:
            found[case] = choice
    problems.raise_if_any("initial masks")
    return found


def read_initial_mask(
    source: Path,
    regions: Sequence[RegionSource],
    reference_image: sitk.Image,
    *,
    other_labels: Literal["refuse", "background"] = "refuse",
) -> InitialMask:
    """Read the initial mask of one case.

    Overlapping masks: the voxel goes to the region named first, and the overlap is counted. A file that several
    regions name belongs to the first of them, so `L1=vertebrae_L1 spine=vertebrae_*` has L1 once. Only the files that
    are needed are read, one at a time.

    Args:
        source: A label map, or a folder of binary masks, as `find_initial_masks` gives it.
        regions: The regions, see `parse_regions`.
        reference_image: The case's image; every mask must lie on its grid.
        other_labels: What to do about values of a label map that are no region's: refuse them, or make them background.

    Raises:
        InvalidInputError: Missing or unreadable files, another grid than the image's, values that do not fit, in one
        list.
    """
    source = Path(source)
    if source.is_dir() and not from_files(regions):
        files = list_images(source)
        if len(files) != 1:
            raise InvalidInputError(
                f"{source}: the regions are given as labels of one label map, but the folder holds {len(files)} images "
                "(remedy: give the regions as NAME=FILE)"
            )
        source = next(iter(files.values()))
    if source.is_dir():
        return _read_folder(source, regions, reference_image)
    if from_files(regions):
        raise InvalidInputError(
            f"{source}: a label map, but the regions are given as files (remedy: give them as NAME=LABEL)"
            if source.is_file()
            else f"{source}: no such folder of masks"
        )
    return _read_multi_label(source, regions, reference_image, other_labels)


def _read_folder(folder: Path, regions: Sequence[RegionSource], reference: sitk.Image) -> InitialMask:
    available = list_images(folder)
    problems = Problems()
    files = _assign_files(folder, list(available), regions, problems)
    labels = np.zeros(reference.GetSize()[::-1], _label_type(len(regions)))
    overlaps: dict[tuple[str, str], int] = {}
    for number, region in enumerate(regions, start=1):
        union: np.ndarray | None = None
        for name in files[region.name]:
            mask = _read_binary(available[name], reference, problems)
            if mask is not None:
                union = mask if union is None else np.logical_or(union, mask, out=union)
        if union is None:
            continue
        present = labels[union]
        counts = np.bincount(present, minlength=number)
        overlaps.update(
            {(regions[other - 1].name, region.name): int(counts[other]) for other in range(1, number) if counts[other]}
        )
        present[present == 0] = number
        labels[union] = present
    problems.raise_if_any(f"initial mask {folder}")
    return _initial_mask(labels, regions, reference, overlaps, files)


def _read_binary(path: Path, reference: sitk.Image, problems: Problems) -> np.ndarray | None:
    """The mask as booleans; None if it is empty or was reported."""
    image = problems.attempt(read_label_map, path)
    if image is None:
        return None
    difference = geometry_difference(reference, image)
    if difference:
        problems.add(str(path), f"{difference} of the image", "resample the mask to the image with nearest neighbour")
        return None
    array = sitk.GetArrayViewFromImage(image)
    highest = int(array.max()) if array.size else 0
    if highest == 0:
        return None
    mask = array == highest
    if np.count_nonzero(array) != np.count_nonzero(mask):
        problems.add(
            str(path),
            f"not a binary mask, it holds the values {_listed(_values(array))}",
            "give its regions as NAME=LABEL",
        )
        return None
    return mask


def _read_multi_label(
    path: Path, regions: Sequence[RegionSource], reference: sitk.Image, other_labels: str
) -> InitialMask:
    image = read_label_map(path)
    difference = geometry_difference(reference, image)
    if difference:
        raise InvalidInputError(
            f"{path}: {difference} of the image (remedy: resample the mask to the image with nearest neighbour)"
        )
    array = sitk.GetArrayViewFromImage(image)
    values = _values(array)
    lookup = np.zeros(
        max([*values, *(label for region in regions for label in region.labels)]) + 1, _label_type(len(regions))
    )
    for number, region in enumerate(regions, start=1):
        lookup[list(region.labels)] = number
    foreign = [value for value in values if value and not lookup[value]]
    if foreign and other_labels == "refuse":
        listed = ", ".join(f"{region.name}={_listed(region.labels, 6).replace(', ', ',')}" for region in regions)
        raise InvalidInputError(
            f"{path}: holds the values {_listed(foreign)}, which are none of the regions {listed} "
            "(remedy: name them as regions, or have them treated as background)"
        )
    labels = np.zeros(array.shape, lookup.dtype)
    for plane, target in zip(array, labels, strict=True):
        marked = plane != 0  # a small share of most planes, so that this takes a third of the time of lookup[array]
        target[marked] = lookup[plane[marked]]
    return _initial_mask(labels, regions, reference, {}, {})


def _initial_mask(
    labels: np.ndarray,
    regions: Sequence[RegionSource],
    reference: sitk.Image,
    overlaps: Mapping[tuple[str, str], int],
    files: Mapping[str, tuple[str, ...]],
) -> InitialMask:
    present = set(_values(labels))
    names = tuple(region.name for region in regions)
    empty = tuple(name for number, name in enumerate(names, start=1) if number not in present)
    return InitialMask(with_geometry_of(labels, reference), names, overlaps, empty, files)


def _assign_files(
    folder: Path, available: Sequence[str], regions: Sequence[RegionSource], problems: Problems
) -> dict[str, tuple[str, ...]]:
    owner: dict[str, str] = {}
    for region in regions:
        matched = []
        for pattern in region.patterns:
            names = [name for name in available if fnmatch.fnmatchcase(name, pattern)]
            matched += names
            if not names:
                close = suggest(pattern, available)
                problems.add(
                    f"{folder}, region '{region.name}'",
                    f"no file {pattern}.nii.gz"
                    if not re.search(r"[*?\[]", pattern)
                    else f"no file fits {pattern}.nii.gz",
                    f"perhaps {' or '.join(close)}"
                    if close
                    else f"the folder holds {_listed(available)}"
                    if available
                    else "add the masks",
                )
        free = [name for name in matched if name not in owner]
        if matched and not free:
            problems.add(
                f"{folder}, region '{region.name}'",
                f"all its files belong to regions before it ({', '.join(sorted({owner[name] for name in matched}))})",
                "name the more specific region first",
            )
        owner.update(dict.fromkeys(free, region.name))
    return {region.name: tuple(name for name, has in owner.items() if has == region.name) for region in regions}


def _mask_folder(folder: Path) -> Path | None:
    for path in (folder / SUBFOLDER, folder):
        if path.is_dir() and list_images(path):
            return path
    return None


def _values(array: np.ndarray) -> list[int]:
    """Values of a label map, slice by slice and without the background, since counting needs eight bytes a voxel."""
    found: set[int] = set()
    for plane in array:
        marked = plane[plane != 0]
        if marked.size < plane.size:
            found.add(0)
        found.update(np.flatnonzero(np.bincount(marked)).tolist())
    return sorted(found)


def _listed(values: Sequence[object], limit: int = 20) -> str:
    return ", ".join(map(str, values[:limit])) + (f" and {len(values) - limit} more" if len(values) > limit else "")


def _label_type(regions: int) -> type[np.unsignedinteger]:
    return np.uint8 if regions <= np.iinfo(np.uint8).max else np.uint16
