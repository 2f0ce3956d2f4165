"""Checkpoints that are stock to nnU-Net and complete to us.

What prediction reads is plain nnU-Net: `network_weights` of the stock architecture and a stock `trainer_name`, so no
machine that predicts needs this package. What only a continued training needs lies under our own key: the trainer's
name, the auxiliary weights, the optimiser's state and the selection state. It holds tensors, strings, numbers, dicts
and lists only, as any class of ours in there would break prediction without the package.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from nnunet_weak import __version__
from nnunet_weak.errors import InvalidInputError

KEY = "nnunet_weak"
HEADS_KEY = "annotation_heads"  # among ours: what RefineSeg's heads are like
STOCK_TRAINER = "nnUNetTrainer"


def split_checkpoint(path: Path | str, destination: Path | str, additions: dict[str, Any]) -> None:
    """Rewrite a checkpoint that nnU-Net has just saved for one of our trainers.

    The optimiser's state moves under our key: a stock `--c` would otherwise continue with our optimiser's momentum and
    the wrong loss; so it stops with "different number of parameter groups".

    Args:
        path: File written by the stock `save_checkpoint`; removed.
        destination: Where the result goes, replaced atomically.
        additions: Entries for our key.
    """
    checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    checkpoint[KEY] = {
        "version": __version__,
        "trainer": checkpoint["trainer_name"],
        "optimizer_state": checkpoint["optimizer_state"],
        **additions,
    }
    checkpoint["trainer_name"] = STOCK_TRAINER
    checkpoint["optimizer_state"] = {"state": {}, "param_groups": []}
    torch.save(checkpoint, path)
    os.replace(path, destination)


def read_own_entries(path: Path | str, trainer: str) -> dict[str, Any]:
    """Our entries of a checkpoint that `trainer` is to continue.

    Raises:
        InvalidInputError: The checkpoint was written by a stock trainer or by another one of ours.
    """
    checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    remedy = "start a new training without --c; to begin from these weights give them with -pretrained_weights"
    if "trainer" not in checkpoint.get(KEY, {}):  # a stock one may have a threshold of ours
        raise InvalidInputError(
            f"{path}: written by {checkpoint.get('trainer_name')}, not by {trainer}, so it lacks what {trainer} "
            f"needs to continue (remedy: {remedy})"
        )
    entries = checkpoint[KEY]
    if entries["trainer"] != trainer:
        raise InvalidInputError(f"{path}: written by {entries['trainer']}, not by {trainer} (remedy: {remedy})")
    return entries
