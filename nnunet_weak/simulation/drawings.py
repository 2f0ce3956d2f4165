"""Coarse drawings as a person makes them in a minute, simulated from dense label maps.

For benchmarks, tests and teaching of RefineSeg: positive drawings ("this is the left ventricle, roughly") and negative
ones ("this is not the left ventricle"). Label maps have axes (z, y, x), as SimpleITK gives them, 0 = background;
spacings in the same order, in mm. Drawings are encoded 0 = blank, k + 1 = class k. People draw slice by slice, so
shapes are handled in the plane of a slice. What is drawn depends on the seed alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import draw, measure

from nnunet_weak.simulation.annotators import ANNOTATORS, Annotator
from nnunet_weak.simulation.rough_drawing import RoughDrawing, blank_drawing, drawn_counts
from nnunet_weak.simulation.rough_outlines import distance_mm, rough_polygons

_NOTICING, _POSITIVE, _BACKGROUND, _NEGATIVE = range(4)  # independent random streams of one seed


def draw_positive(
    label_map: NDArray[np.integer],
    spacing_mm: Sequence[float],
    annotator: Annotator | None = None,
    *,
    num_classes: int,
    seed: int,
    background: bool = True,
    slice_axis: int | None = None,
) -> RoughDrawing:
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
) -> dict[int, RoughDrawing]:
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
    drawings: Mapping[int, RoughDrawing],
    label_map: NDArray[np.integer],
    spacing_mm: Sequence[float],
    *,
    slice_axis: int | None = None,
) -> RoughDrawing:
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
        loop_mm = distance_mm(~speaks, spacing_mm, beyond=1e30)
        wins = speaks & (loop_mm < nearest_mm)
        annotation[wins], nearest_mm[wins] = k + 1, loop_mm[wins]
    axis = int(np.argmax(spacing_mm)) if slice_axis is None else slice_axis
    turn = np.moveaxis(np.zeros_like(annotation), axis, 0)
    turn += (np.resize(classes, len(turn)) + 1).astype(annotation.dtype)[:, None, None]
    annotation = np.where(says.all(axis=0), np.moveaxis(turn, 0, axis), annotation)
    class_voxels = drawings[classes[0]].class_voxels
    return RoughDrawing(
        annotation,
        "negative",
        drawn_counts(annotation, label_map, len(class_voxels)),
        class_voxels,
        sum(drawing.contour_length_mm for drawing in drawings.values()),
        sum(drawing.corners for drawing in drawings.values()),
    )


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
        self.annotation = blank_drawing(label_map.shape, num_classes)
        self.stack = np.moveaxis(label_map, axis, 0)
        self.spacing_mm = np.delete(np.asarray(spacing_mm, float), axis)
        self._drawings = np.moveaxis(self.annotation, axis, 0)
        self._largest: dict[int, int] = {}
        self.contour_length_mm, self.corners = 0.0, 0

    def slices(self, annotator: Annotator, seed: int) -> Iterator[tuple[int, NDArray[np.integer], NDArray[np.integer]]]:
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
            half_mm = distance_mm(np.pad(labelled[box] != part, 1, constant_values=True), self.spacing_mm).max()
            # Room for the loop where it wobbles outwards most.
            margin = np.ceil((max(0.0, -offset) * half_mm * 3 + 5 * self.spacing_mm.max()) / self.spacing_mm)
            box = tuple(
                slice(max(0, int(side.start - m)), int(side.stop + m)) for side, m in zip(box, margin, strict=True)
            )
            polygons = rough_polygons(labelled[box] == part, self.spacing_mm, offset, annotator, random)
            filled = np.zeros(labelled[box].shape, bool)
            for polygon_mm in polygons:
                polygon_px = polygon_mm / self.spacing_mm
                rows, columns = draw.polygon(polygon_px[:, 0], polygon_px[:, 1], filled.shape)
                filled[rows, columns] ^= True
                self.contour_length_mm += float(np.linalg.norm(np.diff(polygon_mm, axis=0), axis=1).sum())
                self.corners += len(polygon_mm) - 1
            inside[box] |= filled
        return inside

    def finish(self, kind: Literal["positive", "negative"]) -> RoughDrawing:
        """The drawing with its statistics."""
        counts = drawn_counts(self.annotation, self.label_map, self.num_classes)
        class_voxels = np.bincount(self.label_map.ravel(), minlength=self.num_classes)
        return RoughDrawing(self.annotation, kind, counts, class_voxels, self.contour_length_mm, self.corners)


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


def _random(seed: int, *stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, *stream])
