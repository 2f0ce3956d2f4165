"""Coarse drawings as a person makes them in a minute, simulated from dense label maps.

For benchmarks, tests and teaching of RefineSeg: positive drawings ("this is the left ventricle, roughly"), negative
ones ("this is not the left ventricle") and annotators with a planted confusion whose transition matrix is known.

Arrays are label maps with axes (z, y, x), as SimpleITK gives them, 0 = background; spacings in the same order, in mm.
Drawings are encoded 0 = blank, k + 1 = class k, as in the whole package. People draw slice by slice, so shapes are
handled in the plane of a slice. What is drawn depends on the seed alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special
from skimage import draw, measure

_NOTICING, _POSITIVE, _BACKGROUND, _NEGATIVE, _PLANTED, _BLANKS = range(6)  # independent random streams of one seed


@dataclass(frozen=True)
class Annotator:
    """How somebody draws. Distances are shares of the structure's local half-thickness, so one style suits all sizes.

    Attributes:
        erosion: how far inside the true edge an outline runs on average.
        background_gap: how far outside all targets the loop runs whose outside is drawn as background.
        negative_gap: how far outside a class the loop runs whose outside is drawn as "not this class".
        unsteadiness: standard deviation of an outline's distance to the true edge, as a share of that distance.
        tremor_px: the part of that standard deviation that does not shrink with the structure, in pixels; it makes
            drawings of thin structures wrong more often than those of thick ones.
        corner_cutting: how far straight strokes between two corners may run off the intended outline.
        small_part: parts of a slice below this share of the class's largest part in the case are easily overlooked ...
        overlook_small: ... with this probability.
        overlook: probability of overlooking any other part.
        every_nth_slice: 1 draws in every slice, n in every n-th; all others stay blank.
    """

    erosion: float = 0.25
    background_gap: float = 0.2
    negative_gap: float = 0.2
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
"""Three annotators to choose from by name."""


@dataclass(frozen=True)
class CoarseDrawing:
    """One drawing with what it cost and how right it is.

    Attributes:
        annotation: 0 = blank, k + 1 = class k; same shape as the label map.
        kind: ``"positive"`` ("this is class k") or ``"negative"`` ("this is not class k").
        counts: number of voxels drawn m whose true class is k, axes (m, k), ``(L, L)``.
        class_voxels: number of voxels of each true class, ``(L,)``.
        contour_length_mm: length of all outlines drawn.
        corners: number of their corners, that is, mouse clicks.
    """

    annotation: NDArray[Any]
    kind: Literal["positive", "negative"]
    counts: NDArray[np.int64]
    class_voxels: NDArray[np.int64]
    contour_length_mm: float = 0.0
    corners: int = 0

    @property
    def drawn_voxels(self) -> int:
        """Number of voxels that are not blank."""
        return int(self.counts.sum())

    @property
    def coverage(self) -> NDArray[np.float64]:
        """Share of the voxels of each true class that carry a statement, ``(L,)``; NaN for a class that is absent."""
        with np.errstate(invalid="ignore"):
            return self.counts.sum(axis=0) / self.class_voxels

    @property
    def error_rate(self) -> float:
        """Share of the drawn voxels whose statement is wrong; 0 for an empty drawing."""
        right = np.trace(self.counts) if self.kind == "positive" else self.counts.sum() - np.trace(self.counts)
        return 1 - float(right) / self.drawn_voxels if self.drawn_voxels else 0.0

    @property
    def class_error_rates(self) -> NDArray[np.float64]:
        """Share of wrong voxels among those drawn as each class m, ``(L,)``; NaN for a class that is not drawn."""
        with np.errstate(invalid="ignore"):
            same_class = np.diag(self.counts) / self.counts.sum(axis=1)
        return 1 - same_class if self.kind == "positive" else same_class

    @property
    def transition_matrix(self) -> NDArray[np.float64]:
        """``p(drawn m | true k)`` over the drawn voxels, axes (m, k); a column of the identity where k is not drawn."""
        return transition_matrix_of(self.counts)


@dataclass(frozen=True)
class Confusion:
    """A planted mistake: class ``true`` within ``reach_mm`` of class ``drawn`` is drawn as ``drawn``.

    ``Confusion(0, 3, 4.0)`` leaks class 3 into the background; ``Confusion(1, 2, 3.0)`` and ``Confusion(2, 1, 3.0)``
    together swap two classes near their border. ``share`` of the voxels within reach are affected, in coherent patches.
    """

    true: int
    drawn: int
    reach_mm: float
    share: float = 1.0


def draw_positive(
    label_map: NDArray[np.integer],
    spacing_mm: Sequence[float],
    annotator: Annotator | None = None,
    *,
    num_classes: int,
    seed: int,
    background: bool = True,
    slice_axis: int | None = None,
) -> CoarseDrawing:
    """Draw "this is class k" in every target, and "none of the targets" far outside them as background.

    Each connected part of a class in a slice gets one rough polygon, on average inside the part but in places beyond
    its edge; later classes are painted over earlier ones. The background is what lies outside a rough loop around
    everything the annotator noticed, so an overlooked part may become background.

    Args:
        label_map: dense labels, axes (z, y, x).
        spacing_mm: voxel size along the same axes.
        annotator: how to draw; ``ANNOTATORS["typical"]`` by default.
        num_classes: ``L``, background included.
        seed: same seed, same drawing; :func:`draw_negative` with this seed overlooks the same parts.
        background: also draw the background. The stock trainer needs it to learn what is not a target.
        slice_axis: axis along which slices are stacked; the one with the largest spacing by default.
    """
    annotator = annotator or ANNOTATORS["typical"]
    canvas = _Canvas(label_map, spacing_mm, num_classes, slice_axis)
    for index, truth, drawing in canvas.slices(annotator, seed):
        noticed = {k: _noticed_parts(truth == k, canvas, annotator, seed, index, k) for k in range(1, num_classes)}
        if background:
            targets = np.any([*noticed.values(), np.zeros_like(drawing, bool)], axis=0)
            random = _random(seed, _BACKGROUND, index)
            drawing[~canvas.outline(targets, -annotator.background_gap, annotator, random)] = 1
        for k, parts in noticed.items():
            random = _random(seed, _POSITIVE, index, k)
            drawing[canvas.outline(parts, annotator.erosion, annotator, random)] = k + 1
    return canvas.finish("positive")


def draw_negative(
    label_map: NDArray[np.integer],
    spacing_mm: Sequence[float],
    annotator: Annotator | None = None,
    *,
    num_classes: int,
    seed: int,
    classes: Sequence[int] | None = None,
    slice_axis: int | None = None,
) -> dict[int, CoarseDrawing]:
    """Draw "this is not class c" outside a rough loop around class c, one map for each class c.

    A ring gets a second loop inside. The far background ends up in every map, which together say "none of the targets"
    there; a slice without class c is "not c" as a whole, at no cost. :func:`merge_negative` makes one map of them.

    Args:
        label_map: dense labels, axes (z, y, x).
        spacing_mm: voxel size along the same axes.
        annotator: how to draw; ``ANNOTATORS["typical"]`` by default.
        num_classes: ``L``, background included.
        seed: same seed, same drawing.
        classes: which classes; all targets by default.
        slice_axis: axis along which slices are stacked; the one with the largest spacing by default.
    """
    annotator = annotator or ANNOTATORS["typical"]
    drawings = {}
    for k in range(1, num_classes) if classes is None else classes:
        canvas = _Canvas(label_map, spacing_mm, num_classes, slice_axis)
        for index, truth, drawing in canvas.slices(annotator, seed):
            parts = _noticed_parts(truth == k, canvas, annotator, seed, index, k)
            random = _random(seed, _NEGATIVE, index, k)
            drawing[~canvas.outline(parts, -annotator.negative_gap, annotator, random)] = k + 1
        drawings[k] = canvas.finish("negative")
    return drawings


def merge_negative(
    drawings: Mapping[int, CoarseDrawing],
    label_map: NDArray[np.integer],
    spacing_mm: Sequence[float],
    *,
    slice_axis: int | None = None,
) -> CoarseDrawing:
    """One negative map of several.

    Where some maps speak, near the targets, the class whose loop is nearest wins: the harder negative. Where all do, in
    the background, the classes take turns from slice to slice.

    Args:
        drawings: class to drawing, as :func:`draw_negative` returns them.
        label_map: the dense labels they were made from.
        spacing_mm: voxel size along the same axes.
        slice_axis: axis along which slices are stacked; the one with the largest spacing by default.
    """
    classes = sorted(drawings)
    says = np.stack([drawings[k].annotation > 0 for k in classes])
    annotation = np.zeros_like(drawings[classes[0]].annotation)
    nearest_mm = np.full(annotation.shape, np.inf)
    for k, speaks in zip(classes, says, strict=True):
        # A class without any loop competes last, yet still speaks where nobody else does.
        loop_mm = _distance_mm(~speaks, spacing_mm, beyond=1e30)
        wins = speaks & (loop_mm < nearest_mm)
        annotation[wins], nearest_mm[wins] = k + 1, loop_mm[wins]
    axis = int(np.argmax(spacing_mm)) if slice_axis is None else slice_axis
    turn = np.moveaxis(np.zeros_like(annotation), axis, 0)
    turn += (np.resize(classes, len(turn)) + 1).astype(annotation.dtype)[:, None, None]
    annotation = np.where(says.all(axis=0), np.moveaxis(turn, 0, axis), annotation)
    class_voxels = drawings[classes[0]].class_voxels
    return CoarseDrawing(
        annotation,
        "negative",
        drawn_counts(annotation, label_map, len(class_voxels)),
        class_voxels,
        sum(drawing.contour_length_mm for drawing in drawings.values()),
        sum(drawing.corners for drawing in drawings.values()),
    )


def draw_planted(
    label_map: NDArray[np.integer],
    spacing_mm: Sequence[float],
    confusions: Sequence[Confusion],
    *,
    num_classes: int,
    seed: int,
    blank_share: float = 0.0,
) -> CoarseDrawing:
    """Draw every voxel, with known mistakes: the planted annotator of an experiment on transition matrices.

    All confusions refer to the true labels; a later one overrides an earlier one where both apply. The result's
    ``transition_matrix`` is the annotator's true matrix on this case, its ``counts`` add up over cases. No effort is
    reported, because nobody draws like this.

    Args:
        label_map: dense labels, axes (z, y, x).
        spacing_mm: voxel size along the same axes.
        confusions: the mistakes.
        num_classes: ``L``, background included.
        seed: same seed, same drawing.
        blank_share: share of voxels left blank, in coherent patches, independent of the class.
    """
    spacing = np.asarray(spacing_mm, float)
    annotation = (label_map + 1).astype(_map_type(num_classes))
    for number, confusion in enumerate(confusions):
        near = _distance_mm(label_map == confusion.drawn, spacing) <= confusion.reach_mm
        field = _smooth_noise(label_map.shape, 2 * confusion.reach_mm / spacing, _random(seed, _PLANTED, number))
        hit = (label_map == confusion.true) & near & (field <= special.ndtri(confusion.share))
        annotation[hit] = confusion.drawn + 1
    if blank_share:
        scale_vox = 0.1 * np.array(label_map.shape) * spacing.min() / spacing
        annotation[_smooth_noise(label_map.shape, scale_vox, _random(seed, _BLANKS)) < special.ndtri(blank_share)] = 0
    class_voxels = np.bincount(label_map.ravel(), minlength=num_classes)
    return CoarseDrawing(annotation, "positive", drawn_counts(annotation, label_map, num_classes), class_voxels)


def drawn_counts(
    annotation: NDArray[np.integer], label_map: NDArray[np.integer], num_classes: int
) -> NDArray[np.int64]:
    """Number of voxels drawn m whose true class is k, axes (m, k); blank voxels are left out."""
    drawn = annotation > 0
    pairs = (annotation[drawn].astype(np.int64) - 1) * num_classes + label_map[drawn]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def transition_matrix_of(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """``p(drawn m | true k)`` from counts with axes (m, k); a column without counts becomes that of the identity."""
    total = counts.sum(axis=0)
    return np.where(total > 0, counts / np.maximum(total, 1), np.eye(len(counts)))


class _Canvas:
    """The slices of a case, what is drawn on them, and the effort spent."""

    def __init__(
        self, label_map: NDArray[np.integer], spacing_mm: Sequence[float], num_classes: int, slice_axis: int | None
    ) -> None:
        if label_map.ndim != 3 or len(spacing_mm) != 3:
            raise ValueError(f"label map and spacing must have three axes, got {label_map.shape} and {spacing_mm}")
        if label_map.min() < 0 or label_map.max() >= num_classes:
            raise ValueError(
                f"labels must be 0 to {num_classes - 1} for {num_classes} classes, got {label_map.min()} to "
                f"{label_map.max()}; an ignore label must be removed before drawing"
            )
        axis = int(np.argmax(spacing_mm)) if slice_axis is None else slice_axis
        self.label_map, self.num_classes = label_map, num_classes
        self.annotation = np.zeros(label_map.shape, _map_type(num_classes))
        self.stack = np.moveaxis(label_map, axis, 0)
        self.spacing_mm = np.delete(np.asarray(spacing_mm, float), axis)
        self._drawings = np.moveaxis(self.annotation, axis, 0)
        self._largest: dict[int, int] = {}
        self.contour_length_mm, self.corners = 0.0, 0

    def slices(
        self, annotator: Annotator, seed: int
    ) -> Iterator[tuple[int, NDArray[np.integer], NDArray[np.integer]]]:
        """Index, truth and drawing of the slices to draw; among them one with a target if there is any."""
        n = annotator.every_nth_slice
        targets = np.flatnonzero(self.stack.any(axis=(1, 2)))
        candidates = targets[:n] if len(targets) else np.arange(min(n, len(self.stack)))
        start = int(_random(seed, _NOTICING).choice(candidates)) % n
        for index in range(start, len(self.stack), n):
            yield index, self.stack[index], self._drawings[index]

    def largest_part(self, k: int) -> int:
        """Pixels of the largest connected part of class k in any slice."""
        if k not in self._largest:
            sizes = [
                np.bincount(measure.label(plane).ravel())[1:].max(initial=0) for plane in self.stack == k if plane.any()
            ]
            self._largest[k] = int(max(sizes, default=0))
        return self._largest[k]

    def outline(
        self, parts: NDArray[np.bool_], offset: float, annotator: Annotator, random: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Inside of rough polygons ``offset`` half-thicknesses inside (or, if negative, outside) all parts."""
        inside = np.zeros(parts.shape, bool)
        labelled, number = ndimage.label(parts, np.ones((3, 3)))
        for part, box in enumerate(ndimage.find_objects(labelled, number), start=1):
            half_mm = _distance_mm(~(labelled[box] == part), self.spacing_mm, pad=True).max()
            margin = np.ceil((max(0.0, -offset) * half_mm * 3 + 2 * self.spacing_mm.max()) / self.spacing_mm)
            box = tuple(
                slice(max(0, int(side.start - m)), int(side.stop + m)) for side, m in zip(box, margin, strict=True)
            )
            polygons = _rough_polygons(labelled[box] == part, self.spacing_mm, offset, annotator, random)
            filled = np.zeros(labelled[box].shape, bool)
            for polygon_mm in polygons:
                polygon_px = polygon_mm / self.spacing_mm
                rows, columns = draw.polygon(polygon_px[:, 0], polygon_px[:, 1], filled.shape)
                filled[rows, columns] ^= True
                self.contour_length_mm += float(np.linalg.norm(np.diff(polygon_mm, axis=0), axis=1).sum())
                self.corners += len(polygon_mm) - 1
            inside[box] |= filled
        return inside

    def finish(self, kind: Literal["positive", "negative"]) -> CoarseDrawing:
        """The drawing with its statistics."""
        counts = drawn_counts(self.annotation, self.label_map, self.num_classes)
        class_voxels = np.bincount(self.label_map.ravel(), minlength=self.num_classes)
        return CoarseDrawing(self.annotation, kind, counts, class_voxels, self.contour_length_mm, self.corners)


