"""Column headers of score tables in English or French: the field a header names, and the region if it names one.

"Shaft - quality [0-5]", "Qualité [Diaphyse]" and "quality_shaft" name the quality of a region.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_weak.dataset.names import fold_text, match_names
from nnunet_weak.scores.cells import ERROR_WORDS

FIELDS: dict[str, tuple[tuple[str, ...], ...]] = {
    name: tuple(tuple(tier.split(", ")) for tier in " ".join(tiers.split()).split("; "))
    for name, tiers in {
        "case": """case, case id, caseid, case name, cas, id cas, numero cas, nom cas;
            patient, patient id, patient name, subject, subject id, scan, scan id, image, image id, volume, study,
            sujet, examen, numero patient, id patient, nom patient, dossier;
            file, filename, file name, fichier, nom fichier;
            id, identifier, identifiant""",
        "region": """region, region name, region interest, roi, nom region;
            structure, organ, bone, segment, zone, organe, os, label""",
        "quality": """quality, quality score, score quality, qualite, score qualite, note qualite, quality rating;
            score, rating, grade, q, note, cotation, evaluation""",
        "error": """error, errors, error type, type error, error label, error types,
            erreur, erreurs, type erreur, types erreur;
            defect, defaut, err""",
        "rater": """rater, reader, annotator, evaluator, observer, scorer, reviewer, expert,
            evaluateur, evaluatrice, annotateur, annotatrice, lecteur, lectrice, observateur, relecteur;
            user, username, utilisateur, nom utilisateur, email, email address, e mail, adresse e mail,
            adresse mail, courriel;
            name, nom""",
    }.items()
}
"""Recognised headers by field, in tiers of decreasing significance; lower case, without accents and articles."""

_BARE_REGION_RANK = 9

_OTHER = {"comment", "comments", "commentaire", "commentaires", "remark", "remarks", "remarque", "remarques", "notes"}
_OTHER |= {"timestamp", "horodateur", "horodatage", "date"}
_ARTICLES = "of|the|for|a|an|de|du|des|la|le|les|l|d|pour"
_FILLERS = f"{_ARTICLES}|segmentation|mask|masque|type|what|which|is|quel|quelle|est|in"
_RANGE = r"\s*[-−–+]?\d+(?:[.,]\d+)?\s*(?:-|–|to|à|a|\.\.+|/|,|;)\s*[-−–+]?\d"
_HINTS = {word for words in ERROR_WORDS.values() for word in words} | {"", "optional", "required"}
_HINTS |= {"facultatif", "obligatoire"}

_LONGEST_HEADER = 500  # the patterns take the square of it


@dataclass(frozen=True)
class Meaning:
    """What a header names.

    Attributes:
        field: One of `FIELDS`.
        rank: Tier of the words in `FIELDS`; -1 if the user named the column.
        region: The region in a wide table; empty for the columns of a long one.
    """

    field: str
    rank: int
    region: str = ""


def read_header(text: str, regions: Sequence[str]) -> Meaning | None:
    """Read a column header; None if it names no field.

    Args:
        text: The header.
        regions: Names of the regions. The name of any other region is taken from the remaining words of the header.
    """
    words = _words_of(text) if len(text) <= _LONGEST_HEADER else ""
    if not words or _OTHER & set(words.split()):
        return None
    plain = _plain_field(words)
    if plain is not None and not (plain.field in ("quality", "error") and match_region(text, regions)):
        return plain
    return _score_of_region(words, regions)


def match_region(text: str, regions: Sequence[str]) -> str:
    """The region that a text names; empty if there is none."""
    return match_names([text], regions, kind="region")[0].get(text, "")


def _plain_field(words: str) -> Meaning | None:
    """The field if the header names nothing else."""
    # Not an article at either end: "LA quality" may be that of the left atrium.
    key = re.sub(rf"(?<=\S )(?:(?:{_ARTICLES}) )+(?=\S)", "", words)
    shorter = re.sub(r" ?\bsegmentation\b ?", " ", key).strip()
    for field, tiers in FIELDS.items():
        for rank, tier in enumerate(tiers):
            if key in tier or (shorter in tier and field in ("quality", "error")):
                return Meaning(field, rank)
    return None


def _score_of_region(words: str, regions: Sequence[str]) -> Meaning | None:
    for field in ("error", "quality"):  # "error score" is an error
        phrases = [(phrase, rank) for rank, tier in enumerate(FIELDS[field]) for phrase in tier]
        for phrase, rank in sorted(phrases, key=lambda entry: -entry[0].count(" ")):
            found = re.search(_pattern_of(phrase), words)
            if found is None:
                continue
            rest = " ".join((words[: found.start()] + words[found.end() :]).split())
            left, right = rf"^(?:(?:{_FILLERS}) )+", rf"(?: (?:{_FILLERS}))+$"
            # One side at a time first: "la" may be the left atrium.
            spellings = [rest, *(re.sub(pattern, "", rest) for pattern in (right, left, f"{left}|{right}"))]
            region = next(filter(None, (match_region(text, regions) for text in spellings)), spellings[-1])
            return Meaning(field, rank, region) if region else None
    region = match_region(words, regions)
    return Meaning("quality", _BARE_REGION_RANK, region) if region else None


def _words_of(text: str) -> str:
    """Words of a header in lower case, without numbering and without hints such as [0-5] or (under/over/both)."""
    text = re.sub(r"^\s*q?\d+\s*[.):]\s+", "", text, flags=re.IGNORECASE)
    text = re.sub(r"[(\[{]([^)\]}]*)[)\]}]", lambda match: " " if _is_hint(match[1]) else f" {match[1]} ", text)
    text = re.sub(r"\s[0-9]\s*(?:-|–|to|à)\s*[0-9]+\s*$", " ", text)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return fold_text(re.sub(r"[\s_:;,.?!*/|'’\"()\[\]{}–—-]+", " ", text))


def _is_hint(text: str) -> bool:
    if re.search(r"[=<>]", text) or re.match(_RANGE, text):
        return True
    parts = re.split(r"[/,;|]|\bor\b|\bou\b", fold_text(text))
    return all(re.sub(r"[^a-z]+", " ", part).strip() in _HINTS for part in parts)


def _pattern_of(phrase: str) -> str:
    """Regular expression of a phrase with articles between its words: "type d'erreur" is "type erreur"."""
    if len(phrase) == 1:  # "q"
        return rf"^{phrase}\b|\b{phrase}$"
    return rf"\b{phrase}\b".replace(" ", f" (?:(?:{_ARTICLES}) )*")
