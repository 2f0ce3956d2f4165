"""A look at every mask in the background: whether it has changed since it was scored, and how suspicious it looks.

Measures of each region: volume, number of components, holes, agreement of mask and boundary prior in the band around
the boundary, and Dice with a second prediction; `queue` compares them between cases. Arrays are (z, y, x) of the file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_weak.annotate.cases.decode import CaseTask, read_labels, regions_of
from nnunet_weak.annotate.cases.grid import CanonicalGrid
from nnunet_weak.annotate.queue import Measures
from nnunet_weak.images.read import read_case_image
from nnunet_weak.priors import PriorOptions, boundary_prior

_BAND_VOXELS = 2
_MOST_VOXELS = 1 << 25


@dataclass(frozen=True)
class SurveyedCase:
    """What a look at a mask found.

    Attributes:
        hashes: SHA-256 of the voxels of each region that has some.
        measures: Measures of each region, where they were asked for.
    """

    hashes: Mapping[str, str]
    measures: Measures


def survey_case(task: CaseTask, with_measures: bool) -> SurveyedCase:
    """Look at the mask of a case; runs in a worker process.

    Raises:
        InvalidInputError: Unreadable files.
    """
    image = read_case_image(task.images[0])
    labels = read_labels(task.mask, task, image)
    if labels is None:
        return SurveyedCase({}, {})
    on_page = np.ascontiguousarray(CanonicalGrid.of(image).to_page(labels))
    hashes = {region.name: region.sha256 for region in regions_of(on_page, task)}
    del on_page
    if not with_measures:
        return SurveyedCase(hashes, {})
    second = read_labels(task.second_mask, task, image)
    return SurveyedCase(hashes, _measure(task, image, labels, second))


def _measure(task: CaseTask, image: sitk.Image, labels: NDArray, second: NDArray | None) -> Measures:
    """Measures of all regions; of large cases, of every n-th voxel around the mask."""
    step = 1
    if labels.size > _MOST_VOXELS:
        image, labels, second, step = _reduced(image, labels, second)
    prior_image = boundary_prior(image, PriorOptions(kind="otsu"))  # the view below needs it alive
    prior = sitk.GetArrayViewFromImage(prior_image)
    found: dict[str, dict[str, float]] = {}
    for number, box in enumerate(ndimage.find_objects(labels, max_label=len(task.regions)), start=1):
        name = task.regions[number - 1].name
        if box is None:
            found[name] = {"volume": 0.0}
            continue
        part = tuple(
            slice(max(0, side.start - _BAND_VOXELS), min(side.stop + _BAND_VOXELS, n))
            for side, n in zip(box, labels.shape, strict=True)
        )
        found[name] = _measures(labels[part] == number, prior[part], step**3)
        if second is not None:
            other = second == number
            inside = labels == number
            found[name]["dice"] = float(2 * (inside & other).sum() / max(1, inside.sum() + other.sum()))
    return found


def _reduced(
    image: sitk.Image, labels: NDArray, second: NDArray | None
) -> tuple[sitk.Image, NDArray, NDArray | None, int]:
    """The box around both masks, every n-th voxel of it where it is still large; and n."""
    marked = (labels > 0) if second is None else (labels > 0) | (second > 0)
    found = ndimage.find_objects(marked, max_label=1)
    box = found[0] if found else (slice(None),) * 3
    del marked
    margin = 8 * _BAND_VOXELS
    low = [max(0, (side.start or 0) - margin) for side in box]
    high = [min(n, (n if side.stop is None else side.stop) + margin) for side, n in zip(box, labels.shape, strict=True)]
    step = 1
    while np.prod([-(-(b - a) // step) for a, b in zip(low, high, strict=True)]) > _MOST_VOXELS:
        step += 1
    part = tuple(slice(a, b, step) for a, b in zip(low, high, strict=True))
    smaller = sitk.GetImageFromArray(sitk.GetArrayViewFromImage(image)[part])
    smaller.SetSpacing([step * spacing for spacing in image.GetSpacing()])
    return smaller, labels[part], None if second is None else second[part], step


def _measures(inside: NDArray[np.bool_], prior: NDArray, scale: int) -> dict[str, float]:
    band = ndimage.binary_dilation(inside, iterations=_BAND_VOXELS) & ~ndimage.binary_erosion(
        inside, iterations=_BAND_VOXELS, border_value=1
    )
    agreement = np.where(inside, prior, 1 - prior)[band]
    return {
        "volume": float(np.log1p(scale * inside.sum())),
        "components": float(ndimage.label(inside)[1]),
        "holes": float((ndimage.binary_fill_holes(inside) & ~inside).sum()),
        "prior": float(agreement.mean()) if band.any() else 0.0,
    }


def lower_priority() -> None:
    """Give way to the processes that somebody is waiting for."""
    if hasattr(os, "nice"):
        os.nice(10)
