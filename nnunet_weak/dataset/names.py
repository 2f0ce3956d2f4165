"""Match names as people type them to names as files and regions have them.

Spreadsheets say "Case 7" where the file is called `case_007.nii.gz`. A name is compared step by step, from exact to
forgiving, and taken only where one candidate is left; what was matched in spite of a different spelling can be
reported, as can what matched nothing.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from nnunet_weak.images.read import strip_ending

_LONGEST_NAME = 255
_MOST_SUGGESTIONS = 100  # a search takes milliseconds, and nobody reads more of them


@dataclass(frozen=True)
class Unmatched:
    """A name that matches nothing, or more than one thing.

    Attributes:
        kind: What the name stands for: "case" or "region".
        name: The name as given.
        rows: Where it occurs, for example ("row 4", "row 5") or ("column 'Shaft quality'",).
        suggestions: Known names that resemble it, best first.
    """

    kind: str
    name: str
    rows: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()

    def __str__(self) -> str:
        places = f" ({', '.join(self.rows[:3])}{' ...' if len(self.rows) > 3 else ''})" if self.rows else ""
        return f"{self.kind} '{self.name}'{places}: " + (
            f"perhaps {' or '.join(self.suggestions)}" if self.suggestions else "nothing resembles it"
        )


def match_names(
    names: Iterable[str], known: Sequence[str], *, kind: str
) -> tuple[dict[str, str], tuple[Unmatched, ...]]:
    """Match each of `names` to one of `known`.

    In this order: exactly; ignoring letter case, accents and a file ending; ignoring blanks, underscores and hyphens
    too; ignoring leading zeros of numbers (spreadsheet programs drop them) and nnU-Net's channel number `_0000`. The
    last step takes only known names that no other name matched better, so that "case_1" is not taken for `case_01`
    where "case_01" is in the table as well.

    Args:
        names: Names as typed. Several spellings of one name may match the same known name.
        known: Names to match them to.
        kind: What they name, for the report: "case" or "region".

    Returns:
        The matches {name: known name}, and the names without a match.
    """
    given = list(dict.fromkeys(names))
    matches: dict[str, str] = {}
    for key in (str, _without_ending, comparison_key, _without_padding):
        loose = key is _without_padding
        candidates: dict[str, list[str]] = {}
        for candidate in known:
            if not (loose and candidate in matches.values()):
                candidates.setdefault(key(candidate), []).append(candidate)
        spellings: dict[str, list[str]] = {}
        for name in given:
            if name not in matches:
                spellings.setdefault(key(name), []).append(name)
        for text, same in spellings.items():
            several = loose and len(set(map(comparison_key, same))) > 1
            if text and not several and len(candidates.get(text, ())) == 1:
                matches.update(dict.fromkeys(same, candidates[text][0]))
    left = [name for name in given if name not in matches]
    unmatched = tuple(
        Unmatched(kind, name, suggestions=suggest(name, known) if number < _MOST_SUGGESTIONS else ())
        for number, name in enumerate(left)
    )
    return {name: matches[name] for name in given if name in matches}, unmatched


def suggest(name: str, known: Collection[str], count: int = 3) -> tuple[str, ...]:
    """Known names that resemble `name`, best first; none for a text that is too long for a name."""
    if len(name) > _LONGEST_NAME:
        return ()
    by_key: dict[str, list[str]] = {}
    for candidate in known:
        by_key.setdefault(comparison_key(candidate), []).append(candidate)
    close = difflib.get_close_matches(comparison_key(name), list(by_key), n=count, cutoff=0.6)
    return tuple(candidate for key in close for candidate in by_key[key])[:count]


def comparison_key(name: str) -> str:
    """A name without letter case, accents, file ending, blanks, underscores and hyphens, except between digits."""
    joined = re.sub(r"(?<=\d)[\s_\-–—]+(?=\d)", "_", _without_ending(name))  # else 1_1 and 11 would be one name
    return re.sub(r"(?<!\d)[\s_\-–—]+|[\s_\-–—]+(?!\d)", "", joined)


def fold_text(text: str) -> str:
    """Lower case without accents, white space collapsed."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(char for char in decomposed if not unicodedata.combining(char)).split())


def _without_ending(name: str) -> str:
    text = fold_text(name)
    # `strip_ending` takes off any ending, of which "case 1.5" has none.
    return strip_ending(text) if re.search(r"\.(nii|nii\.gz|nrrd|mha|mhd|nhdr|gipl|dcm|tiff?)$", text) else text


def _without_padding(name: str) -> str:
    text = re.sub(r"_0000$", "", _without_ending(name))
    return re.sub(r"(?<!\d)0+(?=\d)", "", comparison_key(text))