def _noticed_parts(
    structure: NDArray[np.bool_], canvas: _Canvas, annotator: Annotator, seed: int, index: int, k: int
) -> NDArray[np.bool_]:
    labelled, number = ndimage.label(structure, np.ones((3, 3)))
    if not number:
        return structure
    small = np.bincount(labelled.ravel())[1:] < annotator.small_part * canvas.largest_part(k)
    chance = np.where(small, annotator.overlook_small, annotator.overlook)
    noticed = _random(seed, _NOTICING, index, k).random(number) >= chance
    return np.concatenate([[False], noticed])[labelled]


def _rough_polygons(
    part: NDArray[np.bool_],
    spacing_mm: NDArray[np.float64],
    offset: float,
    annotator: Annotator,
    random: np.random.Generator,
) -> list[NDArray[np.float64]]:
    """Closed polygons in mm; the area between an outer and an inner one is found by the even-odd rule."""
    part = np.pad(part, 2)
    half_pixel = spacing_mm.min() / 2
    inside_mm, outside_mm = _distance_mm(~part, spacing_mm), _distance_mm(part, spacing_mm)
    signed_mm = np.where(part, inside_mm - half_pixel, half_pixel - outside_mm)
    half_thickness_mm = _half_thickness_mm(part, inside_mm, spacing_mm)
    away_mm = offset * half_thickness_mm
    if offset < 0:
        away_mm = np.minimum(away_mm, -1.5 * spacing_mm.max())  # nobody circles a thin structure closer than that
    scale_mm = max(float(half_thickness_mm.max()), 2 * spacing_mm.max())
    wobble_mm = np.hypot(annotator.unsteadiness * away_mm, annotator.tremor_px * spacing_mm.max())
    wobble_mm *= _smooth_noise(part.shape, scale_mm / spacing_mm, random)
    field = (signed_mm - away_mm - wobble_mm) / half_thickness_mm
    field[[0, -1]] = field[:, [0, -1]] = -1  # closes outlines at the border of the image
    polygons = []
    for contour in measure.find_contours(field, 0):
        tolerance_mm = annotator.corner_cutting * float(np.median(half_thickness_mm[part])) + half_pixel
        polygon_mm = measure.approximate_polygon((contour - 2) * spacing_mm, tolerance_mm)
        if len(polygon_mm) > 3:
            polygons.append(polygon_mm)
    areas = [abs(_area(polygon)) for polygon in polygons]
    # One part, one shape: splinters that a wobbling outline cuts off are not drawn separately.
    return [polygon for polygon, area in zip(polygons, areas, strict=True) if area > 0.1 * max(areas)]


