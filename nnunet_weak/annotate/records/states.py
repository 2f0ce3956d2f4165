"""What an annotator has said of each case: one JSON file for each annotator and case, with a revision.

`OUTPUT/state/TASK/ANNOTATOR/CASE.json` is the truth; tables and files for the converters are made of it. A save names
the revision it is based on; one that is not the current one is refused, as the case was changed elsewhere.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nnunet_weak.annotate.records.files import append_line, now, read_json, write_json
from nnunet_weak.errors import InvalidInputError

_HEARTBEAT_S = 10
_ABANDONED_S = 60
_LOCK = "session.json"


class StaleRevisionError(Exception):
    """A save based on a revision that is not the current one."""

    def __init__(self, current: CaseState) -> None:
        super().__init__(f"{current.case} was changed elsewhere at {current.saved_at}")
        self.current = current


@dataclass(frozen=True)
class CaseState:
    """One annotator's work on one case.

    Attributes:
        case: Name of the case.
        annotator: Who worked on it.
        revision: Number of saves; 0 where nothing was saved.
        seconds: Active time.
        done: Whether the annotator calls it done.
        saved_at: Time of the last save, UTC.
        content: The annotation; its form is the task's.
    """

    case: str
    annotator: str
    revision: int = 0
    seconds: float = 0.0
    done: bool = False
    saved_at: str = ""
    content: dict[str, Any] = field(default_factory=dict)


class StateFolder:
    """The states of one task and annotator, and those of the others for tables.

    Args:
        output: Folder of the annotation.
        task: Name of the task.
        annotator: Name of the annotator.
    """

    def __init__(self, output: Path, task: str, annotator: str) -> None:
        self._root = output / "state" / task
        self._journal = output / "journal" / f"{annotator}.jsonl"
        self._task, self.annotator = task, annotator
        self._writing = threading.Lock()

    def read(self, case: str, annotator: str | None = None) -> CaseState:
        """The state of a case; revision 0 where nothing was saved.

        Raises:
            InvalidInputError: The file is broken.
        """
        who = annotator or self.annotator
        path = self._path(who, case)
        try:
            content = read_json(path)
            return CaseState(case, who) if content is None else CaseState(**content)
        except (ValueError, TypeError) as error:
            raise InvalidInputError(f"{path}: broken ({error}); restore it, or move it away to begin anew") from error

    def annotators(self) -> list[str]:
        """Everybody who saved something, sorted."""
        if not self._root.is_dir():
            return []
        return sorted(path.name for path in self._root.iterdir() if any(path.glob("*.json")))

    def write(self, case: str, based_on: int, seconds: float, done: bool, content: dict[str, Any]) -> CaseState:
        """Save a case.

        Raises:
            StaleRevisionError: `based_on` is not the current revision; nothing was written.
            OSError: It cannot be written; the file is as it was.
        """
        with self._writing:
            current = self.read(case)
            if current.revision != based_on:
                raise StaleRevisionError(current)
            state = CaseState(case, self.annotator, based_on + 1, round(seconds, 1), done, now(), content)
            append_line(self._journal, {"task": self._task, **asdict(state)})
            write_json(self._path(self.annotator, case), asdict(state))
            return state

    def write_copy(self, case: str, content: dict[str, Any]) -> Path:
        """Keep what could not be saved over a newer state, beside it."""
        path = self._root / self.annotator / "copies" / f"{case}.{now().replace(':', '')}.json"
        write_json(path, content)
        return path

    def _path(self, annotator: str, case: str) -> Path:
        return self._root / annotator / f"{case}.json"


class Session:
    """Keeps an annotator from working in the same folder twice at once.

    A file says where the server runs, and is touched every few seconds. A server on another computer that was killed
    counts as gone after a minute.

    Args:
        output: Folder of the annotation.
        annotator: Name of the annotator.
    """

    def __init__(self, output: Path, annotator: str) -> None:
        self._path = output / "state" / f"{annotator}.{_LOCK}"
        self._stopped = threading.Event()

    def begin(self, address: str) -> None:
        """Take the session.

        Raises:
            InvalidInputError: Another server has it.
        """
        try:
            found = read_json(self._path)
        except ValueError:
            found = None
        if found is not None and self._alive(found):
            raise InvalidInputError(
                f"{self._path.parent.parent}: is being annotated under this name already, on {found['host']} by "
                f"process {found['process']}: {found['address']} (remedy: go on in that window, or end that command)"
            )
        record = {"host": socket.gethostname(), "process": os.getpid(), "address": address, "since": now()}
        write_json(self._path, record)
        threading.Thread(target=self._beat, daemon=True).start()

    def end(self) -> None:
        """Give the session back."""
        self._stopped.set()
        self._path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._stopped.wait(_HEARTBEAT_S):
            try:
                os.utime(self._path)
            except OSError:
                continue  # a share that is away for a moment

    def _alive(self, found: dict[str, Any]) -> bool:
        if found.get("host") != socket.gethostname() or os.name == "nt":  # Windows has no harmless signal
            return time.time() - self._path.stat().st_mtime < _ABANDONED_S
        try:
            os.kill(int(found["process"]), 0)
        except (ProcessLookupError, ValueError, KeyError):
            return False
        except PermissionError:
            return True
        return int(found["process"]) != os.getpid()
