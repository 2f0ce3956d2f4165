"""The order of the cases: worst first, at random, by name, or as a file says.

The worst cases are those whose masks differ most from the others'; no number of it is shown to anybody.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.json_files import read_text

Measures = Mapping[str, Mapping[str, float]]
"""Values by region and measure; of every measure either side, or the low side only, is suspicious."""

_LOW_IS_BAD = ("prior", "dice")
_LARGEST_Z = 5.0
_AT_RANDOM = 5


def suspicion(measured: Mapping[str, Measures]) -> dict[str, float]:
    """How much each case differs from the others: its worst region's sum of robust z values."""
    regions = dict.fromkeys(region for measures in measured.values() for region in measures)
    total = {case: 0.0 for case in measured}
    for region in regions:
        of_region = {case: measures[region] for case, measures in measured.items() if region in measures}
        sums = dict.fromkeys(of_region, 0.0)
        for name in dict.fromkeys(name for values in of_region.values() for name in values):
            values = {case: of_case[name] for case, of_case in of_region.items() if name in of_case}
            for case, z in zip(values, _robust_z(list(values.values()), name in _LOW_IS_BAD), strict=True):
                sums[case] += z
        for case, value in sums.items():
            total[case] = max(total[case], value)
    return total


def _robust_z(values: Sequence[float], low_is_bad: bool) -> list[float]:
    array = np.array(values)
    deviation = array - np.median(array)
    scale = 1.4826 * np.median(np.abs(deviation))
    z = np.divide(deviation, scale, out=np.sign(deviation) * _LARGEST_Z, where=scale > 0)
    z = np.maximum(-z, 0) if low_is_bad else np.abs(z)
    return np.minimum(z, _LARGEST_Z).tolist()


def order_cases(cases: Sequence[str], order: str | Sequence[str], worst: Mapping[str, float]) -> list[str]:
    """The queue.

    Args:
        cases: All cases.
        order: `worst`, `random`, `name`, or the cases in the order wanted.
        worst: For `worst`, the suspicion of each case measured so far; others come last. Every fifth case is drawn at
            random, so that the scores also tell of ordinary cases.
    """
    if not isinstance(order, str):
        return [case for case in order if case in cases]
    if order == "name":
        return list(cases)
    drawn = sorted(cases)
    Random(len(drawn)).shuffle(drawn)
    if order == "random":
        return drawn
    ranked = sorted(cases, key=lambda case: (-worst.get(case, -1.0), case))
    result: list[str] = []
    for position in range(1, len(ranked) + 1):
        source = drawn if position % _AT_RANDOM == 0 else ranked
        result.append(next(case for case in source if case not in set(result)))
    return result


def read_order(path: Path, cases: Sequence[str]) -> tuple[str, ...]:
    """The cases in the order of a file; cases that it does not name come last.

    A table with a column `case` has the lowest value of its column `quality` first, where it has one: what
    `nnunet_weak_estimate_quality` writes, or a table of scores. Of any other file the first column counts, from top to
    bottom, with or without an image's ending: a list of names, or the table of 3D Slicer's SegmentationReview.

    Raises:
        InvalidInputError: The file is unreadable, or names none of the cases.
    """
    lines = read_text(path).lstrip("\ufeff").splitlines()
    first = next((line for line in lines if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter) if any(row)]
    head = [cell.casefold() for cell in rows[0]] if rows else []
    if "case" in head:
        at, rows = head.index("case"), rows[1:]
        if "quality" in head:
            rows = _lowest_first(rows, at, head.index("quality"))
    else:
        at = 0
    texts = [Path(row[at]).name for row in rows if len(row) > at]
    named = [case for text in texts for case in cases if text == case or text.startswith((f"{case}.", f"{case}_0000."))]
    if not named:
        raise InvalidInputError(f"--order {path}: names none of the cases {', '.join(list(cases)[:5])} ...")
    return tuple(dict.fromkeys([*named, *cases]))


def _lowest_first(rows: Sequence[list[str]], case: int, quality: int) -> list[list[str]]:
    """Rows by the lowest quality of their case; those without a number keep their place behind the others."""
    lowest: dict[str, float] = {}
    for row in rows:
        if len(row) > max(case, quality):
            lowest[row[case]] = min(lowest.get(row[case], math.inf), _number(row[quality]))
    return sorted(rows, key=lambda row: lowest.get(row[case], math.inf) if len(row) > case else math.inf)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.inf
    return math.inf if math.isnan(value) else value
