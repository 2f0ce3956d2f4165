"""Meaning of the values and segments of drawings: classes, background, "none of the targets", blank.

Nothing is guessed: the user names every value that occurs in a drawing as a class, as background or as blank.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nnunet_weak.dataset.names import fold_text
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.json_files import read_text
from nnunet_weak.options import read_assignments

BACKGROUND = "background"
IGNORE = "ignore"
_FORM = "NAME, NAME=VALUE or NAME=SEGMENT"
_DESCRIPTION_LINE = re.compile(r'\s*([0-9]{1,9})\s+\d+\s+\d+\s+\d+\s+[\d.]+\s+\d+\s+\d+\s+"(.*)"\s*')


@dataclass(frozen=True)
class ClassSource:
    """A class and its representation in drawings.

    Attributes:
        name: Name of the class, or `background`.
        values: Its values in label maps; empty if it is known by name only.
        names: Names of its segments, in addition to its own.
    """

    name: str
    values: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    def has_name(self, name: str) -> bool:
        """Whether a segment of this name belongs to the class; letter case and accents do not matter."""
        return fold_text(name) in {fold_text(known) for known in (self.name, *self.names)}


@dataclass(frozen=True)
class DrawingCode:
    """Meaning of all drawings of a data set.

    Attributes:
        targets: The classes 1 to K, in the order of their labels.
        blank: Value of label maps where nothing was drawn.
        background: Background in positive drawings; None if it is never drawn.
        not_any_target: Exclusion of all targets in negative drawings; None if it is never drawn.
    """

    targets: tuple[ClassSource, ...]
    blank: int
    background: ClassSource | None = None
    not_any_target: ClassSource | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes L = K + 1, background included."""
        return len(self.targets) + 1

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes 0 to K."""
        return (BACKGROUND, *(target.name for target in self.targets))

    @property
    def labels(self) -> dict[str, int]:
        """Labels of the data set, with nnU-Net's `ignore`."""
        return {name: value for value, name in enumerate((*self.class_names, IGNORE))}

    def codes(self, negative: bool) -> list[tuple[ClassSource, int]]:
        """Contents of a drawing and their codes: k + 1 for class k, L + 1 for none of the targets."""
        found = [(target, number + 1) for number, target in enumerate(self.targets, start=1)]
        if self.background is not None:
            found.append((self.background, 1))
        if negative and self.not_any_target is not None:
            found.append((self.not_any_target, self.num_classes + 1))
        return found


def parse_drawing_code(
    texts: Sequence[str], blank: int, not_any_target: str | None = None, description: Path | None = None
) -> DrawingCode:
    """Read the meaning of drawings from a command line.

    Args:
        texts: `NAME=VALUE`, several values separated by commas; `NAME=SEGMENT` or `NAME` alone for named segments.
            The name `background` stands for drawn background, all others are targets in the order of their labels.
        blank: Value of label maps where nothing was drawn.
        not_any_target: Value or segment of negative drawings that excludes all targets.
        description: ITK-SNAP's label descriptions, which give values to names.

    Raises:
        InvalidInputError: All problems: names or values given twice, no target, a blank that is a class.
    """
    problems = Problems()
    described = problems.attempt(read_label_descriptions, description) if description is not None else None
    classes: dict[str, ClassSource] = {}
    for name, text in (problems.attempt(read_assignments, "--labels", texts, _FORM) or {}).items():
        source = problems.attempt(_class_source, f"--labels {name}={text}", name, text, described)
        if source is not None and classes.setdefault(fold_text(name), source) is not source:
            problems.add("--labels", f"{name} is named twice")
    found, none = list(classes.values()), None
    if not_any_target is not None:
        where = f"--not-any-target {not_any_target}"
        none = problems.attempt(_class_source, where, "none of the targets", not_any_target, described)
        found += [] if none is None else [none]
    owners = {blank: "blank"}
    for source in found:
        for value in source.values:
            if owners.setdefault(value, source.name) != source.name:
                problems.add(f"value {value}", f"means both {owners[value]} and {source.name}", "give it one meaning")
    background = classes.pop(BACKGROUND, None)
    if 0 in [value for target in classes.values() for value in target.values]:
        problems.add("--labels", "0 is the background of nnU-Net's label maps, not a target", "renumber the drawings")
    for value in owners:
        if not 0 <= value <= np.iinfo(np.uint16).max:
            problems.add(f"value {value}", "values of label maps are 0 to 65535", "correct it")
    if not classes and not problems:
        problems.add("--labels", "names no target", "write for example --labels background=0 liver=1 spleen=2")
    problems.raise_if_any("labels")
    return DrawingCode(tuple(classes.values()), blank, background, none)


