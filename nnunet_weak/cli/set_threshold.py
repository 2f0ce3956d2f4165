"""`nnunet_weak_set_threshold`: the probability threshold gamma of a trained model, written into its checkpoints."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from nnunet_weak.cli.console import console_command
from nnunet_weak.errors import InvalidInputError, Problems

CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")

_EPILOG = """\
A voxel is foreground where its probability is above gamma: below 0.5 objects grow, above they shrink. With several
classes gamma compares each class with the background. Stock prediction needs to know nothing of it.

examples:
  nnunet_weak_set_threshold nnUNet_results/Dataset531_Abdomen/nnUNetTrainerWeakNet__nnUNetPlans__3d_fullres --gamma 0.4
  nnunet_weak_set_threshold MODEL_FOLDER --calibrate       the best for the fully annotated validation cases
  nnunet_weak_set_threshold MODEL_FOLDER --undo            the weights of the training, bit by bit
"""


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    args = _parser().parse_args(argv)
    model: Path = args.model
    paths = _checkpoints(model, args.f)

    import torch

    from nnunet_weak.training.threshold import final_bias_names, logit_shift, set_threshold

    gamma = args.gamma
    if gamma is not None:
        logit_shift(gamma)  # refuses what is no probability, before any file is touched
    for path in paths:
        final_bias_names(torch.load(path, map_location="cpu", weights_only=False)["network_weights"], str(path))
    if args.calibrate:
        gamma = _calibrated(model, sorted({path.parent.name.removeprefix("fold_") for path in paths}), args.device)
    for path in paths:
        before = set_threshold(path, gamma)
        print(f"{path.relative_to(model)}: gamma {before:g} -> {0.5 if gamma is None else gamma:g}")
    return 0


def _checkpoints(model: Path, folds: Sequence[str] | None) -> list[Path]:
    problems = Problems()
    if not (model / "plans.json").is_file():
        raise InvalidInputError(
            f"{model}: not a model folder, it has no plans.json (remedy: name the folder TRAINER__PLANS__CONFIGURATION "
            "below nnUNet_results)"
        )
    names = [f"fold_{fold}" for fold in folds] if folds else sorted(path.name for path in model.glob("fold_*"))
    found: list[Path] = []
    for name in names:
        files = [model / name / checkpoint for checkpoint in CHECKPOINTS if (model / name / checkpoint).is_file()]
        if not (model / name / CHECKPOINTS[0]).is_file():
            problems.add(str(model / name), f"no {CHECKPOINTS[0]}", "finish its training, or name other folds with -f")
        found += files
    if not names:
        problems.add(str(model), "has no folds", "train it first")
    problems.raise_if_any("nnunet_weak_set_threshold")
    return found


def _calibrated(model: Path, folds: Sequence[str], device: str) -> float:
    import torch

    from nnunet_weak.training.calibration import calibrate

    root = os.environ.get("nnUNet_preprocessed")
    name = json.loads((model / "plans.json").read_text(encoding="utf-8"))["dataset_name"]
    if not root or not (Path(root) / name).is_dir():
        raise InvalidInputError(
            f"--calibrate needs the preprocessed data set {name} in nnUNet_preprocessed, which is {root or 'not set'} "
            "(remedy: set the variable, or give --gamma)"
        )
    result = calibrate(model, folds, Path(root) / name, torch.device(device))
    print(f"Dice of {len(result.cases)} fully annotated validation cases by gamma:")
    for gamma, dice in result.dice.items():
        print(f"  {gamma:4.2f}  {dice:.4f}{'  <- best' if gamma == result.gamma else ''}")
    return result.gamma


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnunet_weak_set_threshold",
        description="Set the probability threshold of a trained model. It is kept in the last layer's bias, so "
        "nnUNetv2_predict and every program that reads nnU-Net's models apply it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", type=Path, metavar="MODEL_FOLDER", help="TRAINER__PLANS__CONFIGURATION in nnUNet_results"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--gamma", type=float, metavar="G", help="the threshold, between 0 and 1; 0.5 is nnU-Net's own")
    what.add_argument(
        "--calibrate",
        action="store_true",
        help="the threshold of the highest Dice on the fully annotated cases of the folds' validation parts",
    )
    what.add_argument("--undo", action="store_true", help="restore the weights of the training")
    parser.add_argument("-f", nargs="+", metavar="FOLD", help="folds (default: all)")
    parser.add_argument(
        "-device", choices=("cuda", "cpu", "mps"), default="cuda", help="for --calibrate (default: %(default)s)"
    )
    return parser
