"""What a user should know before training on a RefineSeg data set, as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nnunet_weak.drawings.cases import CheckedDrawingsCase
from nnunet_weak.drawings.legend import BACKGROUND, DrawingCode

_SHOWN_CASES = 5


def drawings_report(checked: Sequence[CheckedDrawingsCase], maps: Mapping[str, str], code: DrawingCode) -> list[str]:
    """What is drawn in each map: cases, and voxels of each class."""
    lines = [f"{sum(case.fully_annotated for case in checked)} of {len(checked)} cases have reference labels"]
    classes = [BACKGROUND, *(target.name for target in code.targets)]
    for name, kind in maps.items():
        totals = _totals(checked, name, len(classes))
        cases = sum(any(case.drawn.get(name, ())) for case in checked)
        voxels = ", ".join(f"{label} {count}" for label, count in zip(classes, totals, strict=True) if count)
        lines.append(f"{name} ({kind}): {cases} cases; voxels of {'not ' if kind == 'negative' else ''}{voxels}")
    return lines


def conflicts_report(checked: Sequence[CheckedDrawingsCase]) -> list[str]:
    """Where drawings contradict each other; they are kept, as the transition matrices are there to explain them."""
    found: dict[str, list[tuple[int, str]]] = {}
    for case in checked:
        for what, voxels in case.conflicts.items():
            found.setdefault(what, []).append((voxels, case.name))
    lines = []
    for what, entries in found.items():
        entries.sort(reverse=True)
        shown = ", ".join(f"{name} {voxels}" for voxels, name in entries[:_SHOWN_CASES])
        more = f", {len(entries) - _SHOWN_CASES} more" if len(entries) > _SHOWN_CASES else ""
        lines.append(f"Kept: {what}: {sum(voxels for voxels, _ in entries)} voxels ({shown}{more})")
    if lines:
        lines.append("All of them by case: conversion.json, conflicting_voxels")
    return lines


def drawings_warnings(checked: Sequence[CheckedDrawingsCase], maps: Mapping[str, str], code: DrawingCode) -> list[str]:
    """What no training can learn from these drawings."""
    positive = [name for name, kind in maps.items() if kind == "positive"]
    totals = [_totals(checked, name, code.num_classes) for name in positive]
    drawn = [sum(counts) for counts in zip(*totals, strict=True)] if totals else [0] * code.num_classes
    warnings = []
    full = any(case.fully_annotated for case in checked)
    for number, target in enumerate(code.targets, start=1):
        if not drawn[number] and not full:
            warnings.append(f"Nobody drew {target.name} in any case: it can not be learned. Check --labels")
    if not drawn[0] and not full:
        warnings.append(
            "Nobody drew background. The stock trainer on this data will find targets everywhere; RefineSeg learns "
            "what is not a target from negative drawings alone. A rough loop around all targets, with everything "
            "outside drawn as background, costs little"
        )
    return warnings


def channel_warnings(channel_names: Sequence[str]) -> list[str]:
    """What sparse labels do to nnU-Net's CT normalisation."""
    if not any(name.casefold() == "ct" for name in channel_names):
        return []
    return [
        "nnU-Net normalises CT by the intensities of all labelled voxels, and counts blank ones as labelled: with "
        "drawings these are intensities of the whole image, air included. Give --channel-names zscore (or any name but "
        "CT) to normalise each image by itself"
    ]


def _totals(checked: Sequence[CheckedDrawingsCase], name: str, classes: int) -> list[int]:
    counts = [case.drawn[name] for case in checked if name in case.drawn]
    return [sum(column) for column in zip(*counts, strict=True)] if counts else [0] * classes
