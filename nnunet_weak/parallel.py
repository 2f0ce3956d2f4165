"""The same task for many cases, spread over processes, with a progress bar and an end that leaves no process behind."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import SimpleITK as sitk
from tqdm import tqdm

from nnunet_weak.errors import InvalidInputError, Problems

Task = TypeVar("Task")
Result = TypeVar("Result")


def default_processes() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def progress_bar(total: int, description: str, *, shown: bool = True) -> tqdm:
    """A bar of cases, which a signal at any moment cannot keep from ending.

    tqdm's own lock is shared between processes and with a thread that watches slow bars: a signal that stops the main
    thread while it takes that lock has left the two waiting for each other for ever.
    """
    tqdm.monitor_interval = 0
    tqdm.set_lock(threading.RLock())
    return tqdm(total=total, desc=description, unit="case", miniters=1, disable=not shown or not total)


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    processes: int | None = None,
    description: str,
    progress: bool = True,
) -> list[Result]:
    """Call `function` for each task, in as many processes.

    Processes are spawned, as nnU-Net's are: forking after SimpleITK has started threads can deadlock. With one process
    or one task everything happens in the caller's process.

    Args:
        function: A function that can be pickled, as its tasks and results.
        tasks: Its arguments.
        processes: Largest number of processes; None takes all cores.
        description: What stands beside the progress bar.
        progress: Whether to show the bar.

    Returns:
        The results, in the order of the tasks.

    Raises:
        InvalidInputError: A process was killed from outside, by a machine out of memory for example.
        Exception: The first one of a task. Tasks that have not begun never will, running ones are stopped.
    """
    waiting = list(tasks)
    processes = min(processes or default_processes(), len(waiting))
    with progress_bar(len(waiting), description, shown=progress) as bar:
        if processes <= 1:
            return [_counted(function, task, bar) for task in waiting]
        try:
            return _run_in_processes(function, waiting, processes, bar)
        except BrokenProcessPool as error:
            raise InvalidInputError(
                "A process was killed from outside, most likely because memory ran out (remedy: fewer processes at a "
                "time, -np 1 for example)"
            ) from error


def run_apart(function: Callable[[Task], Result], task: Task, *, memory_bytes: int) -> Result:
    """Call a function in a process of its own, for libraries that hostile files can bring to an end.

    Args:
        function: A function that can be pickled, as its argument and its result.
        task: Its argument.
        memory_bytes: What the process may take beyond what it has when it begins; kept to on Linux only.

    Raises:
        BrokenProcessPool: The process has ended before the function.
        Exception: What the function raises.
    """
    with progress_bar(1, "", shown=False) as bar:
        return _run_in_processes(partial(_bounded, function, memory_bytes), [task], 1, bar)[0]


def run_cases(
    function: Callable[[Task], Result],
    cases: Mapping[str, Task],
    problems: Problems,
    *,
    processes: int | None = None,
    description: str,
    progress: bool = True,
) -> dict[str, Result]:
    """Call `function` for each case as `run_tasks` does, and collect what is wrong with any of them.

    Args:
        function: A function that can be pickled, as its tasks and results. It raises `InvalidInputError` for a case
            that cannot be used.
        cases: Its argument, by the name of the case.
        problems: Takes what was raised, with the name of the case in front where the text does not hold it.
        processes: As `run_tasks`.
        description: As `run_tasks`.
        progress: As `run_tasks`.

    Returns:
        The results by case, without the cases that raised.
    """
    outcomes = run_tasks(
        partial(_result_or_error, function),
        list(cases.values()),
        processes=processes,
        description=description,
        progress=progress,
    )
    results: dict[str, Result] = {}
    for name, (result, error) in zip(cases, outcomes, strict=True):
        if error is None:
            results[name] = result  # type: ignore[assignment]
        else:
            problems.extend(error, case=name)
    return results


def _result_or_error(
    function: Callable[[Task], Result], task: Task
) -> tuple[Result, None] | tuple[None, InvalidInputError]:
    try:
        return function(task), None
    except InvalidInputError as error:
        return None, error


def _run_in_processes(
    function: Callable[[Task], Result], tasks: Sequence[Task], processes: int, bar: tqdm
) -> list[Result]:
    children_before = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(
        processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(logging.getLogger("nnunet_weak").getEffectiveLevel(),),
    )
    try:
        with _interrupts_held_back():  # submitting starts the processes
            futures: list[Future[Result]] = [executor.submit(function, task) for task in tasks]
        for future in futures:
            future.add_done_callback(lambda done: None if done.cancelled() or done.exception() else bar.update())
        wait(futures, return_when=FIRST_EXCEPTION)
        for future in futures:  # the first failure in time may stand anywhere; those before it may not have run
            if future.done() and future.exception() is not None:
                future.result()
        results = [future.result() for future in futures]
    except BaseException:
        # Its own thread is waited for: one that closes its pipes while Python ends gets a "Bad file descriptor".
        ending = threading.Thread(target=partial(executor.shutdown, cancel_futures=True))
        ending.start()
        for child in set(multiprocessing.active_children()) - children_before:
            child.terminate()
            child.join()
        ending.join()
        raise
    executor.shutdown()
    return results


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Hold back the signals of a terminal; processes that are started meanwhile do not get them at all.

    A new process would answer Ctrl-C, which reaches all processes of a terminal at once, with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _bounded(function: Callable[[Task], Result], memory_bytes: int, task: Task) -> Result:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries say before they end a process helps nobody
    if sys.platform == "linux":
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory_bytes, resource.getrlimit(resource.RLIMIT_AS)[1]))
    return function(task)


def _counted(function: Callable[[Task], Result], task: Task, bar: tqdm) -> Result:
    result = function(task)
    bar.update()
    return result


def _start_worker(log_level: int) -> None:
    # The first process alone answers Ctrl-C and ends the others; where signals cannot be held back, these ignore it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(format="%(levelname)s %(message)s")
    logging.getLogger("nnunet_weak").setLevel(log_level)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _end_with_parent() -> None:
    """End this worker if its parent is killed: it would wait for work for ever, as it holds both ends of the queue."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
