"""Cells of score tables: quality scores on any scale, error types as English or French words or as numbers, and cells
without a score."""

from __future__ import annotations

import math
import numbers
import re
from dataclasses import dataclass
from typing import Any

from nnunet_weak.dataset.annotations import BEST_QUALITY, ErrorType, error_name
from nnunet_weak.dataset.names import fold_text
from nnunet_weak.errors import InvalidInputError

ERROR_WORDS: dict[ErrorType, tuple[str, ...]] = {
    error: tuple(" ".join(words.split()).split(", "))
    for error, words in {
        ErrorType.UNDER: """under, under segmentation, undersegmentation, too small, missing, undersegmented,
            under segmented, underseg, missing parts, incomplete, false negative, false negatives,
            sous, sous segmentation, sous segmente, sous segmentee, sous estimation, manque, manquant, manquante,
            trop petit, trop petite, incomplet, insuffisant, faux negatif, faux negatifs""",
        ErrorType.NONE: """none, no error, ok, aucun, correct, no errors, no, okay, fine, perfect, excellent,
            aucune, aucune erreur, pas d erreur, sans erreur, non, rien, ras, parfait, parfaite, correcte""",
        ErrorType.OVER: """over, over segmentation, oversegmentation, too large, leak, oversegmented, over segmented,
            overseg, leaks, leakage, leaking, too big, spill, excess, extra, false positive, false positives,
            sur, sur segmentation, sur segmente, sur segmentee, sursegmentation, sursegmente, sursegmentee,
            sur estimation, trop grand, trop grande, trop gros, trop grosse, fuite, fuites, deborde, debordement,
            exces, en trop, faux positif, faux positifs""",
        ErrorType.BOTH: "both, mixed, les deux, mixte, both errors, both types, deux, les deux types",
    }.items()
}
"""Accepted words by error type; lower case, without accents, hyphens as blanks. Messages show the first ones."""

_ERROR_BY_WORD = {word: error for error, words in ERROR_WORDS.items() for word in words}
_ALLOWED_WORDS = "; ".join(f"{error:d} or {words[0]} ({', '.join(words[1:5])})" for error, words in ERROR_WORDS.items())
_BLANK = {"", *"- -- – — / ? n/a na #n/a nan null nc".split(), "not scored", "not rated", "non note", "non evalue"}
_MOST_CHARACTERS = 500
_NUMBER = r"[-+−]?\d+(?:[.,]\d+)?"


class UnreadableCellError(ValueError):
    """A cell has no valid content; the text says what is expected."""


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
        """Read BEST:WORST, for example 1:4.

        Raises:
            InvalidInputError: Not two different numbers.
        """
        try:
            best, worst = (float(part.replace(",", ".")) for part in text.split(":"))
        except ValueError:
            best = worst = math.nan
        if best == worst or not math.isfinite(best - worst):
            raise InvalidInputError(
                f"scale '{text}': is not BEST:WORST, two different numbers (remedy: write 5:0 or 1:4, for example)"
            )
        return cls(best, worst)

    def __str__(self) -> str:
        return f"{self.best:g} (best) to {self.worst:g}"

    def to_quality(self, score: float) -> float:
        """Quality from 0 to 5 of a score of this scale."""
        return round(BEST_QUALITY * (score - self.worst) / (self.best - self.worst), 6)


STANDARD_SCALE = Scale()


def is_blank(cell: Any) -> bool:
    """Whether a cell holds no value: empty, a dash, n/a."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return True
    return isinstance(cell, str) and fold_text(cell) in _BLANK


def cell_text(cell: Any) -> str:
    """A cell as text; whole numbers without the `.0` that spreadsheet programs give them, so that case 7 is "7"."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return " ".join(str(cell).split())


def parse_quality(cell: Any, scale: Scale) -> float:
    """Read a quality score, `4`, `4,5`, `4/5` (out of the best score), `4 - good`, `4 (good)`, as quality from 0 to 5.

    Args:
        cell: Text, or a value from a spreadsheet.
        scale: Scale of the score.

    Raises:
        UnreadableCellError: A score outside the scale, or another content, such as dates (spreadsheet programs turn 4/5
            into one) and truth values.
    """
    score = _parse_number(cell, max(scale.best, scale.worst))
    low, high = sorted((scale.best, scale.worst))
    if not low <= score <= high:
        raise UnreadableCellError(
            f"outside {low:g} to {high:g} (remedy: correct the score, or state the scale as BEST:WORST)"
        )
    return scale.to_quality(score)


