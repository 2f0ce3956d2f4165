"""Files that appear whole: a temporary file beside the target, forced to disk, renamed.

Nothing but atomic renames is asked of the file system, so that network shares will do. Several threads, and servers on
several computers, may write the same table at once: temporary names are random, and nobody else's is touched, unlike
those of `images.atomic`, which removes what killed runs left.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from nnunet_weak.images.json_files import load_object


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A temporary path with the target's ending; it takes the target's place if nothing is raised.

    Raises:
        OSError: It cannot be written; the target is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield temporary
        descriptor = os.open(temporary, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically."""
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any] | None:
    """Content of a JSON file that holds an object; None where there is no such file.

    Raises:
        InvalidInputError: It is broken.
    """
    return load_object(path) if path.is_file() else None


def append_line(path: Path, content: Any) -> None:
    """Append a line of JSON to a journal.

    Raises:
        OSError: It cannot be written; nothing of the line remains.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = (json.dumps(content, ensure_ascii=False) + "\n").encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        before = os.fstat(descriptor).st_size
        if os.write(descriptor, line) < len(line):
            os.ftruncate(descriptor, before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(descriptor)
