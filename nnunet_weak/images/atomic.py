"""Files and folders that appear complete or not at all.

Content is written under a temporary name beside the target, `.partial-PID@HOST-NAME`, which takes the target's name at
the end and is removed on any exception. What a killed process left of the same target is removed by the next run.
"""

from __future__ import annotations

import fnmatch
import glob
import logging
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_weak.errors import InvalidInputError

logger = logging.getLogger(__name__)

_WAIT_STEPS, _WAIT_SECONDS = 40, 0.05


@contextmanager
def atomic_folder(target: Path, rivals: str | None = None, *, replace: bool = True) -> Iterator[Path]:
    """Create a folder that becomes `target` when the block ends without an exception.

    Args:
        target: The folder. Those above it are created.
        rivals: Pattern of names beside `target` of which only one may exist, or be written at a time; default: its own
            name.
        replace: Whether an old `target` is replaced; an empty one always is.

    Yields:
        An empty folder on the same file system.

    Raises:
        InvalidInputError: Another run writes `target` or a rival of it, or has done so in the meantime; or one of them
            exists and is not to be replaced.
        OSError: The folder cannot be written; an old `target` stays.
    """
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target)
    partial, replaced = (_temporary(kind, target) for kind in ("partial", "replaced"))
    known = _finished(target, rivals) if replace else set()
    try:
        partial.mkdir()
        _wait_for_others(target, rivals or glob.escape(target.name))
        _refuse_new(_finished(target, rivals) - known)
        yield partial
        _refuse_new(_finished(target, rivals) - known)
        if target.exists():
            target.rename(replaced)
        try:
            partial.rename(target)
        except BaseException:
            if replaced.exists():
                replaced.rename(target)
            raise
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        _name_file(error, target)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def atomic_file(target: Path, *, replace: bool = True) -> Iterator[Path]:
    """Name a file, with the ending of `target`, that replaces it when the block ends without an exception.

    The content is flushed to the disk before. The folder of `target` must exist.

    Raises:
        InvalidInputError: `target` exists by then, and is not to be replaced.
    """
    target = target.absolute()
    _remove_leftovers(target)
    partial = _temporary("partial", target)
    with removed_on_failure(partial):
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        if replace:
            os.replace(partial, target)
        else:
            _move_to_free_name(partial, target)


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """Create an empty folder beside `target`, for files that are moved away one by one; it is removed at the end."""
    target = target.absolute()
    _remove_leftovers(target)
    partial = _temporary("partial", target)
    try:
        partial.mkdir()
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def removed_on_failure(path: Path) -> Iterator[None]:
    """Remove a file if the block that writes it raises; for files in an `atomic_folder`."""
    try:
        yield
    except BaseException as error:
        path.unlink(missing_ok=True)
        _name_file(error, path)
        raise


def _move_to_free_name(partial: Path, target: Path) -> None:
    """Give a file a name that no file has; of several runs at once, one can."""
    try:
        os.link(partial, target)  # fails where the name is taken, which renaming does not
    except OSError as error:
        if target.exists():
            raise InvalidInputError(
                f"{target}: was made by another run in the meantime (remedy: choose another name, or give --overwrite)"
            ) from error
        os.replace(partial, target)  # a disk without links
    else:
        partial.unlink()


def final_name(path: str) -> str:
    """The path that a file will have which is written under a temporary name, or in a folder of such a name."""
    return re.sub(rf"\.partial-\d+@{re.escape(platform.node())}-", "", path)


def _name_file(error: BaseException, path: Path) -> None:
    """Let the error of a full disk tell which, as that of a write names no file."""
    if isinstance(error, OSError) and error.errno is not None and error.filename is None:
        error.filename = str(path)


def _temporary(kind: str, target: Path) -> Path:
    return target.with_name(f".{kind}-{os.getpid()}@{platform.node()}-{target.name}")


def _finished(target: Path, rivals: str | None) -> set[Path]:
    found = {target, *(target.parent.glob(rivals) if rivals else ())}
    return {path for path in found if path.exists() and not (path.is_dir() and not any(path.iterdir()))}


def _refuse_new(made: set[Path]) -> None:
    if made:
        raise InvalidInputError(
            f"{min(made)}: was made by another run in the meantime (remedy: choose another name, or remove it)"
        )


def _wait_for_others(target: Path, rivals: str) -> None:
    """Let one of several runs that write the same go on, and the others give up.

    Each has made its folder before it looks for those of others, so of two runs at least one sees the other. Of two
    that see each other, the one with the higher process number gives up at once; the other waits for that to happen.

    Raises:
        InvalidInputError: Another run goes on.
    """
    pattern = re.compile(rf"\.partial-(\d+)@{re.escape(platform.node())}-{fnmatch.translate(rivals)}")
    for _ in range(_WAIT_STEPS):
        others = {
            number: path
            for path in target.parent.iterdir()
            if (match := pattern.fullmatch(path.name)) and (number := int(match[1])) != os.getpid()
            if _is_running(number)
        }
        if not others:
            return
        if min(others) < os.getpid():
            break
        time.sleep(_WAIT_SECONDS)
    other = others[min(others)]
    raise InvalidInputError(
        f"{final_name(str(other))}: is being written by another run (remedy: wait until that has ended, or choose "
        f"another name; if it was killed, delete {other})"
    )


def _remove_leftovers(target: Path) -> None:
    """Remove what killed runs left of the target; a target that a killed run had moved aside is moved back."""
    pattern = re.compile(rf"\.(partial|replaced)-(\d+)@(.*)-{re.escape(target.name)}")
    for path in sorted(target.parent.iterdir()):
        match = pattern.fullmatch(path.name)
        if match is None:
            continue
        if match[3] != platform.node():
            logger.warning("%s belongs to a run on another computer: delete it if that was killed.", path)
        elif _is_running(int(match[2])):
            continue
        elif match[1] == "replaced" and not target.exists():
            logger.warning("%s was moved aside by a run that was killed; it is moved back.", target)
            path.rename(target)
        else:
            logger.warning("%s was left by a run that was killed; it is removed.", path)
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_running(pid: int) -> bool:
    if pid == os.getpid():
        return False  # an earlier process had this number, in a restarted container for example
    if os.name != "posix":
        return True  # os.kill would end the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
