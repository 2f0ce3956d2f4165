"""Predict the cases of a folder one after the other, each complete or not at all, with a record of what it was made
from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_weak import __version__
from nnunet_weak.dataset.case_record import NOT_MADE_BEFORE, CaseRecord
from nnunet_weak.dataset.convert import files_in
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.atomic import scratch_folder
from nnunet_weak.images.integrity import fingerprint
from nnunet_weak.parallel import progress_bar
from nnunet_weak.refinement.network import PreparedCase, RefinementNetwork
from nnunet_weak.refinement.pipeline import run_pipeline
from nnunet_weak.scores.cases import ScoreCase
from nnunet_weak.scores.inference import OtherLabels

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PendingCase:
    """A case that is being predicted.

    Attributes:
        name: Name of the case.
        record: Where it goes.
        inputs: Its files as they were read, for the record.
        case: Itself.
    """

    name: str
    record: CaseRecord
    inputs: list[dict[str, Any]]
    case: PreparedCase


@dataclass(frozen=True)
class Layout:
    """Where a command puts the files of a case.

    Attributes:
        records: Folder of the records.
        outputs: The files of a case, by its name.
        settings: What decides their content beside the network and the files of the case.
    """

    records: Path
    outputs: Callable[[str], list[Path]]
    settings: Mapping[str, Any]


def predict_cases(
    network: RefinementNetwork,
    cases: Mapping[str, ScoreCase],
    layout: Layout,
    finish: Callable[[PendingCase, torch.Tensor], None],
    problems: Problems,
    *,
    description: str,
    other_labels: OtherLabels,
    keep_image: bool = False,
    resume: bool = True,
    check: Callable[[CaseRecord], None] = lambda record: None,
    progress: bool = True,
) -> int:
    """Prepare, predict and finish every case whose record does not say that it would become the same.

    Args:
        network: The model.
        cases: The cases, by name.
        layout: Where their files go.
        finish: Writes a case from its logits.
        problems: Takes what is wrong with a case; the others go on.
        description: What stands beside the progress bar.
        other_labels: "refuse" or "background", as for the converter.
        keep_image: Whether `finish` needs image and prior.
        resume: Whether records are looked at; if not, every case is made.
        check: Raises `InvalidInputError` for a case that must not be made.
        progress: Whether to show a bar.

    Returns:
        How many cases were complete before.
    """
    layout.records.mkdir(parents=True, exist_ok=True)
    settings = {
        "version": __version__,
        "model": [fingerprint(path) for path in network.checkpoints],
        **network.network.block_settings(),
        "regions": [asdict(region) for region in network.network.regions],
        **layout.settings,
    }
    complete = 0
    with progress_bar(len(cases), description, shown=progress) as bar:

        def prepare(case: ScoreCase) -> PendingCase | None:
            nonlocal complete
            record = CaseRecord(
                layout.records / f"{case.name}.json",
                {**settings, **({"may_appear": case.may_appear} if case.may_appear else {})},
                files_in([*case.images, case.mask, case.prior_file]),
                layout.outputs(case.name),
            )
            try:
                reason = record.difference() if resume else NOT_MADE_BEFORE
                if reason is None:
                    complete += 1
                    bar.update()
                    return None
                if reason != NOT_MADE_BEFORE:
                    logger.warning("%s is made again: %s", case.name, reason)
                check(record)
                inputs = record.describe_inputs()
                with scratch_folder(layout.records / f"{case.name}-channels") as folder:
                    prepared = network.prepare(case, folder, other_labels=other_labels, keep_image=keep_image)
                return PendingCase(case.name, record, inputs, prepared)
            except InvalidInputError as error:
                problems.extend(error, case=case.name)
                bar.update()
                return None

        def finish_one(pending: PendingCase, logits: torch.Tensor) -> None:
            finish(pending, logits)
            bar.update()

        run_pipeline(
            cases.values(),
            prepare,
            lambda pending: network.predict(pending.case),
            finish_one,
            overlapping=network.device.type != "cpu",
        )
    return complete
