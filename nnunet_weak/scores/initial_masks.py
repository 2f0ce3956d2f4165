"""Initial masks: the segmentations that quality scores refer to, as label maps or as folders of binary masks.

The mask of a case is one file with a number for each structure (`MASKS/case_01.nii.gz`), or a folder with one binary
file for each structure (`MASKS/case_01/segmentations/*.nii.gz` or `MASKS/case_01/*.nii.gz`), as TotalSegmentator writes
them. Either becomes one label map with the regions 1 to K in the order they were named. Arrays are (z, y, x).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from nnunet_weak.dataset.case_files import label_values
from nnunet_weak.dataset.names import suggest
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.read import list_images, read_label_map_on_grid, with_geometry_of
from nnunet_weak.scores.regions import RegionSource, from_files

SUBFOLDER = "segmentations"
"""Name of the folder inside a case's folder that may hold its binary masks."""


@dataclass(frozen=True)
class InitialMask:
    """The initial mask of one case.

    Attributes:
        label_map: 0 background, 1 to K the regions in the order given, on the grid of the image.
        empty_regions: Regions without any voxel.
        overlaps: Voxels claimed by two regions, {(region that has them, region that lost them): count}.
        files: The files of each region, where they come from a folder.
    """

    label_map: sitk.Image
    empty_regions: tuple[str, ...]
    overlaps: Mapping[tuple[str, str], int] = field(default_factory=dict)
    files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)


def find_initial_masks(
    folder: Path, cases: Sequence[str], regions: Sequence[RegionSource], missing: Problems
) -> dict[str, Path]:
    """Find the initial mask of each case: a file `CASE.nii.gz`, or the folder that holds its files.

    Args:
        folder: Folder with one entry for each case.
        cases: Names of the cases.
        regions: The regions; where both exist, those in files take the folder, labels the label map.
        missing: Every case that has neither is added to it.

    Raises:
        InvalidInputError: No such folder, or two files of one name.
    """
    files = list_images(folder)
    folders = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    found = {}
    for case in cases:
        file, of_case = files.get(case), _mask_folder(folders[case]) if case in folders else None
        choice = (of_case or file) if from_files(regions) else (file or of_case)
        if choice is not None:
            found[case] = choice
            continue
        close = suggest(case, [*files, *folders])
        missing.add(
            f"{folder}, case '{case}'",
            f"no initial mask {case}.nii.gz and no folder {case} or {case}/{SUBFOLDER} with masks",
            f"perhaps it is called {' or '.join(close)}; names must be those of the images"
            if close
            else "add it, or leave the case out",
        )
    return found


def read_initial_mask(
    source: Path,
    regions: Sequence[RegionSource],
    image: sitk.Image,
    *,
    other_labels: Literal["refuse", "background"] = "refuse",
) -> InitialMask:
    """Read the initial mask of one case.

    Overlapping masks: the voxel goes to the region named first, and the overlap is counted. A file that several
    regions name belongs to the first of them, so `L1=vertebrae_L1 spine=vertebrae_*` has L1 once. Only the files that
    are needed are read, one at a time. Regions that ask for it are reduced to their largest component.

    Args:
        source: A label map, or a folder of binary masks, as `find_initial_masks` gives it.
        regions: The regions, see `parse_regions`.
        image: The case's image; every mask must lie on its grid.
        other_labels: Whether values of a label map that belong to no region are refused or become background.

    Raises:
        InvalidInputError: Missing or unreadable files, another grid than the image's, values that do not fit, in one
        list.
    """
    if from_files(regions):
        if source.is_dir():
            return _read_folder(source, regions, image)
        raise InvalidInputError(
            f"{source}: a label map, but the regions are given as files (remedy: give them as NAME=LABEL)"
            if source.is_file()
            else f"{source}: no such folder of masks"
        )
    if source.is_dir():
        files = list_images(source)
        if len(files) != 1:
            raise InvalidInputError(
                f"{source}: the regions are given as labels of one label map, but the folder holds {len(files)} images "
                "(remedy: give the regions as NAME=FILE)"
            )
        (source,) = files.values()
    return _read_label_map(source, regions, image, other_labels)


def _read_folder(folder: Path, regions: Sequence[RegionSource], image: sitk.Image) -> InitialMask:
    problems = Problems()
    files = _assign_files(folder, regions, problems)
    labels = np.zeros(image.GetSize()[::-1], np.min_scalar_type(len(regions)))
    overlaps: dict[tuple[str, str], int] = {}
    for number, region in enumerate(regions, start=1):
        union: np.ndarray | None = None
        for path in files[region.name]:
            mask = problems.attempt(_read_binary, path, image)
            if mask is not None:
                union = mask if union is None else np.logical_or(union, mask, out=union)
        if union is None:
            continue
        earlier = labels[union]
        for other, count in enumerate(np.bincount(earlier)[1:]):
            if count:
                overlaps[regions[other].name, region.name] = int(count)
        labels[union] = np.where(earlier == 0, number, earlier)
    problems.raise_if_any(f"initial mask {folder}")
    return _initial_mask(labels, regions, image, overlaps, files)


