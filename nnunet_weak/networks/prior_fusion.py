"""A network that is trained on images alone, and whose predictions a boundary prior corrects by Bayes' rule.

A network trained on automatic masks learns p(mask | image): the masks' random errors average out, their systematic
ones (too small, too smooth) stay. The boundary prior P comes from the intensities of one image, and knows nothing of
shape. Where the two err independently the log-odds of a region against the background add up,

    logit p = z + w logit P,

in which w > 1 makes up for the overconfidence of networks trained with the Dice loss: their logits are about w times
too large. It is what temperature scaling of z by w would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import logit, softmax
from torch import nn

SMALLEST_PROBABILITY = 0.002  # half a step of the 8 bits that P is stored in


class PriorFusedNetwork(nn.Module):
    """Stock U-Net on the image channels, plus the last channel's evidence when predicting.

    The state dict is the stock network's. While training, and under deep supervision, the output is the stock
    network's.

    Args:
        core: A network of `dynamic_network_architectures` with `encoder` and `decoder`, for `images` channels.
        images: Number of image channels, the first of the input.
        weight: w.

    Shape:
        - Input: `(B, C, *spatial)` with C > images; the last channel is P in [0, 1]. Padding has P = 0: background.
        - Output: what the stock network returns; a tensor of logits `(B, 1 + K, *spatial)` when predicting, in which P
          speaks for all K regions alike.
    """

    encoder: Any
    decoder: Any

    def __init__(self, core: nn.Module, images: int, weight: float) -> None:
        super().__init__()
        self.encoder, self.decoder = core.encoder, core.decoder
        self.images, self.weight = images, weight

    def forward(self, x: torch.Tensor) -> Any:
        """The stock network's output, with P where `self.training` is False."""
        output = self.decoder(self.encoder(x[:, : self.images]))
        if self.training or self.decoder.deep_supervision:
            return output
        evidence = torch.logit(x[:, -1:].to(output.dtype), SMALLEST_PROBABILITY) * self.weight
        return torch.cat([output[:, :1], output[:, 1:] + evidence], dim=1)


def fuse_probabilities(
    probabilities: np.ndarray, prior: np.ndarray, weight: float, new: Sequence[int] = ()
) -> np.ndarray:
    """The same on the grid of the image, where P is as sharp as it was made; resampling to a network's grid blurs it.

    Args:
        probabilities: Softmax `(1 + K, D, H, W)` of the network alone.
        prior: P, `(D, H, W)`.
        weight: w.
        new: Regions that may appear although the mask lacks them. P was learned around the masks that are there, so
            nothing that it says speaks against these.

    Returns:
        Softmax with the evidence of P, float32.
    """
    tiny = np.finfo(np.float32).tiny
    logits = np.log(np.maximum(probabilities, tiny, dtype=np.float32))
    evidence = weight * logit(np.clip(prior, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)).astype(np.float32)
    for number in range(1, len(logits)):
        logits[number] += np.maximum(evidence, 0) if number in new else evidence
    return softmax(logits, axis=0)
