"""The templates of a case: what writes them and what draws them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_weak.points.points import ObjectPoints
from nnunet_weak.surface.fit import SurfaceFit


@dataclass(frozen=True)
class FittedObject:
    """A template and how it fits.

    Attributes:
        points: What it was fitted to.
        fit: The surface.
        voxels: Number of voxels inside it.
    """

    points: ObjectPoints
    fit: SurfaceFit
    voxels: int


@dataclass(frozen=True)
class Templates:
    """The templates of a case.

    Attributes:
        labels: Label map, (z, y, x): class k (from 1) inside its templates.
        fitted: The objects, in the order of their classes.
        overlaps: As in `CheckedPointCase`.
    """

    labels: NDArray[np.uint8]
    fitted: tuple[FittedObject, ...]
    overlaps: Mapping[tuple[str, str], int]
