"""Report on the templates of all cases, as text for a terminal and as tables. Lengths are mm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TypeVar

from nnunet_weak.points.cases import TEMPLATES, ConvertedPointCase
from nnunet_weak.tables import csv_text

_SHOWN = 5

_TABLES = {
    "cases.csv": "case fully_annotated objects points residual_mean_mm residual_max_mm template_dice",
    "objects.csv": "case class object points residual_mean_mm residual_max_mm volume_mm3 voxels widest_gap_mm warnings",
    "points.csv": "case object point l p s residual_mm",
}

Key = TypeVar("Key")
Value = TypeVar("Value")


def templates_report(
    cases: Sequence[ConvertedPointCase], second_round: bool = False, better_templates: str = ""
) -> list[str]:
    """Effort, residuals, overlaps, and agreement with references where there are any.

    Args:
        cases: All cases.
        second_round: A model's probabilities were weighed in.
        better_templates: Options by which fully annotated cases take the spheres' place, where there are several.
    """
    found = [
        (f"{case.name} {one.points.title}", float(one.fit.residuals_mm.max()))
        for case in cases
        for one in case.templates
    ]
    if not found:
        return ["No templates: all cases have reference labels and no points."]
    residuals = [value for case in cases for value in case.residuals_mm]
    weak = sum(not case.fully_annotated for case in cases)
    worst = sorted(found, key=lambda entry: -entry[1])[:_SHOWN]
    lines = [
        f"{len(cases)} cases, {weak} with templates only; {len(found)} objects, {len(residuals)} points "
        f"({len(residuals) / len(found):.0f} for each object)",
        f"Points are off their surface by {fmean(residuals):.2g} mm on average",
        "Look first at " + ", ".join(f"{title} ({largest:.2g} mm)" for title, largest in worst),
    ]
    for (winner, loser), voxels in _by_key({case.name: case.overlaps for case in cases}).items():
        names = ", ".join(list(voxels)[:_SHOWN]) + (", ..." if len(voxels) > _SHOWN else "")
        where = names if len(voxels) == 1 else f"{len(voxels)} cases ({names})"
        lines.append(f"{loser} and {winner} overlap in {where}: {sum(voxels.values())} voxels go to {winner}")
    for name, dice in _by_key({case.name: case.template_dice for case in cases}).items():
        lines.append(
            f"Templates of {name} against the reference labels of {len(dice)} cases: Dice {fmean(dice.values()):.3f} "
            f"(lowest {min(dice.values()):.3f})" + "; too good if the model was trained on these" * second_round
        )
    if 0 < weak < len(cases) and not second_round:
        lines.append(
            f"Train the stock trainer on the {len(cases) - weak} fully annotated cases alone first, and convert again "
            "with --follow-prediction: beside them, templates as they are teach their own errors"
        )
    if better_templates and len(cases) - weak > 1:
        lines.append(f"Surfaces that start from annotated cases are better than from spheres: {better_templates}")
    return lines


def templates_warnings(cases: Sequence[ConvertedPointCase]) -> list[str]:
    """Everything noticed in points and fits; the same remark about many objects three times at most."""
    warnings = [f"{case.name}: {warning}" for case in cases for warning in case.warnings]
    by_kind: dict[str, list[str]] = {}
    for case in cases:
        for one in case.templates:
            for warning in one.fit.warnings:
                by_kind.setdefault(warning.split(":")[0], []).append(f"{case.name}, {one.points.title}: {warning}")
    for texts in by_kind.values():
        if len(texts) > 3:
            texts[2] += f" ... and {len(texts) - 3} more like this, see {TEMPLATES}/objects.csv"
        warnings += texts[:3]
    return warnings


def template_tables(cases: Sequence[ConvertedPointCase]) -> dict[str, str]:
    """CSV tables by path in the data set: cases, objects, points."""
    rows: dict[str, list[Sequence[object]]] = {name: [columns.split()] for name, columns in _TABLES.items()}
    for case in cases:
        if not case.templates:
            continue
        counts = len(case.templates), len(case.residuals_mm)
        dice = f"{fmean(case.template_dice.values()):.4f}" if case.template_dice else ""
        numbers = *counts, *_mean_and_max(case.residuals_mm)
        rows["cases.csv"].append([case.name, int(case.fully_annotated), *numbers, dice])
        for one in case.templates:
            points, residuals = one.points, one.fit.residuals_mm.tolist()
            numbers = len(residuals), *_mean_and_max(residuals), f"{one.fit.volume_mm3:.1f}", one.voxels
            further = f"{one.fit.gap_mm:.2f}", " ".join(one.fit.warnings)
            rows["objects.csv"].append([case.name, points.class_name, points.title, *numbers, *further])
            for row, (place, residual) in enumerate(zip(points.points_mm.tolist(), residuals, strict=True)):
                values = [f"{value:.3f}" for value in (*place, residual)]
                rows["points.csv"].append([case.name, points.title, points.label_of(row), *values])
    return {f"{TEMPLATES}/{name}": csv_text(table[0], table[1:]) for name, table in rows.items()}


def _by_key(tables: Mapping[str, Mapping[Key, Value]]) -> dict[Key, dict[str, Value]]:
    """Values by key and case, of those by case and key."""
    result: dict[Key, dict[str, Value]] = {}
    for case, values in tables.items():
        for key, value in values.items():
            result.setdefault(key, {})[case] = value
    return result


def _mean_and_max(values: Sequence[float]) -> list[str]:
    return [f"{fmean(values):.3f}", f"{max(values):.3f}"]
