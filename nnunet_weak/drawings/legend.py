"""What the values and segments of a drawing mean: classes, background, "none of the targets", blank.

Nothing is guessed: every value that occurs in a drawing is named by the user as a class, as background, or as blank.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nnunet_weak.dataset.names import fold_text
from nnunet_weak.errors import InvalidInputError, Problems

BACKGROUND = "background"
IGNORE = "ignore"
_DESCRIPTION_LINE = re.compile(r'\s*(\d+)\s+\d+\s+\d+\s+\d+\s+[\d.]+\s+\d+\s+\d+\s+"(.*)"\s*')


@dataclass(frozen=True)
class ClassSource:
    """A class and how drawings show it.

    Attributes:
        name: Name of the class, or `background`.
        values: Its values in label maps; empty where it is known by name only.
        names: Names of segments that show it, beside its own.
    """

    name: str
    values: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    def has_name(self, name: str) -> bool:
        """Whether a segment of this name shows the class; letter case and accents do not matter."""
        return fold_text(name) in {fold_text(known) for known in (self.name, *self.names)}


@dataclass(frozen=True)
class DrawingCode:
    """How all drawings of a data set are to be read.

    Attributes:
        targets: The classes 1 to K, in the order of their labels.
        blank: Value of label maps that says nothing.
        background: How "this is none of the targets" is shown in positive drawings; None where it never is.
        not_any_target: The same for negative drawings.
    """

    targets: tuple[ClassSource, ...]
    blank: int
    background: ClassSource | None = None
    not_any_target: ClassSource | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes, background included."""
        return len(self.targets) + 1

    @property
    def labels(self) -> dict[str, int]:
        """Labels of the data set to come, nnU-Net's `ignore` among them."""
        names = [BACKGROUND, *(target.name for target in self.targets), IGNORE]
        return {name: value for value, name in enumerate(names)}

    def codes(self, negative: bool) -> list[tuple[ClassSource, int]]:
        """What may occur in a drawing, and its code: k + 1 for class k, L + 1 for none of the targets."""
        found = [(target, number + 1) for number, target in enumerate(self.targets, start=1)]
        if self.background is not None:
            found.append((self.background, 1))
        if negative and self.not_any_target is not None:
            found.append((self.not_any_target, self.num_classes + 1))
        return found


