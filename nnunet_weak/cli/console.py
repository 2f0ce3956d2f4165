"""What console commands share: how they fail, and options that several of them have."""

from __future__ import annotations

import errno
import functools
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.options import RUN, option

Main = Callable[[Sequence[str] | None], int]
Device = Literal["cuda", "cpu", "mps"]


def device_option() -> Any:
    """Declare the field `device: Device | None`; see `choose_device`."""
    return option("-device", default=None, group=RUN, recorded=False, help="(default: cuda if there is one, else cpu)")


def choose_device(device: Device | None) -> Any:
    """The `torch.device` of a name."""
    import torch

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
    """Give a command's `main(argv) -> int` the common exit codes and messages.

    0 done; 2 the input is wrong, all problems are listed; 1 the disk is full or a file cannot be written; 130
    interrupted by Ctrl-C.
    """

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> int:
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
        logging.getLogger("nnunet_weak").setLevel(logging.INFO)  # other packages' remarks are not for our users
        try:
            return main(argv)
        except InvalidInputError as error:
            print(f"\n{error}\n", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("\nInterrupted. Files that were complete are kept, nothing is left half-written.", file=sys.stderr)
            return 130
        except OSError as error:
            full = "The disk is full. " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            print(
                f"\n{full}{error}\nNothing is left half-written; make room or mend the path and run the command again.",
                file=sys.stderr,
            )
            return 1

    return wrapped
