"""What the converters do alike with one case: name it in problems, read a reference, write while nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeVar

import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.read import geometry_difference, read_label_map

_SPOILT = ".spoilt"


class _Checked(Protocol):
    @property
    def problems(self) -> tuple[str, ...]: ...


Checked = TypeVar("Checked", bound=_Checked)


def of_case(name: str, problems: Iterable[str]) -> tuple[str, ...]:
    """Problems that name their case."""
    return tuple(problem if name in problem else f"{name}: {problem}" for problem in problems)


def write_unless_spoilt(folder: Path, process: Callable[[Path | None], Checked]) -> Checked:
    """Let a case be checked and written into a raw folder.

    As soon as one case has a problem, the others are checked only, for the folder will not survive.

    Args:
        folder: The raw folder.
        process: Takes the folder to write into; None to check only.
    """
    spoilt = folder / _SPOILT
    checked = process(None if spoilt.exists() else folder)
    if checked.problems:
        spoilt.touch()
    return checked


def read_on_grid(path: Path, image: sitk.Image) -> sitk.Image:
    """Read a reference label map.

    Raises:
        InvalidInputError: It cannot be read, or is not on the grid of the image.
    """
    labels = read_label_map(path)
    difference = geometry_difference(image, labels)
    if difference:
        raise InvalidInputError(
            f"{path}: not on the image's grid: {difference} (remedy: resample it with nearest neighbour)"
        )
    return labels


def files_in(sources: Iterable[Path | None]) -> tuple[Path, ...]:
    """Files, and those in folders, in the order given."""
    return tuple(path for source in sources if source is not None for path in _files_of(source))


def _files_of(source: Path) -> list[Path]:
    return sorted(path for path in source.iterdir() if path.is_file()) if source.is_dir() else [source]
