"""What the words of a column's header say, in English or French: a field, or a region and one of its two scores."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nnunet_weak.dataset.names import fold_text, match_names
from nnunet_weak.scores.words import ERROR_WORDS

HEADERS: dict[str, tuple[tuple[str, ...], ...]] = {
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
"""Recognised headers by field, the most telling first; lower case, without accents, brackets and articles."""

REMARKS = {"comment", "comments", "commentaire", "commentaires", "remark", "remarks", "remarque", "remarques", "notes"}
REMARKS |= {"timestamp", "horodateur", "horodatage", "date"}
_ARTICLES = {"of", "the", "for", "a", "an", "de", "du", "des", "la", "le", "les", "l", "d", "pour"}
_FILLERS = _ARTICLES | {"segmentation", "mask", "masque", "type", "what", "which", "is", "quel", "quelle", "est", "in"}


def words_of(text: str) -> list[tuple[str, str]]:
    """Words of a header as (spelling, folded), without numbering and without hints such as [0-5] or
    (under/over/both)."""
    text = re.sub(r"^\s*q?\d+\s*[.):]\s+", "", text, flags=re.IGNORECASE)
    text = re.sub(r"[(\[{]([^)\]}]*)[)\]}]", lambda match: " " if _is_hint(match[1]) else f" {match[1]} ", text)
    text = re.sub(r"\s[0-9]\s*(?:-|–|to|à)\s*[0-9]+\s*$", " ", text)
    spellings = [word for word in re.split(r"[\s_:;,.?!*/|'’\"()\[\]{}–—-]+", text) if word]
    return [(spelling, fold_text(spelling)) for spelling in spellings]


def _is_hint(text: str) -> bool:
    if re.search(r"[=<>]", text) or re.match(
        r"\s*[-−–+]?\d+(?:[.,]\d+)?\s*(?:-|–|to|à|a|\.\.+|/|,|;)\s*[-−–+]?\d", text
    ):
        return True
    words = [re.sub(r"[^a-z]+", " ", fold_text(part)).strip() for part in re.split(r"[/,;|]|\bor\b|\bou\b", text)]
    known = {word for group in ERROR_WORDS.values() for word in group}
    return all(word in known for word in words if word) or fold_text(text) in (
        "optional",
        "required",
        "facultatif",
        "obligatoire",
    )


def plain_field(words: Sequence[tuple[str, str]]) -> tuple[str, int] | None:
    """The field that a header names and nothing else, and its rank in `HEADERS`."""
    # Not an article at either end: "LA quality" may be that of the left atrium.
    inner = {number for number, (_, word) in enumerate(words) if word in _ARTICLES and 0 < number < len(words) - 1}
    kept = [word for number, (_, word) in enumerate(words) if number not in inner]
    key, shorter = " ".join(kept), " ".join(word for word in kept if word != "segmentation")
    for name, tiers in HEADERS.items():
        for rank, group in enumerate(tiers):
            if key in group or (shorter in group and name in ("quality", "error")):
                return name, rank
    return None


def split_region(words: Sequence[tuple[str, str]], regions: Sequence[str] | None) -> tuple[str, int, str] | None:
    """Kind ("quality" or "error"), rank and region of a header such as "Type d'erreur - diaphyse"."""
    for kind in ("error", "quality"):  # "Error score" is an error: "score" says little
        options = [(rank, phrase.split()) for rank, tier in enumerate(HEADERS[kind]) for phrase in tier]
        for rank, phrase in sorted(options, key=lambda option: -len(option[1])):
            span = _find_phrase([word for _, word in words], phrase)
            if span is None:
                continue
            rest = [*words[: span[0]], *words[span[1] :]]
            trimmed = _trimmed(rest)
            candidates = [" ".join(spelling for spelling, _ in option) for option in (rest, trimmed) if option]
            if not candidates:
                return None
            for candidate in candidates:
                if is_region(candidate, regions):
                    return kind, rank, candidate
            return kind, rank, candidates[-1]
    return None


def _find_phrase(words: Sequence[str], phrase: Sequence[str]) -> tuple[int, int] | None:
    """Span of a phrase among words, articles between its words allowed ("type d'erreur" is "type erreur")."""
    if len(phrase) == 1 and len(phrase[0]) == 1 and phrase[0] not in (words[0], words[-1]):
        return None
    for start in range(len(words)):
        position = start
        for expected in phrase:
            while (
                position < len(words)
                and position > start
                and words[position] in _ARTICLES
                and words[position] != expected
            ):
                position += 1
            if position >= len(words) or words[position] != expected:
                break
            position += 1
        else:
            return start, position
    return None


def _trimmed(words: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    kept = list(words)
    while kept and kept[0][1] in _FILLERS:
        kept.pop(0)
    while kept and kept[-1][1] in _FILLERS:
        kept.pop()
    return kept


def is_region(text: str, regions: Sequence[str] | None) -> bool:
    """Whether a text is the name of one of the regions."""
    return bool(regions) and bool(match_names([text], list(regions or ()), kind="region")[0])
