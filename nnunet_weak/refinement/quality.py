"""Measure the masks of a folder: features and a picture of each region, one case at a time, with a record.

OUT_cases/CASE.json       features of each region, as JSON
OUT_cases/CASE-K.png      mask and refinement of region K
OUT_cases/records/CASE.json  what they were made from (see `dataset.case_record`)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import SimpleITK as sitk

from nnunet_weak.errors import Problems
from nnunet_weak.evaluation.figures import slice_png
from nnunet_weak.images.atomic import scratch_folder
from nnunet_weak.images.json_files import load_json
from nnunet_weak.refinement.cases import Layout, PendingCase, predict_cases
from nnunet_weak.refinement.network import RefinementNetwork
from nnunet_weak.refinement.quality_features import features_from_json, features_to_json, region_features
from nnunet_weak.scores.cases import ScoreCase
from nnunet_weak.scores.inference import OtherLabels

if TYPE_CHECKING:
    import numpy as np
    import torch

_RECORDS = "records"


@dataclass(frozen=True)
class MeasuredRegion:
    """Features of one region of one case."""

    case: str
    region: str
    features: Mapping[str, float]


def measure_cases(
    network: RefinementNetwork,
    cases: Mapping[str, ScoreCase],
    folder: Path,
    settings: Mapping[str, Any],
    *,
    other_labels: OtherLabels,
    progress: bool = True,
) -> tuple[int, int]:
    """Measure some cases; those whose record says that they would become the same are skipped.

    Args:
        network: The model.
        cases: The cases, by name.
        folder: Folder to write to, made if it is not there.
        settings: Options of the prediction, for the records.
        other_labels: "refuse" or "background", as for the converter.
        progress: Whether to show a bar.

    Returns:
        How many cases were measured, and how many were before.

    Raises:
        InvalidInputError: Everything that is wrong with any case, in one list; the others are measured.
    """
    regions = network.network.annotations.channels.masks

    def outputs(name: str) -> list[Path]:
        numbers = range(1, len(regions) + 1)
        return [folder / f"{name}.json", *(picture_path(folder, name, number) for number in numbers)]

    problems = Problems()
    measured: list[str] = []

    def finish(pending: PendingCase, logits: torch.Tensor) -> None:
        _finish(network, pending, logits)
        measured.append(pending.name)

    before = predict_cases(
        network,
        cases,
        Layout(folder / _RECORDS, outputs, {"other_labels": other_labels, **settings}),
        finish,
        problems,
        description="Measuring",
        other_labels=other_labels,
        keep_image=True,
        progress=progress,
    )
    problems.raise_if_any(f"{len(measured)} cases were measured, {before} were before")
    return len(measured), before


def read_measured(cases: Sequence[str], regions: Sequence[str], folder: Path) -> list[MeasuredRegion]:
    """Read the features of all cases, region by region; regions that are empty in a mask are left out.

    Raises:
        InvalidInputError: Cases that are not measured yet.
    """
    problems = Problems()
    found = []
    for name in cases:
        path = folder / f"{name}.json"
        if not path.is_file():
            problems.add(f"{folder}, case '{name}'", "is not measured yet", "run its part")
            continue
        content = problems.attempt(load_json, path) or {}
        found += [
            MeasuredRegion(name, region, features_from_json(row))
            for region in regions
            if (row := content.get(region)) is not None
        ]
    problems.raise_if_any()
    return found


def picture_path(folder: Path, case: str, number: int) -> Path:
    """The picture of a region of a case."""
    return folder / f"{case}-{number}.png"


def _finish(network: RefinementNetwork, pending: PendingCase, logits: torch.Tensor) -> None:
    case, record = pending.case, pending.record
    refined, probabilities = network.segment_with_probabilities(case, logits)
    spacing = [float(step) for step in case.properties["spacing"]]
    rows: dict[str, dict[str, float | None] | None] = {}
    assert case.image is not None
    image, after, before = (_as_image(array, spacing) for array in (case.image, refined, case.initial))
    with scratch_folder(record.path.with_name(record.path.stem)) as folder:
        for number, region in enumerate(network.network.annotations.channels.masks, start=1):
            features = region_features(number, case.initial, refined, probabilities, case.prior, spacing)
            rows[region] = None if features is None else features_to_json(features)
            (folder / record.outputs[number].name).write_bytes(slice_png(image, after, before, [number]))
        (folder / record.outputs[0].name).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        record.put_in_place(pending.inputs, folder)


def _as_image(array: np.ndarray, spacing: Sequence[float]) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(list(spacing)[::-1])
    return image