def _read_binary(path: Path, image: sitk.Image) -> np.ndarray:
    """The mask as booleans."""
    mask = read_label_map_on_grid(path, image)
    array = sitk.GetArrayViewFromImage(mask)
    marked = array != 0
    values = array[marked]
    if values.size and values.min() != values.max():
        listed = _listed(label_values(mask))
        raise InvalidInputError(
            f"{path}: not a binary mask, it holds the values {listed} (remedy: give its regions as NAME=LABEL)"
        )
    return marked


def _read_label_map(path: Path, regions: Sequence[RegionSource], image: sitk.Image, other_labels: str) -> InitialMask:
    mask = read_label_map_on_grid(path, image)
    values = label_values(mask)
    highest = max(*values, *(label for region in regions for label in region.labels))
    lookup = np.zeros(highest + 1, np.min_scalar_type(len(regions)))
    for number, region in enumerate(regions, start=1):
        lookup[list(region.labels)] = number
    foreign = [value for value in values if value and not lookup[value]]
    if foreign and other_labels == "refuse":
        listed = ", ".join(f"{region.name}={_listed(region.labels, 6).replace(', ', ',')}" for region in regions)
        raise InvalidInputError(
            f"{path}: holds the values {_listed(foreign)}, which are none of the regions {listed} "
            "(remedy: name them as regions, or treat them as background with --other-labels background)"
        )
    array = sitk.GetArrayViewFromImage(mask)
    labels = np.zeros(array.shape, lookup.dtype)
    for plane, target in zip(array, labels, strict=True):
        marked = plane != 0  # a small share of most planes, so that this takes a third of the time of lookup[array]
        target[marked] = lookup[plane[marked]]
    return _initial_mask(labels, regions, image, {}, {})


def _initial_mask(
    labels: np.ndarray,
    regions: Sequence[RegionSource],
    image: sitk.Image,
    overlaps: Mapping[tuple[str, str], int],
    files: Mapping[str, tuple[Path, ...]],
) -> InitialMask:
    for number, region in enumerate(regions, start=1):
        if region.largest_component:
            _remove_smaller_components(labels, number)
    label_map = with_geometry_of(labels, image)
    present = label_values(label_map)
    empty = tuple(region.name for number, region in enumerate(regions, start=1) if number not in present)
    return InitialMask(label_map, empty, overlaps, files)


def _remove_smaller_components(labels: np.ndarray, number: int) -> None:
    """Keep the largest component of a region, connected through faces, as nnU-Net's postprocessing does; in place."""
    from scipy import ndimage

    boxes = ndimage.find_objects((labels == number).view(np.uint8))
    if not boxes:
        return
    part = labels[boxes[0]]
    components, count = ndimage.label(part == number)
    if count > 1:
        largest = 1 + np.argmax(np.bincount(components.ravel())[1:])
        part[(components > 0) & (components != largest)] = 0


def _assign_files(folder: Path, regions: Sequence[RegionSource], problems: Problems) -> dict[str, tuple[Path, ...]]:
    """Files of each region; a file that several regions name belongs to the first of them."""
    available = list_images(folder)
    owner: dict[str, str] = {}
    for region in regions:
        where = f"{folder}, region '{region.name}'"
        matched = []
        for pattern in region.patterns:
            names = fnmatch.filter(available, pattern)
            matched += names
            if not names:
                close = suggest(pattern, available)
                remedy = f"perhaps {' or '.join(close)}" if close else f"the folder holds {_listed(list(available))}"
                problems.add(where, f"no file {pattern}.nii.gz", remedy)
        earlier = sorted({owner[name] for name in matched if name in owner})
        for name in matched:
            owner.setdefault(name, region.name)
        if matched and region.name not in owner.values():
            problems.add(
                where,
                f"all its files belong to regions before it ({', '.join(earlier)})",
                "name the more specific region first",
            )
    return {
        region.name: tuple(available[name] for name, has in owner.items() if has == region.name) for region in regions
    }


def _mask_folder(folder: Path) -> Path | None:
    for path in (folder / SUBFOLDER, folder):
        if path.is_dir() and list_images(path):
            return path
    return None


def _listed(values: Sequence[object], limit: int = 20) -> str:
    return ", ".join(map(str, values[:limit])) + (f" and {len(values) - limit} more" if len(values) > limit else "")
