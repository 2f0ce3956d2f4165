"""Words of score tables, in English and French: error types, numbers as typed, what a cell without a score looks like.

Error types are those of SCORE: -1 under-segmentation, 0 none, 1 over-segmentation, 2 both.
"""

from __future__ import annotations

import math
import numbers
import re
from typing import Any

from nnunet_weak.dataset.annotations import ErrorType, error_name
from nnunet_weak.dataset.names import fold_text

UNDER, NONE, OVER, BOTH = ErrorType.UNDER, ErrorType.NONE, ErrorType.OVER, ErrorType.BOTH

ERROR_NAMES: dict[int, str] = {error: error_name(error) for error in ErrorType}
"""Error types by the word this package writes."""

ERROR_WORDS: dict[int, tuple[str, ...]] = {
    error: tuple(" ".join(words.split()).split(", "))
    for error, words in {
        UNDER: """under, under segmentation, undersegmentation, too small, missing, undersegmented, under segmented,
            underseg, missing parts, incomplete, false negative, false negatives,
            sous, sous segmentation, sous segmente, sous segmentee, sous estimation, manque, manquant, manquante,
            trop petit, trop petite, incomplet, insuffisant, faux negatif, faux negatifs""",
        NONE: """none, no error, ok, aucun, correct, no errors, no, okay, fine, perfect, excellent,
            aucune, aucune erreur, pas d erreur, sans erreur, non, rien, ras, parfait, parfaite, correcte""",
        OVER: """over, over segmentation, oversegmentation, too large, leak, oversegmented, over segmented, overseg,
            leaks, leakage, leaking, too big, spill, excess, extra, false positive, false positives,
            sur, sur segmentation, sur segmente, sur segmentee, sursegmentation, sursegmente, sursegmentee,
            sur estimation, trop grand, trop grande, trop gros, trop grosse, fuite, fuites, deborde, debordement,
            exces, en trop, faux positif, faux positifs""",
        BOTH: "both, mixed, les deux, mixte, both errors, both types, deux, les deux types",
    }.items()
}
"""Accepted words by error type, the ones to show first; lower case, without accents, hyphens as blanks."""

_ERROR_BY_WORD = {word: error for error, words in ERROR_WORDS.items() for word in words}
_BLANK = {"", *"- -- – — / ? n/a na #n/a nan null nc".split(), "not scored", "not rated", "non note", "non evalue"}
_NUMBER = r"[-+−]?\d+(?:[.,]\d+)?"


class NotUnderstoodError(ValueError):
    """A cell that cannot be read; the text says what it would have to look like."""


def is_blank(cell: Any) -> bool:
    """Whether a cell says nothing: empty, a dash, n/a."""
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


def parse_quality(cell: Any, best: float) -> float:
    """The number in a quality cell: `4`, `4,5`, `4/5` (of the best score), `4 - good`, `4 (good)`.

    Args:
        cell: Text, or a number from a spreadsheet.
        best: Best score of the scale, that a score written as a fraction must be out of.

    Raises:
        NotUnderstoodError: Anything else, also dates (what spreadsheet programs make of 4/5) and truth values.
    """
    if isinstance(cell, numbers.Real) and not isinstance(cell, bool):
        value = float(cell)
        if math.isfinite(value):
            return value
        raise NotUnderstoodError("a finite number is needed")
    if not isinstance(cell, str):
        hint = ", perhaps made of a fraction by the spreadsheet program" if hasattr(cell, "year") else ""
        raise NotUnderstoodError(f"a number is needed, not a {type(cell).__name__}{hint}")
    text = fold_text(cell)
    fraction = re.fullmatch(rf"({_NUMBER})\s*(?:/|sur|out of|of)\s*({_NUMBER})", text)
    if fraction:
        if _to_float(fraction[2]) != best:
            raise NotUnderstoodError(f"the score is out of {fraction[2]}, the scale's best score is {best:g}")
        return _to_float(fraction[1])
    number = re.fullmatch(rf"({_NUMBER})(?:\s*[-–—:=(;,.]\s*[^\d]*|\s+[^\d]+)?", text)
    if number is None:
        raise NotUnderstoodError("a number is needed")
    return _to_float(number[1])


def parse_error(cell: Any) -> int:
    """The error type in a cell: a word, a number (-1, 0, 1, 2), or several words as check boxes export them ("under,
    over").

    Raises:
        NotUnderstoodError: An unknown word or number, or a combination that contradicts itself.
    """
    if isinstance(cell, bool) or not isinstance(cell, (str, numbers.Real)):
        raise NotUnderstoodError(f"a word or one of -1, 0, 1, 2 is needed, not a {type(cell).__name__}")
    text = fold_text(cell.replace("\n", ";") if isinstance(cell, str) else cell_text(cell))
    number = re.fullmatch(r"([-+−–]?\d+)(?:[.,]0+)?(?![.,]?\d)\s*[-–—:=(]?\s*(.*?)\)?", text)
    if number:
        error, words = int(re.sub("[−–]", "-", number[1])), number[2]
        if error not in ERROR_NAMES:
            raise NotUnderstoodError("the allowed numbers are -1 (under), 0 (none), 1 (over), 2 (both)")
        if words and _words_to_error(words) != error:
            raise NotUnderstoodError(f"the number means {ERROR_NAMES[error]}, the word does not")
        return error
    return _words_to_error(text)


def combine_errors(errors: set[int]) -> int:
    """Union of error types: under and over make both; none counts only where there is nothing else."""
    real = errors - {NONE}
    return NONE if not real else BOTH if len(real) > 1 else real.pop()


def allowed_error_words() -> str:
    """The accepted error words as a sentence for messages."""
    return "; ".join(f"{error} or {words[0]} ({', '.join(words[1:5])})" for error, words in ERROR_WORDS.items())


def _to_float(text: str) -> float:
    return float(text.replace(",", ".").replace("−", "-"))


def _words_to_error(text: str) -> int:
    whole = _lookup(text) or _lookup(_without_brackets(text))
    if whole:
        return whole[0]
    parts = [part for part in re.split(r"[,;/+&|]|\band\b|\bet\b", _without_brackets(text)) if part.strip()]
    found = [_lookup(part) or _lookup(part.split(":")[0]) for part in parts]
    errors = {entry[0] for entry in found if entry}
    if not parts or not all(found):
        raise NotUnderstoodError(f"unknown error type; allowed are {allowed_error_words()}")
    if NONE in errors and len(errors) > 1:
        raise NotUnderstoodError("no error and an error at once")
    return combine_errors(errors)


def _without_brackets(text: str) -> str:
    return re.sub(r"\([^)]*\)|\[[^\]]*\]", " ", text)


def _lookup(text: str) -> tuple[int] | None:
    word = " ".join(re.sub(r"[^a-z0-9]+", " ", text).split())
    return (_ERROR_BY_WORD[word],) if word in _ERROR_BY_WORD else None
