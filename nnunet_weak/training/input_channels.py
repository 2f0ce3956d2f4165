"""Give a stock checkpoint's first convolution more input channels, so that `-pretrained_weights` accepts it.

The new channels have weight zero: the network's output is what it was, whatever the new channels hold, until training
changes it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from nnunet_weak.errors import InvalidInputError

SEGMENTATION_LAYERS = ".seg_layers."
_SHOWN = 8


def inflate_weights(
    weights: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor], source: str
) -> dict[str, torch.Tensor]:
    """Weights of a network with fewer input channels, in the shapes of one with more.

    The first convolution sits under several names (encoder and decoder each know it, as a layer and as a member of a
    list); every weight that differs in its input channels only is widened.

    Args:
        weights: `network_weights` of a checkpoint. Its channels become the first ones.
        target: State dict of the network to be trained; shapes only are read, so it may be on the meta device.
        source: Where the weights come from, for messages.

    Returns:
        New weights; segmentation layers stay as they are, nnU-Net does not transfer them.

    Raises:
        InvalidInputError: The networks differ in more than input channels, or the target has fewer.
    """
    problems: list[str] = []
    inflated = {key: value for key, value in weights.items() if SEGMENTATION_LAYERS in key}
    for key, wanted in target.items():
        if SEGMENTATION_LAYERS in key:
            continue
        given = weights.get(key)
        if given is None:
            problems.append(f"{source}: has no {key}")
        elif given.shape == wanted.shape:
            inflated[key] = given
        elif _differ_in_channels(given, wanted):
            added = given.new_zeros(given.shape[0], wanted.shape[1] - given.shape[1], *given.shape[2:])
            inflated[key] = torch.cat([given, added], dim=1)
        else:
            shapes = f"has shape {tuple(given.shape)}, needed is {tuple(wanted.shape)}"
            problems.append(f"{source}: {key} {shapes}")
    if problems:
        shown = problems[:_SHOWN] + [f"{len(problems) - _SHOWN} more"] * (len(problems) > _SHOWN)
        shown[-1] += " (remedy: train with the plans of the checkpoint, moved by nnUNetv2_move_plans_between_datasets)"
        raise InvalidInputError(shown, "The checkpoint does not fit this network")
    return inflated


def _differ_in_channels(given: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether a convolution's weight `(out, in, *kernel)` lacks input channels and nothing else."""
    same = given.ndim == wanted.ndim >= 3 and given.shape[0] == wanted.shape[0] and given.shape[2:] == wanted.shape[2:]
    return same and given.shape[1] < wanted.shape[1]
