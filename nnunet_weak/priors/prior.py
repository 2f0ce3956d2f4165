"""A kind of boundary prior: a function of the case, options with their ranges, and the inputs it needs.

A prior that combines others adds up their log-odds, which is Bayes' rule for independent evidence:

    logit P = logit P_1 + w_2 logit P_2 + ...
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import scipy  # its parts are loaded where they are first used
from numpy.typing import NDArray

from nnunet_weak.errors import Problems

Array = NDArray[np.generic]
Probability = NDArray[np.float32]

PriorFunction = Callable[..., Probability | None]
"""Called with the case, and each option by name; None where P would say nothing, as for an image of one intensity."""

UNINFORMATIVE = 0.5
_SMALLEST_PROBABILITY = 1e-6


@dataclass(frozen=True)
class PriorInput:
    """One case.

    Attributes:
        intensities: First image channel, (z, y, x), any number type.
        spacing_mm: Voxel size, (z, y, x).
        nonzero: Filled nonzero region of the image, bool; None where that is the whole volume.
        labels: Initial mask, 0 = background, k = region k; None unless the prior needs it.
        file: The case's file of probabilities; None unless the prior needs it.
    """

    intensities: Array
    spacing_mm: tuple[float, ...]
    nonzero: NDArray[np.bool_] | None = None
    labels: NDArray[np.integer] | None = None
    file: Probability | None = None


@dataclass(frozen=True)
class Option:
    """A number with its default and its range, inclusive; a default of None is a value too."""

    default: float | None
    low: float
    high: float
    meaning: str

    def check(self, value: object, where: str, problems: Problems) -> None:
        """Add the problem of a value that is no number or out of range."""
        if value is None and self.default is None:
            return
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            problems.add(where, f"{value!r} is not a finite number", "give one, or leave the option out")
        elif not self.low <= value <= self.high:
            what = f"{value:g} is outside {self.low:g} to {self.high:g} ({self.meaning})"
            problems.add(where, what, "give a number in this range, or leave the option out")


@dataclass(frozen=True)
class Prior:
    """A kind of boundary prior.

    Attributes:
        function: Makes P, float32, (z, y, x).
        options: By name. Kinds that share an option share the object.
        needs_mask: Whether P is made from the initial mask as well as from the image.
        needs_file: Whether P is made from a file of probabilities.
        check: Adds contradictions between values that are each in range; called with values, where, and problems.
    """

    function: PriorFunction
    options: Mapping[str, Option] = field(default_factory=dict)
    needs_mask: bool = False
    needs_file: bool = False
    check: Callable[[Mapping[str, float], str, Problems], None] | None = None


def add_log_odds(probability: Probability, log_odds: NDArray[np.floating]) -> Probability:
    """Probability after further evidence; finite where it was 0 or 1, so that no source silences the others."""
    prior = scipy.special.logit(np.clip(probability, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY))
    return scipy.special.expit(prior + log_odds).astype(np.float32, copy=False)
