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
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, infer_dataset_class
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunet_weak.dataset.annotations import WeakAnnotations
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.integrity import sha256
from nnunet_weak.parallel import run_tasks

RAW_FOLDER = "annotationsTr"
PREPROCESSED_FOLDER = "annotation_maps"
_SOURCE, _GEOMETRY = "source_sha256", "geometry"
_CHUNK_BYTES = 1 << 20
_RESAMPLING_KEYS = ("resampling_fn_seg", "resampling_fn_seg_kwargs")


@dataclass(frozen=True)
class AnnotationMap:
    """One map of one case.

    Attributes:
        case: Name of the case.
        name: Name of the map.
        source: File in the raw data set.
        target: File in the preprocessed data set.
    """

    case: str
    name: str
    source: Path
    target: Path


@dataclass(frozen=True)
class PreprocessedMaps:
    """How many maps were written, and how many were there and up to date."""

    written: int
    up_to_date: int


def map_path(configuration_folder: Path | str, name: str, case: str) -> Path:
    """Where a preprocessed map lies; `configuration_folder` is the folder of the preprocessed images."""
    return Path(configuration_folder) / PREPROCESSED_FOLDER / name / f"{case}.b2nd"


def open_map(configuration_folder: Path | str, name: str, case: str) -> Any:
    """A preprocessed map, `(1, z, y, x)`, decompressed only where it is indexed."""
    memory_map = {} if os.name == "nt" else {"mmap_mode": "r"}
    path = map_path(configuration_folder, name, case)
    return blosc2.open(urlpath=str(path), mode="r", dparams={"nthreads": 1}, **memory_map)


def maps_of(
    annotations: WeakAnnotations, raw: Path, configuration_folder: Path, file_ending: str, cases: Sequence[str]
) -> list[AnnotationMap]:
    """All maps that the given cases have, by case."""
    return [
        AnnotationMap(
            case,
            name,
            raw / RAW_FOLDER / name / f"{case}{file_ending}",
            map_path(configuration_folder, name, case),
        )
        for case in cases
        for name in annotations.cases[case].maps
    ]


def preprocess_maps(
    maps: Sequence[AnnotationMap],
    plans: Mapping[str, Any],
    configuration: str,
    configuration_folder: Path,
    *,
    processes: int = 1,
    progress: bool = True,
) -> PreprocessedMaps:
    """Preprocess the maps that are missing or stale.

    Where the raw file is not at hand, an existing map is taken if its geometry fits.

    Args:
        maps: The maps, see `maps_of`.
        plans: nnU-Net's plans.
        configuration: Name of the configuration in them.
        configuration_folder: Folder of the preprocessed images; the images must be there.
        processes: Number of processes.
        progress: Whether to show a progress bar.

    Raises:
        InvalidInputError: Every map that can not be made, in one list; the others were made.
    """
    by_case: dict[str, list[AnnotationMap]] = {}
    for entry in maps:
        by_case.setdefault(entry.case, []).append(entry)
    tasks = [
        _Case(case, tuple(entries), dict(plans), configuration, Path(configuration_folder))
        for case, entries in by_case.items()
    ]
    outcomes = run_tasks(
        _preprocess_case,
        tasks,
        processes=processes,
        description=f"Annotation maps, {configuration}",
        progress=progress,
    )
    problems = Problems()
    for _, found in outcomes:
        problems.extend(InvalidInputError(found))
    problems.raise_if_any("annotation maps")
    written = sum(count for count, _ in outcomes)
    return PreprocessedMaps(written, len(maps) - written)


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


@dataclass(frozen=True)
class _Case:
    name: str
    maps: tuple[AnnotationMap, ...]
    plans: dict[str, Any]
    configuration: str
    folder: Path


def _preprocess_case(case: _Case) -> tuple[int, tuple[str, ...]]:
    """Number of maps written, and problems."""
    try:
        _, labels, _, properties = infer_dataset_class(str(case.folder))(str(case.folder), [case.name]).load_case(
            case.name
        )
    except (OSError, RuntimeError) as error:
        return 0, (
            f"{case.folder}, case '{case.name}': the preprocessed image can not be read ({error}) (remedy: run "
            "nnUNetv2_plan_and_preprocess first)",
        )
    plans = PlansManager(case.plans)
    configuration = plans.get_configuration(case.configuration)
    geometry = _geometry(properties, plans, configuration)
    written, problems = 0, []
    for entry in case.maps:
        source = sha256(entry.source) if entry.source.is_file() else None
        if _is_up_to_date(entry.target, source, geometry, labels.shape):
            continue
        if source is None:
            state = "is stale" if entry.target.is_file() else "has not been preprocessed"
            problems.append(
                f"{entry.target}: the annotation map '{entry.name}' of case '{entry.case}' {state}, and its source "
                f"{entry.source} is not there (remedy: run nnunet_weak_preprocess_annotations where the raw data is)"
            )
            continue
        array, _ = plans.image_reader_writer_class().read_seg(str(entry.source))
        try:
            result = preprocess_array(array, properties, plans, configuration)
        except ValueError as error:
            result, reason = np.zeros(0), f" ({error})"
        else:
            reason = ""
        if result.shape != labels.shape:
            problems.append(
                f"{entry.source}: does not fit the preprocessed image of case '{entry.case}', it became "
                f"{result.shape[1:]} instead of {labels.shape[1:]}{reason} (remedy: run nnUNetv2_plan_and_preprocess "
                "again)"
            )
            continue
        _save(result, entry.target, configuration.patch_size, {_SOURCE: source, _GEOMETRY: geometry})
        written += 1
    return written, tuple(problems)


def _is_up_to_date(path: Path, source: str | None, geometry: str, shape: Sequence[int]) -> bool:
    if not path.is_file():
        return False
    try:
        array = blosc2.open(urlpath=str(path), mode="r")
        facts = {name: array.schunk.vlmeta[name] for name in (_SOURCE, _GEOMETRY)}
    except (RuntimeError, KeyError, OSError):  # not a file of ours
        return False
    return (
        tuple(array.shape) == tuple(shape)
        and facts[_GEOMETRY] == geometry
        and (source is None or facts[_SOURCE] == source)
    )


def _save(array: np.ndarray, path: Path, patch_size: Sequence[int], facts: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:6]}.partial")
    blocks, chunks = comp_blosc2_params(array.shape, tuple(patch_size), array.itemsize)
    blosc2.set_nthreads(1)
    try:
        stored = blosc2.asarray(
            np.ascontiguousarray(array),
            urlpath=str(partial),
            chunks=chunks,
            blocks=blocks,
            cparams={"codec": blosc2.Codec.LZ4HC, "clevel": 5, "nthreads": 1},
        )
        for name, value in facts.items():
            stored.schunk.vlmeta[name] = value
        del stored
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _geometry(properties: Mapping[str, Any], plans: PlansManager, configuration: ConfigurationManager) -> str:
    """Everything but the source that decides what a preprocessed map looks like."""
    facts = {
        "reader": plans.image_reader_writer_class.__name__,
        "transpose": [int(axis) for axis in plans.transpose_forward],
        "crop": [[int(edge) for edge in edges] for edges in properties["bbox_used_for_cropping"]],
        "spacing": [float(value) for value in properties["spacing"]],
        "target_spacing": [float(value) for value in configuration.spacing],
        "resampling": [configuration.configuration[key] for key in _RESAMPLING_KEYS],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
