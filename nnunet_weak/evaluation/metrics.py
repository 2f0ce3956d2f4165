"""Dice, IoU, HD95, ASSD and NSD of one case, label by label.

Arrays are (z, y, x), and so is the spacing in mm that goes with them; any number of dimensions works. Distances are
computed once per label and every surface metric is derived from them. The definitions are MONAI's: a mask's surface is
made of its voxels that have a face neighbour outside (beyond the image counts as outside); the directed distances run
from every surface voxel's centre to the nearest surface voxel centre of the other mask.

Reference: Maier-Hein et al., Metrics reloaded, Nature Methods 21 (2024); for NSD Nikolov et al., J. Med. Internet Res.
23 (2021), who weigh surface elements by area where this counts voxels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import find_objects
from scipy.spatial import cKDTree

from nnunet_weak.errors import InvalidInputError

Box = tuple[slice, ...]

# Spacings come from float32 headers: 10 x 0.2 mm reads as 2.00000003 mm and has to count as within 2 mm.
ROUNDING_MM = 1e-5


class Metric(NamedTuple):
    """How a metric is called, shown, and read."""

    key: str
    title: str
    higher_is_better: bool
    definition: str


METRICS = (
    Metric("dice", "Dice", True, "2 |P and R| / (|P| + |R|), P prediction, R reference, in voxels"),
    Metric("iou", "IoU", True, "|P and R| / |P or R|"),
    Metric(
        "hd95_mm",
        "HD95 (mm)",
        False,
        "the larger of the two directed 95th percentiles of the surface distances (not pooled), interpolated linearly",
    ),
    Metric(
        "assd_mm",
        "ASSD (mm)",
        False,
        "mean over the surface distances of both directions pooled (not the mean of two means)",
    ),
    Metric(
        "nsd",
        "NSD",
        True,
        "share of the surface voxels of both masks that lie within the tolerance of the other surface; "
        "voxels are counted, not areas",
    ),
)
SURFACE_DEFINITION = (
    "A surface voxel is a voxel of the mask with a face neighbour outside it; beyond the image counts as outside. "
    "Distances run between voxel centres, in mm, with the spacing of the reference."
)
EMPTY_MASK_POLICY = {
    "both empty": "no metric is defined: the row is blank and left out of means and tests, as in nnU-Net.",
    "one empty": "Dice, IoU and NSD are 0; HD95 and ASSD are the distance in mm between opposite corner voxels of the "
    "image, the largest possible, so that missing a structure never improves a mean. Such rows are in means and tests, "
    "and counted.",
    "ignored voxels": "voxels that the reference marks with nnU-Net's ignore label are left out of Dice and IoU; HD95, "
    "ASSD and NSD of such a case are blank, since a surface that ends where the annotation ends is no surface.",
}


@dataclass(frozen=True)
class LabelMetrics:
    """One label of one case.

    Attributes:
        label: Its name.
        status: "measured", "both empty", "prediction empty", "reference empty", or "surface undefined" (the reference
            has ignored voxels).
        dice: NaN where both are empty.
        iou: NaN where both are empty.
        hd95_mm: NaN where both are empty or the surface is undefined; the image's diagonal where one is empty.
        assd_mm: As `hd95_mm`.
        nsd: NaN where both are empty or the surface is undefined; 0 where one is empty.
        prediction_mm3: Volume of the predicted mask, without ignored voxels.
        reference_mm3: Volume of the reference mask.
    """

    label: str
    status: str
    dice: float
    iou: float
    hd95_mm: float
    assd_mm: float
    nsd: float
    prediction_mm3: float
    reference_mm3: float


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances between two surfaces in mm, one for every surface voxel.

    An empty mask has none, and the distances to it are infinite.

    Attributes:
        a_to_b_mm: From every surface voxel of a to the nearest of b.
        b_to_a_mm: The other way round.
    """

    a_to_b_mm: np.ndarray
    b_to_a_mm: np.ndarray

    def hausdorff_mm(self, percentile: float = 95) -> float:
        """The larger of the two directed percentiles; 100 gives the Hausdorff distance.

        NaN if both masks are empty, infinite if one is.
        """
        if not (self.a_to_b_mm.size and self.b_to_a_mm.size):
            return self._of_empty(np.inf)
        return float(max(np.percentile(self.a_to_b_mm, percentile), np.percentile(self.b_to_a_mm, percentile)))

    def assd_mm(self) -> float:
        """Mean over both directions pooled. NaN if both masks are empty, infinite if one is."""
        if not (self.a_to_b_mm.size and self.b_to_a_mm.size):
            return self._of_empty(np.inf)
        return float((self.a_to_b_mm.sum() + self.b_to_a_mm.sum()) / (self.a_to_b_mm.size + self.b_to_a_mm.size))

    def nsd(self, tolerance_mm: float) -> float:
        """Share of the surface voxels within the tolerance (inclusive). NaN if both masks are empty, 0 if one is."""
        if not (self.a_to_b_mm.size and self.b_to_a_mm.size):
            return self._of_empty(0.0)
        limit = tolerance_mm + ROUNDING_MM
        within = np.count_nonzero(self.a_to_b_mm <= limit) + np.count_nonzero(self.b_to_a_mm <= limit)
        return within / (self.a_to_b_mm.size + self.b_to_a_mm.size)

    def _of_empty(self, one_empty: float) -> float:
        return one_empty if self.a_to_b_mm.size or self.b_to_a_mm.size else float("nan")


