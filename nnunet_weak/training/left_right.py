"""Which axis of the network's input runs left-right in the patient.

nnU-Net ignores the direction matrix, so it cannot know; the converter records the axis of the image (x = 0, y = 1, z =
2).
"""

from __future__ import annotations

from collections.abc import Sequence


def network_axis(image_axis: int | None, transpose_forward: Sequence[int], spatial_dims: int) -> int | None:
    """Axis of the network's spatial axes that runs left-right.

    Args:
        image_axis: SimpleITK axis, or None if unknown.
        transpose_forward: nnU-Net's permutation of the array axes (z, y, x).
        spatial_dims: 2 or 3 (in 2d the first axis is not seen by the network).

    Returns:
        The axis, or None where it is unknown or out of plane.
    """
    if image_axis is None:
        return None
    axis = list(transpose_forward).index(2 - image_axis) - (3 - spatial_dims)
    return axis if axis >= 0 else None
