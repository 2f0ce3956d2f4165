"""Measure the masks of a folder: features and a picture of each region, one case at a time, with a record.

OUT_cases/CASE.json       features of each region, as JSON
OUT_cases/CASE-K.png      mask and refinement of region K
OUT_cases/records/CASE.json  what they were made from (see `dataset.case_record`)
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import SimpleITK as sitk

from nnunet_weak import __version__
from nnunet_weak.dataset.case_record import NOT_MADE_BEFORE, CaseRecord
from nnunet_weak.dataset.convert import files_in
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.evaluation.figures import slice_png
from nnunet_weak.images.atomic import scratch_folder
from nnunet_weak.images.integrity import fingerprint
from nnunet_weak.images.json_files import load_json
from nnunet_weak.parallel import progress_bar
from nnunet_weak.refinement.network import PreparedCase, RefinementNetwork
from nnunet_weak.refinement.pipeline import run_pipeline
from nnunet_weak.refinement.quality_features import region_features
from nnunet_weak.scores.cases import ScoreCase
from nnunet_weak.scores.inference import OtherLabels

if TYPE_CHECKING:
    import numpy as np
    import torch

logger = logging.getLogger(__name__)

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
    (folder / _RECORDS).mkdir(parents=True, exist_ok=True)
    recorded = {
        "version": __version__,
        "model": [fingerprint(path) for path in network.checkpoints],
        **network.network.block_settings(),
        "regions": [asdict(region) for region in network.network.regions],
        "other_labels": other_labels,
        **settings,
    }
    problems = Problems()
    measured: list[bool] = []
    with progress_bar(len(cases), "Measuring", shown=progress) as bar:

        def prepare(case: ScoreCase) -> _Pending | None:
            record = _record_of(network, case, folder, recorded)
            try:
                reason = record.difference()
                if reason is None:
                    measured.append(False)
                    bar.update()
                    return None
                if reason != NOT_MADE_BEFORE:
                    logger.warning("%s is measured again: %s", case.name, reason)
                inputs = record.describe_inputs()
                with scratch_folder(folder / f"{case.name}-channels") as scratch:
                    prepared = network.prepare(case, scratch, other_labels=other_labels, keep_image=True)
                return _Pending(record, inputs, prepared)
            except InvalidInputError as error:
                problems.extend(error, case=case.name)
                bar.update()
                return None

        def finish(pending: _Pending, logits: torch.Tensor) -> None:
            _finish(network, pending, logits)
            measured.append(True)
            bar.update()

        run_pipeline(
            cases.values(),
            prepare,
            lambda pending: network.predict(pending.case),
            finish,
            overlapping=network.device.type != "cpu",
        )
    new = sum(measured)
    problems.raise_if_any(f"{new} cases were measured, {len(measured) - new} were before")
    return new, len(measured) - new


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
            MeasuredRegion(name, region, {key: float("nan") if value is None else value for key, value in row.items()})
            for region in regions
            if (row := content.get(region)) is not None
        ]
    problems.raise_if_any()
    return found


def picture_path(folder: Path, case: str, number: int) -> Path:
    """The picture of a region of a case."""
    return folder / f"{case}-{number}.png"


@dataclass(frozen=True, eq=False)
class _Pending:
    record: CaseRecord
    inputs: list[dict[str, Any]]
    case: PreparedCase


def _record_of(network: RefinementNetwork, case: ScoreCase, folder: Path, settings: Mapping[str, Any]) -> CaseRecord:
    regions = network.network.annotations.channels.masks
    pictures = [picture_path(folder, case.name, number) for number in range(1, len(regions) + 1)]
    return CaseRecord(
        folder / _RECORDS / f"{case.name}.json",
        settings,
        files_in([*case.images, case.mask, case.prior_file]),
        [folder / f"{case.name}.json", *pictures],
    )


def _finish(network: RefinementNetwork, pending: _Pending, logits: torch.Tensor) -> None:
    case, record = pending.case, pending.record
    refined, probabilities = network.segment_with_probabilities(case, logits)
    spacing = [float(step) for step in case.properties["spacing"]]
    rows: dict[str, dict[str, float | None] | None] = {}
    assert case.image is not None
    image, after, before = (_as_image(array, spacing) for array in (case.image, refined, case.initial))
    with scratch_folder(record.path.with_name(record.path.stem)) as folder:
        for number, region in enumerate(network.network.annotations.channels.masks, start=1):
            features = region_features(number, case.initial, refined, probabilities, case.prior, spacing)
            known = None if features is None else {name: _finite(value) for name, value in features.items()}
            rows[region] = known
            (folder / record.outputs[number].name).write_bytes(slice_png(image, after, before, [number]))
        (folder / record.outputs[0].name).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        record.write(pending.inputs, folder)
        for path in record.outputs:
            os.replace(folder / path.name, path)


def _finite(value: float) -> float | None:
    return None if value != value else value


def _as_image(array: np.ndarray, spacing: Sequence[float]) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(list(spacing)[::-1])
    return image
