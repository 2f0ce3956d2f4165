"""Scribbles as labels for the stock trainer, with background where no structure can be: what one does by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from nnunet_weak.images.read import with_geometry_of

BACKGROUND_MM = 15.0
"""In the plane of the slice; 0.2 % of the background that this derives from training hearts is heart."""


def write_scribbles_with_background(source: Path, folder: Path, classes: int) -> None:
    """Write scribbles with derived background, and `ignore`, the value after the classes, elsewhere.

    In slices with a scribble of a class, what is farther than `BACKGROUND_MM` from all of these is background.
    """
    folder.mkdir(parents=True)
    for path in sorted(source.glob("*.nii.gz")):
        image = sitk.ReadImage(str(path))
        scribbles, (x_mm, y_mm, _) = sitk.GetArrayFromImage(image), image.GetSpacing()
        labels = np.full(scribbles.shape, classes + 1, np.uint8)
        labels[scribbles <= classes] = scribbles[scribbles <= classes]
        for index, scribble in enumerate((scribbles > 0) & (scribbles <= classes)):
            if scribble.any():
                far = ndimage.distance_transform_edt(~scribble, sampling=(y_mm, x_mm)) > BACKGROUND_MM
                labels[index][far & (labels[index] > classes)] = 0
        sitk.WriteImage(with_geometry_of(labels, image), str(folder / path.name))
