"""Rough drawings as a person makes them in a minute, simulated from dense label maps.

For benchmarks, tests and teaching of RefineSeg: positive drawings ("this is the left ventricle, roughly") and negative
ones ("this is not the left ventricle"). Label maps have axes (z, y, x), 0 = background; spacings are in mm, in the
same order. Drawings are encoded 0 = blank, k + 1 = class k. Shapes are handled slice by slice, as people draw. The seed
alone decides the drawing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import draw, measure

from nnunet_weak.simulation.annotators import Annotator
from nnunet_weak.simulation.rough_outlines import distance_mm, rough_polygons

_NOTICING, _POSITIVE, _BACKGROUND, _NEGATIVE = range(4)  # independent random streams of one seed


@dataclass(frozen=True)
class RoughDrawing:
    """A drawing, its errors and its effort.

    Attributes:
        annotation: 0 = blank, k + 1 = class k; same shape as the label map.
        kind: `positive` ("this is class k") or `negative` ("this is not class k").
        counts: number of voxels drawn m whose true class is k, axes (m, k), `(L, L)`.
        class_voxels: number of voxels of each true class, `(L,)`.
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
    def coverage(self) -> NDArray[np.float64]:
        """Share of the voxels of each true class that are drawn on, `(L,)`; NaN for a class that is absent."""
        with np.errstate(invalid="ignore"):
            return self.counts.sum(axis=0) / self.class_voxels

    @property
    def error_rate(self) -> float:
        """Share of the drawn voxels whose statement is wrong; 0 for an empty drawing."""
        drawn, same_class = int(self.counts.sum()), int(np.trace(self.counts))
        right = same_class if self.kind == "positive" else drawn - same_class
        return 1 - right / drawn if drawn else 0.0


def draw_positive(
    label_map: NDArray[np.integer],
    spacing_mm: Sequence[float],
    annotator: Annotator,
    *,
    num_classes: int,
    seed: int,
    slice_axis: int | None = None,
) -> RoughDrawing:
    """Draw "this is class k" in every target, and "none of the targets" far outside them as background.

    Each connected part of a class in a slice gets one rough polygon, on average inside the part but in places beyond
    its edge; later classes are painted over earlier ones. The background is what lies outside a rough loop around
    everything the annotator noticed, so an overlooked part may become background.

    Args:
        label_map: dense labels, axes (z, y, x).
        spacing_mm: voxel size along the same axes.
        annotator: how to draw.
        num_classes: `L`, background included.
        seed: same seed, same drawing; `draw_negative` with this seed overlooks the same parts.
        slice_axis: axis along which slices are stacked; the one with the largest spacing by default.
    """
    canvas = _Canvas(label_map, spacing_mm, annotator, num_classes, seed, slice_axis)
    for index, drawing in canvas.slices():
        noticed = {k: canvas.noticed_parts(index, k) for k in range(1, num_classes)}
        targets = np.any([*noticed.values(), np.zeros_like(drawing, bool)], axis=0)
        drawing[~canvas.outline(targets, -annotator.background_gap, _BACKGROUND, index)] = 1
        for k, parts in noticed.items():
            drawing[canvas.outline(parts, annotator.erosion, _POSITIVE, index, k)] = k + 1
    return canvas.finish("positive")


def draw_negative(
    label_map: NDArray[np.integer],
    spacing_mm: Sequence[float],
    annotator: Annotator,
    *,
    num_classes: int,
    seed: int,
    slice_axis: int | None = None,
) -> RoughDrawing:
    """Draw "this is not class c" outside a rough loop around each target c; arguments as for `draw_positive`.

    A ring gets a second loop inside; a slice without class c is "not c" as a whole, at no cost. Where several loops
    exclude a class, the nearest one wins: the harder negative. Where all do, far in the background, the classes take
    turns from slice to slice.
    """
    canvas = _Canvas(label_map, spacing_mm, annotator, num_classes, seed, slice_axis)
    excluded = np.ones(label_map.shape, bool)
    nearest_mm = np.full(label_map.shape, np.inf)
    merged = np.zeros_like(canvas.annotation)
    for k in range(1, num_classes):
        canvas.annotation[:] = 0
        for index, drawing in canvas.slices():
            parts = canvas.noticed_parts(index, k)
            drawing[~canvas.outline(parts, -annotator.negative_gap, _NEGATIVE, index, k)] = k + 1
        says = canvas.annotation > 0
        excluded &= says
        # A class without any loop competes last, yet still speaks where nobody else does.
        loop_mm = distance_mm(~says, spacing_mm, beyond=1e30)
        wins = says & (loop_mm < nearest_mm)
        merged[wins], nearest_mm[wins] = k + 1, loop_mm[wins]
    turns = np.resize(np.arange(1, num_classes) + 1, len(canvas.stack)).astype(merged.dtype)
    turns = turns.reshape([-1 if axis == canvas.axis else 1 for axis in range(3)])
    canvas.annotation[:] = np.where(excluded, turns, merged)
    return canvas.finish("negative")


