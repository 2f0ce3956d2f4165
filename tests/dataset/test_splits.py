from __future__ import annotations

import json

from nnunet_weak.dataset.splits import make_splits


def test_nnunet_makes_its_own_folds_where_they_are_as_good():
    cases = [f"c{number}" for number in range(7)]
    assert make_splits(cases) is None
    assert make_splits(cases, fully_annotated=cases) is None
    assert make_splits(cases, patients=dict(zip(cases, cases, strict=True))) is None
    assert make_splits(["a", "b"], patients={"a": "p", "b": "p"}) is None  # one patient: no fold is possible


def test_patients_are_on_one_side():
    cases = [f"p{patient}_{visit}" for patient in range(6) for visit in range(1 + patient % 3)]
    patients = {case: case.split("_")[0] for case in cases}
    splits = make_splits(cases, patients=patients)
    assert splits is not None and len(splits) == 5
    for fold in splits:
        assert not {patients[case] for case in fold["train"]} & {patients[case] for case in fold["val"]}
        assert sorted(fold["train"] + fold["val"]) == cases
    assert sorted(case for fold in splits for case in fold["val"]) == cases
    assert splits == make_splits(cases[::-1], patients=patients)  # no matter in which order
    assert len({json.dumps(make_splits(cases, patients=patients, seed=seed)) for seed in range(10)}) > 1


def test_validation_is_fully_annotated_as_soon_as_one_case_is():
    cases = [f"p{patient}_{visit}" for patient in range(8) for visit in range(2)]
    patients = {case: case.split("_")[0] for case in cases}
    full = {"p0_0", "p1_0", "p1_1", "p2_1"}
    splits = make_splits(cases, patients=patients, fully_annotated=full)
    assert splits is not None and len(splits) == 3
    assert sorted(case for fold in splits for case in fold["val"]) == sorted(full)
    for fold in splits:
        held_out = {patients[case] for case in fold["val"]}
        # p0_1 is weakly annotated: it may not be trained on where p0_0 is validated on, nor be validated on.
        assert fold["train"] == sorted(case for case in cases if patients[case] not in held_out)


def test_fewer_cases_than_folds():
    """nnU-Net's own split stops with an error below five cases."""
    splits = make_splits(["a", "b", "c"])
    assert splits is not None and [fold["val"] for fold in splits] != []
    assert sorted(case for fold in splits for case in fold["val"]) == ["a", "b", "c"]
