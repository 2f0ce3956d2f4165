"""Styles of rough drawing, from careful to hasty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MARGIN_MM = 1.5
"""Default width of the strip along each edge that is left blank for safety, one voxel of a usual cardiac MRI."""


@dataclass(frozen=True)
class Annotator:
    """How an annotator draws. Shares refer to the structure's local half-thickness, so that one style suits all sizes.

    Attributes:
        erosion: mean distance of an outline inside the true edge, as a share.
        background_gap: mean distance, outside all targets, of the loop whose outside is drawn as background; a share.
        negative_gap: the same for the loop around a class whose outside is drawn as "not this class".
        margin_mm: added to the three distances, as shares alone draw thin structures up to their edges. The innermost
            20 % of a structure are drawn all the same.
        unsteadiness: standard deviation of an outline's distance to the true edge, as a share of that distance.
        tremor_px: part of that standard deviation that does not depend on the structure, in pixels.
        corner_cutting: largest distance of the straight strokes from the intended outline, as a share.
        small_part: parts of a slice below this share of the class's largest part in the case are easily overlooked ...
        overlook_small: ... with this probability.
        overlook: probability of overlooking any other part.
        every_nth_slice: 1 draws in every slice, n in every n-th; all others stay blank.
    """

    erosion: float = 0.25
    background_gap: float = 0.2
    negative_gap: float = 0.2
    margin_mm: float = MARGIN_MM
    unsteadiness: float = 0.4
    tremor_px: float = 0.6
    corner_cutting: float = 0.15
    small_part: float = 0.1
    overlook_small: float = 0.6
    overlook: float = 0.01
    every_nth_slice: int = 1


ANNOTATORS: Mapping[str, Annotator] = {
    "careful": Annotator(
        erosion=0.15, background_gap=0.15, negative_gap=0.15, unsteadiness=0.3, tremor_px=0.3, corner_cutting=0.08,
        small_part=0.05, overlook_small=0.3, overlook=0.0,
    ),
    "typical": Annotator(),
    "hasty": Annotator(
        erosion=0.35, background_gap=0.25, negative_gap=0.25, unsteadiness=0.6, tremor_px=1.0, corner_cutting=0.3,
        small_part=0.2, overlook_small=0.8, overlook=0.03, every_nth_slice=2,
    ),
}  # fmt: skip
