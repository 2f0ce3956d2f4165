"""An image on an oblique, anisotropic grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

SHAPE = (4, 5, 7)  # z, y, x


def grid(seed: int = 0) -> sitk.Image:
    """An oblique, anisotropic grid."""
    rng = np.random.default_rng(seed)
    image = sitk.GetImageFromArray(rng.integers(-1000, 1000, SHAPE).astype(np.int16))
    image.SetSpacing((0.6, 0.75, 2.5))
    image.SetOrigin((-12.3, 45.6, 7.8))
    rotation = sitk.Euler3DTransform()
    rotation.SetRotation(0.1, 0.2, 0.3)
    image.SetDirection(rotation.GetMatrix())
    return image


def write_grid(path: Path) -> Path:
    """The image as a file, in a folder of its own."""
    path.parent.mkdir()
    sitk.WriteImage(grid(), str(path))
    return path
