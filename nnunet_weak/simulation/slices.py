"""Slice-wise annotation simulated from dense labels: the baseline Weak-Net is compared with.

A few slices over the three image planes are annotated fully, the rest of the volume is `ignore`. Arrays are indexed
(z, y, x).

Reference: Weak-Net, sections 4.1 and 4.3; effort is the sum of the contour lengths in the slices, which is compared
there with a number of points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from skimage.measure import find_contours

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.read import with_geometry_of

_OTHER_AXES = ((1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class SliceAnnotation:
    """A sparse label map.

    Attributes:
        label: the given labels in the annotated slices, the ignore label elsewhere.
        slices: annotated slices as (array axis, index); axis 0 is z, 1 is y, 2 is x.
        contour_length_mm: total length of the outlines drawn, in mm.
        contour_length_vox: the same in voxels, the unit in which a length is compared with a number of points.
    """

    label: sitk.Image
    slices: tuple[tuple[int, int], ...]
    contour_length_mm: float
    contour_length_vox: float


def simulate_slices(
    label: sitk.Image, ignore_label: int, *, n_slices: int | None = None, effort_vox: float = 0.0, seed: int = 0
) -> SliceAnnotation:
    """Annotate slices of a dense label map, spread over the three planes in turn.

    Slices are picked at random among those that contain the object, as in the paper; none is picked twice. A plane
    that runs out of them leaves its turn to the others. The same seed picks the same slices first, so more effort adds
    to what is there.

    Args:
        label: dense label map, background 0.
        ignore_label: value for what is not annotated; must not occur in the label map.
        n_slices: how many, >= 1; or None for as many as come nearest to an effort, at least one.
        effort_vox: total length of outlines in voxels.
        seed: the same seed gives the same slices.

    Raises:
        InvalidInputError: no object, more slices than contain an object, ignore label in use.
    """
    dense = sitk.GetArrayFromImage(label)
    containing = [np.flatnonzero((dense != 0).any(axis=_OTHER_AXES[axis])) for axis in range(3)]
    available = sum(len(indices) for indices in containing)
    wanted = 1 if n_slices is None else n_slices
    if not 1 <= wanted <= available:
        raise InvalidInputError(
            f"{wanted} slices asked for, {available} of the three planes contain an object (remedy: 1 to {available})"
        )
    if (dense == ignore_label).any():
        raise InvalidInputError(f"ignore_label {ignore_label} occurs in the label map (remedy: a value beyond classes)")
    spacing_mm = label.GetSpacing()[::-1]
    annotated = np.zeros(dense.shape, dtype=bool)
    slices: list[tuple[int, int]] = []
    length_mm, length_vox = 0.0, 0.0
    for axis, index in _turns(containing, np.random.default_rng(seed)):
        plane = dense.take(index, axis)
        added_vox = _contour_length(plane, (1, 1))
        if n_slices is None and slices and abs(length_vox + added_vox - effort_vox) > abs(effort_vox - length_vox):
            break
        slices.append((axis, index))
        np.moveaxis(annotated, axis, 0)[index] = True
        length_vox += added_vox
        length_mm += _contour_length(plane, [spacing_mm[other] for other in _OTHER_AXES[axis]])
        if len(slices) == n_slices or (n_slices is None and length_vox >= effort_vox):
            break
    dtype = np.result_type(dense.dtype, np.min_scalar_type(ignore_label))
    return SliceAnnotation(
        with_geometry_of(np.where(annotated, dense.astype(dtype), dtype.type(ignore_label)), label),
        tuple(slices),
        length_mm,
        length_vox,
    )


def _turns(containing: list[NDArray[np.intp]], rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """All slices in random order, the planes in turn."""
    waiting = [list(rng.permutation(indices)) for indices in containing]
    # The planes' order is random too: with fewer slices than planes no plane is preferred.
    order = rng.permutation(3)
    while any(waiting):
        for axis in map(int, order):
            if waiting[axis]:
                yield axis, int(waiting[axis].pop())


def _contour_length(values: NDArray[np.integer], spacing: Sequence[float]) -> float:
    """Total length of the outlines of every class of a slice, by marching squares, in the unit of the spacing.

    A border between two classes is part of both outlines.
    """
    length = 0.0
    padded = np.pad(values, 1)
    for value in np.unique(values[values != 0]):
        for outline in find_contours((padded == value).astype(float), 0.5):
            length += float(np.linalg.norm(np.diff(outline, axis=0) * spacing, axis=1).sum())
    return length
