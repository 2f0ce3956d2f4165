"""Folds of the cross-validation, as nnU-Net reads them from `splits_final.json`.

nnU-Net makes its own folds where there is no such file. It knows neither patients nor which label maps are ground
truth; where either matters, the folds are made here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.json_files import load_json

FOLDS = 5
SPLIT_SEED = 12345  # nnU-Net's


def make_splits(
    cases: Sequence[str],
    *,
    patients: Mapping[str, str] | None = None,
    fully_annotated: Collection[str] = (),
    seed: int = SPLIT_SEED,
) -> list[dict[str, list[str]]] | None:
    """Make the folds, where nnU-Net's own would not do.

    All cases of a patient are on the same side. As soon as one case is fully annotated, the validation parts hold fully
    annotated cases only; weakly annotated cases of a validation patient are then in neither part. Folds differ in size
    by one patient's cases at most where each patient has one, and are evened out greedily else. Fewer than five
    patients (with fully annotated cases, if there are any) give as many folds.

    Args:
        cases: Names of all cases.
        patients: Patient of each case; None takes each case as a patient.
        fully_annotated: Names of the cases whose label map is ground truth.
        seed: Seed of the shuffling.

    Returns:
        A list of `{"train": [...], "val": [...]}`, or None where nnU-Net's folds are as good: one case for each
        patient, all or no cases fully annotated, and at least five of them. Also None where no fold is possible, since
        everything is of one patient.
    """
    full = set(fully_annotated)
    patient_of = {case: patients[case] if patients is not None else case for case in cases}
    one_case_each = len(set(patient_of.values())) == len(cases)
    if one_case_each and len(full) in (0, len(cases)) and len(cases) >= FOLDS:
        return None
    candidates = {case for case in cases if case in full} if full else set(cases)
    sizes: dict[str, int] = {}
    for case in sorted(candidates):
        sizes[patient_of[case]] = sizes.get(patient_of[case], 0) + 1
    if len(set(patient_of.values())) < 2:
        return None
    splits = []
    for held_out in _even_groups(sizes, min(FOLDS, len(sizes)), seed):
        training = sorted(case for case in cases if patient_of[case] not in held_out)
        validation = sorted(case for case in candidates if patient_of[case] in held_out)
        splits.append({"train": training, "val": validation})
    return splits


def _even_groups(sizes: Mapping[str, int], count: int, seed: int) -> list[set[str]]:
    names = sorted(sizes)
    shuffled = [names[index] for index in np.random.default_rng(seed).permutation(len(names))]
    groups: list[set[str]] = [set() for _ in range(count)]
    totals = [0] * count
    for name in sorted(shuffled, key=lambda name: -sizes[name]):  # stable: patients of one size stay shuffled
        smallest = totals.index(min(totals))
        groups[smallest].add(name)
        totals[smallest] += sizes[name]
    return groups


def read_splits(path: Path) -> list[dict[str, list[str]]]:
    """Folds of a `splits_final.json`.

    Raises:
        InvalidInputError: The file is damaged.
    """
    content = load_json(path)
    valid = isinstance(content, list) and all(
        isinstance(fold, dict)
        and all(isinstance(fold.get(part), list) for part in ("train", "val"))
        and all(isinstance(case, str) for part in ("train", "val") for case in fold[part])
        for fold in content
    )
    if not valid:
        raise InvalidInputError(
            f'{path}: must be a list of {{"train": [case, ...], "val": [case, ...]}} (remedy: delete it, and nnU-Net '
            "makes it again)"
        )
    return content
