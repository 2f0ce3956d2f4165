"""Decoded cases: the one on screen and the next two, read in processes of their own.

Decoding happens in two processes, so at most two cases are in memory at once; the arrays lie uncompressed in a
temporary folder, which is removed at the end. A third process of low priority measures the masks for the queue.
"""

from __future__ import annotations

import logging
import multiprocessing
import shutil
import signal
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import SimpleITK as sitk

from nnunet_weak.annotate.cases.decode import CaseTask, DecodedCase, decode_case
from nnunet_weak.annotate.cases.measure import Measures, lower_priority, measure_case
from nnunet_weak.annotate.study import Study
from nnunet_weak.errors import InvalidInputError

_PROCESSES = 2
_KEPT = 3


class CaseLoader:
    """Reads cases ahead.

    Args:
        study: The study.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._folder = Path(tempfile.mkdtemp(prefix="nnunet_weak_annotate_"))
        self._lock = threading.Lock()
        self._decoding = _pool(_PROCESSES)
        self._measuring: ProcessPoolExecutor | None = None
        self._cases: OrderedDict[str, tuple[Path, Future[DecodedCase]]] = OrderedDict()
        self._number = 0

    def get(self, case: str) -> DecodedCase:
        """A decoded case; waits for it.

        Raises:
            InvalidInputError: It cannot be read, or its process was killed.
        """
        try:
            return self._begin(case).result()
        except BrokenProcessPool as error:
            with self._lock:
                self._cases.clear()
                self._decoding = _pool(_PROCESSES)
            raise InvalidInputError(
                f"{case}: the process that read it was killed, most likely because memory ran out (remedy: close other "
                "programs and try again)"
            ) from error
        except InvalidInputError:
            self.forget(case)  # a file that is mended can be read next time
            raise

    def prefetch(self, cases: Sequence[str]) -> None:
        """Begin to read cases that will be needed next."""
        for case in cases:
            self._begin(case)

    def forget(self, case: str) -> None:
        """Drop what was read of a case."""
        with self._lock:
            found = self._cases.pop(case, None)
        if found is not None:
            shutil.rmtree(found[0], ignore_errors=True)

    def measure(self, cases: Sequence[str], tell: Callable[[str, Measures | None], None]) -> None:
        """Measure the masks of cases in the background; `tell` gets None for those that cannot be read."""
        self._measuring = _pool(1, lower_priority)
        for case in cases:
            future = self._measuring.submit(measure_case, self._task(case))
            future.add_done_callback(
                lambda done, case=case: (
                    None  # type: ignore[misc]
                    if done.cancelled()
                    else tell(case, None if done.exception() else done.result())
                )
            )

    def close(self) -> None:
        """End all processes and remove the arrays."""
        pools = [pool for pool in (self._decoding, self._measuring) if pool is not None]
        children = [process for pool in pools for process in (pool._processes or {}).values()]
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        for process in children:
            process.terminate()
            process.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _begin(self, case: str) -> Future[DecodedCase]:
        with self._lock:
            if case not in self._cases:
                self._number += 1
                folder = self._folder / str(self._number)
                self._cases[case] = (folder, self._decoding.submit(decode_case, self._task(case), folder))
                while len(self._cases) > _KEPT:
                    old, (unused, future) = self._cases.popitem(last=False)
                    future.add_done_callback(lambda _, unused=unused: shutil.rmtree(unused, ignore_errors=True))  # type: ignore[misc]
            self._cases.move_to_end(case)
            return self._cases[case][1]

    def _task(self, case: str) -> CaseTask:
        study = self._study
        return CaseTask(case, study.images[case][0], study.masks.get(case), study.second_masks.get(case), study.regions)


def _pool(processes: int, further: Callable[[], None] | None = None) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(further,)
    )


def _start_worker(further: Callable[[], None] | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is answered by the server alone, which ends its workers
    logging.getLogger("nnunet_weak").setLevel(logging.ERROR)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    if further is not None:
        further()
