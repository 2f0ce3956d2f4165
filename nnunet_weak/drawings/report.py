"""Report on the drawings of a data set before training, as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nnunet_weak.drawings.cases import ConvertedDrawings
from nnunet_weak.drawings.legend import DrawingCode

_SHOWN_CASES = 5


def drawings_report(cases: Sequence[ConvertedDrawings], maps: Mapping[str, str], code: DrawingCode) -> list[str]:
    """Count cases and voxels of each class by map (`maps`: kind of each), and voxels that contradict each other."""
    lines = [f"{sum(case.fully_annotated for case in cases)} of {len(cases)} cases have reference labels"]
    for name, kind in maps.items():
        count = sum(name in case.drawn for case in cases)
        counts = zip(code.class_names, _voxels_drawn(cases, [name], code), strict=True)
        voxels = ", ".join(f"{label} {number}" for label, number in counts if number)
        lines.append(f"{name} ({kind}): {count} cases; voxels of {'not ' if kind == 'negative' else ''}{voxels}")
    for conflict in dict.fromkeys(conflict for case in cases for conflict in case.conflicts):
        found = sorted(((case.conflicts.get(conflict, 0), case.name) for case in cases), reverse=True)
        shown = [f"{name} {count}" for count, name in found if count]
        shown[_SHOWN_CASES:] = [f"{len(shown) - _SHOWN_CASES} more"] if len(shown) > _SHOWN_CASES else []
        lines.append(f"Kept: {conflict}: {sum(count for count, _ in found)} voxels ({', '.join(shown)})")
    if any(case.conflicts for case in cases):
        lines.append("All contradictions by case: conversion.json, conflicting_voxels")
    return lines


def drawings_warnings(
    cases: Sequence[ConvertedDrawings], maps: Mapping[str, str], code: DrawingCode, channel_names: Sequence[str]
) -> list[str]:
    """Classes that cannot be learned from the drawings, and an unsuitable normalisation; see `drawings_report`."""
    positive = [name for name, kind in maps.items() if kind == "positive"]
    background, *targets = _voxels_drawn(cases, positive, code)
    warnings = []
    if not any(case.fully_annotated for case in cases):
        warnings = [
            f"Nobody drew {target.name} in any case: it cannot be learned. Check --labels"
            for target, voxels in zip(code.targets, targets, strict=True)
            if not voxels
        ]
        if not background:
            warnings.append(
                "Nobody drew background. The stock trainer on this data will find targets everywhere; RefineSeg learns "
                "background from negative drawings alone. A rough loop around all targets, with everything outside "
                "drawn as background, costs little"
            )
    if any(name.casefold() == "ct" for name in channel_names):
        warnings.append(
            "nnU-Net normalises CT by the intensities of all labelled voxels, and counts blank ones as labelled: with "
            "drawings these are intensities of the whole image, air included. Give --channel-names zscore (or any name "
            "but CT) to normalise each image by itself"
        )
    return warnings


def _voxels_drawn(cases: Sequence[ConvertedDrawings], maps: Sequence[str], code: DrawingCode) -> list[int]:
    counts = [case.drawn[name] for case in cases for name in maps if name in case.drawn]
    return [int(count) for count in np.sum([[0] * code.num_classes, *counts], axis=0)]
