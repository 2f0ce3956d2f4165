"""Further annotation maps, preprocessed as nnU-Net preprocesses label maps: transposed, cropped, resampled.

`annotationsTr/MAP/CASE` of the raw data set (0 = blank, k + 1 = class k) becomes
`<preprocessed data>/annotation_maps/MAP/CASE.b2nd` beside the images of one configuration. A subfolder, since nnU-Net
takes every `.b2nd` file beside the images for a case. Crop and original spacing come from the case's properties; the
-1 that nnU-Net writes into labels outside the nonzero region is left out: a drawing there stays what it is.

Each file carries what it was made from (SHA-256 of the source, geometry), and appears complete or not at all. Arrays
are `(1, z, y, x)` in the network's order of axes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import SimpleITK as sitk
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, infer_dataset_class
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunet_weak.dataset.annotations import WeakAnnotations
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.atomic import atomic_file
from nnunet_weak.images.integrity import sha256
from nnunet_weak.images.read import geometry_difference, read_label_map
from nnunet_weak.parallel import run_cases

RAW_FOLDER = "annotationsTr"
PREPROCESSED_FOLDER = "annotation_maps"
_HIGHEST_WEIGHT_CODE = 255
_SPACING_TOLERANCE = 1e-3
_SOURCE, _GEOMETRY = "source_sha256", "geometry"
_RESAMPLING_KEYS = ("resampling_fn_seg", "resampling_fn_seg_kwargs")


@dataclass(frozen=True)
class AnnotationMap:
    """One map of one case.

    Attributes:
        case: Name of the case.
        name: Name of the map.
        source: File in the raw data set.
        target: File in the preprocessed data set.
        highest: Largest value that it may hold.
    """

    case: str
    name: str
    source: Path
    target: Path
    highest: int


def map_path(configuration_folder: Path | str, name: str, case: str) -> Path:
    """Where a preprocessed map lies; `configuration_folder` is the folder of the preprocessed images."""
    return Path(configuration_folder) / PREPROCESSED_FOLDER / name / f"{case}.b2nd"


def open_map(configuration_folder: Path | str, name: str, case: str) -> Any:
    """A preprocessed map, `(1, z, y, x)`, decompressed only where it is indexed."""
    memory_map = {} if os.name == "nt" else {"mmap_mode": "r"}
    path = map_path(configuration_folder, name, case)
    return blosc2.open(urlpath=str(path), mode="r", dparams={"nthreads": 1}, **memory_map)


def maps_of(
    annotations: WeakAnnotations,
    raw: Path,
    configuration_folder: Path,
    file_ending: str,
    cases: Sequence[str],
    num_classes: int,
) -> list[AnnotationMap]:
    """All maps that the given cases have, by case; `num_classes` is with the background."""
    found = []
    for case in cases:
        for name in annotations.cases[case].maps:
            source = raw / RAW_FOLDER / name / f"{case}{file_ending}"
            highest = _HIGHEST_WEIGHT_CODE if annotations.maps[name] == "weights" else num_classes
            found.append(AnnotationMap(case, name, source, map_path(configuration_folder, name, case), highest))
    return found


def preprocess_maps(
    maps: Sequence[AnnotationMap],
    plans: Mapping[str, Any],
    configuration: str,
    configuration_folder: Path,
    *,
    processes: int = 1,
    progress: bool = True,
) -> int:
    """Preprocess the maps that are missing or stale.

    Where the raw file is not at hand, an existing map is taken if its geometry fits.

    Args:
        maps: The maps, see `maps_of`; those of a case stand together.
        plans: nnU-Net's plans.
        configuration: Name of the configuration in them.
        configuration_folder: Folder of the preprocessed images; the images must be there.
        processes: Number of processes.
        progress: Whether to show a progress bar.

    Returns:
        How many maps were written; the others were up to date.

    Raises:
        InvalidInputError: Every map that cannot be made, in one list; the others were made.
    """
    problems = Problems()
    written = run_cases(
        partial(_preprocess_case, plans=dict(plans), configuration=configuration, folder=Path(configuration_folder)),
        {case: list(of_case) for case, of_case in groupby(maps, key=lambda entry: entry.case)},
        problems,
        processes=processes,
        description=f"Annotation maps, {configuration}",
        progress=progress,
    )
    problems.raise_if_any("annotation maps")
    return sum(written.values())


def preprocess_array(
    array: np.ndarray, properties: Mapping[str, Any], plans: PlansManager, configuration: ConfigurationManager
) -> np.ndarray:
    """Transpose, crop and resample a map as nnU-Net does with labels.

    Args:
        array: The map on the grid of the raw image, `(1, z, y, x)` as nnU-Net's reader gives it.
        properties: The case's properties of the preprocessed images.
        plans: The plans.
        configuration: The configuration.

    Returns:
        The map on the grid of the preprocessed image, 8 or 16 bits.
    """
    transposed = array.transpose([0, *[axis + 1 for axis in plans.transpose_forward]])
    crop = tuple(slice(low, high) for low, high in properties["bbox_used_for_cropping"])
    cropped = transposed[(slice(None), *crop)]
    spacing = [properties["spacing"][axis] for axis in plans.transpose_forward]
    target_spacing = list(configuration.spacing)
    if len(target_spacing) < len(spacing):
        target_spacing = [spacing[0], *target_spacing]  # 2d leaves the distance of the slices alone
    shape = compute_new_shape(cropped.shape[1:], spacing, target_spacing)
    resampled = configuration.resampling_fn_seg(cropped, shape, spacing, target_spacing)
    return np.asarray(resampled).astype(np.uint8 if resampled.max(initial=0) <= 255 else np.int16)


def _preprocess_case(maps: Sequence[AnnotationMap], *, plans: dict[str, Any], configuration: str, folder: Path) -> int:
    """Preprocess the maps of one case; returns how many were written.

    Raises:
        InvalidInputError: Every map that cannot be made; the others were made.
    """
    case, problems = maps[0].case, Problems()
    try:
        _, labels, _, properties = infer_dataset_class(str(folder))(str(folder), [case]).load_case(case)
    except Exception as error:  # of a damaged file the readers of arrays and pickles raise anything
        raise InvalidInputError(
            f"{folder}, case '{case}': the preprocessed image cannot be read ({error}) (remedy: run "
            "nnUNetv2_plan_and_preprocess first)"
        ) from error
    manager = PlansManager(plans)
    grid = _Grid(manager, manager.get_configuration(configuration), properties, labels.shape)
    written = [problems.attempt(_preprocess_map, entry, grid) for entry in maps]
    problems.raise_if_any()
    return sum(map(bool, written))


@dataclass(frozen=True)
class _Grid:
    """Grid of a preprocessed image of shape `(1, z, y, x)`, and what leads to it."""

    plans: PlansManager
    configuration: ConfigurationManager
    properties: Mapping[str, Any]
    shape: tuple[int, ...]

    def image_like(self, image: sitk.Image) -> sitk.Image:
        """An image of the same size, with the origin and direction that nnU-Net's reader kept, if it did."""
        kept = self.properties.get("sitk_stuff", {})
        if len(kept.get("direction", ())) != len(image.GetDirection()):
            return image
        placed = sitk.Image(image.GetSize(), sitk.sitkUInt8)
        placed.SetSpacing(kept["spacing"])
        placed.SetOrigin(kept["origin"])
        placed.SetDirection(kept["direction"])
        return placed

    @property
    def digest(self) -> str:
        """Of everything but the source that decides how a preprocessed map looks."""
        facts = {
            "reader": self.plans.image_reader_writer_class.__name__,
            "transpose": [int(axis) for axis in self.plans.transpose_forward],
            "crop": [[int(edge) for edge in edges] for edges in self.properties["bbox_used_for_cropping"]],
            "spacing": [float(value) for value in self.properties["spacing"]],
            "target_spacing": [float(value) for value in self.configuration.spacing],
            "resampling": [self.configuration.configuration[key] for key in _RESAMPLING_KEYS],
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _preprocess_map(entry: AnnotationMap, grid: _Grid) -> bool:
    """Preprocess a map if it is missing or stale; whether it was.

    Raises:
        InvalidInputError: Its source is missing, does not fit the preprocessed image, or holds a value of no class.
    """
    source = sha256(entry.source) if entry.source.is_file() else None
    if _is_up_to_date(entry.target, source, grid):
        return False
    if source is None:
        state = "is stale" if entry.target.is_file() else "has not been preprocessed"
        raise InvalidInputError(
            f"{entry.target}: the annotation map '{entry.name}' of case '{entry.case}' {state}, and its source "
            f"{entry.source} is not there (remedy: run nnunet_weak_preprocess_annotations where the raw data is)"
        )
    image = read_label_map(entry.source)  # nnU-Net's reader takes truncated and absurd files
    array, found = grid.plans.image_reader_writer_class().read_seg(str(entry.source))
    where, remedy = f"{entry.source}, case '{entry.case}'", "convert the annotation again"
    if array.max() > entry.highest:
        raise InvalidInputError(
            f"{where}: holds the value {int(array.max())}, values of the annotation map '{entry.name}' are 0, blank, "
            f"to {entry.highest} (remedy: {remedy})"
        )
    if not np.allclose(found["spacing"], grid.properties["spacing"], rtol=_SPACING_TOLERANCE, atol=0):
        own, other = (", ".join(f"{float(value):g}" for value in p["spacing"]) for p in (found, grid.properties))
        raise InvalidInputError(f"{where}: spacing {own} mm (z, y, x), its image has {other} (remedy: {remedy})")
    difference = geometry_difference(grid.image_like(image), image)
    if difference:
        raise InvalidInputError(f"{where}: is off its image's grid: {difference} (remedy: {remedy})")
    try:
        result, reason = preprocess_array(array, grid.properties, grid.plans, grid.configuration), ""
    except ValueError as error:
        result, reason = np.zeros(0), f" ({error})"
    if result.shape != grid.shape:
        raise InvalidInputError(
            f"{entry.source}: does not fit the preprocessed image of case '{entry.case}', it became "
            f"{result.shape[1:]} instead of {grid.shape[1:]}{reason} (remedy: run nnUNetv2_plan_and_preprocess again)"
        )
    _save(result, entry.target, grid.configuration.patch_size, {_SOURCE: source, _GEOMETRY: grid.digest})
    return True


def _is_up_to_date(path: Path, source: str | None, grid: _Grid) -> bool:
    if not path.is_file():
        return False
    try:
        array = blosc2.open(urlpath=str(path), mode="r")
        facts = {name: array.schunk.vlmeta[name] for name in (_SOURCE, _GEOMETRY)}
    except (RuntimeError, KeyError, OSError):  # not a file of ours
        return False
    return (
        tuple(array.shape) == grid.shape
        and facts[_GEOMETRY] == grid.digest
        and (source is None or facts[_SOURCE] == source)
    )


def _save(array: np.ndarray, path: Path, patch_size: Sequence[int], facts: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks, chunks = comp_blosc2_params(array.shape, tuple(patch_size), array.itemsize)
    blosc2.set_nthreads(1)
    stored = blosc2.asarray(
        np.ascontiguousarray(array),
        chunks=chunks,
        blocks=blocks,
        contiguous=True,
        cparams={"codec": blosc2.Codec.LZ4HC, "clevel": 5, "nthreads": 1},
    )
    for name, value in facts.items():
        stored.schunk.vlmeta[name] = value
    with atomic_file(path) as partial_path:
        partial_path.write_bytes(stored.to_cframe())  # Blosc2's own writing does not say that the disk is full
