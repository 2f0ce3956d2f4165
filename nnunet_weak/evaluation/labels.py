"""Which labels are evaluated: those of nnU-Net's dataset.json, of the user, or of the references."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_weak.errors import InvalidInputError, Problems

Labels = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class LabelScheme:
    """The labels to evaluate.

    Attributes:
        labels: Name to values; several values for an nnU-Net region.
        ignore_label: Value of voxels that are not annotated, if the data set has one.
        known_values: Values that may occur in a file, besides 0 and the ignore label; `None` allows all.
        source: Where the labels come from, for the record.
    """

    labels: Labels
    ignore_label: int | None = None
    known_values: frozenset[int] | None = None
    source: str = "given"


def find_dataset_json(reference: Path, prediction: Path) -> Path | None:
    """nnU-Net's dataset.json: beside the labels folder, in it, or in the folder that nnUNetv2_predict wrote."""
    candidates = (reference.resolve().parent, reference, prediction)
    return next((folder / "dataset.json" for folder in candidates if (folder / "dataset.json").is_file()), None)


def read_dataset_json(path: Path) -> LabelScheme:
    """Labels, regions and the ignore label of a dataset.json.

    Raises:
        InvalidInputError: No such file, no JSON, or no usable `labels`.
    """
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8")).get("labels")
    except FileNotFoundError as error:
        raise InvalidInputError(f"{path}: no such file") from error
    except (ValueError, AttributeError) as error:
        raise InvalidInputError(f"{path}: not nnU-Net's dataset.json ({error})") from error
    problems = Problems()
    labels: dict[str, tuple[int, ...]] = {}
    ignore_label = None
    for name, value in entries.items() if isinstance(entries, dict) else ():
        values = tuple(value) if isinstance(value, list) else (value,)
        if not values or not all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in values):
            problems.add(
                f"{path}, labels, {name}",
                f"{value!r} is no whole number and no list of them",
                "nnU-Net v2 writes NAME: VALUE",
            )
        elif name == "ignore":
            ignore_label = values[0]
        elif values != (0,):
            labels[name] = values
    if not labels and not problems:
        problems.add(f"{path}, labels", "names no label besides background")
    problems.raise_if_any()
    return LabelScheme(labels, ignore_label, frozenset(v for values in labels.values() for v in values), str(path))


def choose_labels(requested: Sequence[str], found: LabelScheme | None) -> LabelScheme:
    """Labels that a user names on the command line.

    Args:
        requested: Each `NAME` (of `found`), `VALUE`, `NAME=VALUE`, or `NAME=VALUE,VALUE` for a region.
        found: From the data set's dataset.json if there is one; it lends names and the ignore label.

    Raises:
        InvalidInputError: An unknown name, or no such form; all of them in one list.
    """
    problems = Problems()
    labels: dict[str, tuple[int, ...]] = {}
    named = dict(found.labels) if found else {}
    for text in requested:
        name, _, values = text.rpartition("=")
        if not name and values in named:
            labels[values] = named[values]
            continue
        try:
            numbers = tuple(int(value) for value in values.split(","))
        except ValueError:
            rule = (
                f"there are {', '.join(named)}"
                if named
                else "without a dataset.json, labels are given as VALUE or NAME=VALUE"
            )
            problems.add(f"--labels {text}", f"unknown label; {rule}")
            continue
        ignore_label = found.ignore_label if found else None
        if any(n <= 0 or n == ignore_label for n in numbers):
            problems.add(
                f"--labels {text}", "0 is background, and the ignore label cannot be evaluated", "name values above 0"
            )
            continue
        name = name or next((known for known, known_values in named.items() if known_values == numbers), values)
        if name in labels:
            problems.add(f"--labels {text}", f"label {name} is named twice")
        labels[name] = numbers
    problems.raise_if_any("labels")
    return LabelScheme(labels, found.ignore_label if found else None, None, "named by the user")
