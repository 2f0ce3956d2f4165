"""How suspicious each mask looks: what puts the worst cases first in the queue. No number of it is shown to anybody.

For each region: volume, number of components, holes, agreement of mask and boundary prior in the band around the
boundary, and Dice with a second prediction. Each is compared with the same region of the other cases.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from random import Random

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_weak.annotate.cases.decode import CaseTask, read_labels
from nnunet_weak.images.read import read_case_image
from nnunet_weak.priors import PriorOptions, boundary_prior

Measures = Mapping[str, Mapping[str, float]]
"""Values by region and measure; of every measure either side, or the low side only, is suspicious."""

_BAND_VOXELS = 2
_LOW_IS_BAD = ("prior", "dice")
_LARGEST_Z = 5.0
_AT_RANDOM = 5


def measure_case(task: CaseTask) -> Measures:
    """Measure the mask of a case; runs in a worker process.

    Raises:
        InvalidInputError: Unreadable files.
    """
    image = read_case_image(task.image)
    labels = read_labels(task.mask, task, image)
    if labels is None:
        return {}
    second = read_labels(task.second_mask, task, image)
    prior = sitk.GetArrayViewFromImage(boundary_prior(image, PriorOptions(kind="otsu")))
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
        found[name] = _measures(labels[part] == number, prior[part])
        if second is not None:
            other = second == number
            inside = labels == number
            found[name]["dice"] = float(2 * (inside & other).sum() / max(1, inside.sum() + other.sum()))
    return found


def _measures(inside: NDArray[np.bool_], prior: NDArray) -> dict[str, float]:
    band = ndimage.binary_dilation(inside, iterations=_BAND_VOXELS) & ~ndimage.binary_erosion(
        inside, iterations=_BAND_VOXELS, border_value=1
    )
    agreement = np.where(inside, prior, 1 - prior)[band]
    return {
        "volume": float(np.log1p(inside.sum())),
        "components": float(ndimage.label(inside)[1]),
        "holes": float((ndimage.binary_fill_holes(inside) & ~inside).sum()),
        "prior": float(agreement.mean()) if band.any() else 0.0,
    }


def suspicion(measured: Mapping[str, Measures]) -> dict[str, float]:
    """How much each case differs from the others: its worst region's sum of robust z values."""
    regions = dict.fromkeys(region for measures in measured.values() for region in measures)
    total = {case: 0.0 for case in measured}
    for region in regions:
        of_region = {case: measures[region] for case, measures in measured.items() if region in measures}
        sums = dict.fromkeys(of_region, 0.0)
        for name in dict.fromkeys(name for values in of_region.values() for name in values):
            values = {case: of_case[name] for case, of_case in of_region.items() if name in of_case}
            for case, z in zip(values, _robust_z(list(values.values()), name in _LOW_IS_BAD), strict=True):
                sums[case] += z
        for case, value in sums.items():
            total[case] = max(total[case], value)
    return total


def _robust_z(values: Sequence[float], low_is_bad: bool) -> list[float]:
    array = np.array(values)
    deviation = array - np.median(array)
    scale = 1.4826 * np.median(np.abs(deviation))
    z = np.divide(deviation, scale, out=np.sign(deviation) * _LARGEST_Z, where=scale > 0)
    z = np.maximum(-z, 0) if low_is_bad else np.abs(z)
    return np.minimum(z, _LARGEST_Z).tolist()


def order_cases(cases: Sequence[str], order: str | Sequence[str], worst: Mapping[str, float]) -> list[str]:
    """The queue.

    Args:
        cases: All cases.
        order: `worst`, `random`, `name`, or the cases in the order wanted.
        worst: For `worst`, the suspicion of each case measured so far; others come last. Every fifth case is drawn at
            random, so that the scores also tell of ordinary cases.
    """
    if not isinstance(order, str):
        return [case for case in order if case in cases]
    if order == "name":
        return list(cases)
    drawn = sorted(cases)
    Random(len(drawn)).shuffle(drawn)
    if order == "random":
        return drawn
    ranked = sorted(cases, key=lambda case: (-worst.get(case, -1.0), case))
    result: list[str] = []
    for position in range(1, len(ranked) + 1):
        source = drawn if position % _AT_RANDOM == 0 else ranked
        result.append(next(case for case in source if case not in set(result)))
    return result


def lower_priority() -> None:
    """Give way to the processes that somebody is waiting for."""
    if hasattr(os, "nice"):
        os.nice(10)
