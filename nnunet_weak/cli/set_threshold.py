"""`nnunet_weak_set_threshold`: the probability threshold gamma of a trained model, written into its checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_weak.cli.console import Device, choose_device, console_command, device_option, trust_option
from nnunet_weak.dataset.folders import dataset_folder
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.json_files import load_object
from nnunet_weak.options import option, parse

CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
_EPILOG = """\
A voxel is foreground where its probability is above gamma: below 0.5 objects grow, above they shrink. With several
classes gamma compares each class with the background. Stock prediction needs to know nothing of it.

examples:
  nnunet_weak_set_threshold --gamma 0.4 \\
      -m nnUNet_results/Dataset531_Abdomen/nnUNetTrainerWeakNet__nnUNetPlans__3d_fullres
  nnunet_weak_set_threshold -m MODEL --calibrate       the best for the fully annotated validation cases
  nnunet_weak_set_threshold -m MODEL --undo            the weights of the training, bit by bit
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the command; one of `gamma`, `calibrate` and `undo`."""

    model: Path = option("-m", metavar="MODEL", help="model folder TRAINER__PLANS__CONFIGURATION in nnUNet_results")
    folds: tuple[str, ...] | None = option("-f", default=None, metavar="FOLD", help="folds (default: all)")
    gamma: float | None = option(default=None, metavar="G", help="the threshold, between 0 and 1; 0.5 is nnU-Net's own")
    calibrate: bool = option(
        default=False,
        help="take the threshold of the highest Dice on the fully annotated cases of the folds' validation parts",
    )
    undo: bool = option(default=False, help="restore the weights of the training")
    device: Device | None = device_option()
    trust: bool = trust_option()

    def __post_init__(self) -> None:
        if (self.gamma is not None) + self.calibrate + self.undo != 1:
            raise InvalidInputError("give one of --gamma, --calibrate and --undo")


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(
        Options,
        argv,
        prog="nnunet_weak_set_threshold",
        description="Set the probability threshold of a trained model. It is kept in the last layer's bias, so "
        "nnUNetv2_predict and every program that reads nnU-Net's models apply it.",
        epilog=_EPILOG,
    )
    paths = _checkpoints(options)

    from nnunet_weak.training.checkpoints import read_checkpoint
    from nnunet_weak.training.threshold import final_bias_names, logit_shift, set_threshold

    # All is checked before any file is changed.
    gamma = options.gamma
    if gamma is not None:
        logit_shift(gamma)
    for path in paths:
        final_bias_names(read_checkpoint(path, trust=options.trust)["network_weights"], str(path))
    if options.calibrate:
        gamma = _calibrated(options, sorted({path.parent.name.removeprefix("fold_") for path in paths}))
    for path in paths:
        before = set_threshold(path, gamma, trust=options.trust)
        print(f"{path.relative_to(options.model)}: gamma {before:g} -> {0.5 if gamma is None else gamma:g}")
    return 0


def _checkpoints(options: Options) -> list[Path]:
    """Final and best checkpoints of the folds; each fold must be finished."""
    model, problems = options.model, Problems()
    if not (model / "plans.json").is_file():
        raise InvalidInputError(
            f"{model}: not a model folder, it has no plans.json (remedy: name the folder TRAINER__PLANS__CONFIGURATION "
            "below nnUNet_results)"
        )
    folds = [f"fold_{fold}" for fold in options.folds or ()] or sorted(path.name for path in model.glob("fold_*"))
    for fold in folds:
        if not (model / fold / CHECKPOINTS[0]).is_file():
            problems.add(str(model / fold), f"no {CHECKPOINTS[0]}", "finish its training, or name other folds with -f")
    if not folds:
        problems.add(str(model), "has no folds", "train it first")
    problems.raise_if_any("nnunet_weak_set_threshold")
    return [path for fold in folds for name in CHECKPOINTS if (path := model / fold / name).is_file()]


def _calibrated(options: Options, folds: Sequence[str]) -> float:
    from nnunet_weak.training.calibration import calibrate

    name = load_object(options.model / "plans.json", dataset_name=str)["dataset_name"]
    preprocessed = dataset_folder(name, "nnUNet_preprocessed", option="-m")
    result = calibrate(options.model, folds, preprocessed, choose_device(options.device), trust=options.trust)
    print(f"Dice of {len(result.cases)} fully annotated validation cases by gamma:")
    for gamma, dice in result.dice.items():
        print(f"  {gamma:4.2f}  {dice:.4f}{'  <- best' if gamma == result.gamma else ''}")
    return result.gamma
