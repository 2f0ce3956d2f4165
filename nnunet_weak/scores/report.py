"""What a user should know before training on a SCORE data set, as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from nnunet_weak.errors import Problems
from nnunet_weak.priors import PriorOptions
from nnunet_weak.scores.cases import CheckedCase

MANY_MASK_CHANNELS = 16
"""From more mask channels than this on, the memory that preprocessing will take is told."""

MEMORY_LIMIT_GIB = 8.0
"""Estimates above this are refused unless the user insists: nnU-Net preprocesses several cases at a time."""

INFORMATIVE_AUC = 0.6
"""Below, P hardly tells wrong voxels of the band from right ones."""


def masks_report(checked: Sequence[CheckedCase]) -> list[str]:
    """Overlaps between regions, and regions that are empty."""
    lines: list[str] = []
    overlaps: dict[tuple[str, str], list[tuple[str, int]]] = {}
    empty: dict[str, list[str]] = {}
    for case in checked:
        for pair, count in case.overlaps.items():
            overlaps.setdefault(pair, []).append((case.name, count))
        for region in case.empty_regions:
            empty.setdefault(region, []).append(case.name)
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
    return lines


def common_left_right_axis(checked: Sequence[CheckedCase]) -> tuple[int | None, str]:
    """The left-right axis that all cases share, if they do, and a sentence where they do not."""
    by_axis: dict[int | None, list[str]] = {}
    for case in checked:
        by_axis.setdefault(case.left_right_axis, []).append(case.name)
    axis = next(iter(by_axis)) if len(by_axis) == 1 else None
    if axis is not None:
        return axis, ""
    found = "; ".join(
        f"{'oblique' if axis is None else f'axis {chr(120 + axis)}'} in {_cases(names)}"
        for axis, names in by_axis.items()
    )
    return (
        None,
        f"No left-right flips in training, for the left-right direction is not one image axis in all cases ({found})",
    )


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


def prior_report(checked: Sequence[CheckedCase], prior: PriorOptions) -> tuple[list[str], list[str]]:
    """How much the prior says about the band, and warnings where that is little."""
    found = [case.assessment for case in checked if case.assessment is not None]
    if not found:
        return [], []
    aucs = [entry.auc for entry in found if not math.isnan(entry.auc)]
    lines = [
        f"Initial masks against the reference labels of {len(found)} cases: Dice "
        f"{_mean([entry.dice_mask for entry in found])}; "
        f"at best {_mean([entry.dice_oracle for entry in found])} by relabelling a band of 2 voxels around the boundary"
    ]
    warnings: list[str] = []
    if prior.kind != "none" and aucs:
        auc = fmean(aucs)
        lines.append(
            f"Prior '{prior.kind}' in that band: AUC {auc:.2f} (lowest {min(aucs):.2f}; 0.5 is chance), "
            f"Dice {_mean([entry.dice_prior for entry in found])} if it alone decided"
        )
        if auc < INFORMATIVE_AUC:
            warnings.append(
                f"The prior '{prior.kind}' hardly tells right from wrong near the boundary (AUC {auc:.2f}): SCORE "
                "will not improve these masks by it. Compare --prior local, posterior and gradient with --dry-run, or "
                "give one of your own with --prior file --prior-folder DIR"
            )
    return lines, warnings


def provenance_of(checked: Sequence[CheckedCase]) -> Mapping[str, object]:
    """What `conversion.json` keeps of the checks."""
    return {
        "overlaps": {
            case.name: {f"{winner}, {loser}": count for (winner, loser), count in case.overlaps.items()}
            for case in checked
            if case.overlaps
        },
        "empty_regions": {case.name: list(case.empty_regions) for case in checked if case.empty_regions},
    }


def _mean(values: Sequence[float]) -> str:
    finite = [value for value in values if not math.isnan(value)]
    return f"{fmean(finite):.3f}" if finite else "unknown"


def _cases(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return shown if len(names) == 1 else f"{len(names)} cases ({shown})"
