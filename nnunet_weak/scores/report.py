"""Reports on the inputs of a SCORE data set before training, as text for a terminal."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from nnunet_weak.dataset.annotations import ErrorType, RegionScore, error_name
from nnunet_weak.errors import Problems
from nnunet_weak.priors import PriorOptions
from nnunet_weak.scores.cases import CheckedCase
from nnunet_weak.scores.cells import STANDARD_SCALE
from nnunet_weak.scores.options import ScoreConversion
from nnunet_weak.scores.table import ScoreTable, missing_regions

logger = logging.getLogger(__name__)

MANY_MASK_CHANNELS = 16
"""With more mask channels, the memory that preprocessing takes is reported."""

MEMORY_LIMIT_GIB = 8.0
"""Higher estimates are refused without `--allow-many-channels`: nnU-Net preprocesses several cases at a time."""

INFORMATIVE_AUC = 0.6
"""A prior with a lower AUC hardly distinguishes wrong voxels of the band from right ones."""

_MOST_LISTED = 200
_TERMINAL_WIDTH = 120


def format_table(options: ScoreConversion, table: ScoreTable) -> str:
    """The table as it was read, and every name that was matched by its similarity or not at all.

    A cell is "quality error", for example `2.5 under`. In brackets follow the number of raters and by how much their
    scores differ, with `!` where they named different errors.
    """
    cells = [[_cell(row.get(region)) for region in options.region_names] for row in table.scores.values()]
    rows = [["case", *options.region_names], *([case, *row] for case, row in zip(table.scores, cells, strict=True))]
    if sum(max(map(len, column)) + 2 for column in zip(*rows, strict=True)) > _TERMINAL_WIDTH:
        entries = [(case, region, score) for case, row in table.scores.items() for region, score in row.items()]
        rows = [["case", "region", "score"], *([case, region, _cell(score)] for case, region, score in entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    scored = [region for row in table.scores.values() for region in row]
    counts = f"{_count(len(table.scores), 'case')} and {_count(len(options.regions), 'region')}"
    raters = f" by {len(table.raters)} raters" if len(table.raters) > 1 else ""
    scale = "" if options.scale == STANDARD_SCALE else f"; scale {options.scale} mapped to 5 to 0"
    lines = [
        f"{table.source}, {table.layout} layout: {len(scored)} scores of {counts}{raters}{scale}",
        "",
        *("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows),
    ]
    sections: Mapping[str, Sequence[object]] = {
        "Matched in spite of a different spelling": [f"{kind} '{a}' -> {b}" for kind, a, b in table.renamed],
        "Names in the table that match nothing, their scores are not used": table.unmatched,
        "Cases without any score": table.unscored_cases,
        "Regions without any score": [region for region in options.region_names if region not in scored],
        "Columns not used": table.ignored_columns,
    }
    for title, listed in sections.items():
        if listed:
            more = [f"  and {len(listed) - _MOST_LISTED} more"] if len(listed) > _MOST_LISTED else []
            lines += ["", f"{title} ({len(listed)}):", *(f"  {entry}" for entry in listed[:_MOST_LISTED]), *more]
    return "\n".join(lines)


def masks_report(checked: Sequence[CheckedCase], scores: Mapping[str, Mapping[str, RegionScore]]) -> list[str]:
    """Overlaps between regions, and regions that are empty, with what their scores say about that."""
    lines: list[str] = []
    missing: dict[str, list[str]] = {}
    unused: dict[str, list[str]] = {}
    overlaps: dict[tuple[str, str], list[tuple[str, int]]] = {}
    empty: dict[str, list[str]] = {}
    for case in checked:
        for pair, count in case.overlaps.items():
            overlaps.setdefault(pair, []).append((case.name, count))
        known = scores.get(case.name, {})
        scored_missing = missing_regions(known, case.empty_regions)
        for region in case.empty_regions:
            contradictory = region in known and known[region].error != ErrorType.NONE
            group = missing if region in scored_missing else unused if contradictory else empty
            group.setdefault(region, []).append(case.name)
    for (winner, loser), found in overlaps.items():
        total = sum(count for _, count in found)
        lines.append(
            f"{loser} and {winner} overlap in {_cases([name for name, _ in found])}: {total} voxels go to {winner}, "
            "named first"
        )
    for region, names in empty.items():
        lines.append(
            f"{region} is empty in the initial mask of {_cases(names)}: right only where it is not in the image"
        )
    for region, names in unused.items():
        lines.append(
            f"{region} is empty in the initial mask of {_cases(names)}, and its score there is not used: only 0, "
            "under, says that it is missing"
        )
    for region, names in missing.items():
        lines.append(f"{region} is missing from the initial mask of {_cases(names)}, as scored: it may appear there")
    return lines


def common_left_right_axis(checked: Sequence[CheckedCase]) -> tuple[int | None, str]:
    """The left-right axis that all cases share, if they do, and a sentence where they do not."""
    by_axis: dict[int | None, list[str]] = {}
    for case in checked:
        by_axis.setdefault(case.left_right_axis, []).append(case.name)
    if len(by_axis) == 1 and None not in by_axis:
        return next(iter(by_axis)), ""
    listed = "; ".join(
        f"{'oblique' if axis is None else f'axis {chr(120 + axis)}'} in {_cases(names)}"
        for axis, names in by_axis.items()
    )
    text = "No left-right flips in training, because the left-right direction is not one image axis in all cases"
    return None, f"{text} ({listed})"


def memory_report(
    mask_channels: int, channels: int, largest_voxels: int, allowed: bool, problems: Problems
) -> list[str]:
    """The memory that preprocessing takes, where there are many mask channels; a problem where it is too much."""
    if mask_channels <= MANY_MASK_CHANNELS:
        return []
    gib = channels * largest_voxels * 4 / 2**30
    advice = "group regions of a kind, for example --regions 'ribs=rib_*' 'spine=vertebrae_*'"
    text = (
        f"{channels} input channels of {largest_voxels / 1e6:.3g} million voxels take about {gib:.2g} GiB in each of "
        "nnU-Net's preprocessing processes, and as much again while resampling"
    )
    if gib > MEMORY_LIMIT_GIB and not allowed:
        problems.add(f"{mask_channels} mask channels", text, f"{advice}; or insist with --allow-many-channels")
        return []
    return [f"{text}; to make it less, {advice}, or run nnUNetv2_plan_and_preprocess with -np 1"]


def prior_report(checked: Sequence[CheckedCase], prior: PriorOptions) -> list[str]:
    """How well the prior distinguishes right from wrong voxels near the boundary; logs a warning if it hardly does."""
    found = [case.assessment for case in checked if case.assessment is not None]
    if not found:
        return []
    lines = [
        f"Initial masks against the reference labels of {len(found)} cases: Dice "
        f"{_mean([entry.dice_mask for entry in found])}; "
        f"at best {_mean([entry.dice_oracle for entry in found])} by relabelling a band of 2 voxels around the boundary"
    ]
    aucs = [entry.auc for entry in found if not math.isnan(entry.auc)]
    if prior.kind == "none" or not aucs:
        return lines
    auc = fmean(aucs)
    if auc < INFORMATIVE_AUC:
        logger.warning(
            "The prior '%s' hardly tells right from wrong near the boundary (AUC %.2f): SCORE will not improve these "
            "masks by it. Compare --prior local, posterior and gradient with --dry-run, or give one of your own with "
            "--prior file --prior-folder DIR",
            prior.kind,
            auc,
        )
    return [
        *lines,
        f"Prior '{prior.kind}' in that band: AUC {auc:.2f} (lowest {min(aucs):.2f}; 0.5 is chance), "
        f"Dice {_mean([entry.dice_prior for entry in found])} if it alone decided",
    ]


def provenance_of(checked: Sequence[CheckedCase]) -> Mapping[str, object]:
    """Overlaps and empty regions for `conversion.json`."""
    return {
        "overlaps": {
            case.name: {f"{winner}, {loser}": count for (winner, loser), count in case.overlaps.items()}
            for case in checked
            if case.overlaps
        },
        "empty_regions": {case.name: list(case.empty_regions) for case in checked if case.empty_regions},
    }


def _cell(score: RegionScore | None) -> str:
    if score is None:
        return "-"
    text = f"{score.quality:.3g} {error_name(score.error)}"
    if score.raters == 1:
        return text
    return f"{text} ({score.raters} raters, {score.disagreement:.3g} apart{'' if score.errors_agree else '!'})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _mean(values: Sequence[float]) -> str:
    finite = [value for value in values if not math.isnan(value)]
    return f"{fmean(finite):.3f}" if finite else "unknown"


def _cases(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return shown if len(names) == 1 else f"{len(names)} cases ({shown})"
