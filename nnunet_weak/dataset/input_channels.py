"""The network's input channels of SCORE for one case: images, one channel for each region of the initial mask, boundary
prior.

The converter and `nnunet_weak_prepare_inputs` both write them through this one function, so that training and
inference cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_weak.dataset.annotations import ChannelLayout
from nnunet_weak.dataset.case_files import CaseFiles
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.read import geometry_difference, read_case_image
from nnunet_weak.priors import PriorOptions, boundary_prior

PRIOR_STEPS = 255
"""P is stored in 8 bits, as multiples of 1/255: noise in the image moves it by more, and float32 takes more space."""


def read_first_channel(paths: Sequence[Path]) -> sitk.Image:
    """Read the first image channel of a case, whose grid all others share.

    Floating-point numbers of 64 bits become float32, which is what nnU-Net computes with.
    """
    return _read_channel(paths[0])


def further_channels(paths: Sequence[Path], first: sitk.Image) -> Iterator[sitk.Image]:
    """Read the other image channels, one at a time.

    Raises:
        InvalidInputError: See `read_image`; or a grid differs from the first channel's.
    """
    for path in paths[1:]:
        channel = _read_channel(path)
        difference = geometry_difference(first, channel)
        if difference:
            raise InvalidInputError(
                f"{path}: not on the grid of {paths[0].name}: {difference} (remedy: register and resample it)"
            )
        yield channel


def lowest_intensities(paths: Sequence[Path], first: sitk.Image) -> tuple[float, ...]:
    """The lowest intensity of each image channel, which are all read and checked.

    Raises:
        InvalidInputError: As `further_channels`.
    """
    return tuple(_lowest_intensity(channel) for channel in chain([first], further_channels(paths, first)))


@dataclass(frozen=True)
class WrittenChannels:
    """What was seen while a case's channels were written.

    Attributes:
        minima: Lowest intensity of each image channel.
        prior: P, before it was rounded; None without a prior channel.
    """

    minima: tuple[float, ...]
    prior: sitk.Image | None


def write_input_channels(
    files: CaseFiles,
    paths: Sequence[Path],
    mask: sitk.Image,
    layout: ChannelLayout,
    prior: PriorOptions | None,
    prior_file: Path | None = None,
) -> WrittenChannels:
    """Write all input channels of a case.

    Mask channel k holds 0 and 1 (8 bits): where the initial mask is k. The prior holds multiples of 1/255.

    Args:
        files: Where to; their reference is the first image channel.
        paths: Files of the image channels.
        mask: Initial mask on the same grid: 0 = background, k = region k of `layout.masks`.
        layout: Order of the channels.
        prior: How P is made; read only if the layout has a prior channel.
        prior_file: P itself, for the prior kind `file`.

    Raises:
        InvalidInputError: Another number of images than the layout has, grids that differ, or a prior that cannot be
            made.
        OSError: A file cannot be written.
    """
    if len(paths) != layout.images:
        names = ", ".join(path.name for path in paths)
        raise InvalidInputError(
            f"{files.name}: {len(paths)} image channels ({names}) where the data set has {layout.images}"
        )
    if layout.prior and prior is None:
        raise InvalidInputError(f"{files.name}: the data set has a prior channel, and nothing says how to make it")
    minima = []
    for channel, path in enumerate(paths):
        image = files.reference if channel == 0 else _read_channel(path)  # one at a time in memory, beside the first
        files.write_image(channel, path, image)
        minima.append(_lowest_intensity(image))
    labels = sitk.GetArrayViewFromImage(mask)
    for region in range(1, len(layout.masks) + 1):
        files.write_channel(layout.images + region - 1, labels == region)
    if not layout.prior or prior is None:
        return WrittenChannels(tuple(minima), None)
    made = boundary_prior(files.reference, prior, mask if prior.needs_mask else None, prior_file)
    files.write_channel(layout.count - 1, quantised_prior(made), slope=1 / PRIOR_STEPS)
    return WrittenChannels(tuple(minima), made)


def quantised_prior(prior: sitk.Image) -> np.ndarray:
    """P as whole multiples of 1/255, (z, y, x), 8 bits."""
    array = sitk.GetArrayViewFromImage(prior)
    rounded = np.empty(array.shape, dtype=np.uint8)
    for source, target in zip(array, rounded, strict=True):
        np.rint(source * np.float32(PRIOR_STEPS), out=target, casting="unsafe")
    return rounded


def _lowest_intensity(image: sitk.Image) -> float:
    return float(sitk.GetArrayViewFromImage(image).min())


def _read_channel(path: Path) -> sitk.Image:
    image = read_case_image(path)
    return sitk.Cast(image, sitk.sitkFloat32) if image.GetPixelID() == sitk.sitkFloat64 else image