def parse_error(cell: Any) -> ErrorType:
    """Read an error type: a word, a number (-1, 0, 1, 2), or several words as check boxes export them ("under, over").

    Raises:
        UnreadableCellError: An unknown word or number, or a combination that contradicts itself.
    """
    if isinstance(cell, bool) or not isinstance(cell, (str, numbers.Real)):
        raise UnreadableCellError(f"a word or one of -1, 0, 1, 2 is needed, not a {type(cell).__name__}")
    text = fold_text(_short(cell).replace("\n", ";") if isinstance(cell, str) else cell_text(cell))
    number = re.fullmatch(r"([-+−–]?\d+)(?:[.,]0+)?(?![.,]?\d)\s*[-–—:=(]?\s*(.*?)\)?", text)
    if number is None:
        return _parse_words(text)
    try:
        error = ErrorType(int(re.sub("[−–]", "-", number[1])))
    except ValueError as reason:
        raise UnreadableCellError("the allowed numbers are -1 (under), 0 (none), 1 (over), 2 (both)") from reason
    if number[2] and _parse_words(number[2]) != error:
        raise UnreadableCellError(f"the number means {error_name(error)}, the word does not")
    return error


def combine_errors(errors: set[ErrorType]) -> ErrorType:
    """Unite error types: under and over make both; none counts only where there is no other."""
    present = errors - {ErrorType.NONE}
    return ErrorType.BOTH if len(present) > 1 else next(iter(present), ErrorType.NONE)


def _parse_number(cell: Any, best: float) -> float:
    if isinstance(cell, numbers.Real) and not isinstance(cell, bool):
        try:
            number = float(cell)
        except OverflowError:  # a whole number of hundreds of digits
            number = math.inf
        if not math.isfinite(number):
            raise UnreadableCellError("a finite number is needed")
        return number
    if not isinstance(cell, str):
        hint = ", perhaps made of a fraction by the spreadsheet program" if hasattr(cell, "year") else ""
        raise UnreadableCellError(f"a number is needed, not a {type(cell).__name__}{hint}")
    text = fold_text(_short(cell))
    fraction = re.fullmatch(rf"({_NUMBER})\s*(?:/|sur|out of|of)\s*({_NUMBER})", text)
    found = fraction or re.fullmatch(rf"({_NUMBER})(?:\s*[-–—:=(;,.]\s*[^\d]*|\s+[^\d]+)?", text)
    if found is None:
        raise UnreadableCellError("a number is needed")
    if fraction and _to_float(fraction[2]) != best:
        raise UnreadableCellError(f"the score is out of {fraction[2]}, the scale's best score is {best:g}")
    return _to_float(found[1])


def _short(text: str) -> str:
    """A cell of a score, which is short; the patterns take the square of its length."""
    if len(text) > _MOST_CHARACTERS:
        raise UnreadableCellError(f"{len(text)} characters, a score has at most {_MOST_CHARACTERS}")
    return text


def _to_float(text: str) -> float:
    return float(text.replace(",", ".").replace("−", "-"))


def _parse_words(text: str) -> ErrorType:
    plain = re.sub(r"\([^)]*\)|\[[^\]]*\]", " ", text)
    for whole in (text, plain):
        if _word(whole) in _ERROR_BY_WORD:
            return _ERROR_BY_WORD[_word(whole)]
    parts = [part for part in re.split(r"[,;/+&|]|\band\b|\bet\b", plain) if part.strip()]
    found = [_ERROR_BY_WORD.get(_word(part), _ERROR_BY_WORD.get(_word(part.split(":")[0]))) for part in parts]
    errors = {error for error in found if error is not None}
    if not parts or None in found:
        raise UnreadableCellError(f"unknown error type; allowed are {_ALLOWED_WORDS}")
    if ErrorType.NONE in errors and len(errors) > 1:
        raise UnreadableCellError("no error and an error at once")
    return combine_errors(errors)


def _word(text: str) -> str:
    return " ".join(re.sub(r"[^a-z0-9]+", " ", text).split())
