"""Folders of predictions against a folder of references, in parallel over cases.

Cases are paired by file name without ending. Every prediction has to lie on the voxel grid of its reference.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.evaluation.labels import LabelScheme
from nnunet_weak.evaluation.metrics import evaluate_case, label_boxes
from nnunet_weak.images.read import geometry_difference, list_images, read_label_map
from nnunet_weak.parallel import run_tasks

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Case:
    name: str
    reference: Path
    predictions: Mapping[str, Path]
    scheme: LabelScheme
    nsd_tolerance_mm: float


@dataclass(frozen=True)
class _Outcome:
    rows: list[dict]
    values: frozenset[int]
    problems: tuple[str, ...]


def evaluate_folders(
    methods: Mapping[str, Path | str],
    reference: Path | str,
    scheme: LabelScheme | None = None,
    *,
    nsd_tolerance_mm: float = 2.0,
    allow_missing: bool = False,
    processes: int = 1,
    progress: bool = False,
) -> pd.DataFrame:
    """Metrics of every case, label and method.

    Args:
        methods: Name to folder of predictions.
        reference: Folder of references.
        scheme: Labels to evaluate; `None` takes every value above 0 that occurs in the references.
        nsd_tolerance_mm: Tolerance of NSD.
        allow_missing: Evaluate the cases that a method has, instead of refusing folders that differ.
        processes: Number of worker processes; 1 computes in this one.
        progress: Show a progress bar.

    Returns:
        Columns case, method, and those of `metrics.LabelMetrics`; by method in the given order, then by case and label.

    Raises:
        InvalidInputError: Missing cases; or unreadable files, other grids, values that are no label: all in one list.
    """
    pairs = _pair(methods, Path(reference), allow_missing)
    if scheme is None:
        references = [path for path, _ in pairs.values()]
        found = run_tasks(_values_of, references, processes=processes, description="Labels", progress=progress)
        scheme = _scheme_of_references(found)
    cases = [_Case(name, path, paths, scheme, nsd_tolerance_mm) for name, (path, paths) in pairs.items()]
    outcomes = run_tasks(_evaluate, cases, processes=processes, description="Evaluating", progress=progress)
    problems = Problems()
    for outcome in outcomes:
        problems.extend(InvalidInputError(outcome.problems))
    if not problems:
        occurring = frozenset().union(*(outcome.values for outcome in outcomes))
        for label, values in scheme.labels.items():
            if scheme.known_values is None and not occurring.intersection(values):
                present = ", ".join(map(str, sorted(occurring))) or "none"
                problems.add(
                    f"label {label}",
                    f"value {', '.join(map(str, values))} occurs in no file; values that do: {present}",
                )
    problems.raise_if_any("evaluation")
    rows = [row for outcome in outcomes for row in outcome.rows]
    order = {name: position for position, name in enumerate(methods)}
    return pd.DataFrame(sorted(rows, key=lambda row: order[row["method"]]))


def _pair(
    methods: Mapping[str, Path | str], reference: Path, allow_missing: bool
) -> dict[str, tuple[Path, dict[str, Path]]]:
    problems = Problems()
    folders: dict[str, dict[str, Path]] = {}
    for name, folder in {"": reference, **methods}.items():
        files = problems.attempt(list_images, Path(folder))
        if files == {}:
            problems.add(str(folder), "no image in this folder")
        folders[name] = files or {}
    problems.raise_if_any("folders")
    references = folders.pop("")
    for name, predictions in folders.items():
        absent = [case for case in references if case not in predictions]
        extra = [case for case in predictions if case not in references]
        if not set(references).intersection(predictions):
            problems.add(
                str(methods[name]),
                f"no case in common with {reference}",
                "name a prediction as its reference, endings may differ",
            )
        elif allow_missing and (absent or extra):
            logger.warning(
                "%s: %d cases without prediction, %d without reference, left out",
                methods[name],
                len(absent),
                len(extra),
            )
        elif absent or extra:
            remedy = "--allow-missing evaluates the others"
            if absent:
                problems.add(str(methods[name]), f"no prediction for {len(absent)} cases: {', '.join(absent)}", remedy)
            if extra:
                problems.add(
                    str(reference),
                    f"no reference for {len(extra)} cases of {methods[name]}: {', '.join(extra)}",
                    remedy,
                )
    problems.raise_if_any("cases")
    found = {case: {name: paths[case] for name, paths in folders.items() if case in paths} for case in references}
    return {case: (references[case], predictions) for case, predictions in found.items() if predictions}


def _scheme_of_references(values_of_references: Iterable[frozenset[int] | InvalidInputError]) -> LabelScheme:
    problems = Problems()
    values: set[int] = set()
    for found in values_of_references:
        if isinstance(found, InvalidInputError):
            problems.extend(found)
        else:
            values |= found
    if not values and not problems:
        problems.add("references", "no voxel of any reference is above 0", "name the labels with --labels")
    problems.raise_if_any("references")
    return LabelScheme({str(v): (v,) for v in sorted(values)}, None, frozenset(values), "the references")


def _values_of(path: Path) -> frozenset[int] | InvalidInputError:
    try:
        image = read_label_map(path)
        return frozenset(label_boxes(sitk.GetArrayViewFromImage(image)))
    except InvalidInputError as error:
        return error


def _evaluate(case: _Case) -> _Outcome:
    problems = Problems()
    rows: list[dict] = []
    values: set[int] = set()
    try:
        reference = read_label_map(case.reference)
    except InvalidInputError as error:
        return _Outcome([], frozenset(), error.problems)
    ignore_label = case.scheme.ignore_label
    array = sitk.GetArrayViewFromImage(reference)
    occurring = set(label_boxes(array))
    values |= occurring
    _check_values(case.reference, occurring - {ignore_label}, case.scheme, problems)
    for method, path in case.predictions.items():
        image = problems.attempt(read_label_map, path)
        if image is None:
            continue
        difference = geometry_difference(reference, image)
        if difference:
            problems.add(
                str(path), f"not on the grid of {case.reference}: {difference}", "resample it with nearest neighbour"
            )
            continue
        prediction = sitk.GetArrayViewFromImage(image)
        occurring = set(label_boxes(prediction))
        values |= occurring
        _check_values(path, occurring, case.scheme, problems)
        if problems:
            continue
        measured = evaluate_case(
            prediction,
            array,
            case.scheme.labels,
            reference.GetSpacing()[::-1],
            ignore_label=ignore_label,
            nsd_tolerance_mm=case.nsd_tolerance_mm,
        )
        rows += [{"case": case.name, "method": method, **asdict(row)} for row in measured]
    return _Outcome(rows, frozenset(values), tuple(problems))


def _check_values(path: Path, values: set[int], scheme: LabelScheme, problems: Problems) -> None:
    unknown = sorted(values - scheme.known_values) if scheme.known_values is not None else []
    if unknown:
        known = ", ".join(f"{name} = {'+'.join(map(str, v))}" for name, v in scheme.labels.items())
        remedy = "correct the file, or name the labels to evaluate with --labels"
        problems.add(
            str(path), f"values {', '.join(map(str, unknown))} are no label of {scheme.source} ({known})", remedy
        )
