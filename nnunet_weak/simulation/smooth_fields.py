"""Smooth random functions of a position in mm, so that what they make does not depend on the voxel grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
SmoothField = Callable[[Sequence[FloatArray]], FloatArray]


def smooth_field(rng: np.random.Generator, wavelength_mm: float, waves: int = 8) -> SmoothField:
    """Random field of mean 0 and variance 1: a sum of plane waves in random directions.

    Args:
        rng: Source of randomness; drawn from now, not when the field is evaluated.
        wavelength_mm: Typical wavelength; the waves have 0.7 to 1.4 times it.
        waves: Number of waves.

    Returns:
        Function of the three coordinates in mm (arrays of one shape) that gives the field there.
    """
    directions = rng.normal(size=(waves, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    frequencies = 2 * np.pi / (wavelength_mm * rng.uniform(0.7, 1.4, size=(waves, 1)))
    vectors = (directions * frequencies).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, size=waves).astype(np.float32)

    def field(position_mm: Sequence[FloatArray]) -> FloatArray:
        a, b, t = position_mm
        total = np.zeros(np.broadcast(a, b, t).shape, dtype=np.float32)
        for (u, v, w), phase in zip(vectors, phases, strict=True):
            total += np.cos(u * a + v * b + w * t + phase)
        return total * np.float32(np.sqrt(2 / waves))

    return field
