"""Refine the masks of a folder: each case complete or not at all, with a record of what was done to it.

OUT/CASE.nii.gz              refined label map, 0 = background, k = region k
OUT/refinement/CASE.csv      what the refinement did to each region
OUT/refinement/CASE.json     what both were made from (see `dataset.case_record`)
OUT/refinement.csv           all cases, merged
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_weak.dataset.case_record import CaseRecord
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.atomic import atomic_file, scratch_folder
from nnunet_weak.refinement.cases import Layout, PendingCase, predict_cases
from nnunet_weak.refinement.network import RefinementNetwork
from nnunet_weak.refinement.plausibility import Bounds, RegionChange, keep_empty_regions, measure_changes
from nnunet_weak.scores.cases import ScoreCase
from nnunet_weak.scores.inference import OtherLabels
from nnunet_weak.tables import csv_text

if TYPE_CHECKING:
    import torch

RECORDS = "refinement"
TABLE = "refinement.csv"
COLUMNS = ("case", "region", "outcome", "reason", "initial_mm3", "refined_mm3", "dice", "moved_share")

REFINED, KEPT, KEPT_EMPTY, ADDED = "refined", "initial mask kept", "kept empty", "added"


@dataclass(frozen=True, kw_only=True)
class RefinementRules:
    """How a refinement is used.

    Attributes:
        bounds: Beyond them the initial mask of the case is kept; None keeps every refinement.
        other_labels: "refuse" or "background", as for the converter.
    """

    bounds: Bounds | None = Bounds()
    other_labels: OtherLabels = "refuse"


@dataclass(frozen=True)
class Outcome:
    """How many cases were refined, kept their initial mask, and were complete before."""

    refined: int
    kept: int
    complete: int


def refine_cases(
    network: RefinementNetwork,
    cases: Mapping[str, ScoreCase],
    output: Path,
    rules: RefinementRules,
    settings: Mapping[str, Any],
    *,
    resume: bool,
    overwrite: bool,
    say: Callable[[str], None],
    progress: bool = True,
) -> Outcome:
    """Refine the masks of some cases; one with a problem does not stop the others.

    Args:
        network: The model.
        cases: The cases, by name.
        output: Folder to write to, made if it is not there.
        rules: How refinements are used.
        settings: Options of the prediction, for the records.
        resume: Skip cases whose record says that they would become the same.
        overwrite: Replace files that no record of this command names.
        say: Takes a line for each case that kept its initial mask.
        progress: Whether to show a bar.

    Raises:
        InvalidInputError: Everything that is wrong with any case, in one list.
        OSError: A file cannot be written; complete cases stay.
    """

    def outputs(name: str) -> list[Path]:
        return [output / f"{name}{network.network.file_ending}", output / RECORDS / f"{name}.csv"]

    def check(record: CaseRecord) -> None:
        if not overwrite and not record.path.is_file() and record.outputs[0].is_file():
            raise InvalidInputError(
                f"{record.outputs[0]}: exists, and no record in {RECORDS}/ says that this command made it "
                "(remedy: choose another folder, or replace the file with --overwrite)"
            )

    problems = Problems()
    outcomes: list[str] = []
    complete = predict_cases(
        network,
        cases,
        Layout(output / RECORDS, outputs, {**asdict(rules), **settings}),
        lambda pending, logits: outcomes.append(_finish(network, rules, pending, logits, say)),
        problems,
        description="Refining",
        other_labels=rules.other_labels,
        resume=resume,
        check=check,
        progress=progress,
    )
    found = Outcome(outcomes.count(REFINED), outcomes.count(KEPT), complete)
    problems.raise_if_any(f"{len(outcomes)} cases were written, {complete} were complete before")
    return found


def merge(network: RefinementNetwork, cases: Sequence[str], output: Path) -> None:
    """Write `refinement.csv` of all cases, and nnU-Net's files beside the masks.

    Args:
        network: The model.
        cases: Names of all cases.
        output: Folder of the refined masks.

    Raises:
        InvalidInputError: Cases that are not refined yet.
    """
    problems = Problems()
    rows: list[str] = []
    for name in cases:
        table = output / RECORDS / f"{name}.csv"
        if not (output / f"{name}{network.network.file_ending}").is_file() or not table.is_file():
            problems.add(f"{output}, case '{name}'", "is not refined yet", "run its part")
            continue
        rows += table.read_text(encoding="utf-8").splitlines()[1:]
    problems.raise_if_any(f"{TABLE} was not written")
    with atomic_file(output / TABLE) as partial_file:
        partial_file.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n", encoding="utf-8")
    network.write_description(output)


def _finish(
    network: RefinementNetwork,
    rules: RefinementRules,
    pending: PendingCase,
    logits: torch.Tensor,
    say: Callable[[str], None],
) -> str:
    """Decide between refinement and initial mask, and write the case; returns the outcome."""
    initial, refined = pending.case.initial, network.segment(pending.case, logits)
    changes = measure_changes(initial, refined, network.network.annotations.channels.masks)
    taken_out = keep_empty_regions(initial, refined, changes, pending.case.may_appear)
    reasons = [change.why_implausible(rules.bounds) for change in changes] if rules.bounds else []
    reason = "; ".join(filter(None, reasons))
    if reason:
        say(f"{pending.name}: the initial mask is kept, {reason}")
        refined = initial.astype(refined.dtype)
    rows = _rows(pending, changes, reason, taken_out)
    record = pending.record
    with scratch_folder(record.path.with_name(pending.name)) as folder:
        mask, table = (folder / path.name for path in record.outputs)
        network.write(refined, pending.case, mask)
        table.write_text(csv_text(COLUMNS, rows), encoding="utf-8")
        record.put_in_place(pending.inputs, folder)
    return KEPT if reason else REFINED


def _rows(
    pending: PendingCase, changes: Sequence[RegionChange], reason: str, taken_out: Sequence[str]
) -> list[tuple[object, ...]]:
    voxel_mm3 = float(np.prod(pending.case.properties["spacing"]))
    number = "{:.6g}".format

    def row(change: RegionChange) -> tuple[object, ...]:
        outcome, why = (KEPT, reason) if reason else (REFINED, "")
        if not reason and change.region in taken_out:
            outcome, why = KEPT_EMPTY, f"the network drew {change.refined} voxels where the initial mask has none"
        elif not reason and change.refined and not change.initial:
            outcome = ADDED
        return (
            pending.name,
            change.region,
            outcome,
            why,
            number(change.initial * voxel_mm3),
            number(change.refined * voxel_mm3),
            number(change.dice),
            number(change.moved_share),
        )

    return [row(change) for change in changes]
