from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.simulation.points import simulate_points
from nnunet_weak.surface.fit import fit_surface
from nnunet_weak.surface.image_evidence import follow_image
from nnunet_weak.surface.rasterise import rasterise


def bent_object() -> sitk.Image:
    """A bean on an anisotropic, flipped grid."""
    z, y, x = np.meshgrid(np.arange(16), np.arange(36), np.arange(44), indexing="ij")
    bent_y = y - 12 - 0.025 * (x - 21.5) ** 2
    mask = ((x - 21.5) / 17) ** 2 + (bent_y / 7) ** 2 + ((z - 7.5) / 5.5) ** 2 < 1
    label = sitk.GetImageFromArray(mask.astype(np.uint8))
    label.SetSpacing((1.0, 1.2, 2.5))
    label.SetOrigin((30.0, -40.0, 7.0))
    label.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    return label


def image_of(label: sitk.Image, contrast: float, noise: float = 10.0) -> sitk.Image:
    array = sitk.GetArrayFromImage(label) * contrast
    image = sitk.GetImageFromArray((array + np.random.default_rng(0).normal(0, noise, array.shape)).astype(np.float32))
    image.CopyInformation(label)
    return image


def iou(vertices: np.ndarray, faces: np.ndarray, label: sitk.Image) -> float:
    mask = sitk.GetArrayFromImage(rasterise(vertices, faces, label)).astype(bool)
    truth = sitk.GetArrayFromImage(label).astype(bool)
    return float((mask & truth).sum() / (mask | truth).sum())


LABEL = bent_object()
POINTS = simulate_points(LABEL, 15, seed=1)
FIT = fit_surface(POINTS)


def test_clear_edges_improve_the_surface_and_the_points_hold_it() -> None:
    moved = follow_image(FIT, POINTS, image_of(LABEL, 100.0))
    assert iou(moved.vertices_mm, moved.faces, LABEL) > iou(FIT.vertices_mm, FIT.faces, LABEL) + 0.01
    assert moved.residuals_mm.max() < 1.0
    assert moved.volume_mm3 > 0


def test_noise_without_edges_hardly_moves_the_surface() -> None:
    moved = follow_image(FIT, POINTS, image_of(LABEL, 0.0))
    assert abs(iou(moved.vertices_mm, moved.faces, LABEL) - iou(FIT.vertices_mm, FIT.faces, LABEL)) < 0.05


def test_scale_and_offset_of_the_intensities_do_not_matter() -> None:
    image = image_of(LABEL, 100.0)
    moved, rescaled = follow_image(FIT, POINTS, image), follow_image(FIT, POINTS, image * 0.01 - 3)
    np.testing.assert_allclose(moved.vertices_mm, rescaled.vertices_mm, atol=1e-2)


def test_constant_image_leaves_the_surface_alone() -> None:
    assert follow_image(FIT, POINTS, image_of(LABEL, 0.0, noise=0.0)) is FIT


def test_colour_image_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="scalar 3D image"):
        follow_image(FIT, POINTS, sitk.Image((4, 4, 4), sitk.sitkVectorUInt8, 3))


def test_only_the_surroundings_of_the_surface_count() -> None:
    image = image_of(LABEL, 100.0)
    padded = sitk.ConstantPad(image, (40, 30, 20), (25, 35, 15), -500.0)
    moved, far = follow_image(FIT, POINTS, image), follow_image(FIT, POINTS, padded)
    # The border itself is near enough to touch some profiles; the bulk of the surface must not see it.
    assert np.median(np.linalg.norm(moved.vertices_mm - far.vertices_mm, axis=1)) < 0.1
