"""The labels to evaluate: from nnU-Net's dataset.json, from the command line, or from the references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.json_files import load_object
from nnunet_weak.images.outputs import real_path
from nnunet_weak.options import read_assignments

Labels = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class LabelScheme:
    """The labels to evaluate.

    Attributes:
        labels: Name to values; several values for an nnU-Net region.
        ignore_label: Value of voxels that are not annotated, if the data set has one.
        known_values: Values that may occur in a file, besides 0 and the ignore label; where it is `None`, those of the
            labels and those that occur in references.
        source: Where the labels come from, for the record.
        by_user: Whether a user has named them, so that each must occur in some file.
    """

    labels: Labels
    ignore_label: int | None = None
    known_values: frozenset[int] | None = None
    source: str = "given"
    by_user: bool = False

    @classmethod
    def of_references(cls, values_of_cases: Mapping[str, set[int]]) -> LabelScheme:
        """Every value above 0 that occurs in a reference, named by itself."""
        values = sorted(set().union(*values_of_cases.values()))
        return cls({str(value): (value,) for value in values}, None, frozenset(values), "the references")

    def check(self, path: Path, values: set[int], problems: Problems) -> None:
        """Add a problem for the values of a file that are no label."""
        if self.known_values is None or values <= self.known_values:
            return
        unknown = ", ".join(map(str, sorted(values - self.known_values)))
        if self.by_user:
            what = f"values {unknown} are neither in --labels nor labels of the data set (dataset.json or references)"
            problems.add(str(path), what, "correct the file, or name these values in --labels as well")
            return
        known = ", ".join(f"{name} = {'+'.join(map(str, v))}" for name, v in self.labels.items())
        remedy = "correct the file, or name the labels to evaluate with --labels"
        problems.add(str(path), f"values {unknown} are no label of {self.source} ({known})", remedy)


def find_dataset_json(reference: Path, prediction: Path) -> Path | None:
    """nnU-Net's dataset.json: beside the labels folder, in it, or in the folder that nnUNetv2_predict wrote."""
    candidates = (real_path(reference).parent, reference, prediction)
    return next((folder / "dataset.json" for folder in candidates if (folder / "dataset.json").is_file()), None)


def read_dataset_json(path: Path) -> LabelScheme:
    """Labels, regions and the ignore label of a dataset.json.

    Raises:
        InvalidInputError: No such file, no JSON, or no usable `labels`.
    """
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file (remedy: check path and name)")
    entries = load_object(path, labels=dict)["labels"]
    problems = Problems()
    labels: dict[str, tuple[int, ...]] = {}
    for name, value in entries.items():
        labels[name] = tuple(value) if isinstance(value, list) else (value,)
        if not labels[name] or not all(type(v) is int and v >= 0 for v in labels[name]):
            what = f"{value!r} is no whole number and no list of them"
            problems.add(f"{path}, labels, {name}", what, "nnU-Net v2 writes NAME: VALUE")
    ignore = labels.pop("ignore", None)
    labels = {name: values for name, values in labels.items() if values != (0,)}
    if not labels:
        problems.add(f"{path}, labels", "names no label besides background", "give the labels, --labels NAME=VALUE")
    problems.raise_if_any()
    known = frozenset(value for values in labels.values() for value in values)
    return LabelScheme(labels, ignore[0] if ignore else None, known, str(path))


def choose_labels(requested: Sequence[str], found: LabelScheme | None) -> LabelScheme:
    """Labels that a user names on the command line.

    Other labels of `found` may occur in files, and are not evaluated.

    Args:
        requested: Each `NAME` (of `found`), `VALUE`, `NAME=VALUE`, or `NAME=VALUE,VALUE` for a region.
        found: From the data set's dataset.json if there is one; it lends names and the ignore label.

    Raises:
        InvalidInputError: An unknown name, or no such form; all of them in one list.
    """
    problems = Problems()
    labels: dict[str, tuple[int, ...]] = {}
    named = dict(found.labels) if found else {}
    ignore_label = found.ignore_label if found else None
    known = f"there are {', '.join(named)}" if named else "without a dataset.json, give VALUE or NAME=VALUE"
    for name, text in read_assignments("--labels", requested, "NAME, VALUE, NAME=VALUE or NAME=VALUE,VALUE").items():
        where = f"--labels {name}={text}" if text else f"--labels {name}"
        if not text and name in named:
            values = named[name]
        else:
            parts = (text or name).split(",")
            if not all(part.strip().isdecimal() and len(part.strip()) < 10 for part in parts):
                problems.add(where, f"unknown label; {known}", "name one of these, or NAME=VALUE")
                continue
            values = tuple(int(part) for part in parts)
            if {0, ignore_label}.intersection(values):
                what = "0 is background, and the ignore label cannot be evaluated"
                problems.add(where, what, "name values above 0")
                continue
            if not text:
                name = next((other for other, values_of in named.items() if values_of == values), name)
        if name in labels:
            problems.add(where, f"label {name} is named twice", "name it once")
        labels[name] = values
    problems.raise_if_any("labels")
    known_values = None
    if found and found.known_values is not None:
        known_values = found.known_values.union(*labels.values())
    return LabelScheme(labels, ignore_label, known_values, "named by the user", by_user=True)
