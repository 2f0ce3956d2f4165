"""What belongs together: the images, initial masks, scores, reference labels, priors and patients of a SCORE data set,
matched by case.

Everything that is wrong is collected; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_weak.dataset.find_cases import CaseLayout, discover_cases
from nnunet_weak.dataset.patients import read_patients
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.read import list_images
from nnunet_weak.scores.columns import Layout
from nnunet_weak.scores.initial_masks import find_initial_masks
from nnunet_weak.scores.regions import RegionSource
from nnunet_weak.scores.scale import Scale
from nnunet_weak.scores.table import ScoreTable, read_scores

_ALLOW_MISSING = "or leave out what is incomplete with --allow-missing"


@dataclass(frozen=True)
class ScoreInputs:
    """The cases of a data set to come.

    Attributes:
        images: Image channels by case.
        masks: Initial mask by case.
        references: Reference labels of the fully annotated cases.
        prior_files: Boundary prior by case, for the prior kind `file`.
        table: The scores; None if the table could not be read.
        patients: Patient by case, where a table of patients was given.
        left_out: Cases that were left out, with the reason.
    """

    images: Mapping[str, Sequence[Path]]
    masks: Mapping[str, Path]
    references: Mapping[str, Path]
    prior_files: Mapping[str, Path]
    table: ScoreTable | None
    patients: Mapping[str, str] | None
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TableFormat:
    """How to read the table of scores; see `read_scores`."""

    columns: Mapping[str, str] | None = None
    scale: Scale | None = None
    layout: Layout = "auto"
    sheet: str | None = None


def gather_inputs(
    images: Path,
    masks: Path,
    scores: Path,
    regions: Sequence[RegionSource],
    problems: Problems,
    *,
    references: Path | None = None,
    prior_folder: Path | None = None,
    patients: Path | None = None,
    channel_suffixes: Sequence[str] | None = None,
    case_layout: CaseLayout = "auto",
    table_format: TableFormat | None = None,
    allow_missing: bool = False,
    report_names: bool = False,
) -> ScoreInputs:
    """Find all files and match them by case.

    Args:
        images: Folder of images.
        masks: Folder of initial masks.
        scores: Table of scores.
        regions: The regions of the masks.
        problems: Where everything that is wrong is noted.
        references: Folder of reference labels, of some or all cases.
        prior_folder: Folder of boundary priors.
        patients: CSV table with the columns `case` and `patient`.
        channel_suffixes: See `discover_cases`.
        case_layout: See `discover_cases`.
        table_format: How to read the scores.
        allow_missing: Leave out cases without a mask or prior, and scores without a case, instead of noting them as
            problems; accept cases without scores.
        report_names: Keep unknown regions of the table for a report, instead of noting them as problems.
    """
    found = problems.attempt(discover_cases, images, channel_suffixes=channel_suffixes, layout=case_layout) or {}
    left_out: dict[str, str] = {}
    mask_of = _find_each(masks, list(found), regions, problems, left_out if allow_missing else None)
    names = [case for case in found if case not in left_out]
    prior_of: dict[str, Path] = {}
    if prior_folder is not None:
        prior_of, missing = _files_of(prior_folder, names, problems)
        for case in missing:
            if allow_missing:
                left_out[case] = "no boundary prior"
            else:
                problems.add(f"{prior_folder}, case '{case}'", "no boundary prior", f"add it, {_ALLOW_MISSING}")
        names = [case for case in names if case not in left_out]
    reference_of = _find_references(references, names, list(found), regions, problems) if references is not None else {}
    form = table_format or TableFormat()
    table = problems.attempt(
        read_scores,
        scores,
        columns=form.columns,
        scale=form.scale,
        layout=form.layout,
        sheet=form.sheet,
        regions=[region.name for region in regions],
        cases=list(found) or None,
        unknown_regions="report" if report_names else "refuse",
    )
    if table is not None and found and not allow_missing:
        for name in table.unmatched:
            if name.kind == "case":
                problems.add(
                    f"{scores}: {name}",
                    "no image has this name",
                    f"correct the name or add the image, {_ALLOW_MISSING}",
                )
        for case in table.unscored_cases:
            if case not in reference_of:
                problems.add(f"{scores}, case '{case}'", "no score for any region", f"score it, {_ALLOW_MISSING}")
    patient_of = problems.attempt(read_patients, patients, names) if patients is not None else None
    return ScoreInputs(
        {case: found[case] for case in names}, mask_of, reference_of, prior_of, table, patient_of, left_out
    )


def _find_each(
    folder: Path,
    cases: Sequence[str],
    regions: Sequence[RegionSource],
    problems: Problems,
    left_out: dict[str, str] | None,
) -> dict[str, Path]:
    """Initial mask of each case that has one; others are left out, or problems where `left_out` is None."""
    try:
        return find_initial_masks(folder, cases, regions)
    except InvalidInputError as error:
        if not folder.is_dir():
            problems.extend(error)
            return {}
    found = {}
    for case in cases:
        try:
            found.update(find_initial_masks(folder, [case], regions))
        except InvalidInputError as error:
            if left_out is None:
                problems.extend(error)
            else:
                left_out[case] = "no initial mask"
    return found


def _find_references(
    folder: Path, names: Sequence[str], all_cases: Sequence[str], regions: Sequence[RegionSource], problems: Problems
) -> dict[str, Path]:
    if not folder.is_dir():
        problems.add(str(folder), "no such folder of reference labels")
        return {}
    files = problems.attempt(list_images, folder) or {}
    present = {*files, *(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))}
    for name in sorted(present - set(all_cases)):
        if all_cases:
            problems.add(f"{folder}, '{name}'", "reference labels without an image", "rename or remove them")
    return _find_each(folder, [case for case in names if case in present], regions, problems, None)


def _files_of(folder: Path, cases: Sequence[str], problems: Problems) -> tuple[dict[str, Path], list[str]]:
    files = problems.attempt(list_images, folder) or {}
    return {case: files[case] for case in cases if case in files}, [
        case for case in cases if case not in files
    ] if files else []
