"""Match names as people type them to names as files and regions have them.

Spreadsheets say "Case 7" where the file is called `case_007.nii.gz`. A name is compared step by step, from exact to
forgiving, and taken only where one candidate is left; what was matched in spite of a different spelling can be
reported, as can what matched nothing.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from nnunet_weak.images.read import strip_ending


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
    open_names = list(dict.fromkeys(names))
    matches: dict[str, str] = {}
    steps: tuple[Callable[[str], str], ...] = (str, _folded, squeezed, _without_padding)
    for step in steps:
        loose = step is _without_padding
        taken = set(matches.values()) if loose else set()
        found = _match_step(open_names, [name for name in known if name not in taken], step, one_each=loose)
        matches.update(found)
        open_names = [name for name in open_names if name not in found]
    unmatched = tuple(Unmatched(kind, name, suggestions=suggest(name, known)) for name in open_names)
    return {name: matches[name] for name in dict.fromkeys(names) if name in matches}, unmatched


def suggest(name: str, known: Collection[str], count: int = 3) -> tuple[str, ...]:
    """Known names that resemble `name`, best first."""
    by_key: dict[str, list[str]] = {}
    for candidate in known:
        by_key.setdefault(squeezed(candidate), []).append(candidate)
    close = difflib.get_close_matches(squeezed(name), list(by_key), n=count, cutoff=0.6)
    return tuple(candidate for key in close for candidate in by_key[key])[:count]


def squeezed(name: str) -> str:
    """The name without what people vary: letter case, accents, file ending, blanks, underscores, hyphens (not those
    between digits)."""
    joined = re.sub(r"(?<=\d)[\s_\-–—]+(?=\d)", "_", _folded(name))  # else 1_1 and 11 would be one name
    return re.sub(r"(?<!\d)[\s_\-–—]+|[\s_\-–—]+(?!\d)", "", joined)


def fold_text(text: str) -> str:
    """Lower case without accents, white space collapsed."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(char for char in decomposed if not unicodedata.combining(char)).split())


def _folded(name: str) -> str:
    text = fold_text(name)
    # `strip_ending` takes off any ending, of which "case 1.5" has none.
    return strip_ending(text) if re.search(r"\.(nii|nii\.gz|nrrd|mha|mhd|nhdr|gipl|dcm|tiff?)$", text) else text


def _without_padding(name: str) -> str:
    text = re.sub(r"_0000$", "", _folded(name))
    return re.sub(r"(?<!\d)0+(?=\d)", "", squeezed(text))


def _match_step(
    names: Sequence[str], known: Sequence[str], step: Callable[[str], str], *, one_each: bool
) -> dict[str, str]:
    by_key: dict[str, list[str]] = {}
    for candidate in known:
        by_key.setdefault(step(candidate), []).append(candidate)
    wanted: dict[str, list[str]] = {}
    for name in names:
        wanted.setdefault(step(name), []).append(name)
    found = {}
    for key, spellings in wanted.items():
        candidates = by_key.get(key, [])
        if len(candidates) == 1 and key and not (one_each and len({squeezed(spelling) for spelling in spellings}) > 1):
            found.update(dict.fromkeys(spellings, candidates[0]))
    return found