def _half_thickness_mm(
    part: NDArray[np.bool_], inside_mm: NDArray[np.float64], spacing_mm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Radius of the largest disc that fits into the part and covers the pixel; outside, that of the nearest pixel."""
    thickness = np.full(part.shape, inside_mm[part].min())
    for radius in np.linspace(thickness.max(), inside_mm.max(), 8)[1:]:
        covered = _distance_mm(inside_mm >= radius * (1 - 1e-6), spacing_mm) < radius
        thickness[covered] = radius
    nearest = ndimage.distance_transform_edt(~part, spacing_mm, return_distances=False, return_indices=True)
    return thickness[tuple(nearest)]


def _distance_mm(
    target: NDArray[np.bool_], spacing_mm: Sequence[float] | NDArray[np.float64], *, pad: bool = False,
    beyond: float = np.inf,
) -> NDArray[np.float64]:  # fmt: skip
    """Distance of every voxel to the nearest one of the target; ``beyond`` everywhere if there is none."""
    if pad:
        return _distance_mm(np.pad(target, 1, constant_values=True), spacing_mm)[(slice(1, -1),) * target.ndim]
    if not target.any():
        return np.full(target.shape, beyond)
    return ndimage.distance_transform_edt(~target, spacing_mm)


def _smooth_noise(
    shape: Sequence[int], scale_vox: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.float64]:
    """Gaussian random field, mean 0, standard deviation 1, correlated over about ``scale_vox`` along each axis."""
    sigma = np.clip(scale_vox / 1.5, 1e-3, np.array(shape) / 6)
    reach = np.ceil(3 * sigma).astype(int)
    noise = random.standard_normal([size + 2 * pad for size, pad in zip(shape, reach, strict=True)])
    for axis, width in enumerate(sigma):
        kernel = np.exp(-0.5 * (np.arange(-reach[axis], reach[axis] + 1) / width) ** 2)
        noise = ndimage.convolve1d(noise, kernel / np.linalg.norm(kernel), axis=axis)
    return noise[tuple(slice(pad, pad + size) for pad, size in zip(reach, shape, strict=True))]


def _area(polygon: NDArray[np.float64]) -> float:
    rows, columns = polygon.T
    return 0.5 * float(np.sum(rows[:-1] * columns[1:] - rows[1:] * columns[:-1]))


def _random(seed: int, *stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, *stream])


def _map_type(num_classes: int) -> type[Any]:
    return np.uint8 if num_classes < 255 else np.uint16
