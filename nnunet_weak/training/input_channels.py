"""Give a stock checkpoint's first convolution more input channels, so that `-pretrained_weights` accepts it.

The new channels have weight zero: the network's output is what it was, whatever the new channels hold, until training
changes it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from nnunet_weak.errors import Problems

SEGMENTATION_LAYERS = ".seg_layers."


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
    problems = Problems()
    inflated: dict[str, torch.Tensor] = {}
    for key, wanted in target.items():
        if SEGMENTATION_LAYERS in key:
            continue
        if key not in weights:
            problems.add(
                source, f"has no {key}", "take a checkpoint of the same architecture, planned with the same planner"
            )
            continue
        given = weights[key]
        same_but_channels = (
            given.ndim >= 3 and given.shape[:1] == wanted.shape[:1] and given.shape[2:] == wanted.shape[2:]
        )
        if given.shape == wanted.shape:
            inflated[key] = given
        elif same_but_channels and given.shape[1] < wanted.shape[1]:
            added = given.new_zeros(given.shape[0], wanted.shape[1] - given.shape[1], *given.shape[2:])
            inflated[key] = torch.cat([given, added], dim=1)
        else:
            problems.add(
                source,
                f"{key} has shape {tuple(given.shape)}, needed is {tuple(wanted.shape)}",
                "plan with the same patch and network",
            )
    if len(problems) > 8:
        first = list(problems)[:8]
        problems = Problems()
        for text in first:
            problems.add(source, text.removeprefix(f"{source}: "))
        problems.add(
            source,
            "and more; the architectures differ",
            "nnU-Net's documentation on pretraining tells how to move plans between data sets",
        )
    problems.raise_if_any("The checkpoint does not fit this network")
    return {**inflated, **{key: value for key, value in weights.items() if SEGMENTATION_LAYERS in key}}
