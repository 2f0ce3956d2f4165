"""What all console commands share: how they fail."""

from __future__ import annotations

import errno
import functools
import logging
import sys
from collections.abc import Callable, Sequence

from nnunet_weak.errors import InvalidInputError

Main = Callable[[Sequence[str] | None], int]


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
