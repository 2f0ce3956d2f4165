from __future__ import annotations

import threading

import pytest

from nnunet_weak.refinement.pipeline import run_pipeline


@pytest.mark.parametrize("overlapping", [False, True])
def test_every_task_goes_through_all_steps_in_order(overlapping: bool):
    finished: list[tuple[int, int]] = []
    run_pipeline(
        range(6),
        lambda task: None if task == 2 else task,
        lambda prepared: prepared * 10,
        lambda prepared, predicted: finished.append((prepared, predicted)),
        overlapping=overlapping,
    )
    assert finished == [(task, task * 10) for task in (0, 1, 3, 4, 5)]


def test_the_next_task_is_prepared_and_the_last_finished_while_one_is_predicted():
    prepared, predicting = threading.Event(), threading.Event()
    finished = threading.Event()

    def prepare(task: int) -> int:
        if task == 1:
            assert predicting.wait(10)  # would never come if preparing waited for the prediction
            prepared.set()
        return task

    def predict(task: int) -> int:
        predicting.set()
        if task == 0:
            assert prepared.wait(10)
        else:
            assert finished.wait(10)
        return task

    run_pipeline(range(2), prepare, predict, lambda task, _: finished.set(), overlapping=True)
    assert finished.is_set()


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("step", ["prepare", "predict", "finish"])
def test_a_failure_ends_it(overlapping: bool, step: str):
    def fail(name: str, task: int) -> int:
        if name == step and task == 1:
            raise OSError("disk full")
        return task

    with pytest.raises(OSError, match="disk full"):
        run_pipeline(
            range(5),
            lambda task: fail("prepare", task),
            lambda task: fail("predict", task),
            lambda task, _: fail("finish", task),
            overlapping=overlapping,
        )
