"""Distances, erosion and dilation of binary masks as torch tensors, on any device.

Shared by the SCORE losses (Omega_k^stab and Omega_k^corr), by Weak-Net (W_mse) and by the score-guided augmentation.

Axis order: the last ``len(spacing)`` axes of a mask are spatial, everything before them is batch and channel. Distances
run from voxel centre to voxel centre, in the unit of ``spacing`` (ones: voxels of the grid; millimetres otherwise), and
structuring elements are balls. The distance is exact: squared distances are separable, so one pass of shifted minima
per axis gives their lower envelope, and a radius of a few voxels needs only a few shifts.

What lies outside the array is unknown: it neither dilates into a mask nor erodes it. :func:`known_band_region` says
where that matters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

RELATIVE_TOLERANCE = 1e-5
"""Of comparisons: distances are float32 sums of squares, and a radius of 2.1 mm must include three steps of 0.7 mm."""


def truncated_distance(mask: Tensor, radius: float, spacing: Sequence[float]) -> Tensor:
    """Euclidean distance of every voxel to the nearest voxel of a mask, as far as ``radius``.

    Args:
        mask: Boolean tensor; a set of several masks is several leading indices.
        radius: Largest distance of interest, in the unit of ``spacing``; a distance equal to it counts as within.
        spacing: Voxel size of each spatial axis, in the order of the axes.

    Returns:
        float32 distances: 0 in the mask, ``inf`` beyond ``radius`` and everywhere if the mask is empty.

    Raises:
        ValueError: If the mask is not boolean, has too few axes, or radius or spacing are not usable.

    Shape:
        - mask: ``(..., D, H, W)``, or ``(..., H, W)`` with two values of spacing. The result has the same shape.
    """
    _check(mask, radius, spacing)
    distance = torch.full(mask.shape, math.inf, dtype=torch.float32, device=mask.device)
    box = work_box(mask, [_reach(radius, step) for step in spacing])
    if box is not None:
        squared = _squared_distance(mask[box], radius, spacing)
        limit = (radius * (1 + RELATIVE_TOLERANCE)) ** 2
        distance[box] = squared.masked_fill_(squared > limit, math.inf).sqrt_()
    return distance


def signed_distance(mask: Tensor, radius: float, spacing: Sequence[float]) -> Tensor:
    """Distance to the mask outside of it (positive), minus the distance to its complement inside of it (negative).

    No voxel has the value 0: the two voxels on either side of an edge have plus and minus one step. Beyond ``radius``
    the value is plus or minus ``inf``. Arguments and result as of `truncated_distance`.
    """
    return truncated_distance(mask, radius, spacing) - _depth(mask, radius, spacing)


def dilate(mask: Tensor, radius: float, spacing: Sequence[float]) -> Tensor:
    """Dilation by a ball: every voxel whose distance to the mask is at most ``radius``; boolean."""
    return truncated_distance(mask, radius, spacing).isfinite()


def erode(mask: Tensor, radius: float, spacing: Sequence[float]) -> Tensor:
    """Erosion by a ball: the voxels of the mask farther than ``radius`` from every voxel that is not in it.

    The border of the array does not erode, since the mask may go on behind it. For padding to behave the same way, add
    it to the mask before the call and take it out of the result.
    """
    return mask & _depth(mask, radius, spacing).isinf()


def known_band_region(inside: Tensor, eta: float, spacing: Sequence[float]) -> Tensor:
    """Voxels whose whole neighbourhood of radius ``eta`` is inside the image and inside the array.

    Only there is it certain whether a voxel belongs to a band of width ``eta``: nearer to the border of a patch or to
    padding, an edge that is out of sight could be closer than the one in sight. ``inside`` is boolean, ``(...,
    *spatial)``, False in padding, as is the result.
    """
    known = inside & ~dilate(~inside, eta, spacing)
    for axis, step in enumerate(spacing, start=inside.ndim - len(spacing)):
        # The first voxel outside of the array is one step away from the first one in it.
        hidden = min(_reach(eta, step), known.shape[axis])
        known.narrow(axis, 0, hidden).fill_(False)
        known.narrow(axis, known.shape[axis] - hidden, hidden).fill_(False)
    return known


def work_box(mask: Tensor, margins: Sequence[int]) -> tuple[Any, ...] | None:
    """Index of the part of an array that holds all True voxels and a margin around them.

    On the CPU only. Elsewhere it is the whole array: to find the box, the device would have to wait for the host, which
    costs more than the box saves.

    Args:
        mask: Boolean tensor ``(..., *spatial)``; one box for all leading indices.
        margins: Margin in voxels, for each spatial axis.

    Returns:
        A tuple to index ``mask`` with; None if no voxel is True (on the CPU).
    """
    if mask.device.type != "cpu":
        return (...,)
    spatial = mask.reshape(-1, *mask.shape[mask.ndim - len(margins) :]).any(0)
    box: list[slice] = []
    for axis, margin in enumerate(margins):
        other_axes = [other for other in range(spatial.ndim) if other != axis]
        occupied = (spatial.any(other_axes) if other_axes else spatial).nonzero()
        if len(occupied) == 0:
            return None
        box.append(slice(max(int(occupied[0]) - margin, 0), int(occupied[-1]) + 1 + margin))
    return (..., *box)


def _depth(mask: Tensor, radius: float, spacing: Sequence[float]) -> Tensor:
    """Distance of the mask's voxels to its complement; 0 outside of the mask, ``inf`` beyond the radius."""
    _check(mask, radius, spacing)
    depth = torch.zeros(mask.shape, dtype=torch.float32, device=mask.device)
    # The nearest voxel outside of a mask lies in its bounding box or next to it.
    box = work_box(mask, [1] * len(spacing))
    if box is not None:
        depth[box] = truncated_distance(~mask[box], radius, spacing)
    return depth


def _squared_distance(mask: Tensor, radius: float, spacing: Sequence[float]) -> Tensor:
    current = torch.full(mask.shape, math.inf, dtype=torch.float32, device=mask.device).masked_fill_(mask, 0.0)
    shifted = torch.empty_like(current)
    for axis, step in enumerate(spacing, start=mask.ndim - len(spacing)):
        size = mask.shape[axis]
        lowest = current.clone()
        for shift in range(1, min(_reach(radius, step), size - 1) + 1):
            torch.add(current, (shift * step) ** 2, out=shifted)
            ahead, behind = lowest.narrow(axis, shift, size - shift), lowest.narrow(axis, 0, size - shift)
            torch.minimum(ahead, shifted.narrow(axis, 0, size - shift), out=ahead)
            torch.minimum(behind, shifted.narrow(axis, shift, size - shift), out=behind)
        current = lowest
    return current


def _reach(radius: float, step: float) -> int:
    return math.floor(radius * (1 + RELATIVE_TOLERANCE) / step)


def _check(mask: Tensor, radius: float, spacing: Sequence[float]) -> None:
    if mask.dtype != torch.bool:
        raise ValueError(f"A mask must be boolean, got {mask.dtype}. Compare it first, for example mask > 0.5.")
    if not 1 <= len(spacing) <= mask.ndim or not all(step > 0 and math.isfinite(step) for step in spacing):
        raise ValueError(
            f"spacing must hold one positive number for each spatial axis, got {tuple(spacing)} "
            f"for a mask of shape {tuple(mask.shape)}."
        )
    if not (radius >= 0 and math.isfinite(radius)):
        raise ValueError(f"A radius must be a finite number of at least 0, got {radius}.")