def parse_drawing_code(
    texts: Sequence[str], blank: int, not_any_target: str | None = None, description: Path | None = None
) -> DrawingCode:
    """The meaning of values as given on a command line.

    Args:
        texts: `NAME=VALUE`, several values separated by commas; `NAME=SEGMENT` or `NAME` alone for segments with names.
            The name `background` is drawn background, all others are targets in the order of their labels.
        blank: Value of label maps that says nothing.
        not_any_target: Value or segment of negative drawings that excludes all targets.
        description: ITK-SNAP's label descriptions, which give values to names.

    Raises:
        InvalidInputError: Everything that is wrong: names or values given twice, no target, a blank that is a class.
    """
    problems = Problems()
    named = read_label_descriptions(description) if description is not None else {}
    sources = [_parse(text, named, problems) for text in texts]
    none = _parse(f"none of the targets={not_any_target}", named, problems) if not_any_target else None
    found = [source for source in sources if source is not None]
    targets = tuple(source for source in found if source.name != BACKGROUND)
    background = next((source for source in found if source.name == BACKGROUND), None)
    if not targets and not len(problems):
        problems.add("--labels", "names no target", "write for example --labels background=0 liver=1 spleen=2")
    owner: dict[int, str] = {}
    for source in [*found, *([none] if none else [])]:
        for value in source.values:
            if value == blank:
                problems.add(f"--blank {blank}", f"is also the value of {source.name}", "each value means one thing")
            elif owner.setdefault(value, source.name) != source.name:
                problems.add(f"--labels, value {value}", f"means both {owner[value]} and {source.name}")
    for target in targets:
        if 0 in target.values:
            problems.add(
                f"--labels {target.name}", "0 is the background of nnU-Net's label maps", "renumber the drawings"
            )
    names = [fold_text(source.name) for source in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.add("--labels", f"{name} is named twice")
    if not 0 <= blank <= np.iinfo(np.uint16).max:
        problems.add(f"--blank {blank}", "values of label maps are 0 to 65535")
    problems.raise_if_any("labels")
    return DrawingCode(targets, blank, background, none)


def read_label_descriptions(path: Path) -> dict[str, int]:
    """Value of each label of an ITK-SNAP label description file.

    Raises:
        InvalidInputError: No such file, or no line of it describes a label.
    """
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file of label descriptions")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    matches = [_DESCRIPTION_LINE.fullmatch(line) for line in lines if not line.lstrip().startswith("#")]
    found = {match[2]: int(match[1]) for match in matches if match}
    if not found:
        raise InvalidInputError(
            f"{path}: describes no label; lines look like '1  255 0 0  1 1 1  \"liver\"' (remedy: save it in ITK-SNAP "
            "with Segmentation > Save Label Descriptions)"
        )
    return found


def encode_values(
    array: np.ndarray, codes: Iterable[tuple[ClassSource, int]], blank: int, where: str, problems: Problems
) -> np.ndarray:
    """A label map's values as codes, 0 = blank; values without a meaning are noted as problems."""
    present = np.flatnonzero(np.bincount(array.ravel()))
    table = np.zeros(int(present.max(initial=0)) + 1, dtype=np.uint16)
    meaning = {value: code for source, code in codes for value in source.values}
    unknown = [int(value) for value in present if value != blank and int(value) not in meaning]
    if unknown:
        counts = ", ".join(f"{value} ({int((array == value).sum())} voxels)" for value in unknown[:10])
        problems.add(
            where,
            f"the value {counts} is neither a class of --labels nor --blank {blank}",
            "name it in --labels, as background where that is drawn, or correct the drawing",
        )
    for value in present:
        table[value] = meaning.get(int(value), 0)
    return table[array]


def class_numbers(array: np.ndarray, targets: Sequence[ClassSource], where: str) -> np.ndarray:
    """A dense label map's values as classes 0 to K.

    Args:
        array: Label map; 0 is background, targets have the values of drawings, or 1 to K where they have names only.
        targets: The targets.
        where: What is read, for messages.

    Raises:
        InvalidInputError: Values that are no target.
    """
    numbered = not any(target.values for target in targets)
    meaning = {0: 0}
    for number, target in enumerate(targets, start=1):
        meaning |= dict.fromkeys((number,) if numbered else target.values, number)
    present = [int(value) for value in np.flatnonzero(np.bincount(array.ravel()))]
    unknown = [value for value in present if value not in meaning]
    if unknown:
        raise InvalidInputError(
            f"{where}: holds the values {unknown}, which are no target of --labels; 0 is background (remedy: number "
            "references as the drawings are, and name all their values)"
        )
    table = np.zeros(max(present, default=0) + 1, np.uint16)
    for value in present:
        table[value] = meaning[value]
    return table[array]


def _parse(text: str, named: Mapping[str, int], problems: Problems) -> ClassSource | None:
    name, equals, rest = (part.strip() for part in text.partition("="))
    parts = [part.strip() for part in rest.split(",")] if equals else []
    where = f"--labels {text}"
    if not name or (equals and not all(parts)):
        problems.add(where, "is not NAME, NAME=VALUE or NAME=SEGMENT", "write for example liver=1")
        return None
    if fold_text(name) == IGNORE:
        problems.add(where, "nnU-Net keeps the name 'ignore' for itself", "give the blank value with --blank")
        return None
    if fold_text(name) == BACKGROUND:
        name = BACKGROUND
    numbers = [part.isdecimal() for part in parts]
    if any(numbers) and not all(numbers):
        problems.add(where, "values and names are mixed", "give either")
        return None
    source = ClassSource(name, tuple(map(int, parts))) if any(numbers) else ClassSource(name, names=tuple(parts))
    if named and not source.values:
        values = tuple(value for label, value in named.items() if source.has_name(label))
        if not values:
            problems.add(where, f"no label of this name is described; there are {', '.join(named)}")
        source = replace(source, values=values)
    return source
