"""Errors that a segmentation model of coarse resolution makes on a bone, put into a mask on purpose.

Each region of a bone gets an error type of its own. Under- and over-segmented regions have their surface moved by an
amount that varies smoothly in space; ends are cut short, or leak over the joint space into the neighbouring bone; the
surface detail that a coarse grid cannot hold is missing. The amplitude is then scaled so that the whole mask has a
given Dice.

Signed distances in mm, negative inside; positions in the bone's frame (see `bone_shape`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_weak.dataset.annotations import ErrorType
from nnunet_weak.simulation.bone_shape import LongBone
from nnunet_weak.simulation.smooth_fields import FloatArray, smooth_field

#: Width, in mm, over which the error of one region passes into that of the next.
_TRANSITION_MM = 2.5


@dataclass(frozen=True)
class MaskErrors:
    """Which error each region gets.

    Attributes:
        proximal: Error of the proximal end.
        shaft: Error of the shaft.
        distal: Error of the distal end.
        dice: Dice of the whole mask to aim at.
    """

    proximal: ErrorType
    shaft: ErrorType
    distal: ErrorType
    dice: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> MaskErrors:
        """Draw error types, at most one region without error, and a Dice from 0.82 to 0.90."""
        wrong = [ErrorType.UNDER, ErrorType.OVER, ErrorType.BOTH]
        drawn = [wrong[index] for index in rng.integers(3, size=3)]
        spared = int(rng.integers(6))
        if spared < 3:
            drawn[spared] = ErrorType.NONE
        proximal, shaft, distal = drawn
        return cls(proximal, shaft, distal, dice=float(rng.uniform(0.82, 0.90)))


def coarse_mask(
    bone: LongBone,
    position: Sequence[FloatArray],
    true_mm: FloatArray,
    smooth_mm: FloatArray,
    neighbours_mm: FloatArray,
    errors: MaskErrors,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Mask of the whole bone with the errors asked for.

    Args:
        bone: The bone.
        position: Voxel centres in the bone's frame.
        true_mm: Signed distance to the true surface there.
        smooth_mm: The same without detail.
        neighbours_mm: Signed distance to the neighbouring bones.
        errors: Error of each region, and the Dice to aim at.
        rng: Source of randomness.

    Returns:
        The mask. Its Dice is the one asked for within about 0.01, unless most of the visible bone was to be without
        error.
    """
    t = position[2]
    proximal = 1 / (1 + np.exp(-(t - bone.proximal_from_mm) / _TRANSITION_MM))
    distal = 1 / (1 + np.exp((t - bone.distal_to_mm) / _TRANSITION_MM))
    shares = ((proximal, errors.proximal), (1 - proximal - distal, errors.shaft), (distal, errors.distal))

    amount = smooth_field(rng, wavelength_mm=32, waves=5)(position)
    sign = np.tanh(2 * smooth_field(rng, wavelength_mm=40, waves=5)(position))
    moved = 1 + 0.45 * np.tanh(amount)  # always the same direction, more in some places than in others
    displacement = np.zeros_like(true_mm)
    coarse = np.zeros_like(true_mm)
    for share, error in shares:
        if error == ErrorType.NONE:
            continue
        coarse += share
        direction = {ErrorType.UNDER: -moved, ErrorType.OVER: moved, ErrorType.BOTH: 1.3 * sign}[error]
        displacement += share * direction
    start = true_mm + coarse * (smooth_mm - true_mm)
    ends = _EndErrors.random(bone, position, errors, rng)

    truth = true_mm < 0
    low, high = 0.0, 4.0
    for _ in range(7):
        amplitude_mm = (low + high) / 2
        mask = _apply(start, displacement, neighbours_mm, true_mm, ends, amplitude_mm)
        if 2 * (mask & truth).sum() > errors.dice * (mask.sum() + truth.sum()):
            low = amplitude_mm
        else:
            high = amplitude_mm
    return mask


@dataclass(frozen=True)
class _EndErrors:
    """Joint space that leaks fill; depth by which ends are cut and reach of leaks, both per mm of amplitude."""

    gap_mm: float
    beyond_end_mm: FloatArray
    cut: FloatArray
    leaks: FloatArray

    @classmethod
    def random(
        cls, bone: LongBone, position: Sequence[FloatArray], errors: MaskErrors, rng: np.random.Generator
    ) -> _EndErrors:
        t = position[2]
        patchy = smooth_field(rng, wavelength_mm=30, waves=5)(position) > -0.4
        cut = np.zeros_like(t)
        leaks = np.zeros_like(t)
        ends = ((t > bone.proximal_from_mm, errors.proximal), (t < bone.distal_to_mm, errors.distal))
        for where, error in ends:
            if error in (ErrorType.UNDER, ErrorType.BOTH):
                cut[where] = rng.uniform(1.0, 2.5)
            if error in (ErrorType.OVER, ErrorType.BOTH):
                leaks[where & patchy] = rng.uniform(2.2, 3.2)
        return cls(bone.gap_mm + 0.5, np.abs(t) - bone.length_mm / 2, cut, leaks)


def _apply(
    start: FloatArray,
    displacement: FloatArray,
    neighbours_mm: FloatArray,
    true_mm: FloatArray,
    ends: _EndErrors,
    amplitude_mm: float,
) -> NDArray[np.bool_]:
    mask = start < amplitude_mm * displacement
    mask &= ends.beyond_end_mm < -amplitude_mm * ends.cut
    # The leak takes in the joint space and the surface layer of the bone beyond it, as far as it reaches.
    return mask | ((neighbours_mm < ends.gap_mm) & (true_mm < amplitude_mm * ends.leaks) & (ends.leaks > 0))
