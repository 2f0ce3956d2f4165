"""Mask and prior channels that follow the geometry of an image but not its intensity transforms.

nnU-Net's intensity transforms act on every channel of the image, also on masks. Between :class:`StashChannels` and
:class:`RestoreChannels` the channels after the image's own lie in ``regression_target``, which batchgeneratorsv2 moves
with the image (interpolated linearly, zero outside, also in dummy 2d) and no intensity transform touches::

    ComposeTransforms([StashChannels(first_channel=1), *stock_transforms, RestoreChannels()])

which is what `with_channels_stashed` makes of stock transforms.

Axis order ``(C, D, H, W)``, or ``(C, H, W)`` in 2d.
"""

from __future__ import annotations

from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms


def with_channels_stashed(stock: ComposeTransforms, first_channel: int) -> ComposeTransforms:
    """The same transforms, whose intensity part does not see the channels from ``first_channel`` on."""
    return ComposeTransforms([StashChannels(first_channel), *stock.transforms, RestoreChannels()])


class StashChannels(BasicTransform):
    """Moves the channels from ``first_channel`` on out of ``image``.

    Args:
        first_channel: Number of channels that are images; the ones after them are stashed.
    """

    def __init__(self, first_channel: int) -> None:
        super().__init__()
        if first_channel < 1:
            raise ValueError(f"At least one channel must be an image, got first_channel={first_channel}.")
        self.first_channel = first_channel

    def apply(self, data_dict: dict[str, Any], **params: Any) -> dict[str, Any]:
        """Split ``image``; a sample without further channels stays as it is."""
        if data_dict.get("regression_target") is not None:
            raise ValueError("Channels cannot be stashed: the sample has a regression_target of its own.")
        image = data_dict["image"]
        if image.shape[0] > self.first_channel:
            data_dict["image"] = image[: self.first_channel]
            data_dict["regression_target"] = image[self.first_channel :]
        return data_dict


class RestoreChannels(BasicTransform):
    """Puts stashed channels back behind the image's own."""

    def apply(self, data_dict: dict[str, Any], **params: Any) -> dict[str, Any]:
        """Join ``image`` and ``regression_target``, which is taken out of the sample."""
        stashed = data_dict.pop("regression_target", None)
        if stashed is not None:
            data_dict["image"] = torch.cat([data_dict["image"], stashed.to(data_dict["image"].dtype)])
        return data_dict
