"""Slice-wise annotation simulated from dense labels: the baseline Weak-Net is compared with.

A few slices over the three image planes are annotated fully, the rest of the volume is `ignore`. Arrays are indexed
(z, y, x).

Reference: Weak-Net, sections 4.1 and 4.3; effort is the sum of the contour lengths in the slices, which is compared
there with a number of points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from skimage.measure import find_contours

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.read import with_geometry_of


@dataclass(frozen=True)
class SliceAnnotation:
    """A sparse label map.

    Attributes:
        label: the given labels in the annotated slices, the ignore label elsewhere.
        slices: annotated slices as (array axis, index); axis 0 is z, 1 is y, 2 is x.
        contour_length_mm: total length of the outlines drawn, in mm.
        contour_length_vox: the same in voxels, the unit in which a length is compared with a number of points.
        seed: of the random numbers.
    """

    label: sitk.Image
    slices: tuple[tuple[int, int], ...]
    contour_length_mm: float
    contour_length_vox: float
    seed: int


def simulate_slices(label: sitk.Image, n_slices: int, ignore_label: int, *, seed: int = 0) -> SliceAnnotation:
    """Annotate slices of a dense label map, spread over the three planes in turn.

    Slices are picked at random among those that contain the object, as in the paper; none is picked twice. A plane
    that runs out of them leaves its turn to the others.

    Args:
        label: dense label map, background 0.
        n_slices: how many, >= 1.
        ignore_label: value for what is not annotated; must not occur in the label map.
        seed: of the random numbers; the same seed gives the same slices.

    Raises:
        InvalidInputError: no slice asked for, more than contain an object, no object, ignore label in use.
    """
    dense = sitk.GetArrayFromImage(label)
    foreground = dense != 0
    containing = [np.flatnonzero(foreground.any(axis=_other_axes(axis))) for axis in range(3)]
    available = sum(len(indices) for indices in containing)
    if not 1 <= n_slices <= available:
        raise InvalidInputError(
            f"n_slices must be between 1 and {available}, the number of slices of the three planes that contain an "
            f"object; got {n_slices}."
        )
    if (dense == ignore_label).any():
        raise InvalidInputError(f"ignore_label {ignore_label} occurs in the label map. Use a value beyond its classes.")
    rng = np.random.default_rng(seed)
    slices = _turns(containing, n_slices, rng)
    annotated = np.zeros(dense.shape, dtype=bool)
    for axis, index in slices:
        annotated[_slice_at(axis, index)] = True
    spacing_mm = label.GetSpacing()[::-1]
    dtype = np.result_type(dense.dtype, np.min_scalar_type(ignore_label))
    return SliceAnnotation(
        label=with_geometry_of(np.where(annotated, dense.astype(dtype), dtype.type(ignore_label)), label),
        slices=tuple(slices),
        contour_length_mm=sum(_contour_length(dense[_slice_at(*one)], _without(spacing_mm, one[0])) for one in slices),
        contour_length_vox=sum(_contour_length(dense[_slice_at(*one)], (1, 1)) for one in slices),
        seed=seed,
    )


def full_contour_length_mm(label: sitk.Image, axis: int = 0) -> float:
    """Effort of annotating every slice across an array axis (0 is z), in mm: what sparse efforts are a share of."""
    dense = sitk.GetArrayFromImage(label)
    spacing_mm = _without(label.GetSpacing()[::-1], axis)
    return sum(_contour_length(dense[_slice_at(axis, index)], spacing_mm) for index in range(dense.shape[axis]))


def _turns(containing: list[NDArray[np.intp]], n_slices: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    waiting = [list(rng.permutation(indices)) for indices in containing]
    # The planes' order is random too: with fewer slices than planes no plane is preferred.
    order = rng.permutation(3)
    slices: list[tuple[int, int]] = []
    turn = 0
    while len(slices) < n_slices:
        axis = int(order[turn % 3])
        if waiting[axis]:
            slices.append((axis, int(waiting[axis].pop())))
        turn += 1
    return slices


def _contour_length(values: NDArray[np.integer], spacing: tuple[float, ...]) -> float:
    """Total length of the outlines of every class of a slice, by marching squares, in the unit of the spacing.

    A border between two classes is part of both outlines.
    """
    length = 0.0
    padded = np.pad(values, 1)
    for value in np.unique(values[values != 0]):
        for outline in find_contours((padded == value).astype(float), 0.5):
            length += float(np.linalg.norm(np.diff(outline, axis=0) * spacing, axis=1).sum())
    return length


def _slice_at(axis: int, index: int) -> tuple[int | slice, ...]:
    return tuple(index if other == axis else slice(None) for other in range(3))


def _other_axes(axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(3) if other != axis)


def _without(spacing_mm: tuple[float, ...], axis: int) -> tuple[float, ...]:
    return tuple(spacing_mm[other] for other in _other_axes(axis))