def drawn_counts(
    annotation: NDArray[np.integer], label_map: NDArray[np.integer], num_classes: int
) -> NDArray[np.int64]:
    """Number of voxels drawn m whose true class is k, axes (m, k); blank voxels are left out."""
    drawn = annotation > 0
    pairs = (annotation[drawn].astype(np.int64) - 1) * num_classes + label_map[drawn]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


class _Canvas:
    """The slices of a case, what an annotator draws on them, and the effort spent."""

    def __init__(
        self,
        label_map: NDArray[np.integer],
        spacing_mm: Sequence[float],
        annotator: Annotator,
        num_classes: int,
        seed: int,
        slice_axis: int | None,
    ) -> None:
        if label_map.ndim != 3 or len(spacing_mm) != 3:
            raise ValueError(f"label map and spacing must have three axes, got {label_map.shape} and {spacing_mm}")
        if label_map.min() < 0 or label_map.max() >= num_classes:
            raise ValueError(
                f"labels must be 0 to {num_classes - 1} for {num_classes} classes, got {label_map.min()} to "
                f"{label_map.max()}; an ignore label must be removed before drawing"
            )
        self.axis = int(np.argmax(spacing_mm)) if slice_axis is None else slice_axis
        self.label_map, self.num_classes, self.annotator, self.seed = label_map, num_classes, annotator, seed
        self.annotation = np.zeros(label_map.shape, np.uint8 if num_classes < 255 else np.uint16)
        self.stack = np.moveaxis(label_map, self.axis, 0)
        self.spacing_mm = np.delete(np.asarray(spacing_mm, float), self.axis)
        self._drawings = np.moveaxis(self.annotation, self.axis, 0)
        self._largest: dict[int, int] = {}
        self.contour_length_mm, self.corners = 0.0, 0

    def slices(self) -> Iterator[tuple[int, NDArray[np.integer]]]:
        """Index and drawing of the slices to draw; among them one with a target if there is any."""
        n = self.annotator.every_nth_slice
        targets = np.flatnonzero(self.stack.any(axis=(1, 2)))
        candidates = targets[:n] if len(targets) else np.arange(min(n, len(self.stack)))
        start = int(self._random(_NOTICING).choice(candidates)) % n
        for index in range(start, len(self.stack), n):
            yield index, self._drawings[index]

    def noticed_parts(self, index: int, k: int) -> NDArray[np.bool_]:
        """The parts of class k in a slice, without those that are overlooked."""
        labelled, number = ndimage.label(self.stack[index] == k, np.ones((3, 3)))
        if not number:
            return labelled > 0
        small = np.bincount(labelled.ravel())[1:] < self.annotator.small_part * self._largest_part(k)
        chance = np.where(small, self.annotator.overlook_small, self.annotator.overlook)
        noticed = self._random(_NOTICING, index, k).random(number) >= chance
        return np.concatenate([[False], noticed])[labelled]

    def outline(self, parts: NDArray[np.bool_], offset: float, *stream: int) -> NDArray[np.bool_]:
        """Inside of rough polygons inside (or, if the offset is negative, outside) all parts, see `rough_polygons`."""
        random = self._random(*stream)
        inside = np.zeros(parts.shape, bool)
        labelled, number = ndimage.label(parts, np.ones((3, 3)))
        for part, box in enumerate(ndimage.find_objects(labelled, number), start=1):
            half_mm = distance_mm(np.pad(labelled[box] != part, 1, constant_values=True), self.spacing_mm).max()
            # Room for the loop where it wobbles outwards most.
            away_mm = max(0.0, -offset) * half_mm + (self.annotator.margin_mm if offset < 0 else 0)
            room = np.ceil((away_mm * 3 + 5 * self.spacing_mm.max()) / self.spacing_mm)
            box = tuple(
                slice(max(0, int(side.start - m)), int(side.stop + m)) for side, m in zip(box, room, strict=True)
            )
            filled = np.zeros(labelled[box].shape, bool)
            for polygon_mm in rough_polygons(labelled[box] == part, self.spacing_mm, offset, self.annotator, random):
                rows, columns = (polygon_mm / self.spacing_mm).T
                filled[draw.polygon(rows, columns, filled.shape)] ^= True
                self.contour_length_mm += float(np.linalg.norm(np.diff(polygon_mm, axis=0), axis=1).sum())
                self.corners += len(polygon_mm) - 1
            inside[box] |= filled
        return inside

    def finish(self, kind: Literal["positive", "negative"]) -> RoughDrawing:
        """The drawing with its statistics."""
        counts = drawn_counts(self.annotation, self.label_map, self.num_classes)
        class_voxels = np.bincount(self.label_map.ravel(), minlength=self.num_classes)
        return RoughDrawing(self.annotation, kind, counts, class_voxels, self.contour_length_mm, self.corners)

    def _largest_part(self, k: int) -> int:
        """Pixels of the largest connected part of class k in any slice."""
        if k not in self._largest:
            sizes = [
                np.bincount(measure.label(plane).ravel())[1:].max(initial=0) for plane in self.stack == k if plane.any()
            ]
            self._largest[k] = int(max(sizes, default=0))
        return self._largest[k]

    def _random(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *stream])
