"""Whether points lie in the image they are said to annotate, and why if they do not. Positions are LPS mm, (N, 3)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunet_weak.errors import Problems
from nnunet_weak.points.points import FloatArray, ObjectPoints
from nnunet_weak.surface.rasterise import world_to_index

_SIGNS = {"x and y": (-1, -1, 1), "x": (-1, 1, 1), "y": (1, -1, 1), "z": (1, 1, -1)}


def check_points_in_image(objects: Iterable[ObjectPoints], image: sitk.Image, source: str = "points") -> list[str]:
    """Check that the points of a case lie in its image.

    A wrong sign convention moves points elsewhere without any other sign of it, so it is looked for and explained, and
    never repaired. It shows only where the image does not lie about the origin evenly.

    Args:
        objects: The points of a case.
        image: The case's image.
        source: Their file, for messages.

    Returns:
        Warnings: single points outside, which an object cut off by the image's border may have.

    Raises:
        InvalidInputError: Half of an object's points or more lie outside, with the likely reason.
    """
    problems = Problems()
    warnings = []
    for one in objects:
        outside = ~_inside(one.points_mm, image)
        where = f"{source}, {one.title}"
        found = f"{outside.sum()} of {len(outside)} points lie outside the image"
        if outside.any() and 2 * outside.sum() >= len(outside):
            spans = f"points span {_span(one.points_mm)} LPS mm, the image {_span(_corners(image))}"
            reason, remedy = _likely_reason(one.points_mm, image)
            problems.add(where, f"{found}: {spans}{reason}", remedy)
        elif outside.any():
            names = ", ".join(one.label_of(int(row)) for row in np.flatnonzero(outside)[:10])
            warnings.append(f"{where}: {found} ({names}); the part of the object outside is cut off.")
    problems.raise_if_any("Points and image")
    return warnings


def _inside(points_mm: FloatArray, image: sitk.Image) -> NDArray[np.bool_]:
    """Which points lie in the box of the voxels, their halves at the border included."""
    index = world_to_index(points_mm, image)
    return np.all((index >= -0.5) & (index <= np.array(image.GetSize()) - 0.5), axis=1)


def _likely_reason(points_mm: FloatArray, image: sitk.Image) -> tuple[str, str]:
    """Why points lie elsewhere, as the end of a sentence, and the remedy."""
    share = _inside(points_mm, image).mean()
    for axes, sign in _SIGNS.items():
        if _inside(points_mm * np.array(sign), image).mean() > max(0.8, share + 0.3):
            inside = f". With {axes} negated they lie inside: "
            if axes == "x and y":
                remedy = "state the file's coordinate system correctly, or export it again"
                return f"{inside}RAS and LPS were mixed up. Nothing was changed", remedy
            remedy = "check the program that wrote it"
            return f"{inside}the file seems to have a wrong sign of {axes}. Nothing was changed", remedy
    if ((points_mm >= -0.5) & (points_mm <= np.array(image.GetSize()) - 0.5)).all():
        return ". They look like voxel indices, not mm", "export physical (world) coordinates"
    return "", "check that the points belong to this image, and that both are in the same physical space"


def _corners(image: sitk.Image) -> FloatArray:
    places = product(*((-0.5, size - 0.5) for size in image.GetSize()))
    return np.array([image.TransformContinuousIndexToPhysicalPoint(place) for place in places])


def _span(points: FloatArray) -> str:
    return " x ".join(f"{low:.1f}..{high:.1f}" for low, high in zip(points.min(0), points.max(0), strict=True))
