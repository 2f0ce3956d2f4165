"""Find the images, initial masks, scores, reference labels, priors and patients of a SCORE data set, and match them by
case."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_weak.dataset.find_cases import discover_cases
from nnunet_weak.dataset.patients import read_patients
from nnunet_weak.errors import Problems
from nnunet_weak.images.read import list_images
from nnunet_weak.scores.cases import ScoreCase
from nnunet_weak.scores.initial_masks import find_initial_masks
from nnunet_weak.scores.options import ScoreConversion
from nnunet_weak.scores.table import ScoreTable, read_scores

_ASSESSED_CASES = 20  # P is computed twice for these, and the mean of more would not be more informative
_ALLOW_MISSING = "or leave out what is incomplete with --allow-missing"


@dataclass(frozen=True)
class ScoreInputs:
    """Inputs of a data set, matched by case.

    Attributes:
        cases: The cases that have images, an initial mask and, for the prior kind `file`, a boundary prior.
        table: The scores; None without a table, and if it could not be read.
        patients: Patient by case, where a table of patients was given.
        left_out: Cases that were left out, with the reason.
    """

    cases: tuple[ScoreCase, ...]
    table: ScoreTable | None
    patients: Mapping[str, str] | None
    left_out: Mapping[str, str]

    @property
    def image_channels(self) -> int:
        """Number of image channels of each case; 0 without cases."""
        return len(self.cases[0].images) if self.cases else 0


def gather_inputs(options: ScoreConversion, problems: Problems) -> ScoreInputs:
    """Find all files and match them by case; everything that is wrong is added to `problems`.

    With `allow_missing`, cases without mask or prior are left out and scores without a case are passed over.
    """
    images = (
        problems.attempt(
            discover_cases, options.images, channel_suffixes=options.channel_suffixes, layout=options.case_layout
        )
        or {}
    )
    left_out: dict[str, str] = {}
    missing = Problems() if options.allow_missing else problems
    found = problems.attempt(find_initial_masks, options.masks, list(images), options.regions, missing)
    masks = found or {}
    if options.allow_missing and found is not None:
        left_out = {case: "no initial mask" for case in images if case not in masks}
    priors: dict[str, Path] = {}
    if options.prior_folder is not None:
        priors = problems.attempt(list_images, options.prior_folder) or {}
        for case in [case for case in images if priors and case not in priors and case not in left_out]:
            if options.allow_missing:
                left_out[case] = "no boundary prior"
            else:
                problems.add(f"{options.prior_folder}, case '{case}'", "no boundary prior", f"add it, {_ALLOW_MISSING}")
    names = [case for case in images if case not in left_out]
    references = _find_references(options, names, list(images), problems)
    table = problems.attempt(read_scores, options, list(images)) if options.scores is not None else None
    if table is not None and images and not options.allow_missing:
        for name in table.unmatched:
            if name.kind == "case":
                remedy = f"correct the name or add the image, {_ALLOW_MISSING}"
                problems.add(f"{options.scores}: {name}", "no image has this name", remedy)
        for case in table.unscored_cases:
            if case not in references:
                problems.add(
                    f"{options.scores}, case '{case}'", "no score for any region", f"score it, {_ALLOW_MISSING}"
                )
    patients = problems.attempt(read_patients, options.patients, names) if options.patients is not None else None
    complete = [case for case in names if case in masks and (options.prior_folder is None or case in priors)]
    with_reference = [case for case in complete if case in references]
    assessed = with_reference[:: max(1, math.ceil(len(with_reference) / _ASSESSED_CASES))]
    cases = tuple(
        ScoreCase(case, tuple(images[case]), masks[case], priors.get(case), references.get(case), case in assessed)
        for case in complete
    )
    return ScoreInputs(cases, table, patients, left_out)


def _find_references(
    options: ScoreConversion, names: Sequence[str], all_cases: Sequence[str], problems: Problems
) -> dict[str, Path]:
    folder = options.references
    if folder is None:
        return {}
    files = problems.attempt(list_images, folder)
    if files is None:
        return {}
    present = {*files, *(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))}
    for name in sorted(present.difference(all_cases)) if all_cases else ():
        problems.add(f"{folder}, '{name}'", "reference labels without an image", "rename or remove them")
    return find_initial_masks(folder, [case for case in names if case in present], options.regions, problems)