def read_label_descriptions(path: Path) -> dict[str, int]:
    """Read the value of each label from a label description file of ITK-SNAP.

    Raises:
        InvalidInputError: No such file, or no line of it describes a label.
    """
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file of label descriptions")
    lines = read_text(path, errors="replace").splitlines()
    found = {match[2]: int(match[1]) for line in lines if (match := _DESCRIPTION_LINE.fullmatch(line))}
    if not found:
        raise InvalidInputError(
            f"{path}: describes no label; lines look like '1  255 0 0  1 1 1  \"liver\"' (remedy: save it in ITK-SNAP "
            "with Segmentation > Save Label Descriptions)"
        )
    return found


def encode_values(array: np.ndarray, code: DrawingCode, negative: bool, where: str) -> np.ndarray:
    """Encode a drawn label map: 0 = blank, k + 1 = class k, L + 1 = none of the targets; `where` is for messages.

    Raises:
        InvalidInputError: Classes without values, or values without a meaning.
    """
    codes = code.codes(negative)
    missing = [source.name for source, _ in codes if not source.values]
    if missing:
        raise InvalidInputError(
            f"{where}: is a label map, and --labels gives no value of {', '.join(missing)} (remedy: write --labels "
            f"{missing[0]}=VALUE, or give ITK-SNAP's file with --label-descriptions)"
        )
    return _replace_values(
        array,
        {value: number for source, number in codes for value in source.values} | {code.blank: 0},
        where,
        f"which is neither a class of --labels nor --blank {code.blank} (remedy: name it in --labels, as background if "
        "that was drawn, or correct the drawing)",
    )


def class_numbers(array: np.ndarray, targets: Sequence[ClassSource], where: str) -> np.ndarray:
    """Number the classes of a dense label map from 0 to K; `where` is for messages.

    In the label map 0 is background, and targets have the values of drawings, or 1 to K if they have names only.

    Raises:
        InvalidInputError: Values that are no target.
    """
    named_only = not any(target.values for target in targets)
    numbers = {0: 0}
    for number, target in enumerate(targets, start=1):
        numbers |= dict.fromkeys([number] if named_only else target.values, number)
    return _replace_values(
        array,
        numbers,
        where,
        "which is no target of --labels; 0 is background (remedy: number references as the drawings are, and name all "
        "their values)",
    )


def _class_source(where: str, name: str, text: str, described: Mapping[str, int] | None) -> ClassSource:
    parts = tuple(part.strip() for part in text.split(",")) if text else ()
    numbers = [part.isdecimal() for part in parts]
    if any(number and len(part) > 9 for part, number in zip(parts, numbers, strict=True)):
        raise InvalidInputError(f"{where}: values of label maps are 0 to 65535 (remedy: correct it)")
    if fold_text(name) == IGNORE:
        raise InvalidInputError(f"{where}: nnU-Net reserves the name 'ignore' (remedy: give the value with --blank)")
    if not all(parts) or any(numbers) and not all(numbers):
        raise InvalidInputError(f"{where}: values are empty, or mixed with names (remedy: write for example liver=1,4)")
    source = ClassSource(name, values=tuple(map(int, parts))) if any(numbers) else ClassSource(name, names=parts)
    if described is None or source.values:
        return source
    values = tuple(value for label, value in described.items() if source.has_name(label))
    if not values:
        raise InvalidInputError(
            f"{where}: no label of this name is described; there are {', '.join(described)} (remedy: use one)"
        )
    return replace(source, values=values)


def _replace_values(array: np.ndarray, meaning: Mapping[int, int], where: str, otherwise: str) -> np.ndarray:
    counts = np.bincount(array.ravel())
    unknown = [f"{value} ({counts[value]} voxels)" for value in np.flatnonzero(counts) if int(value) not in meaning]
    if unknown:
        raise InvalidInputError(f"{where}: holds the value {', '.join(unknown[:10])}, {otherwise}")
    table = np.zeros(max(meaning) + 1, np.uint16)
    table[list(meaning)] = list(meaning.values())
    return table[array]