def surface_distances(a: ArrayLike, b: ArrayLike, spacing_mm: Sequence[float] | np.ndarray) -> SurfaceDistances:
    """All distances from the surface of one mask to that of the other, both ways.

    Args:
        a: Mask; nonzero is inside.
        b: Mask of the same shape.
        spacing_mm: Voxel size along each array axis: (z, y, x) for an array from SimpleITK.

    Raises:
        InvalidInputError: Shapes differ, or the spacing does not fit.

    Shape:
        `(D, H, W)`, or any other number of axes.
    """
    mask_a, mask_b = np.asarray(a, bool), np.asarray(b, bool)
    spacing = _checked_spacing(mask_a, mask_b, spacing_mm)
    box = _union([found for found in (_bounding_box(mask_a), _bounding_box(mask_b)) if found])
    surface_a, surface_b = _surface(mask_a[box]), _surface(mask_b[box])
    return SurfaceDistances(_directed(surface_a, surface_b, spacing), _directed(surface_b, surface_a, spacing))


def evaluate_case(
    prediction: ArrayLike,
    reference: ArrayLike,
    labels: Mapping[str, int | Sequence[int]],
    spacing_mm: Sequence[float] | np.ndarray,
    *,
    ignore_label: int | None = None,
    nsd_tolerance_mm: float = 2.0,
) -> list[LabelMetrics]:
    """Metrics of every label of one case; `EMPTY_MASK_POLICY` says what empty masks and ignored voxels do.

    Args:
        prediction: Label map.
        reference: Label map of the same shape.
        labels: Name to value, or to several values for an nnU-Net region. Other values count as background.
        spacing_mm: Voxel size along each array axis: (z, y, x) for an array from SimpleITK.
        ignore_label: Value that marks voxels of the reference as not annotated.
        nsd_tolerance_mm: Surface voxels up to this far away count as found.

    Raises:
        InvalidInputError: Shapes differ, the spacing does not fit, or an array is not an integer one.

    Shape:
        `(D, H, W)`.
    """
    predicted, expected = np.asarray(prediction), np.asarray(reference)
    for name, array in (("prediction", predicted), ("reference", expected)):
        if array.dtype.kind not in "iub":
            raise InvalidInputError(f"{name}: a label map has whole numbers, this is an array of {array.dtype}")
    spacing = _checked_spacing(predicted, expected, spacing_mm)
    ignored = ignore_label is not None and bool((expected == ignore_label).any())
    if ignored:
        keep = expected != ignore_label
        predicted, expected = predicted * keep, expected * keep
    farthest_mm = float(np.linalg.norm((np.array(expected.shape) - 1) * spacing))
    boxes_p, boxes_r = label_boxes(predicted), label_boxes(expected)
    rows = []
    for name, value in labels.items():
        values = (value,) if isinstance(value, (int, np.integer)) else tuple(value)
        box = _union([boxes[v] for boxes in (boxes_p, boxes_r) for v in values if v in boxes])
        p, r = _mask(predicted[box], values), _mask(expected[box], values)
        rows.append(_label_metrics(name, p, r, spacing, farthest_mm, nsd_tolerance_mm, ignored))
    return rows


