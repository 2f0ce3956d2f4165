"""`nnunet_weak`: the commands by task, and `nnunet_weak doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_weak import __version__
from nnunet_weak.cli.console import console_command
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.options import option, parse, processes_option

COMMANDS: dict[str, dict[str, str]] = {
    "annotate": {
        "nnunet_weak_annotate": "score masks, draw roughly or click surface points in a browser",
    },
    "make a data set for nnU-Net": {
        "nnunet_weak_convert_scores": "from automatic masks and quality scores (SCORE)",
        "nnunet_weak_convert_drawings": "from rough drawings (RefineSeg)",
        "nnunet_weak_convert_points": "from surface points (Weak-Net)",
        "nnunet_weak_add_weights": "ordinary data sets: class and voxel weights for nnUNetTrainerWeighted",
        "nnunet_weak_fuse": "from several annotators' drawings, fused to one label map",
        "nnunet_weak_preprocess_annotations": "preprocess the drawings, after nnUNetv2_plan_and_preprocess",
    },
    "train, with nnUNetv2_train -tr nnUNetTrainerSCORE, for example": {
        "nnunet_weak_add_input_channels": "start from a checkpoint of a network with fewer input channels",
        "nnunet_weak_report_annotators": "what RefineSeg found out about each annotator",
        "nnunet_weak_set_threshold": "put a probability threshold into a checkpoint",
    },
    "predict": {
        "nnunet_weak_refine": "refine masks with a SCORE network, in one step",
        "nnunet_weak_prepare_inputs": "input channels of a SCORE network, for nnUNetv2_predict",
    },
    "measure": {
        "nnunet_weak_estimate_quality": "quality of masks without references, worst first",
        "nnunet_weak_evaluate": "compare segmentations with references and baselines",
    },
    "simulate": {
        "nnunet_weak_make_phantoms": "a small data set to try everything on",
        "nnunet_weak_simulate_scores": "quality scores from references",
        "nnunet_weak_simulate_drawings": "rough drawings from references",
        "nnunet_weak_simulate_points": "surface points from references",
        "nnunet_weak_simulate_slices": "slices annotated in full, the baseline of Weak-Net",
    },
}
"""Every command with one line, by what it is for."""

_NAME_WIDTH = max(len(name) for commands in COMMANDS.values() for name in commands)


def list_commands() -> str:
    """All commands by task, as text for a terminal."""
    lines = []
    for task, commands in COMMANDS.items():
        lines += [f"{task}:", *(f"  {name:{_NAME_WIDTH}}  {purpose}" for name, purpose in commands.items()), ""]
    return "\n".join(lines)


_EPILOG = f"""{list_commands()}
Each answers --help with its options and an example.

examples
  nnunet_weak doctor              what is installed, and what nnU-Net would find
  nnunet_weak doctor 511          and what is wrong with data set 511
  nnunet_weak doctor "$nnUNet_results/Dataset511_HumerusScore/nnUNetTrainerSCORE__nnUNetPlans__3d_fullres"
"""


def _read_task(text: str) -> str:
    if text != "doctor":
        known = [name for commands in COMMANDS.values() for name in commands]
        remedy = f"nnunet_weak_{text}" if f"nnunet_weak_{text}" in known else "nnunet_weak --help lists the commands"
        raise InvalidInputError(f"nnunet_weak {text}: the only task is 'doctor' (remedy: {remedy})")
    return text


@dataclass(frozen=True, kw_only=True)
class FrontDoor:
    """Options of the command."""

    task: str | None = option(
        positional=True, default=None, nargs="?", metavar="doctor", read=_read_task, help="check installation and data"
    )
    dataset: str | None = option(
        positional=True,
        default=None,
        nargs="?",
        metavar="DATASET",
        help="folder of a data set or model, or number or name of a data set, to be checked as well",
    )
    processes: int | None = processes_option()
    version: bool = option(default=False, help="print the version")


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(
        FrontDoor, argv, prog="nnunet_weak", description="Train nnU-Net from weak annotation.", epilog=_EPILOG
    )
    if options.version:
        print(f"nnunet_weak {__version__}")
    elif options.task is None:
        print(f"nnunet_weak {__version__}\n\n{list_commands()}")
        print("Each answers --help. `nnunet_weak doctor` checks the installation, and a data set if you name one.")
    else:
        from nnunet_weak.front_door.doctor import examine

        examine(options.dataset, options.processes, print)
    return 0
