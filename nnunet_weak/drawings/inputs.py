"""What belongs together: images, drawings of each annotator, reference labels and patients, matched by case.

Everything that is wrong is collected; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_weak.dataset.find_cases import discover_cases
from nnunet_weak.dataset.names import suggest
from nnunet_weak.dataset.patients import read_patients
from nnunet_weak.drawings.files import find_drawings
from nnunet_weak.drawings.options import DrawingsConversion
from nnunet_weak.errors import Problems
from nnunet_weak.images.read import list_images


@dataclass(frozen=True)
class DrawingsInputs:
    """The cases of a data set to come.

    Attributes:
        images: Image channels by case.
        positive: Positive drawings by annotator and case.
        negative: Negative drawings by annotator and case.
        references: Reference labels of the fully annotated cases.
        patients: Patient by case, where a table of patients was given.
        left_out: Cases and drawings that were left out, with the reason.
    """

    images: Mapping[str, Sequence[Path]]
    positive: Mapping[str, Mapping[str, Path]]
    negative: Mapping[str, Mapping[str, Path]]
    references: Mapping[str, Path]
    patients: Mapping[str, str] | None
    left_out: Mapping[str, str] = field(default_factory=dict)


def gather_inputs(options: DrawingsConversion, problems: Problems) -> DrawingsInputs:
    """Find all files and match them by case; problems are noted."""
    found = (
        problems.attempt(
            discover_cases, options.images, channel_suffixes=options.channel_suffixes, layout=options.case_layout
        )
        or {}
    )
    left_out: dict[str, str] = {}

    def match(folder: Path, files: Mapping[str, Path], what: str) -> dict[str, Path]:
        for name in files:
            if found and name not in found:
                if options.allow_missing:
                    left_out[f"{what} {name}"] = "no image of this name"
                    continue
                close = suggest(name, list(found))
                problems.add(
                    str(files[name]),
                    f"{what} without an image of this name in {options.images}",
                    f"perhaps it belongs to {' or '.join(close)}; names must be those of the images"
                    if close
                    else "rename or remove it, or leave it out with --allow-missing",
                )
        return {case: files[case] for case in found if case in files}

    def drawings(folders: Mapping[str, Path], kind: str) -> dict[str, dict[str, Path]]:
        matched = {}
        for annotator, folder in folders.items():
            files = problems.attempt(find_drawings, folder)
            if files == {}:
                problems.add(str(folder), f"holds no {kind} drawing of {annotator}")
            matched[annotator] = match(folder, files or {}, f"{kind} drawing of {annotator}")
        return matched

    positive, negative = drawings(options.positive, "positive"), drawings(options.negative, "negative")
    references: dict[str, Path] = {}
    if options.references is not None:
        folder = options.references
        files = problems.attempt(list_images, folder) or {}
        references = match(folder, files, "reference")
    annotated = {case for by_case in [*positive.values(), *negative.values(), references] for case in by_case}
    for case in found:
        if case not in annotated and annotated:
            if options.allow_missing:
                left_out[case] = "nobody drew in it"
            else:
                problems.add(
                    f"{options.images}, case '{case}'",
                    "nobody drew in it, and it has no reference labels",
                    "add a drawing, or leave out what is incomplete with --allow-missing",
                )
    names = [case for case in found if case in annotated]
    table = options.patients
    patients = problems.attempt(read_patients, table, names) if table is not None else None
    return DrawingsInputs({case: found[case] for case in names}, positive, negative, references, patients, left_out)
