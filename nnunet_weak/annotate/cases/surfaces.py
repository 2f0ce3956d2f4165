"""The surface of a region, for the picture in 3D."""

from __future__ import annotations

import numpy as np

from nnunet_weak.annotate.cases.decode import DecodedCase
from nnunet_weak.annotate.messages import pack
from nnunet_weak.errors import InvalidInputError

_MOST_VOXELS = 1 << 21


def region_surface(case: DecodedCase, label: int) -> bytes:
    """Marching cubes of a region, of every n-th voxel where it is large: vertices (RAS mm, float32), faces (uint32).

    Raises:
        InvalidInputError: The mask has no such region.
    """
    from skimage.measure import marching_cubes

    labels = case.labels()
    region = next((region for region in case.regions if region.label == label), None)
    if labels is None or region is None:
        raise InvalidInputError(f"{case.case}: the mask has no region {label}")
    box = tuple(slice(low, high) for low, high in zip(region.low[::-1], region.high[::-1], strict=True))
    step = 1
    while np.prod([-(-(side.stop - side.start) // step) for side in box]) > _MOST_VOXELS:
        step += 1
    inside = np.pad(labels[box][::step, ::step, ::step] == label, 1)
    vertices, faces, _, _ = marching_cubes(inside.astype(np.float32), 0.5)
    voxels = (vertices[:, ::-1] - 1) * step + np.array(region.low)
    world = voxels @ case.grid.affine[:3, :3].T + case.grid.affine[:3, 3]
    return pack({}, world.astype("<f4").tobytes(), np.ascontiguousarray(faces[:, ::-1], "<u4").tobytes())
