"""A long bone with its joints as signed distances, and the errors that a coarse segmentation model makes on it.

The bone is a shortened humerus. Positions are (a, b, t) in mm in its own frame: a towards the joint socket (medial), b
backwards, t from the distal to the proximal end, 0 in the middle. Signed distances are in mm, negative inside, and
close to true distances within a few mm of a surface, which is enough for partial volume and segmentation errors.

The errors differ by region. The surface of under- and over-segmented regions is moved by an amount that varies smoothly
in space; ends are cut short, or leak over the joint space into the neighbouring bone; the surface detail that a coarse
grid cannot hold is missing. The amplitude is scaled so that the whole mask has a given Dice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nnunet_weak.dataset.annotations import ErrorType
from nnunet_weak.simulation.smooth_fields import FloatArray, SmoothField, smooth_field

Position = Sequence[FloatArray]

REGIONS = {"proximal": 1, "shaft": 2, "distal": 3}
"""Label value of each region of the bone."""

_TRANSITION_MM = 2.5
"""Width over which the error of one region passes into that of the next."""


@dataclass(frozen=True)
class LongBone:
    """Shape of one bone, its two joints and the limb around it.

    Attributes:
        length_mm: From the lowest condyle to the top of the head.
        shaft_mm: Radius of the shaft; `head_mm`, `condyle_mm` and `limb_mm` are radii as well.
        head_offset_mm: How far the head sits medially of the shaft's axis.
        bow_mm: How far the middle of the shaft bulges.
        gap_mm: Width of the joint spaces.
        bump: Position along the bone and angle of the muscle attachment on the shaft.
        texture: Roughness of the surface, about 1 mm of detail that a coarse model does not see.
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

    def smooth_distance_mm(self, position: Position) -> FloatArray:
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

    def distance_mm(self, position: Position, smooth_mm: FloatArray) -> FloatArray:
        """Signed distance to the bone with roughness, muscle attachment and fossa, from `smooth_distance_mm` there."""
        bump_t, angle = self.bump
        on_shaft = (self.shaft_mm * np.cos(angle), self.shaft_mm * np.sin(angle), bump_t)
        fossa = (0.0, self.condyle_mm, -self.length_mm / 2 + 1.9 * self.condyle_mm)
        detail = (
            0.55 * self.texture(position)
            + 2.4 * _blob(position, on_shaft, (5, 5, 9))
            - 3.5 * _blob(position, fossa, (5, 4, 5))
        )
        return smooth_mm - detail

    def neighbours_mm(self, position: Position, smooth_mm: FloatArray) -> FloatArray:
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

    def limb_distance_mm(self, position: Position, bones_mm: FloatArray) -> FloatArray:
        """Signed distance to the skin, which lies at least 7 mm outside the bones, whose distance is given."""
        a, b, t = position
        half = self.length_mm / 2
        shoulder = 1 / (1 + np.exp(-(t - half + 8) / 6))
        wide = self.limb_mm + 45 * shoulder - 3 * np.exp(-(((t + half) / 25) ** 2))
        limb = np.hypot((a - 34 * shoulder) * self.limb_mm / wide, b) - self.limb_mm
        limb = np.maximum(limb, t - half - 24 - 0.1 * a)
        return np.minimum(limb, bones_mm - 7)


def random_errors(rng: np.random.Generator) -> tuple[dict[str, ErrorType], float]:
    """Error type of each region, at most one of them none, and a Dice from 0.82 to 0.90."""
    wrong = [ErrorType.UNDER, ErrorType.OVER, ErrorType.BOTH]
    errors = {region: wrong[index] for region, index in zip(REGIONS, rng.integers(3, size=3), strict=True)}
    spared = int(rng.integers(6))
    if spared < 3:
        errors[list(REGIONS)[spared]] = ErrorType.NONE
    return errors, float(rng.uniform(0.82, 0.90))


