"""The grid that the page works on: the image's own voxels, ordered right, anterior, superior.

Axes of the file are permuted and reversed, never resampled, so that every voxel of the page is a voxel of the file.
World coordinates here are RAS mm, as the page's; files and fits of this package are LPS.
"""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
"""Factors that turn RAS mm into LPS mm, and back."""


@dataclass(frozen=True)
class CanonicalGrid:
    """How voxels of a file and of the page correspond.

    Attributes:
        shape: Voxels along right, anterior, superior.
        affine: RAS mm of a voxel's centre, (4, 4).
        orientation: For each axis of the file, the axis of the page and its direction, (3, 2), as nibabel has it.
        file_geometry: Size, origin, spacing and direction of the file, LPS mm.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    orientation: NDArray[np.float64]
    file_geometry: tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...], tuple[float, ...]]

    @classmethod
    def of(cls, image: sitk.Image) -> CanonicalGrid:
        """The grid of an image."""
        affine = np.eye(4)
        direction = np.array(image.GetDirection()).reshape(3, 3)
        affine[:3, :3] = LPS_TO_RAS[:, None] * direction * np.array(image.GetSpacing())
        affine[:3, 3] = LPS_TO_RAS * image.GetOrigin()
        orientation = nib.orientations.io_orientation(affine)
        shape = np.empty(3, int)
        shape[orientation[:, 0].astype(int)] = image.GetSize()
        reordered = affine @ nib.orientations.inv_ornt_aff(orientation, image.GetSize())
        geometry = (image.GetSize(), image.GetOrigin(), image.GetSpacing(), image.GetDirection())
        return cls((int(shape[0]), int(shape[1]), int(shape[2])), reordered, orientation, geometry)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel spacing along right, anterior, superior."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    def to_page(self, array: NDArray) -> NDArray:
        """Array of a file, (z, y, x) of the file, as (superior, anterior, right)."""
        return nib.orientations.apply_orientation(array.T, self.orientation).T

    def to_file(self, array: NDArray) -> NDArray:
        """The inverse of `to_page`."""
        canonical = np.array([[0, 1], [1, 1], [2, 1]])
        back = nib.orientations.ornt_transform(canonical, self.orientation)
        return np.ascontiguousarray(nib.orientations.apply_orientation(array.T, back).T)

    def file_image(self) -> sitk.Image:
        """A blank image with the geometry of the file."""
        size, origin, spacing, direction = self.file_geometry
        image = sitk.Image(size, sitk.sitkUInt8)
        image.SetOrigin(origin)
        image.SetSpacing(spacing)
        image.SetDirection(direction)
        return image
