"""Gross errors for mask channels: a region that a coarse model missed, or put in the wrong place (SCOREPlus).

Morphology makes masks that are off by some voxels; a network that saw only those copies a mask that is off by
centimetres, and leaves a missing region missing. Here whole regions are taken away or moved, so that the network also
learns where they are from the image. Not in the paper.

Axis order ``(B, K, D, H, W)``, or ``(B, K, H, W)`` in 2d.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nnunet_weak.morphology import dilate

_LARGEST_SHIFT = 0.25
_PRIOR_REACH = 5.0


@torch.no_grad()
def gross_error_augmentation(
    masks: Tensor,
    prior: Tensor,
    usable: Tensor,
    spacing: Sequence[float],
    *,
    probability: float,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Take regions away, or move them to where they are not.

    Half of the chosen regions vanish, the others are moved by up to a quarter of the patch along each axis, on top of
    background only. The prior, which was made from the mask and would give it away, becomes 0 in and around either.

    Args:
        masks: Soft masks in [0, 1], one channel per region.
        prior: P.
        usable: Boolean ``(B, K)``: regions that may be chosen, those whose mask can be believed.
        spacing: Voxel size of each spatial axis.
        probability: Chance of each usable region of each sample to be chosen.
        generator: Source of randomness on the device of the masks; torch's own if None.

    Returns:
        New masks and prior; the inputs are not changed.

    Shape:
        - masks: ``(B, K, *spatial)``; prior: ``(B, 1, *spatial)``.
    """
    masks, prior = masks.clone(), prior.clone()
    draws = torch.rand(2, *usable.shape, device=masks.device, generator=generator)
    selected = (draws[0] < probability) & usable & (masks > 0.5).flatten(2).any(2)
    for sample, region in selected.nonzero().tolist():
        mask = masks[sample, region].clone()
        masks[sample, region] = 0
        others = masks[sample].clamp(0, 1).sum(0)
        near = dilate((mask > 0.5)[None, None], _PRIOR_REACH * min(spacing), spacing)[0, 0]
        prior[sample, 0] = torch.where(near & (others < 0.5), 0.0, prior[sample, 0])
        if draws[1, sample, region] < 0.5:
            moved = _moved(mask, generator)
            masks[sample, region] = torch.minimum(moved, (1 - others).clamp_min(0))
    return masks, prior


def _moved(mask: Tensor, generator: torch.Generator | None) -> Tensor:
    """Shifted by up to a quarter of each axis; what leaves on one side does not come back on the other."""
    share = torch.rand(mask.ndim, device=mask.device, generator=generator) * 2 - 1
    for axis, part in enumerate(share.tolist()):
        shift = round(part * _LARGEST_SHIFT * mask.shape[axis])
        mask = mask.roll(shift, axis)
        emptied = slice(0, shift) if shift >= 0 else slice(mask.shape[axis] + shift, None)
        mask[(slice(None),) * axis + (emptied,)] = 0
    return mask
