"""Scales that quality scores are given on."""

from __future__ import annotations

from dataclasses import dataclass

from nnunet_weak.dataset.annotations import BEST_QUALITY
from nnunet_weak.errors import InvalidInputError


@dataclass(frozen=True)
class Scale:
    """A scale of quality scores, mapped linearly to 5 (best) to 0 (worst).

    Example:
        >>> scale = Scale.parse("1:4")
        >>> scale.to_quality(1), scale.to_quality(4), scale.to_quality(2.5)
        (5.0, 0.0, 2.5)
    """

    best: float = BEST_QUALITY
    worst: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Scale:
        """The scale written as BEST:WORST, for example 1:4.

        Raises:
            InvalidInputError: Not two different numbers.
        """
        try:
            best, worst = (float(part.replace(",", ".")) for part in text.split(":"))
        except ValueError as error:
            raise InvalidInputError(
                f"scale '{text}': two numbers are needed, BEST:WORST, for example 5:0 or 1:4"
            ) from error
        if best == worst or not all(abs(value) < float("inf") for value in (best, worst)):
            raise InvalidInputError(f"scale '{text}': best and worst must be two different finite numbers")
        return cls(best, worst)

    def __contains__(self, score: float) -> bool:
        return min(self.best, self.worst) <= score <= max(self.best, self.worst)

    def to_quality(self, score: float) -> float:
        """Quality from 0 to 5 of a score of this scale."""
        return round(BEST_QUALITY * (score - self.worst) / (self.best - self.worst), 6)
