"""Input files of a data set, matched by case: images, drawings of each annotator, reference labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_weak.dataset.find_cases import discover_cases
from nnunet_weak.dataset.names import suggest
from nnunet_weak.drawings.files import find_drawings
from nnunet_weak.drawings.options import DrawingsConversion
from nnunet_weak.errors import Problems
from nnunet_weak.images.read import list_images


@dataclass(frozen=True)
class DrawingsCase:
    """Files of a case.

    Attributes:
        name: The case.
        images: Its image channels.
        drawings: Its drawings by annotation map.
        reference: Its reference labels, if it is fully annotated.
    """

    name: str
    images: tuple[Path, ...]
    drawings: Mapping[str, Path]
    reference: Path | None


def find_inputs(options: DrawingsConversion, problems: Problems) -> tuple[dict[str, DrawingsCase], dict[str, str]]:
    """Find all files and match them by case; adds to `problems`.

    Returns:
        The cases by name; and what was left out, with the reason.
    """
    images = problems.attempt(
        discover_cases, options.images, channel_suffixes=options.channel_suffixes, layout=options.case_layout
    )
    left_out: dict[str, str] = {}

    def matched(files: Mapping[str, Path], description: str) -> Mapping[str, Path]:
        for name in [name for name in files if images and name not in images]:
            if options.allow_missing:
                left_out[f"{description} {name}"] = "no image of this name"
                continue
            similar = " or ".join(suggest(name, list(images or {})))
            problems.add(
                str(files[name]),
                f"{description} without an image of this name in {options.images}",
                f"perhaps it belongs to {similar}; names must be those of the images"
                if similar
                else "rename or remove it, or leave it out with --allow-missing",
            )
        return files

    drawings: dict[str, Mapping[str, Path]] = {}
    for name, folder in options.folders.items():
        files = problems.attempt(find_drawings, folder)
        if files == {}:
            problems.add(str(folder), f"holds no drawing for the map {name}", "give the folder of its files")
        drawings[name] = matched(files or {}, f"{options.map_kinds[name]} drawing {name}")
    references: Mapping[str, Path] = {}
    if options.references is not None:
        references = matched(problems.attempt(list_images, options.references) or {}, "reference")
    cases = [
        DrawingsCase(
            name,
            tuple(channels),
            {key: drawings[key][name] for key in options.map_kinds if name in drawings.get(key, ())},
            references.get(name),
        )
        for name, channels in (images or {}).items()
    ]
    annotated = {case.name: case for case in cases if case.drawings or case.reference}
    for name in [case.name for case in cases if annotated and case.name not in annotated]:
        if options.allow_missing:
            left_out[name] = "nobody drew in it"
        else:
            problems.add(
                f"{options.images}, case '{name}'",
                "nobody drew in it, and it has no reference labels",
                "add a drawing, or leave out incomplete cases with --allow-missing",
            )
    if not annotated and not problems:
        problems.add(str(options.images), "no case has both images and a drawing", "compare the names")
    return annotated, left_out
