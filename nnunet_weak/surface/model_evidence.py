"""Weigh a template against a model that was trained on templates, or on a few drawn cases: labels of a second round.

A surface through a few points is right at the points and a guess between them, and its errors there differ from case to
case, so that a model trained on many templates averages them away. The model in turn does not know where the surface of
this case was clicked. Both say how sure they are: a voxel that lies d inside of the template has the log-odds
d / (spacing of the points / 16), or / 32 if the template is of the object's own kind, and those of the model are added.

A part thinner than what both are off by is lost in such a sum. Points on the surface tell the size of this case, so a
template of the object's own kind has a say in it: the object is made as large as the geometric mean of the template and
of the sum.

Not part of the Weak-Net paper. IoU of the labels of 101 hippocampi, 25 points each: spheres .704, model on its own
training images .744, both .755; the factor 16 has a flat optimum (8: .753, 24: .756), with 125 points too (.801, to
.803 and .808). Beside five drawn hippocampi (model .795, 16 cases) .808, with half and double the factor .805 and .802.
With averages of 2 or 5 annotated cases as templates 24, 32 and 40 differ by .003 for hippocampi and mandibles, but
beside a model of 2 mandibles (.849, .855, .858). The size took the Dice of 75 and 72 mandibles beside models of 2 and 5
others from .860 to .866 and from .849 to .856 (volumes from 1.10 to 1.07 and from .91 to .95 of the truth), and left
hippocampi as they were.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy  # its parts are loaded where they are first used
from numpy.typing import NDArray

from nnunet_weak.surface.fit import SurfaceFit
from nnunet_weak.surface.mesh import surface_area

Box = tuple[slice, slice, slice]

_OF_SPHERES, _OF_SHAPES = 16.0, 32.0
_SUREST = 1e-3
_REACH = float(np.log((1 - _SUREST) / _SUREST))


def certain_within_mm(fit: SurfaceFit, n_points: int, known_shape: bool = False) -> float:
    """Distance from the surface, mm, that stands for log-odds of 1: a part of the mean spacing of its points.

    A smaller one for a template of the object's own kind than for the sphere.
    """
    spacing_mm = float(np.sqrt(surface_area(fit.vertices_mm, fit.faces) / n_points))
    return spacing_mm / (_OF_SHAPES if known_shape else _OF_SPHERES)


def weigh_probability(
    box: Box,
    inside: NDArray[np.bool_],
    probability: NDArray[np.floating],
    voxel_mm: Sequence[float],
    scale_mm: float,
    known_shape: bool = False,
) -> tuple[Box, NDArray[np.bool_]]:
    """The voxels that template and model together take for the object.

    Args:
        box: Part of the grid (z, y, x) that the template reaches.
        inside: The template in it.
        probability: Of the object, on the whole grid (z, y, x). What is surer than 1 in 1000 counts as that, so that no
            voxel changes farther than 7 times `scale_mm` from the template's boundary.
        voxel_mm: Width of the voxels (z, y, x).
        scale_mm: See `certain_within_mm`.
        known_shape: The template is of the object's own kind, and has a say in its size.

    Returns:
        A box with a margin around the template, and the object in it. The template itself where nothing would be left.
    """
    margins = [int(np.ceil(_REACH * scale_mm / width)) + 1 for width in voxel_mm]
    wide: Box = tuple(  # type: ignore[assignment]
        slice(max(part.start - margin, 0), min(part.stop + margin, size))
        for part, margin, size in zip(box, margins, probability.shape, strict=True)
    )
    template = np.pad(
        inside,
        [(part.start - outer.start, outer.stop - part.stop) for part, outer in zip(box, wide, strict=True)],
    )
    half = 0.5 * float(np.prod(voxel_mm)) ** (1 / 3)  # distances are between centres, the boundary is between voxels
    depth = np.where(template, _distance(template, voxel_mm) - half, half - _distance(~template, voxel_mm))
    likely = np.clip(probability[wide].astype(np.float64), _SUREST, 1 - _SUREST)
    evidence = depth / scale_mm + np.log(likely / (1 - likely))
    found = evidence > 0
    voxels = round(float(np.sqrt(inside.sum() * found.sum())))
    if known_shape and 0 < voxels < evidence.size:
        found = evidence > np.partition(evidence, -voxels - 1, axis=None)[-voxels - 1]
    return (wide, found) if found.any() else (box, inside)


def _distance(mask: NDArray[np.bool_], voxel_mm: Sequence[float]) -> NDArray[np.float64]:
    """Of each voxel of a mask to the nearest one outside, mm; infinite where there is none."""
    if mask.all():
        return np.full(mask.shape, np.inf)
    return scipy.ndimage.distance_transform_edt(mask, voxel_mm)
