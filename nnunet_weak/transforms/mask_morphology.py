"""Score-guided morphological augmentation of mask channels, for whole batches on the training device (SCORE).

Under-segmented regions are eroded further and over-segmented ones dilated further, by a radius that varies smoothly in
space, and their quality scores fall with the change of volume. The paper gives neither the radius nor the rule for the
scores; both are stated here.

Mask channels are soft: masks resampled by nnU-Net have fractional edges, at training and at inference. So it is the
edge that is moved, with the width it has, and a hard mask stays hard.

Axis order ``(B, K, D, H, W)``, or ``(B, K, H, W)`` in 2d. Radii are in the unit of the spacing (ones: voxels).

Reference:
    de Langlais et al. (SCORE), section 2, "Data augmentation".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nnunet_weak.morphology import signed_distance, work_box

# Cubic resampling leaves ripples of a few per cent, which are no edge.
_RIPPLE = 0.02
_WIDEST_EDGE_VOX = 3.0
_SMALLEST_CHANGE = 1e-4
_FIELD_POINTS_PER_AXIS = 8


@torch.no_grad()
def morphological_augmentation(
    masks: Tensor,
    quality: Tensor,
    error: Tensor,
    spacing: Sequence[float],
    *,
    max_radius: float,
    probability: float,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Make the errors of a region's mask larger, and its score lower.

    A region without a score, without an error (l = 0) or without a voxel in the patch stays as it is. With l = 2 the
    direction is drawn. A region grows only into what no other region has; of two regions that grow into one gap, the
    first takes it. A change that would take away more than half of a region in the patch is not made, since a region
    that is gone cannot be corrected.

    The score falls by five times the relative change of volume in the patch, q - 5 |dV| / V, and is kept in [0, 5].

    Args:
        masks: Soft masks in [0, 1], one channel per region.
        quality: q_k, NaN where a region has no score.
        error: l_k in -1, 0, 1, 2.
        spacing: Voxel size of each spatial axis; ones if ``max_radius`` is in voxels.
        max_radius: Largest shift of an edge.
        probability: Chance of each region of each sample to be changed.
        generator: Source of randomness on the device of the masks; torch's own if None.

    Returns:
        New masks and new scores; the inputs are not changed.

    Shape:
        - masks: ``(B, K, *spatial)``; quality and error: ``(B, K)``.
    """
    masks, quality = masks.clone(), quality.clone()
    draws = torch.rand(2, *quality.shape, device=masks.device, generator=generator)
    present = (masks > 0.5).flatten(2).any(2)
    selected = (draws[0] < probability) & ~quality.isnan() & (error != 0) & present
    grows = (error == 1) | ((error == 2) & (draws[1] < 0.5))
    for sample, region in selected.nonzero().tolist():
        mask = masks[sample, region]
        radius = smooth_random_field(mask.shape, max_radius, device=mask.device, generator=generator)
        if grows[sample, region]:
            moved = shift_edge(mask, radius, spacing, max_shift=max_radius)
            taken = masks[sample].clamp(0, 1).sum(0) - mask.clamp(0, 1)
            moved = torch.where(moved > mask, torch.maximum(mask, torch.minimum(moved, 1 - taken)), mask)
        else:
            moved = shift_edge(mask, -radius, spacing, max_shift=max_radius)
        change = (moved - mask).sum() / mask.sum()
        acceptable = change >= -0.5
        masks[sample, region] = torch.where(acceptable, moved, mask)
        loss_of_quality = torch.where(acceptable, 5 * change.abs(), 0.0)
        quality[sample, region] = (quality[sample, region] - loss_of_quality).clamp(0, 5)
    return masks, quality


def shift_edge(mask: Tensor, shift: Tensor, spacing: Sequence[float], *, max_shift: float) -> Tensor:
    """Move the 0.5 level of a soft mask outwards (positive shift) or inwards (negative), keeping the width of its edge.

    The mask is read as a linear ramp across its edge. The position of a voxel on it, from its own value on the ramp and
    from the distance to the 0.5 level elsewhere, is moved by the shift and turned back into a value. Where the shift is
    0, or too small to matter, the mask is returned exactly as it is.

    Args:
        mask: Soft mask ``(*spatial)``.
        shift: Shift of each voxel, in the unit of ``spacing``, one sign throughout.
        spacing: Voxel size of each spatial axis.
        max_shift: Upper bound of the absolute shift.

    Returns:
        The moved mask, of the shape and type of ``mask``.
    """
    reach = max_shift + _WIDEST_EDGE_VOX * min(spacing)
    box = work_box(mask > _RIPPLE, [math.ceil(reach / step) for step in spacing])
    moved = mask.clone()
    if box is not None:
        moved[box] = _shift_edge_within(mask[box], shift[box], spacing, max_shift)
    return moved


def edge_width(mask: Tensor, spacing: Sequence[float]) -> Tensor:
    """Mean width of a soft mask's edge, 0 for a hard mask, as a tensor with one element.

    Across a linear ramp of width w from 0 to 1, the integral of s (1 - s) is w / 6 and that of the slope is 1. Summed
    over the array, the second is the area of the edge.
    """
    soft = mask.float().clamp(0, 1)
    soft = torch.where(soft < _RIPPLE, 0.0, torch.where(soft > 1 - _RIPPLE, 1.0, soft))
    squared_slope = torch.zeros_like(soft)
    for axis, step in enumerate(spacing):
        size = soft.shape[axis]
        squared_slope.narrow(axis, 0, size - 1).add_((soft.diff(dim=axis) / step).square_())
    area = squared_slope.sqrt_().sum()
    return torch.where(area > 0, 6 * (soft * (1 - soft)).sum() / area.clamp_min(1e-12), 0.0)


def smooth_random_field(
    shape: Sequence[int],
    highest: float,
    *,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Random values in [0, highest] that vary smoothly: eight points along each axis, interpolated linearly.

    Two or three axes, float32; the generator, if any, is one of the device.
    """
    points = [min(size, _FIELD_POINTS_PER_AXIS) for size in shape]
    noise = torch.rand(1, 1, *points, device=device, generator=generator) * highest
    mode = "bilinear" if len(points) == 2 else "trilinear"
    return interpolate(noise, size=list(shape), mode=mode, align_corners=True)[0, 0]


def _shift_edge_within(mask: Tensor, shift: Tensor, spacing: Sequence[float], max_shift: float) -> Tensor:
    finest = min(spacing)
    width = edge_width(mask, spacing).clamp(max=_WIDEST_EDGE_VOX * finest)
    distance = signed_distance(mask > 0.5, max_shift + (0.5 + _WIDEST_EDGE_VOX / 2) * finest, spacing)
    # The edge lies half a voxel from the centres on either side of it, and a voxel off the ramp is beyond its end.
    to_edge = (distance.abs() - 0.5 * finest).clamp_min(0)
    position = torch.maximum(to_edge, width / 2).copysign(distance)
    on_ramp = (mask > _RIPPLE) & (mask < 1 - _RIPPLE) & (to_edge < width)
    position = torch.where(on_ramp, (0.5 - mask) * width, position) - shift
    ramp = (0.5 - position / width.clamp_min(1e-4 * finest)).clamp(0, 1)
    ramp = torch.where(width > 0, ramp, ramp.round())
    changed = torch.where(shift > 0, ramp > mask + _SMALLEST_CHANGE, ramp < mask.clamp(max=1) - _SMALLEST_CHANGE)
    return torch.where(changed & (shift != 0), ramp, mask).to(mask.dtype)
