"""Checkpoints that are stock to nnU-Net and complete to us; reading them runs no code that a file may hold.

What prediction reads is plain nnU-Net: `network_weights` of the stock architecture and a stock `trainer_name`, so no
machine that predicts needs this package (but for a trainer whose network does more when it predicts). What only a
continued training needs lies under our own key: the trainer's name, the auxiliary weights, the optimiser's state and
the selection state. It holds tensors, strings, numbers, dicts and lists only, as any class of ours in there would break
prediction without the package.
"""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.torch_version import TorchVersion

from nnunet_weak import __version__
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.atomic import atomic_file

KEY = "nnunet_weak"
HEADS_KEY = "annotation_heads"  # under our key: how RefineSeg's annotation heads are built
STOCK_TRAINER = "nnUNetTrainer"


def read_checkpoint(path: Path | str, *, trust: bool = False) -> dict[str, Any]:
    """Read a checkpoint of nnU-Net, stock or ours, into the CPU's memory.

    A checkpoint is a pickle, which can run any program when it is read. Only tensors, Python's plain types and NumPy's
    numbers are accepted, which is all that nnU-Net writes.

    Args:
        path: The file.
        trust: Accept anything, and run what the file tells Python to run.

    Raises:
        InvalidInputError: No such file; a damaged one; none of nnU-Net's; or one that holds other objects.
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file (remedy: name a checkpoint of a training, .pth)")
    try:
        with nullcontext() if trust else _numpy_numbers_allowed():
            checkpoint = torch.load(path, map_location="cpu", weights_only=not trust)
    except Exception as error:  # a damaged pickle may raise anything
        foreign = re.search(r"(?:GLOBAL|Unsupported class) ([\w.]+)", str(error))
        if foreign:
            raise InvalidInputError(
                f"{path}: holds {foreign[1]}, which could run a program when it is read and is no part of nnU-Net's "
                "checkpoints (remedy: if you know who made the file, give --trust; before PyTorch 2.5 every checkpoint "
                "needs it)"
            ) from error
        # PyTorch's own message, without the advice to load the file at any risk that it is wrapped in.
        cause = error.__context__ or error
        reason = re.split(r"\. |\n", f"{type(cause).__name__}: {cause}")[0]
        raise InvalidInputError(
            f"{path}: is damaged, or no checkpoint ({reason}) (remedy: copy the file again, or take another checkpoint "
            "of the same training)"
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("network_weights"), dict):
        raise InvalidInputError(
            f"{path}: no checkpoint of nnU-Net v2, it has no network_weights (remedy: name a checkpoint_....pth of a "
            "model folder)"
        )
    others = [str(name) for name, value in checkpoint["network_weights"].items() if not isinstance(value, torch.Tensor)]
    if others:
        raise InvalidInputError(
            f"{path}: is damaged, its weights {', '.join(others[:3])} are no tensors (remedy: copy the file again, or "
            "take another checkpoint of the same training)"
        )
    return checkpoint


def write_checkpoint(checkpoint: dict[str, Any], path: Path | str, *, replace: bool = True) -> None:
    """Write a checkpoint, complete or not at all; the same content gives the same bytes.

    Raises:
        InvalidInputError: The file exists and is not to be replaced.
    """
    with atomic_file(Path(path), replace=replace) as partial, partial.open("wb") as file:
        torch.save(checkpoint, file)  # of a path PyTorch would write the name into the file


def split_checkpoint(
    path: Path | str, destination: Path | str, additions: dict[str, Any], trainer: str = STOCK_TRAINER
) -> None:
    """Rewrite a checkpoint that nnU-Net has just saved for one of our trainers.

    The optimiser's state moves under our key: a stock `--c` would otherwise continue with our optimiser's momentum and
    the wrong loss; so it stops with "different number of parameter groups".

    Args:
        path: File written by the stock `save_checkpoint`; removed.
        destination: Where the result goes, replaced atomically.
        additions: Entries for our key.
        trainer: Whose network predicts.
    """
    checkpoint = read_checkpoint(path, trust=True)
    checkpoint[KEY] = {
        "version": __version__,
        "trainer": checkpoint["trainer_name"],
        "optimizer_state": checkpoint["optimizer_state"],
        **additions,
    }
    checkpoint["trainer_name"] = trainer
    checkpoint["optimizer_state"] = {"state": {}, "param_groups": []}
    torch.save(checkpoint, path)
    os.replace(path, destination)


def read_own_entries(path: Path | str, trainer: str) -> dict[str, Any]:
    """Our entries of a checkpoint that `trainer` is to continue; the file is trusted, as nnU-Net trusts it next.

    Raises:
        InvalidInputError: The checkpoint is damaged, or was written by a stock trainer or by another one of ours.
    """
    checkpoint = read_checkpoint(path, trust=True)
    entries = checkpoint.get(KEY, {})
    written_by = entries.get("trainer", checkpoint.get("trainer_name"))
    if "trainer" not in entries or written_by != trainer:  # a stock one may have a threshold of ours
        raise InvalidInputError(
            f"{path}: written by {written_by}, not by {trainer}, so it lacks what {trainer} needs to continue (remedy: "
            "start a new training without --c; to begin from these weights give them with -pretrained_weights)"
        )
    return entries


def _numpy_numbers_allowed() -> AbstractContextManager[Any]:
    """nnU-Net's logs hold NumPy's numbers, whose constructor NumPy 1 and 2 know by different names."""
    if not hasattr(torch.serialization, "safe_globals"):
        return nullcontext()
    make_scalar: Any = np.float32(0).__reduce__()[0]
    by_name = [(make_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    constructors = by_name if TorchVersion(torch.__version__) >= "2.6" else [make_scalar]
    types = {type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["AllFloat"] + "?"}
    return torch.serialization.safe_globals([*constructors, np.dtype, *types])
