"""Quality scores of the regions of a mask: what the page may save, and the table for `nnunet_weak_convert_scores`."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nnunet_weak.annotate.records.files import now, replaced
from nnunet_weak.annotate.records.states import CaseState, StateFolder
from nnunet_weak.annotate.study import Study
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.tables import safe_cell

COLUMNS = ("case", "region", "quality", "error", "rater", "seconds", "comment", "mask_sha256", "saved_at")
ERRORS = ("under", "over", "both", "none")
_BEST = 5
_LONGEST_COMMENT = 2000


def checked_scores(content: Mapping[str, Any], study: Study, before: CaseState) -> dict[str, Any]:
    """Scores as the page sends them, checked; a time is added to those that changed.

    Args:
        content: `{"regions": {NAME: {quality, error, cannot_judge, comment, seconds, mask_sha256}}}`.
        study: The study.
        before: The state before.

    Raises:
        InvalidInputError: Anything that is no such score.
    """
    regions = content.get("regions")
    if not isinstance(regions, dict) or set(regions) - set(study.region_names):
        raise InvalidInputError("scores: regions that the study does not have")
    earlier = before.content.get("regions", {})
    checked = {}
    for name, entry in regions.items():
        score = _checked_score(name, entry)
        old = {key: value for key, value in earlier.get(name, {}).items() if key != "saved_at"}
        checked[name] = {**score, "saved_at": earlier[name]["saved_at"] if old == score else now()}
    return {"regions": checked}


def is_complete(entry: Mapping[str, Any]) -> bool:
    """Whether a region is dealt with: scored with its error, or not to be judged."""
    return bool(entry.get("cannot_judge") or (entry.get("quality") is not None and entry.get("error") is not None))


def write_table(output: Path, states: StateFolder, study: Study, hashes: Mapping[str, Mapping[str, str]]) -> Path:
    """Write `scores.csv`: all raters' complete scores of masks that are still the same.

    Args:
        output: Folder of the annotation.
        states: All states.
        study: The study.
        hashes: SHA-256 by case and region, of the cases that were read in this session; a score of another mask is
            stale and left out.
    """
    path = output / "scores.csv"
    with replaced(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(map(safe_cell, row) for row in _rows(states, study, hashes))
    return path


def _rows(states: StateFolder, study: Study, hashes: Mapping[str, Mapping[str, str]]) -> Iterator[list[Any]]:
    raters = states.annotators()
    for case in study.images:
        for rater in raters:
            regions = states.read(case, rater).content.get("regions", {})
            for name in study.region_names:
                entry = regions.get(name, {})
                if not is_complete(entry) or is_stale(entry, hashes.get(case, {}).get(name)):
                    continue
                judged = not entry["cannot_judge"]
                yield [
                    case,
                    name,
                    entry["quality"] if judged else "",
                    entry["error"] if judged else "",
                    rater,
                    entry["seconds"],
                    entry["comment"],
                    entry["mask_sha256"],
                    entry["saved_at"],
                ]


def is_stale(entry: Mapping[str, Any], current_sha256: str | None) -> bool:
    """Whether a score was given to another mask than the current one, where that is known."""
    return current_sha256 is not None and entry.get("mask_sha256") != current_sha256


def _checked_score(name: str, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise InvalidInputError(f"score of {name}: is no object")
    quality, error, seconds = entry.get("quality"), entry.get("error"), entry.get("seconds", 0)
    comment, sha256, cannot = entry.get("comment", ""), entry.get("mask_sha256", ""), entry.get("cannot_judge", False)
    if quality is not None and (type(quality) is not int or not 0 <= quality <= _BEST):
        raise InvalidInputError(f"score of {name}: quality {quality!r} is no whole number from 0 to {_BEST}")
    if error is not None and error not in ERRORS:
        raise InvalidInputError(f"score of {name}: error {error!r} is none of {', '.join(ERRORS)}")
    if error is not None and quality is not None and (quality == _BEST) != (error == "none"):
        raise InvalidInputError(f"score of {name}: quality {quality} with error '{error}' contradicts itself")
    if type(seconds) not in (int, float) or not 0 <= seconds < 1e7 or type(cannot) is not bool:
        raise InvalidInputError(f"score of {name}: seconds or cannot_judge are no such values")
    if not isinstance(comment, str) or len(comment) > _LONGEST_COMMENT:
        raise InvalidInputError(f"score of {name}: a comment has at most {_LONGEST_COMMENT} letters")
    if not isinstance(sha256, str) or len(sha256) not in (0, 64):
        raise InvalidInputError(f"score of {name}: mask_sha256 is no SHA-256")
    return {
        "quality": quality,
        "error": error,
        "cannot_judge": cannot,
        "comment": comment,
        "seconds": round(float(seconds), 1),
        "mask_sha256": sha256,
    }
