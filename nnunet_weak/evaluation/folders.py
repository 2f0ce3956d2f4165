"""Folders of predictions against a folder of references, in parallel over cases.

Cases are paired by file name without ending. Every prediction has to lie on the voxel grid of its reference.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import SimpleITK as sitk

from nnunet_weak.errors import Problems
from nnunet_weak.evaluation.labels import LabelScheme
from nnunet_weak.evaluation.metrics import evaluate_case, label_boxes
from nnunet_weak.images.read import geometry_difference, list_images, read_label_map
from nnunet_weak.parallel import run_cases

logger = logging.getLogger(__name__)

Files = dict[str, Path]
"""Files of one case: the reference under the name "", predictions under the methods' names."""


@dataclass(frozen=True)
class _Result:
    """Rows of one case, and the values above 0 that occur in its files."""

    rows: list[dict[str, Any]]
    in_reference: set[int]
    in_predictions: dict[Path, set[int]]


def evaluate_folders(
    methods: Mapping[str, Path | str],
    reference: Path | str,
    scheme: LabelScheme | None = None,
    *,
    nsd_tolerance_mm: float = 2.0,
    allow_missing: bool = False,
    processes: int | None = 1,
    progress: bool = False,
) -> pd.DataFrame:
    """Metrics of every case, label and method.

    Args:
        methods: Name to folder of predictions.
        reference: Folder of references.
        scheme: Labels to evaluate; `None` takes every value above 0 that occurs in the references.
        nsd_tolerance_mm: Tolerance of NSD.
        allow_missing: Evaluate the cases that a method has, instead of refusing folders that differ.
        processes: Number of worker processes; 1 computes in this one, None takes all cores.
        progress: Show a progress bar.

    Returns:
        Columns case, method, and those of `metrics.LabelMetrics`; by method in the given order, then by case and label.

    Raises:
        InvalidInputError: Missing cases; or unreadable files, other grids, values that are no label: all in one list.
    """
    cases = _pair(methods, Path(reference), allow_missing)
    problems = Problems()
    settings: dict[str, Any] = {"processes": processes, "progress": progress}
    if scheme is None:
        scheme = LabelScheme.of_references(
            run_cases(_values_in_reference, cases, problems, description="Labels", **settings)
        )
        if not scheme.labels and not problems:
            problems.add("references", "no voxel of any reference is above 0", "name the labels with --labels")
        problems.raise_if_any("references")
    evaluate = partial(_evaluate, scheme=scheme, nsd_tolerance_mm=nsd_tolerance_mm)
    results = run_cases(evaluate, cases, problems, description="Evaluating", **settings)
    if not problems and scheme.by_user:
        _check_named_labels(scheme, results, problems)
    problems.raise_if_any("evaluation")
    order = list(methods)
    rows = [{"case": case, **row} for case, result in results.items() for row in result.rows]
    return pd.DataFrame(sorted(rows, key=lambda row: order.index(row["method"])))


def _check_named_labels(scheme: LabelScheme, results: Mapping[str, _Result], problems: Problems) -> None:
    """Refuse labels that occur in no file and, without a dataset.json, values that no label and no reference has."""
    named = set().union(*scheme.labels.values())
    in_references = set().union(*(result.in_reference for result in results.values()))
    known = frozenset(named | in_references)
    occurring = set(in_references)
    for result in results.values():
        for path, values in result.in_predictions.items():
            occurring |= values
            if scheme.known_values is None:
                replace(scheme, known_values=known).check(path, values, problems)
    present = ", ".join(map(str, sorted(occurring))) or "none"
    for label, values_of_label in scheme.labels.items():
        if not occurring.intersection(values_of_label):
            what = f"value {', '.join(map(str, values_of_label))} occurs in no file; values that do: {present}"
            problems.add(f"label {label}", what, "correct the values in --labels")


def _pair(methods: Mapping[str, Path | str], reference: Path, allow_missing: bool) -> dict[str, Files]:
    problems = Problems()
    folders: dict[str, Files] = {}
    for name, folder in {"": reference, **methods}.items():
        files = problems.attempt(list_images, Path(folder))
        if files == {}:
            problems.add(str(folder), "no image in this folder", "name another, or add images")
        folders[name] = files or {}
    problems.raise_if_any("folders")
    references = folders[""]
    remedy = "--allow-missing evaluates the others"
    for name, folder in methods.items():
        absent, extra = (
            [case for case in one if case not in other]
            for one, other in ((references, folders[name]), (folders[name], references))
        )
        if len(absent) == len(references):
            what = f"no case in common with {reference}"
            problems.add(str(folder), what, "name a prediction as its reference, endings may differ")
        elif allow_missing:
            if absent or extra:
                text = "%s: %d cases without prediction, %d without reference, left out"
                logger.warning(text, folder, len(absent), len(extra))
        else:
            if absent:
                problems.add(str(folder), f"no prediction for {len(absent)} cases: {', '.join(absent)}", remedy)
            if extra:
                what = f"no reference for {len(extra)} cases of {folder}: {', '.join(extra)}"
                problems.add(str(reference), what, remedy)
    problems.raise_if_any("cases")
    cases = {case: {name: files[case] for name, files in folders.items() if case in files} for case in references}
    return {case: files for case, files in cases.items() if len(files) > 1}


def _values_in_reference(files: Files) -> set[int]:
    reference = read_label_map(files[""])
    return set(label_boxes(sitk.GetArrayViewFromImage(reference)))


def _evaluate(files: Files, scheme: LabelScheme, nsd_tolerance_mm: float) -> _Result:
    problems = Problems()
    reference = read_label_map(files[""])
    array = sitk.GetArrayViewFromImage(reference)
    result = _Result([], set(label_boxes(array)), {})
    scheme.check(files[""], result.in_reference - {scheme.ignore_label}, problems)
    for method, path in files.items():
        prediction = problems.attempt(read_label_map, path, reference.GetSize()) if method else None
        if prediction is None:
            continue
        if difference := geometry_difference(reference, prediction):
            what = f"not on the grid of {files['']}: {difference}"
            problems.add(str(path), what, "resample it with nearest neighbour")
            continue
        predicted = sitk.GetArrayViewFromImage(prediction)
        values = set(label_boxes(predicted))
        scheme.check(path, values, problems)
        result.in_predictions[path] = values
        if not problems:
            measured = evaluate_case(
                predicted,
                array,
                scheme.labels,
                reference.GetSpacing()[::-1],
                ignore_label=scheme.ignore_label,
                nsd_tolerance_mm=nsd_tolerance_mm,
            )
            result.rows.extend({"method": method, **asdict(row)} for row in measured)
    problems.raise_if_any()
    return result
