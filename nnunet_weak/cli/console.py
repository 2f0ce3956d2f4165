"""What console commands share: how they end, and options that several of them have.

Exit codes: 0 done; 2 something is wrong with the input or the machine, every problem is listed with its remedy; 1 a
fault of this package, a log file tells of it; 128 + N ended by signal N, Ctrl-C (130) for example.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Any, Literal

from nnunet_weak.errors import InvalidInputError, printable
from nnunet_weak.images.atomic import final_name
from nnunet_weak.options import RUN, option

Main = Callable[[Sequence[str] | None], int]
Device = Literal["cuda", "cpu", "mps"]

_FAULT, _INVALID_INPUT = 1, 2
_REMEDIES = {
    errno.ENOSPC: "the disk is full: make room on it, or write to another one",
    errno.EDQUOT: "the quota of the disk is used up: make room on it, or write to another one",
    errno.EROFS: "the disk is read-only: write to another one",
    errno.EACCES: "change the rights of the file or folder, or choose another place",
    errno.EPERM: "change the rights of the file or folder, or choose another place",
    errno.ENOMEM: "close other programs, or run fewer processes at a time: -np 1",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or run fewer processes at a time: -np 1",
}
_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)


def device_option() -> Any:
    """Declare the field `device: Device | None`; see `choose_device`."""
    return option("-device", default=None, group=RUN, recorded=False, help="(default: cuda if there is one, else cpu)")


def choose_device(device: Device | None) -> Any:
    """The `torch.device` of a name.

    Raises:
        InvalidInputError: This computer has none.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available() or device == "mps" and not torch.backends.mps.is_available():
        raise InvalidInputError(f"-device {device}: PyTorch finds none on this computer (remedy: -device cpu)")
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def trust_option() -> Any:
    """Declare the field `trust: bool`."""
    return option(
        default=False,
        group=RUN,
        recorded=False,
        help="read checkpoints that hold more than numbers; such a file can run any program on this computer",
    )


def console_command(main: Main) -> Main:
    """Give a command's `main(argv) -> int` the common exit codes and messages, see the top of this module."""

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> int:
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
        logging.getLogger("nnunet_weak").setLevel(logging.INFO)  # other packages' remarks are not for our users
        try:
            with _signals_raised():
                code = main(argv)
                sys.stdout.flush()  # here, where a reader that has gone is noticed
                return code
        except (Exception, KeyboardInterrupt) as error:
            return _tell(error)

    return wrapped


def run_command(module: str) -> int:
    """Import the module of a command and run its `main`; a failing import is told as any other fault."""
    try:
        main: Main = import_module(module).main
    except Exception as error:
        return _tell(error)
    return main(None)


class _Ended(KeyboardInterrupt):
    """A signal that asks a program to end came, as from a batch system or a terminal that is closed."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


@contextmanager
def _signals_raised() -> Iterator[None]:
    """Let signals that end a program raise, so that what is half-written is removed.

    An exception in the midst of an import can abort the process in C++ code that registers its types, or be swallowed:
    the signal is sent again until no module is being imported. What has ended by then is not interrupted any more.
    """
    repetitions: list[threading.Timer] = []

    def end(number: int, frame: FrameType | None) -> None:
        if _is_importing(frame):
            again = threading.Timer(0.02, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            repetitions.append(again)
        else:
            raise _Ended(number)

    names = ("SIGINT", "SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield
    finally:
        for again in repetitions:
            again.cancel()
            again.join()
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _tell(error: BaseException) -> int:
    """Print what made a command fail; returns its exit code."""
    if isinstance(error, BrokenPipeError) and _reader_has_gone():
        return 128 + getattr(signal, "SIGPIPE", 13)
    causes = list(_chain(error))
    for cause in causes:
        if isinstance(cause, KeyboardInterrupt):
            print("\nInterrupted: what was complete is kept, nothing is left half-written.", file=sys.stderr)
            return 128 + getattr(cause, "number", signal.SIGINT)
    if not isinstance(error, InvalidInputError):
        # Libraries hide a full disk, or memory, behind errors of their own.
        error = next((cause for cause in causes if getattr(cause, "errno", None) in _DISK_IS_FULL), error)
        error = next((cause for cause in causes if _is_out_of_memory(cause)), error)
    if isinstance(error, InvalidInputError):
        told = str(error)
    elif _is_out_of_memory(error):
        told = f"Out of memory ({error}) (remedy: fewer processes at a time, -np 1, or a computer with more memory)"
    elif isinstance(error, OSError) and error.errno is not None:
        paths = dict.fromkeys(final_name(str(path)) for path in (error.filename, error.filename2) if path is not None)
        remedy = _REMEDIES.get(error.errno, "correct the path, or mend the disk, and run the command again")
        told = f"{' and '.join(paths) or 'A file'}: {error.strerror} (remedy: {remedy}). Nothing is left half-written."
    else:
        from nnunet_weak.cli.fault_log import write_fault_log

        print(f"\n{write_fault_log(error)}", file=sys.stderr)
        return _FAULT
    print(f"\n{printable(told)}\n", file=sys.stderr)
    return _INVALID_INPUT


def _reader_has_gone() -> bool:
    """Whether nobody reads the output any more, as with `| head`; what is left of it is dropped then."""
    try:
        sys.stdout.flush()
        return False
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it was raised from, and what was being handled."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        error = waiting.pop(0)
        if error is not None and id(error) not in seen:
            seen.add(id(error))
            yield error
            waiting += [error.__cause__, error.__context__]


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"  # the latter of PyTorch