def label_boxes(label_map: np.ndarray) -> dict[int, Box]:
    """Smallest box around every nonzero value that occurs; one pass over the array, however many labels it has."""
    array = label_map.view(np.uint8) if label_map.dtype == bool else label_map
    return (
        {value: box for value, box in enumerate(find_objects(array), start=1) if box is not None} if array.size else {}
    )


def _label_metrics(
    name: str, p: np.ndarray, r: np.ndarray, spacing: np.ndarray, farthest_mm: float, tolerance_mm: float, ignored: bool
) -> LabelMetrics:
    count_p, count_r, both = (int(np.count_nonzero(mask)) for mask in (p, r, p & r))
    volumes = (count_p * float(spacing.prod()), count_r * float(spacing.prod()))
    nan = float("nan")
    if not count_p and not count_r:
        return LabelMetrics(name, "both empty", nan, nan, nan, nan, nan, *volumes)
    dice, iou = 2 * both / (count_p + count_r), both / (count_p + count_r - both)
    if not count_p or not count_r:
        surface = (nan, nan, nan) if ignored else (farthest_mm, farthest_mm, 0.0)
        return LabelMetrics(name, "reference empty" if count_p else "prediction empty", dice, iou, *surface, *volumes)
    if ignored:
        return LabelMetrics(name, "surface undefined", dice, iou, nan, nan, nan, *volumes)
    distances = surface_distances(p, r, spacing)
    hd95, assd, nsd = distances.hausdorff_mm(95), distances.assd_mm(), distances.nsd(tolerance_mm)
    return LabelMetrics(name, "measured", dice, iou, hd95, assd, nsd, *volumes)


def _directed(start: np.ndarray, end: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    indices = np.argwhere(start)
    distances = np.zeros(len(indices))
    # Where the surfaces coincide the distance is 0: for a good prediction that saves most of the queries.
    apart = ~end[start]
    targets = np.argwhere(end)
    if not len(targets):
        return np.full(len(indices), np.inf)
    if apart.any():
        # Voxel grids are spread evenly, so midpoint splits make as good a tree as medians do, in half the time.
        tree = cKDTree(targets * spacing, balanced_tree=False, compact_nodes=False)
        distances[apart] = tree.query(indices[apart] * spacing)[0]
    return distances


def _surface(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis, size in enumerate(mask.shape):
        for start in (0, 2):
            window = [slice(1, -1)] * mask.ndim
            window[axis] = slice(start, start + size)
            inner &= padded[tuple(window)]
    return mask & ~inner


def _bounding_box(mask: np.ndarray) -> Box | None:
    box: list[slice] = []
    for axis in range(mask.ndim):
        # Cropping axis by axis keeps the later, slower projections small.
        cropped = mask[tuple(box)]
        along = np.flatnonzero(cropped.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not along.size:
            return None
        box.append(slice(int(along[0]), int(along[-1]) + 1))
    return tuple(box)


def _union(boxes: Sequence[Box]) -> Box:
    if not boxes:
        return (slice(0, 0),)
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))


def _mask(array: np.ndarray, values: Sequence[int]) -> np.ndarray:
    return array == values[0] if len(values) == 1 else np.isin(array, values)


def _checked_spacing(a: np.ndarray, b: np.ndarray, spacing_mm: Sequence[float] | np.ndarray) -> np.ndarray:
    if a.shape != b.shape:
        raise InvalidInputError(
            f"the two masks differ in shape: {a.shape} and {b.shape} (remedy: resample one to the grid of the other)"
        )
    spacing = np.asarray(spacing_mm, float)
    if spacing.shape != (a.ndim,) or not (np.isfinite(spacing) & (spacing > 0)).all():
        raise InvalidInputError(
            f"spacing {tuple(spacing_mm)}: one positive number of mm for each of the {a.ndim} axes is needed"
        )
    return spacing