def coarse_mask(
    bone: LongBone,
    position: Position,
    true_mm: FloatArray,
    smooth_mm: FloatArray,
    neighbours_mm: FloatArray,
    errors: Mapping[str, ErrorType],
    dice: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Mask of the whole bone with an error type in each region.

    The signed distances are those of `LongBone`'s methods: with detail, without, to the neighbours. The Dice is within
    about 0.01 of the one asked for, unless most of the visible bone is to be without error.
    """
    t = position[2]
    proximal = 1 / (1 + np.exp(-(t - bone.proximal_from_mm) / _TRANSITION_MM))
    distal = 1 / (1 + np.exp((t - bone.distal_to_mm) / _TRANSITION_MM))
    shares = ((proximal, errors["proximal"]), (1 - proximal - distal, errors["shaft"]), (distal, errors["distal"]))

    amount = smooth_field(rng, wavelength_mm=32, waves=5)(position)
    sign = np.tanh(2 * smooth_field(rng, wavelength_mm=40, waves=5)(position))
    moved = 1 + 0.45 * np.tanh(amount)  # always the same direction, more in some places than in others
    direction = {ErrorType.UNDER: -moved, ErrorType.OVER: moved, ErrorType.BOTH: 1.3 * sign}
    displacement, coarse = np.zeros_like(true_mm), np.zeros_like(true_mm)
    for share, error in shares:
        if error != ErrorType.NONE:
            coarse += share
            displacement += share * direction[error]
    start = true_mm + coarse * (smooth_mm - true_mm)

    # Depth by which ends are cut, and reach of leaks, both per mm of amplitude.
    cut, leaks = np.zeros_like(t), np.zeros_like(t)
    patchy = smooth_field(rng, wavelength_mm=30, waves=5)(position) > -0.4
    for end, error in ((t > bone.proximal_from_mm, errors["proximal"]), (t < bone.distal_to_mm, errors["distal"])):
        if error in (ErrorType.UNDER, ErrorType.BOTH):
            cut[end] = rng.uniform(1.0, 2.5)
        if error in (ErrorType.OVER, ErrorType.BOTH):
            leaks[end & patchy] = rng.uniform(2.2, 3.2)
    beyond_end_mm = np.abs(t) - bone.length_mm / 2
    leaky = (neighbours_mm < bone.gap_mm + 0.5) & (leaks > 0)

    truth = true_mm < 0
    low_mm, high_mm = 0.0, 4.0
    for _ in range(7):
        amplitude_mm = (low_mm + high_mm) / 2
        mask = (start < amplitude_mm * displacement) & (beyond_end_mm < -amplitude_mm * cut)
        # The leak takes in the joint space and the surface layer of the bone beyond it, as far as it reaches.
        mask |= leaky & (true_mm < amplitude_mm * leaks)
        if 2 * (mask & truth).sum() > dice * (mask.sum() + truth.sum()):
            low_mm = amplitude_mm
        else:
            high_mm = amplitude_mm
    return mask


def _smooth_union(one: FloatArray, other: FloatArray, blend_mm: float) -> FloatArray:
    """Union of two shapes with the crease between them filled over `blend_mm`."""
    near = np.maximum(blend_mm - np.abs(one - other), 0)
    return np.minimum(one, other) - near * near / (4 * blend_mm)


def _ball(position: Position, centre: Sequence[float], radius: float) -> FloatArray:
    a, b, t = position
    return np.sqrt((a - centre[0]) ** 2 + (b - centre[1]) ** 2 + (t - centre[2]) ** 2) - radius


def _scaled_square(position: Position, centre: Sequence[float], radii: Sequence[float]) -> FloatArray:
    squares = [((x - c) / r) ** 2 for x, c, r in zip(position, centre, radii, strict=True)]
    return squares[0] + squares[1] + squares[2]


def _ellipsoid(position: Position, centre: Sequence[float], radii: Sequence[float]) -> FloatArray:
    return (np.sqrt(_scaled_square(position, centre, radii)) - 1) * min(radii)


def _capsule(position: Position, start: Sequence[float], end: Sequence[float], radius: float) -> FloatArray:
    """Cylinder with round ends."""
    along = np.subtract(end, start)
    offset = [x - s for x, s in zip(position, start, strict=True)]
    share = np.clip(sum(o * d for o, d in zip(offset, along, strict=True)) / float(along @ along), 0, 1)
    return np.sqrt(sum((o - share * d) ** 2 for o, d in zip(offset, along, strict=True))) - radius


def _blob(position: Position, centre: Sequence[float], widths: Sequence[float]) -> FloatArray:
    return np.exp(-0.5 * _scaled_square(position, centre, widths))
