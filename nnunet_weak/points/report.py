"""What a user should know of the templates, as text for a terminal and as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from nnunet_weak.points.cases import TEMPLATES, CheckedPointCase, ObjectReport
from nnunet_weak.tables import csv_text

_SHOWN = 5


def templates_report(checked: Sequence[CheckedPointCase]) -> list[str]:
    """Effort, residuals, overlaps, and agreement with references where there are any."""
    found = [(case.name, one) for case in checked for one in case.objects]
    if not found:
        return ["No templates: all cases have reference labels and no points."]
    points = sum(one.points for _, one in found)
    weak = sum(not case.fully_annotated for case in checked)
    lines = [
        f"{len(checked)} cases, {weak} with templates only; {len(found)} objects, {points} points "
        f"({points / len(found):.0f} for each object)",
        f"Points are off their surface by {fmean(value for _, one in found for value in one.residuals_mm):.2g} mm on "
        "average",
    ]
    worst = sorted(found, key=lambda entry: -max(entry[1].residuals_mm))[:_SHOWN]
    lines.append(
        "Look first at " + ", ".join(f"{name} {one.title} ({max(one.residuals_mm):.2g} mm)" for name, one in worst)
    )
    overlaps: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for case in checked:
        for pair, voxels in case.overlaps.items():
            overlaps.setdefault(pair, []).append((case.name, voxels))
    for (winner, loser), where in overlaps.items():
        lines.append(
            f"{loser} and {winner} overlap in {_cases([name for name, _ in where])}: "
            f"{sum(voxels for _, voxels in where)} voxels go to {winner}"
        )
    dice: dict[str, list[float]] = {}
    for case in checked:
        for name, value in case.template_dice.items():
            dice.setdefault(name, []).append(value)
    for name, values in dice.items():
        lines.append(
            f"Templates of {name} against the reference labels of {len(values)} cases: Dice {fmean(values):.3f} "
            f"(lowest {min(values):.3f})"
        )
    return lines


def templates_warnings(checked: Sequence[CheckedPointCase], file_warnings: Sequence[str]) -> list[str]:
    """Everything noticed in files, points and fits; the same remark about many objects once."""
    warnings = list(file_warnings)
    for case in checked:
        warnings += [f"{case.name}: {warning}" for warning in case.warnings]
    by_kind: dict[str, list[str]] = {}
    for case in checked:
        for one in case.objects:
            for warning in one.warnings:
                by_kind.setdefault(warning.split(":")[0], []).append(f"{case.name}, {one.title}: {warning}")
    for texts in by_kind.values():
        more = f" ... and {len(texts) - 3} more like this, see {TEMPLATES}/objects.csv" if len(texts) > 3 else ""
        warnings += texts[:2] + [texts[2] + more] if len(texts) > 2 else texts
    return warnings


def template_tables(checked: Sequence[CheckedPointCase]) -> Mapping[str, str]:
    """CSV tables by path in the data set: cases, objects, points."""
    cases: list[list[object]] = [
        ["case", "fully_annotated", "objects", "points", "residual_mean_mm", "residual_max_mm", "template_dice"]
    ]
    objects: list[list[object]] = [
        [
            "case", "class", "object", "points", "residual_mean_mm", "residual_max_mm", "volume_mm3", "voxels",
            "widest_gap_mm", "warnings",
        ]
    ]  # fmt: skip
    points: list[list[object]] = [["case", "object", "point", "l", "p", "s", "residual_mm"]]
    for case in checked:
        if not case.objects:
            continue
        residuals = [value for one in case.objects for value in one.residuals_mm]
        dice = fmean(case.template_dice.values()) if case.template_dice else None
        cases.append(
            [
                case.name,
                int(case.fully_annotated),
                len(case.objects),
                sum(one.points for one in case.objects),
                *_mean_and_max(residuals),
                "" if dice is None else f"{dice:.4f}",
            ]
        )
        for one in case.objects:
            objects.append(_object_row(case.name, one))
            for name, position, residual in zip(one.point_names, one.positions_mm, one.residuals_mm, strict=True):
                points.append([case.name, one.title, name, *(f"{value:.3f}" for value in position), f"{residual:.3f}"])
    tables = {"cases.csv": cases, "objects.csv": objects, "points.csv": points}
    return {f"{TEMPLATES}/{name}": csv_text(rows[0], rows[1:]) for name, rows in tables.items()}


def _object_row(case: str, one: ObjectReport) -> list[object]:
    return [
        case,
        one.class_name,
        one.title,
        one.points,
        *_mean_and_max(one.residuals_mm),
        f"{one.volume_mm3:.1f}",
        one.voxels,
        f"{one.gap_mm:.2f}",
        " ".join(one.warnings),
    ]


def _mean_and_max(values: Sequence[float]) -> list[str]:
    return [f"{fmean(values):.3f}", f"{max(values):.3f}"]


def _cases(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return shown if len(names) == 1 else f"{len(names)} cases ({shown})"
