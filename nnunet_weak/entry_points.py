"""Entry points of the console commands.

They answer Ctrl-C while the modules that do the work are still being loaded, which takes a part of a second: this
module loads next to nothing, and no import can swallow the signal.
"""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType


def _entry_point(module: str) -> Callable[[], int]:
    def run() -> int:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # ignored behind nohup
            signal.signal(signal.SIGINT, _end_now)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # file names may be any bytes

        from nnunet_weak.cli.console import run_command

        return run_command(module)

    return run


def _end_now(number: int, frame: FrameType | None) -> None:
    os.write(2, b"\nInterrupted.\n")
    os._exit(128 + number)


add_input_channels = _entry_point("nnunet_weak.cli.add_input_channels")
add_weights = _entry_point("nnunet_weak.cli.add_weights")
annotate = _entry_point("nnunet_weak.cli.annotate")
convert_drawings = _entry_point("nnunet_weak.dataset_conversion.drawings")
convert_points = _entry_point("nnunet_weak.dataset_conversion.points")
convert_scores = _entry_point("nnunet_weak.dataset_conversion.scores")
estimate_quality = _entry_point("nnunet_weak.cli.estimate_quality")
evaluate = _entry_point("nnunet_weak.cli.evaluate")
front_door = _entry_point("nnunet_weak.front_door.commands")
fuse = _entry_point("nnunet_weak.cli.fuse")
make_phantoms = _entry_point("nnunet_weak.cli.make_phantoms")
prepare_inputs = _entry_point("nnunet_weak.cli.prepare_inputs")
preprocess_annotations = _entry_point("nnunet_weak.cli.preprocess_annotations")
refine = _entry_point("nnunet_weak.cli.refine")
report_annotators = _entry_point("nnunet_weak.cli.report_annotators")
set_threshold = _entry_point("nnunet_weak.cli.set_threshold")
simulate_drawings = _entry_point("nnunet_weak.cli.simulate_drawings")
simulate_points = _entry_point("nnunet_weak.cli.simulate_points")
simulate_scores = _entry_point("nnunet_weak.cli.simulate_scores")
simulate_slices = _entry_point("nnunet_weak.cli.simulate_slices")
