"""A long bone with its joints as signed distances: humerus-like, shortened so that a small volume can show all of it.

Positions are (a, b, t) in mm in the bone's own frame: a towards the joint socket (medial), b backwards, t along the
bone from its distal to its proximal end, 0 in the middle. Signed distances are in mm, negative inside, and near enough
to true distances within a few mm of a surface, which is all that partial volume and segmentation errors need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from nnunet_weak.simulation.smooth_fields import FloatArray, SmoothField, smooth_field


@dataclass(frozen=True)
class LongBone:
    """Shape of one bone, its two joints and the limb around it.

    Attributes:
        length_mm: From the lowest condyle to the top of the head.
        shaft_mm: Radius of the shaft.
        head_mm: Radius of the head.
        head_offset_mm: How far the head sits medially of the shaft's axis.
        condyle_mm: Radius of the condyles.
        bow_mm: How far the middle of the shaft bulges.
        gap_mm: Width of the joint spaces.
        limb_mm: Radius of the limb.
        texture: Roughness of the surface, about 1 mm of detail that a coarse model does not see.
        bump: Position along the bone and angle of the muscle attachment on the shaft.
    """

    length_mm: float
    shaft_mm: float
    head_mm: float
    head_offset_mm: float
    condyle_mm: float
    bow_mm: float
    gap_mm: float
    limb_mm: float
    bump: tuple[float, float]
    texture: SmoothField = field(repr=False, compare=False)

    @classmethod
    def random(cls, rng: np.random.Generator) -> LongBone:
        """Draw a bone."""
        return cls(
            length_mm=rng.uniform(94, 112),
            shaft_mm=rng.uniform(8.0, 10.0),
            head_mm=rng.uniform(16.5, 19.5),
            head_offset_mm=rng.uniform(5, 8),
            condyle_mm=rng.uniform(8.0, 9.5),
            bow_mm=rng.uniform(-3, 3),
            gap_mm=rng.uniform(2.2, 3.4),
            limb_mm=rng.uniform(31, 36),
            bump=(rng.uniform(2, 14), rng.uniform(0, 2 * np.pi)),
            texture=smooth_field(rng, wavelength_mm=13),
        )

    @property
    def proximal_from_mm(self) -> float:
        """Position t above which the bone counts as its proximal end (the surgical neck)."""
        return self.length_mm / 2 - 1.75 * self.head_mm

    @property
    def distal_to_mm(self) -> float:
        """Position t below which the bone counts as its distal end."""
        return -self.length_mm / 2 + 2.9 * self.condyle_mm

    @property
    def head_centre_mm(self) -> tuple[float, float, float]:
        """Centre of the head."""
        return self.head_offset_mm, -1.5, self.length_mm / 2 - self.head_mm

    def smooth_distance_mm(self, position: Sequence[FloatArray]) -> FloatArray:
        """Signed distance to the bone without its surface detail: as a coarse model knows it."""
        a, b, t = position
        half, head, condyle = self.length_mm / 2, self.head_mm, self.condyle_mm
        axis_a = self.bow_mm * (1 - (t / half) ** 2)
        # The shaft widens towards both ends: metaphyses.
        radius = (
            self.shaft_mm
            + 4.5 * np.exp(-(((t - half + head) / 14) ** 2))
            + 2.5 * np.exp(-(((t + half - condyle) / 13) ** 2))
        )
        shaft = np.maximum(np.hypot(a - axis_a, 1.1 * b) - radius, np.abs(t + 2) - (half - condyle - 4))
        shape = _smooth_union(shaft, _ball(position, self.head_centre_mm, head), 5)
        tuberosity = _ball(position, (-0.45 * head, -0.25 * head, half - 0.95 * head), 0.62 * head)
        shape = _smooth_union(shape, tuberosity, 4)
        flare = _ellipsoid(position, (0, 0, -half + 1.6 * condyle), (1.9 * condyle, 0.85 * condyle, 1.3 * condyle))
        shape = _smooth_union(shape, flare, 4)
        for side in (-1.0, 1.0):  # two condyles with the trochlea's groove between them
            shape = _smooth_union(shape, _ball(position, (side * 0.95 * condyle, -1, -half + condyle), condyle), 2)
        return shape

    def distance_mm(self, position: Sequence[FloatArray], smooth_mm: FloatArray) -> FloatArray:
        """Signed distance to the bone with its detail: roughness, the muscle attachment, the fossa above the condyles.

        Args:
            position: Coordinates.
            smooth_mm: `smooth_distance_mm` there.
        """
        bump_t, angle = self.bump
        on_shaft = (self.shaft_mm * np.cos(angle), self.shaft_mm * np.sin(angle), bump_t)
        fossa = (0.0, self.condyle_mm, -self.length_mm / 2 + 1.9 * self.condyle_mm)
        detail = (
            0.55 * self.texture(position)
            + 2.4 * _blob(position, on_shaft, (5, 5, 9))
            - 3.5 * _blob(position, fossa, (5, 4, 5))
        )
        return smooth_mm - detail

    def neighbours_mm(self, position: Sequence[FloatArray], smooth_mm: FloatArray) -> FloatArray:
        """Signed distance to the bones across the joints: socket and acromion above, two forearm bones below."""
        half, head, condyle = self.length_mm / 2, self.head_mm, self.condyle_mm
        ca, cb, ct = self.head_centre_mm
        a, b, t = position
        from_head = np.sqrt((a - ca) ** 2 + (b - cb) ** 2 + (t - ct) ** 2)
        towards = (0.92 * (a - ca) + 0.39 * (t - ct)) / np.maximum(from_head, 1e-3)
        # A cap of the shell around the head, about 40 degrees wide, continued inwards by the scapula's neck.
        socket = np.maximum(from_head - (head + self.gap_mm + 9), (0.75 - towards) * from_head)
        neck = _capsule(position, (ca + head + 8, cb, ct + 6), (ca + head + 40, cb + 4, ct + 2), 7)
        acromion = _capsule(position, (-0.7 * head, 2, half + 9), (1.5 * head, 10, half + 13), 5)
        ulna = _smooth_union(
            _capsule(position, (0.8 * condyle, 2, -half - 9), (0.6 * condyle, 4, -half - 70), 7.5),
            _capsule(position, (0.4 * condyle, 1.2 * condyle, -half + 4), (0.8 * condyle, 3, -half - 12), 6),
            4,
        )
        radius = _capsule(position, (-0.95 * condyle, -1, -half - 11), (-0.9 * condyle, -2, -half - 70), 6.5)
        bones = np.minimum.reduce([_smooth_union(socket, neck, 5), acromion, ulna, radius])
        return np.maximum(bones, self.gap_mm - smooth_mm)  # congruent joint surfaces, one joint space apart

    def limb_distance_mm(self, position: Sequence[FloatArray], bones_mm: FloatArray) -> FloatArray:
        """Signed distance to the skin.

        Args:
            position: Coordinates.
            bones_mm: Signed distance to the nearest bone, which the skin covers by at least 7 mm.
        """
        a, b, t = position
        half = self.length_mm / 2
        shoulder = 1 / (1 + np.exp(-(t - half + 8) / 6))
        wide = self.limb_mm + 45 * shoulder - 3 * np.exp(-(((t + half) / 25) ** 2))
        limb = np.hypot((a - 34 * shoulder) * self.limb_mm / wide, b) - self.limb_mm
        limb = np.maximum(limb, t - half - 24 - 0.1 * a)
        return np.minimum(limb, bones_mm - 7)


def _smooth_union(one: FloatArray, other: FloatArray, blend_mm: float) -> FloatArray:
    """Union of two shapes with the crease between them filled over `blend_mm`."""
    near = np.maximum(blend_mm - np.abs(one - other), 0)
    return np.minimum(one, other) - near * near / (4 * blend_mm)


def _ball(position: Sequence[FloatArray], centre: Sequence[float], radius: float) -> FloatArray:
    a, b, t = position
    return np.sqrt((a - centre[0]) ** 2 + (b - centre[1]) ** 2 + (t - centre[2]) ** 2) - radius


def _ellipsoid(position: Sequence[FloatArray], centre: Sequence[float], radii: Sequence[float]) -> FloatArray:
    scaled = sum(((x - c) / r) ** 2 for x, c, r in zip(position, centre, radii, strict=True))
    return (np.sqrt(scaled) - 1) * min(radii)


def _capsule(position: Sequence[FloatArray], start: Sequence[float], end: Sequence[float], radius: float) -> FloatArray:
    """Cylinder with round ends."""
    along = np.subtract(end, start)
    offset = [x - s for x, s in zip(position, start, strict=True)]
    share = np.clip(sum(o * d for o, d in zip(offset, along, strict=True)) / float(along @ along), 0, 1)
    return np.sqrt(sum((o - share * d) ** 2 for o, d in zip(offset, along, strict=True))) - radius


def _blob(position: Sequence[FloatArray], centre: Sequence[float], widths: Sequence[float]) -> FloatArray:
    scaled = sum(((x - c) / w) ** 2 for x, c, w in zip(position, centre, widths, strict=True))
    return np.exp(-0.5 * scaled)
