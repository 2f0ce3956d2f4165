"""Three steps for each case, of which the first and the last run beside the second on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Prepared = TypeVar("Prepared")
Predicted = TypeVar("Predicted")


def run_pipeline(
    tasks: Iterable[Task],
    prepare: Callable[[Task], Prepared | None],
    predict: Callable[[Prepared], Predicted],
    finish: Callable[[Prepared, Predicted], None],
    *,
    overlapping: bool,
) -> None:
    """Prepare, predict and finish every task, in their order.

    Args:
        tasks: Arguments of `prepare`.
        prepare: First step; None leaves the others out.
        predict: Second step, always in the calling thread.
        finish: Last step.
        overlapping: Prepare the next task and finish the last one in two threads while one is predicted, so that a GPU
            does not wait; three cases are in memory. Without, one is.

    Raises:
        Exception: The first one of a step; tasks that have not begun never will.
    """
    if not overlapping:
        for task in tasks:
            prepared = prepare(task)
            if prepared is not None:
                finish(prepared, predict(prepared))
        return
    waiting = iter(tasks)
    with ThreadPoolExecutor(1) as preparing, ThreadPoolExecutor(1) as finishing:

        def begin() -> Future[Prepared | None] | None:
            for task in waiting:
                return preparing.submit(prepare, task)
            return None

        last: Future[None] | None = None
        ahead = begin()
        while ahead is not None:
            current = ahead.result()
            ahead = begin()
            if current is None:
                continue
            predicted = predict(current)
            if last is not None:
                last.result()
            last = finishing.submit(finish, current, predicted)
        if last is not None:
            last.result()
