"""The probability threshold gamma, kept in a network's last bias.

nnU-Net takes the class of highest probability, which for two classes is a threshold of 0.5. Subtracting

    log(gamma / (1 - gamma))

from the bias of the foreground logits moves it to gamma, and commutes with everything that prediction does: mirroring,
tiling, averaging over folds, resampling. So a checkpoint carries its threshold, and stock prediction knows nothing of
it. With several classes gamma compares each class with the background: p_k / p_0 > gamma / (1 - gamma).

The bias of the training is kept under our key, for undo and for a continued training.

Reference:
    Weak-Net paper, section 3.1 and Fig. 3 (gamma).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.training.checkpoints import KEY, read_checkpoint, write_checkpoint

ENTRY = "threshold"
DEFAULT_GAMMA = 0.5
_FINAL_BIAS = re.compile(r"(.*\.)?decoder\.seg_layers\.(\d+)\.bias")


def logit_shift(gamma: float) -> float:
    """What is subtracted from the foreground logits: 0 for gamma = 0.5.

    Raises:
        InvalidInputError: Not between 0 and 1.
    """
    if not 0 < gamma < 1:
        raise InvalidInputError(f"gamma is a probability between 0 and 1, got {gamma:g} (remedy: 0.5 is nnU-Net's own)")
    return math.log(gamma / (1 - gamma))


def shifted_bias(bias: Tensor, gamma: float) -> Tensor:
    """The bias `(L,)` with the background, class 0, left alone; computed in float64, in the type of the bias."""
    shifted = bias.clone()
    if gamma != DEFAULT_GAMMA:
        shifted[1:] = (bias[1:].double() - logit_shift(gamma)).to(bias.dtype)
    return shifted


def final_bias_names(weights: Mapping[str, Tensor], source: str = "checkpoint") -> list[str]:
    """Entries that hold the last layer's bias; several where the state dict lists the layer more than once.

    Raises:
        InvalidInputError: There is none: not a U-Net of nnU-Net's.
    """
    found = {name: int(match[2]) for name in weights if (match := _FINAL_BIAS.fullmatch(name))}
    if not found:
        raise InvalidInputError(
            f"{source}: its network has no decoder.seg_layers with a bias, where the threshold would go "
            "(remedy: networks of nnU-Net's default and residual-encoder planners have)"
        )
    return [name for name, number in found.items() if number == max(found.values())]


def threshold_of(checkpoint: Mapping[str, Any]) -> float:
    """gamma of a checkpoint; 0.5 where none was set."""
    return float(checkpoint.get(KEY, {}).get(ENTRY, {}).get("gamma", DEFAULT_GAMMA))


def set_threshold(path: Path | str, gamma: float | None, *, trust: bool = False) -> float:
    """Write a threshold into a checkpoint, or take it out again.

    Setting begins from the bias of the training, so that it may be repeated. The file is replaced as a whole.

    Args:
        path: A checkpoint of nnU-Net, ours or stock.
        gamma: The threshold; None restores the weights bit by bit.
        trust: As for `read_checkpoint`.

    Returns:
        The threshold that the checkpoint had before.
    """
    checkpoint = read_checkpoint(path, trust=trust)
    before = threshold_of(checkpoint)
    weights, own = checkpoint["network_weights"], checkpoint.setdefault(KEY, {})
    names = final_bias_names(weights, str(path))
    original = own.pop(ENTRY, {}).get("original_bias")
    if original is None:
        original = weights[names[0]].clone()
    new = original if gamma is None else shifted_bias(original, gamma)
    for name in names:
        weights[name] = new.clone()
    if gamma is not None:
        own[ENTRY] = {"gamma": float(gamma), "original_bias": original.clone()}
    if not own:
        del checkpoint[KEY]
    write_checkpoint(checkpoint, path)
    return before


def restore_bias(network: torch.nn.Module, entries: Mapping[str, Any]) -> None:
    """Put the bias of the training back into a network that was loaded from a checkpoint with a threshold."""
    if ENTRY in entries:
        layer: Any = network.get_submodule("decoder.seg_layers")
        with torch.no_grad():
            layer[-1].bias.copy_(entries[ENTRY]["original_bias"])
