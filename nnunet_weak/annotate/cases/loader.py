"""Decoded cases: the one on screen and the next two, read in processes of their own.

Decoding happens in two processes, so at most two cases are in memory at once; the arrays lie uncompressed in a
temporary folder, which is removed at the end. A third process of low priority looks at all masks, see `survey`.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import SimpleITK as sitk

from nnunet_weak.annotate.cases.decode import CaseTask, DecodedCase, Window, decode_case, decode_channel
from nnunet_weak.annotate.cases.survey import SurveyedCase, lower_priority, survey_case
from nnunet_weak.annotate.study import Study
from nnunet_weak.errors import InvalidInputError

logger = logging.getLogger(__name__)

_PROCESSES = 2
_KEPT = 3


@dataclass(frozen=True)
class _Kept:
    folder: Path
    case: Future[DecodedCase]
    channels: dict[int, Future[tuple[Window, ...]]] = field(default_factory=dict)

    def remove(self) -> None:
        """Remove the arrays once nothing writes them any more."""

        def remove(_: object) -> None:
            shutil.rmtree(self.folder, ignore_errors=True)

        futures: list[Future] = [self.case, *self.channels.values()]
        for future in futures:
            future.add_done_callback(remove)


class CaseLoader:
    """Reads cases ahead.

    Args:
        study: The study.
        pool: Processes to read with, which the caller ends; by default the loader has its own.
    """

    def __init__(self, study: Study, pool: ProcessPoolExecutor | None = None) -> None:
        self._study = study
        self._folder = Path(tempfile.mkdtemp(prefix="nnunet_weak_annotate_"))
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._pools: list[ProcessPoolExecutor] = []
        self._decoding = pool or self._new_pool(_PROCESSES)
        self._cases: OrderedDict[str, _Kept] = OrderedDict()
        self._number = 0

    def get(self, case: str) -> DecodedCase:
        """A decoded case; waits for it.

        Raises:
            InvalidInputError: It cannot be read, or its process was killed.
        """
        try:
            return self._begin(case).case.result()
        except BrokenProcessPool as error:
            raise self._killed(case) from error
        except InvalidInputError:
            self.forget(case)  # a file that is mended can be read next time
            raise

    def get_channel(self, case: str, channel: int) -> tuple[Window, ...]:
        """Read a channel of a case, unless it has been read; waits for it and returns its windows.

        Raises:
            InvalidInputError: As for `get`; or there is no such channel.
        """
        decoded = self.get(case)
        if channel == 0:
            return decoded.windows
        if not 0 < channel < len(self._study.images[case]):
            raise InvalidInputError(f"{case}: has no channel {channel}")
        kept = self._begin(case)
        with self._lock:
            if channel not in kept.channels:
                kept.channels[channel] = self._decoding.submit(decode_channel, self._task(case), decoded, channel)
        try:
            return kept.channels[channel].result()
        except BrokenProcessPool as error:
            raise self._killed(case) from error
        except InvalidInputError:
            kept.channels.pop(channel, None)
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
            found.remove()

    def survey(
        self, cases: Sequence[str], with_measures: bool, tell: Callable[[str, SurveyedCase | None], None]
    ) -> None:
        """Look at the masks of cases in the background; `tell` gets None for those that cannot be read."""
        threading.Thread(target=self._survey, args=(cases, with_measures, tell), daemon=True).start()

    def close(self) -> None:
        """End all processes and remove the arrays."""
        with self._lock:
            self._closed.set()
            pools = self._pools.copy()
        children = [process for pool in pools for process in (pool._processes or {}).values()]
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        for process in children:
            process.terminate()
            process.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _begin(self, case: str) -> _Kept:
        with self._lock:
            if case not in self._cases:
                self._number += 1
                folder = self._folder / str(self._number)
                self._cases[case] = _Kept(folder, self._decoding.submit(decode_case, self._task(case), folder))
                while len(self._cases) > _KEPT:
                    self._cases.popitem(last=False)[1].remove()
            self._cases.move_to_end(case)
            return self._cases[case]

    def _killed(self, case: str) -> InvalidInputError:
        with self._lock:
            self._cases.clear()
            if not self._closed.is_set():
                self._decoding = self._new_pool(_PROCESSES)
        return InvalidInputError(
            f"{case}: the process that read it was killed, most likely because memory ran out (remedy: close other "
            "programs and try again)"
        )

    def _survey(
        self, cases: Sequence[str], with_measures: bool, tell: Callable[[str, SurveyedCase | None], None]
    ) -> None:
        pool: ProcessPoolExecutor | None = None
        for case in cases:
            found = None
            try:
                pool = pool or self._new_pool(1, lower_priority)
                found = pool.submit(survey_case, self._task(case), with_measures).result()
            except BrokenProcessPool:
                pool = None  # one case that is too large for the memory stops no other
            except Exception:
                logger.debug("the mask of %s cannot be read", case, exc_info=True)  # told when the case is opened
            if self._closed.is_set():
                return
            tell(case, found)

    def _new_pool(self, processes: int, further: Callable[[], None] | None = None) -> ProcessPoolExecutor:
        """None is begun once the loader is closed: Python would end before it has removed its semaphores."""
        with self._lock:
            if self._closed.is_set():
                raise RuntimeError("the loader is closed")
            self._pools.append(worker_pool(processes, further, self._folder))
            return self._pools[-1]

    def _task(self, case: str) -> CaseTask:
        study = self._study
        return CaseTask(case, study.images[case], study.masks.get(case), study.second_masks.get(case), study.regions)


def worker_pool(
    processes: int, further: Callable[[], None] | None = None, folder: Path | None = None
) -> ProcessPoolExecutor:
    """Processes that read cases.

    Args:
        processes: Their number.
        further: Called in each at its start.
        folder: Removed by them where the server was killed and could not.
    """
    return ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("spawn"), initializer=_start, initargs=(further, folder)
    )


def _start(further: Callable[[], None] | None, folder: Path | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is answered by the server alone, which ends its workers
    logging.getLogger("nnunet_weak").setLevel(logging.ERROR)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    if further is not None:
        further()


def _end_with_parent(folder: Path | None) -> None:
    """A worker whose server was killed would wait for its next task for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
