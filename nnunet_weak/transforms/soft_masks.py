"""From mask channels with fractional edges back to regions."""

from __future__ import annotations

import torch
from torch import Tensor


def hard_masks(masks: Tensor) -> Tensor:
    """The most likely region of each voxel, background being what no mask claims.

    Where several regions meet, none may reach 0.5 although the background is smaller than all of them; so the largest
    counts, as in the resampling of label maps.

    Args:
        masks: One channel for each region, in [0, 1] up to the ripples of cubic resampling.

    Returns:
        Boolean, exclusive.

    Shape:
        - masks and result: `(B, K, *spatial)`.
    """
    background = 1 - masks.sum(1, keepdim=True)
    label = torch.cat([background, masks], dim=1).argmax(1, keepdim=True)
    return label == torch.arange(1, masks.shape[1] + 1, device=masks.device).view(1, -1, *[1] * (masks.ndim - 2))
