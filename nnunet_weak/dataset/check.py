"""What is wrong with a raw data set: files that are missing, cannot be read, or do not fit each other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from nnunet_weak.dataset.annotations import BLOCK, MOST_BYTES, CaseAnnotation, WeakAnnotations
from nnunet_weak.dataset.case_files import channel_file_name, label_values
from nnunet_weak.dataset.dataset_json import StockEntries, stock_entries_of
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.json_files import load_json
from nnunet_weak.images.read import geometry_difference, read_image, read_label_map
from nnunet_weak.parallel import run_cases

_SPLITS = "splits_final.json"


@dataclass(frozen=True)
class _CaseToCheck:
    """Files of a case that must exist, on one grid."""

    images: tuple[Path, ...]
    labels: Path
    maps: tuple[Path, ...]
    values: frozenset[int]


def check_raw_dataset(folder: Path, problems: Problems, *, processes: int | None = None) -> Iterator[str]:
    """Check a data set in `nnUNet_raw`, and yield lines that describe it.

    Everything that `dataset.json` promises must be there: all channels of all cases, their label maps with no other
    values than its labels, the annotation maps of weakly annotated cases, all on the case's grid, and the cases of the
    folds. A copy in `nnUNet_preprocessed` must say the same.

    Args:
        folder: The raw data set.
        problems: Takes what is wrong.
        processes: Number of processes that read the files; None takes all cores.
    """
    path = folder / "dataset.json"
    read = problems.attempt(_read_dataset_json, path)
    if read is None:
        return
    content, entries = read
    annotations = problems.attempt(WeakAnnotations.from_dataset_json, content, str(path)) if BLOCK in content else None
    if annotations is not None:
        full = len(annotations.fully_annotated_cases)
        yield f"data set of the method '{annotations.method}': {len(annotations.cases)} cases, {full} fully annotated"
    elif BLOCK not in content:
        yield "data set without weak annotation: a stock one"
    cases = _cases(folder, entries, annotations, problems)
    yield (
        f"{len(cases)} cases of {len(entries.channel_names)} channels, labels {', '.join(entries.labels)}, "
        f"files of {entries.file_ending}"
    )
    if content.get("numTraining") != len(cases):
        problems.add(
            f"{folder / 'dataset.json'}: numTraining",
            f"{content.get('numTraining')} for {len(cases)} cases",
            "convert the data set again",
        )
    run_cases(_check_case, cases, problems, processes=processes, description="Checking")
    _check_splits(folder, set(cases), problems)
    yield from _check_preprocessed(folder, content, problems)


def _read_dataset_json(path: Path) -> tuple[Mapping[str, Any], StockEntries]:
    content = load_json(path, MOST_BYTES)
    return content, stock_entries_of(content, path)


def _cases(
    folder: Path, entries: StockEntries, annotations: WeakAnnotations | None, problems: Problems
) -> dict[str, _CaseToCheck]:
    """Files by case; missing ones, and files that belong to no case, are problems."""
    ending = entries.file_ending
    labelled = {path.name.removesuffix(ending) for path in (folder / "labelsTr").glob(f"*{ending}")}
    described: Mapping[str, CaseAnnotation] = annotations.cases if annotations is not None else {}
    names = sorted(described or labelled)
    images = {path.name for path in (folder / "imagesTr").iterdir() if path.is_file()}
    cases = {}
    for name in names:
        channels = [channel_file_name(name, number, ending) for number in range(len(entries.channel_names))]
        maps = described[name].maps if name in described else ()
        case = _CaseToCheck(
            tuple(folder / "imagesTr" / channel for channel in channels),
            folder / "labelsTr" / f"{name}{ending}",
            tuple(folder / "annotationsTr" / each / f"{name}{ending}" for each in maps),
            frozenset(entries.labels.values()),
        )
        images.difference_update(channels)
        missing = [path for path in (*case.images, case.labels, *case.maps) if not path.is_file()]
        for path in missing:
            problems.add(str(path), "no such file", "convert the data set again")
        if not missing:
            cases[name] = case
    for name in sorted(images):
        problems.add(str(folder / "imagesTr" / name), "belongs to no case", "remove it, or convert the data set again")
    for name in sorted(labelled.difference(names)):
        problems.add(
            str(folder / "labelsTr" / f"{name}{ending}"), f"a case that {BLOCK} does not name", "remove the file"
        )
    return cases


def _check_case(case: _CaseToCheck) -> None:
    problems = Problems()
    first: sitk.Image | None = None
    for path in case.images:
        image = problems.attempt(read_image, path)
        first = first if first is not None else image
        _check_grid(path, image, first, problems)
    labels = problems.attempt(read_label_map, case.labels)
    _check_grid(case.labels, labels, first, problems)
    if labels is not None:
        unknown = sorted(set(label_values(labels)) - case.values)
        if unknown:
            problems.add(
                str(case.labels), f"holds the values {unknown}, which are no labels of dataset.json", "correct either"
            )
    for path in case.maps:
        _check_grid(path, problems.attempt(read_label_map, path), first, problems)
    problems.raise_if_any()


def _check_grid(path: Path, image: sitk.Image | None, first: sitk.Image | None, problems: Problems) -> None:
    difference = geometry_difference(first, image) if first is not None and image is not None else ""
    if difference:
        problems.add(str(path), f"not on the grid of its case: {difference}", "convert the data set again")


def _check_splits(folder: Path, cases: set[str], problems: Problems) -> None:
    path = folder / _SPLITS
    if not path.is_file():
        return
    splits = problems.attempt(load_json, path)
    if splits is None:
        return
    try:
        named = [name for fold in splits for part in ("train", "val") for name in fold[part]]
    except (TypeError, KeyError):
        problems.add(str(path), "is no list of folds with 'train' and 'val'", "convert the data set again")
        return
    unknown = sorted({name for name in named if name not in cases})
    if unknown:
        problems.add(
            str(path), f"names cases that are not there: {', '.join(map(str, unknown[:5]))}", "remove the file"
        )


def _check_preprocessed(folder: Path, content: Mapping[str, Any], problems: Problems) -> Iterator[str]:
    root = os.environ.get("nnUNet_preprocessed")
    copy = Path(root) / folder.name / "dataset.json" if root else None
    if copy is None or not copy.is_file():
        yield f"not planned yet: nnUNetv2_plan_and_preprocess -d {folder.name[7:10]} --verify_dataset_integrity"
        return
    try:
        planned = load_json(copy, MOST_BYTES)
    except InvalidInputError as error:
        problems.extend(error)
        return
    if planned != content:
        problems.add(
            str(copy),
            "differs from the raw data set's: the annotations have changed since planning",
            f"run nnUNetv2_plan_and_preprocess -d {folder.name[7:10]} again",
        )
    else:
        yield "planned, with the annotations as they are"
