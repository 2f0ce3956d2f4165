"""CT-like volumes of a long bone with its joints, true labels, and masks with the errors of a coarse model.

They let every command and trainer for SCORE run without any data at hand. The bone has a dense shell, spongy ends, a
fatty marrow cavity; around it lie muscle, fat, the bones of both joints, and air. Pose, side, field of view, voxel size
and direction matrix vary. The true boundary is the visible outer boundary of the bone, so the masks' errors can be
corrected from the image.

Arrays are (z, y, x); sizes of `sitk.Image` and the `size` argument are (x, y, z). Intensities are Hounsfield units. The
shapes are in mm: a larger size gives finer voxels of the same scene.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from nnunet_weak.dataset.annotations import ErrorType
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.atomic import atomic_file
from nnunet_weak.images.read import with_geometry_of
from nnunet_weak.simulation.bone_shape import REGIONS, LongBone, Position, coarse_mask, random_errors
from nnunet_weak.simulation.smooth_fields import FloatArray, smooth_field

DEFAULT_SIZE = (48, 44, 64)

_AIR_HU, _FAT_HU, _MUSCLE_HU, _CARTILAGE_HU, _MARROW_HU, _SPONGY_HU = -1000.0, -100.0, 55.0, 95.0, -40.0, 260.0
_WINDOW_HU = (-250, 1100)
_OUTLINES = {"truth": "#35d07f", "initial mask": "#ff5a4f"}


@dataclass(frozen=True)
class Phantom:
    """One case.

    Attributes:
        image: Hounsfield units, int16.
        labels: The truth, uint8, values of `REGIONS`.
        initial_mask: The same with a coarse model's errors.
        errors: The error of each region that was asked for; a rater may judge a small one as none.
        dice: The Dice of the initial mask that was asked for.
    """

    image: sitk.Image
    labels: sitk.Image
    initial_mask: sitk.Image
    errors: Mapping[str, ErrorType]
    dice: float


def make_phantom(seed: int | Sequence[int], size: tuple[int, int, int] = DEFAULT_SIZE) -> Phantom:
    """Make one phantom; the same seed and size give the same voxels.

    Args:
        seed: A number, or several (such as data set and case).
        size: Largest number of voxels along x, y and z. Cases are up to 12 % smaller in plane, and a volume that shows
            only one end of the bone is shorter. The voxel size follows: about 1.7 x 1.7 x 2.1 mm at the default size.

    Raises:
        InvalidInputError: A size below 16 voxels.
    """
    if len(size) != 3 or min(size) < 16:
        raise InvalidInputError(f"size {tuple(size)} (remedy: three numbers of voxels along x, y, z, at least 16 each)")
    # One stream for each part: the noise draws a number per voxel, and the errors must not depend on their count.
    scene_rng, tissue_rng, error_rng = np.random.default_rng(seed).spawn(3)
    bone = LongBone.random(scene_rng)
    grid, position = _random_view(scene_rng, size, bone)

    smooth_mm = bone.smooth_distance_mm(position)
    bone_mm = bone.distance_mm(position, smooth_mm)
    neighbours_mm = bone.neighbours_mm(position, np.minimum(smooth_mm, bone_mm))
    image = _hounsfield(tissue_rng, bone, position, bone_mm, neighbours_mm, float(np.mean(grid.GetSpacing())))

    regions = np.full(bone_mm.shape, REGIONS["shaft"], dtype=np.uint8)
    regions[position[2] > bone.proximal_from_mm] = REGIONS["proximal"]
    regions[position[2] < bone.distal_to_mm] = REGIONS["distal"]
    errors, dice = random_errors(error_rng)
    mask = coarse_mask(bone, position, bone_mm, smooth_mm, neighbours_mm, errors, dice, error_rng)
    return Phantom(
        image=with_geometry_of(image, grid),
        labels=with_geometry_of(regions * (bone_mm < 0), grid),
        initial_mask=with_geometry_of(regions * mask, grid),
        errors=errors,
        dice=dice,
    )


def save_preview(phantoms: Sequence[tuple[str, Phantom]], path: Path) -> None:
    """Write a PNG of named phantoms: three slices through each, with the true outline and the initial mask's."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    columns = min(4, len(phantoms))
    rows = -(-len(phantoms) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.7 * rows), facecolor="black", layout="constrained")
    panels = figure.subplots(rows, 3 * columns, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    for three, (name, phantom) in zip(panels.reshape(-1, 3), phantoms, strict=False):
        image = sitk.GetArrayFromImage(phantom.image)
        masks = [sitk.GetArrayFromImage(part) > 0 for part in (phantom.labels, phantom.initial_mask)]
        spacing_mm = phantom.image.GetSpacing()[::-1]
        for panel, normal in zip(three, (1, 2, 0), strict=True):
            height, width = (axis for axis in range(3) if axis != normal)
            widest = int(masks[0].sum(axis=(height, width)).argmax())  # where an end and its joint are seen
            panel.imshow(
                np.take(image, widest, normal),
                cmap="gray",
                vmin=_WINDOW_HU[0],
                vmax=_WINDOW_HU[1],
                aspect=spacing_mm[height] / spacing_mm[width],
                origin="upper" if normal == 0 else "lower",
                interpolation="nearest",
            )
            for mask, colour in zip(masks, _OUTLINES.values(), strict=True):
                plane = np.take(mask, widest, normal)
                if plane.any() and not plane.all():
                    panel.contour(plane, levels=[0.5], colors=colour, linewidths=0.9)
        three[0].set_title(name, color="white", fontsize=10, loc="left")
    handles = [Line2D([], [], color=colour, label=label) for label, colour in _OUTLINES.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, labelcolor="white", frameon=False)
    with atomic_file(path) as partial:
        figure.savefig(partial, dpi=110, metadata={"Software": None})


def _random_view(rng: np.random.Generator, size: Sequence[int], bone: LongBone) -> tuple[sitk.Image, list[FloatArray]]:
    """An empty image of random geometry, and its voxel centres in the bone's frame as arrays (z, y, x)."""
    extent_mm = np.array([82.0, 74.0, bone.length_mm + 28.0])
    spacing_mm = extent_mm / size * rng.uniform(0.96, 1.04, size=3)
    voxels = np.rint(np.array(size) * [rng.uniform(0.88, 1), rng.uniform(0.88, 1), 1]).astype(int)
    centre_mm = np.array([rng.normal(0, 2), rng.normal(0, 2), 0.0])
    part = rng.choice(["whole", "proximal", "distal"], p=[0.6, 0.2, 0.2])
    if part != "whole":
        voxels[2] = round(size[2] * rng.uniform(0.55, 0.75))
        centre_mm[2] = (1 if part == "distal" else -1) * (size[2] - voxels[2]) * spacing_mm[2] / 2

    side = rng.choice([-1.0, 1.0])
    tilt = Rotation.from_euler(
        "zyx", [rng.uniform(-25, 25), rng.uniform(-9, 9), rng.uniform(-9, 9)], degrees=True
    ).as_matrix()
    axes = [(np.arange(n) - (n - 1) / 2) * s - c for n, s, c in zip(voxels, spacing_mm, centre_mm, strict=True)]
    x, y, z = (axis.astype(np.float32) for axis in axes)
    x, y, z = x[None, None, :], y[None, :, None], z[:, None, None]
    a, b, t = (x * column[0] + y * column[1] + z * column[2] for column in tilt.T.astype(np.float32))

    # A third of the volumes are oblique, as scanners write them when planned along the limb.
    turned = (
        Rotation.from_rotvec(rng.normal(0, 9, size=3), degrees=True).as_matrix() if rng.random() < 1 / 3 else np.eye(3)
    )
    grid = sitk.Image(voxels.tolist(), sitk.sitkUInt8)
    grid.SetSpacing(spacing_mm.tolist())
    grid.SetDirection(turned.ravel().tolist())
    grid.SetOrigin((turned @ (-(voxels - 1) / 2 * spacing_mm) + rng.uniform(-200, 200, size=3)).tolist())
    # The socket lies medially, so the scene is centred between the bone's axis and it.
    return grid, [np.float32(side) * a + 5, b, t]


def _hounsfield(
    rng: np.random.Generator,
    bone: LongBone,
    position: Position,
    bone_mm: FloatArray,
    neighbours_mm: FloatArray,
    voxel_mm: float,
) -> NDArray[np.int16]:
    """The scene as a scanner sees it: partial volume, blur, noise."""

    def occupied(signed_distance_mm: FloatArray) -> FloatArray:
        return np.clip(0.5 - signed_distance_mm / voxel_mm, 0, 1)

    t = position[2]
    bones_mm = np.minimum(bone_mm, neighbours_mm)
    skin_mm = bone.limb_distance_mm(position, bones_mm)
    septa = smooth_field(rng, wavelength_mm=28)(position)
    spongy = smooth_field(rng, wavelength_mm=9)(position)

    image = np.full_like(t, _AIR_HU)
    image += (_FAT_HU - image) * occupied(skin_mm)
    muscle = _MUSCLE_HU + (_FAT_HU - _MUSCLE_HU) * np.clip(1.5 - np.abs(septa) / 0.12, 0, 0.8)
    image += (muscle - image) * occupied(skin_mm + rng.uniform(3, 7))
    joint_mm = np.maximum(bone_mm, neighbours_mm) - (bone.gap_mm + 0.5)  # near to both bones at once
    image += (_CARTILAGE_HU - image) * occupied(joint_mm)

    to_end_mm = bone.length_mm / 2 - np.abs(t)
    mid = 1 / (1 + np.exp(-(to_end_mm - 27) / 3))  # 1 in the shaft, 0 in the ends
    inside = _MARROW_HU + (_SPONGY_HU + 70 * spongy - _MARROW_HU) * (1 - 0.95 * mid)
    dense = rng.uniform(950, 1100) + 300 * mid
    for surface_mm, shell_mm in ((bone_mm, 1.3 + 2.2 * mid), (neighbours_mm, np.float32(1.8))):
        image += (dense - image) * occupied(surface_mm)
        image += (inside - image) * occupied(surface_mm + shell_mm)

    image = ndimage.gaussian_filter(image, 0.4)
    noise_hu = rng.uniform(15, 30)
    noise = ndimage.gaussian_filter(rng.standard_normal(image.shape, dtype=np.float32), 0.5)
    image += noise_hu / noise.std() * noise
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16)
