"""Input files of a data set, matched by case: images, points of each object, reference labels and patients.

Point files are called `CASE` (all objects of the case), `CASE_CLASS` or `CASE_CLASS-2` (one object each), or lie under
any such name, or just `CLASS` or `CLASS-2`, in a folder `CASE`. Classes and objects that the file itself names win.

All problems are collected; nothing is written here.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from nnunet_weak.dataset.find_cases import discover_cases
from nnunet_weak.dataset.names import suggest
from nnunet_weak.dataset.patients import read_patients
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.read import list_images
from nnunet_weak.points.cases import PointCase, mesh_file_name
from nnunet_weak.points.files import POINT_FILE_ENDINGS, point_file_ending, read_points
from nnunet_weak.points.options import PointConversion
from nnunet_weak.points.points import ObjectPoints
from nnunet_weak.points.predictions import find_predictions

ONLY_CLASS = "object"
"""Name of the class where there is one and nobody names it."""

_NUMBERED = re.compile(r"(.*?)[-_#]?(\d+)")
_LONGEST_FILE_NAME = 200
"""Bytes; file systems take 255, of which a temporary name needs some."""


@dataclass(frozen=True)
class PointInputs:
    """The cases of a new data set, and further findings in its input files."""

    cases: tuple[PointCase, ...]
    classes: Mapping[str, tuple[int, ...]]  # values in reference label maps; in the order of the labels
    patients: Mapping[str, str] | None
    warnings: tuple[str, ...]
    left_out: Mapping[str, str]  # reasons, by case or file


def gather_inputs(options: PointConversion, problems: Problems) -> PointInputs:
    """Find all files, match them by case and read the points; problems are noted."""
    folder, suffixes, layout = options.images, options.channel_suffixes, options.case_layout
    images = problems.attempt(discover_cases, folder, channel_suffixes=suffixes, layout=layout) or {}
    left_out: dict[str, str] = {}

    def leave_out(name: str, reason: str, where: str, what: str, remedy: str) -> None:
        if options.allow_missing:
            left_out[name] = reason
        else:
            problems.add(where, what, f"{remedy}, or leave it out with --allow-missing")

    def unmatched(path: Path, kind: str, name: str) -> None:
        close = " or ".join(suggest(name, list(images)))
        remedy = f"perhaps it belongs to {close}; names begin with those of the images" if close else "rename it"
        what = f"{kind} without an image of this name in {options.images}"
        if images or options.allow_missing:
            leave_out(f"{kind} {name}", "no image of this name", str(path), what, remedy)

    files: dict[str, dict[Path, str]] = {}
    for path, (case, hint) in (problems.attempt(find_point_files, options.points, list(images)) or {}).items():
        if case is None:
            unmatched(path, "points", hint)
        else:
            files.setdefault(case, {})[path] = hint
    references = (problems.attempt(list_images, options.references) if options.references is not None else None) or {}
    for name, path in references.items():
        if name not in images:
            unmatched(path, "reference", name)
    names = [case for case in images if case in files or case in references]
    for case in images if files or references else ():
        if case not in names:
            where = f"{options.images}, case '{case}'"
            leave_out(case, "no points", where, "no points and no reference labels", "click some")
    warnings: list[str] = []
    objects = {case: _read_objects(files.get(case, {}), options, problems, warnings) for case in names}
    classes = options.classes or _only_class(objects, problems)
    with_points = [case for case in names if objects[case]]
    predicted = find_predictions(options.follow_prediction, list(classes), with_points, problems)
    cases = tuple(
        PointCase(
            case,
            tuple(images[case]),
            _with_classes(case, objects[case], list(classes), problems),
            tuple(files.get(case, ())),
            references.get(case),
            predicted.get(case),
        )
        for case in names
    )
    _check_mesh_names(cases, problems)
    patients = problems.attempt(read_patients, options.patients, names) if options.patients is not None else None
    return PointInputs(cases, classes, patients, tuple(warnings), left_out)


def find_point_files(folder: Path, cases: Sequence[str]) -> dict[Path, tuple[str | None, str]]:
    """Find all point files of a folder, and of the folders in it.

    Returns:
        For each the case it belongs to, and the rest of its name, which tells the object; None and the whole name where
        no case fits.

    Raises:
        InvalidInputError: No such folder, or no point files in it.
    """
    found: dict[Path, tuple[str | None, str]] = {}
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        ending = point_file_ending(path)
        if ending is None or not path.is_file() or any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        stem, possible = path.name[: -len(ending)], cases
        if path.parent != folder:  # CASE/CASE_CLASS or CASE/CLASS
            case = path.parent.name
            possible = [case] if case in cases else []
            stem = stem if _after_case(stem, case) is not None else f"{case}_{stem}"
        # case_1 and case_1_b may both be cases
        best = max((case for case in possible if _after_case(stem, case) is not None), key=len, default=None)
        found[path] = (best, stem if best is None else _after_case(stem, best) or "")
    if not found:
        raise InvalidInputError(
            f"{folder}: {'no point files' if folder.is_dir() else 'no such folder'} (remedy: give the folder of files "
            f"that end in {', '.join(POINT_FILE_ENDINGS)}, or of a folder of them for each case)"
        )
    return found


def names_of_hint(hint: str, classes: Sequence[str]) -> tuple[str, str]:
    """Class and object that a file's name tells: `liver` is a class, `synapse-2` and `synapse#2` its object 2.

    Of a single class the rest of the name is the object, unless it is the class.
    """
    if hint in classes or not hint:
        return hint, ""
    name, separator, number = hint.partition("#")
    if not separator and (match := _NUMBERED.fullmatch(hint)):
        name, number = match[1], match[2]
    if name in classes:
        return name, number
    return ("", hint) if len(classes) == 1 else (name, number)


def _read_objects(
    files: Mapping[Path, str], options: PointConversion, problems: Problems, warnings: list[str]
) -> list[ObjectPoints]:
    objects = []
    for path, hint in files.items():
        points = problems.attempt(read_points, path, options.coordinate_system, group_by=options.group_by)
        if points is None:
            continue
        warnings += points.warnings
        class_name, object_name = names_of_hint(hint, list(options.classes))
        objects += [
            replace(one, class_name=one.class_name or class_name, object_name=one.object_name or object_name)
            for one in points
        ]
    return objects


def _only_class(objects: Mapping[str, list[ObjectPoints]], problems: Problems) -> dict[str, tuple[int, ...]]:
    """The one class that the point files name; where they name several, their order has to be asked for."""
    named = list(dict.fromkeys(one.class_name for found in objects.values() for one in found if one.class_name))
    if len(named) > 1:
        problems.add(
            "--classes",
            f"the point files name {len(named)} classes, {', '.join(named[:10])}, and their order is not given",
            f"--classes {' '.join(sorted(named)[:10])}, for example; where they overlap the first-named wins. If "
            "these are objects of one class, name that one",
        )
    return {name: (number,) for number, name in enumerate(named or [ONLY_CLASS], start=1)}


def _with_classes(
    case: str, objects: Sequence[ObjectPoints], classes: Sequence[str], problems: Problems
) -> tuple[ObjectPoints, ...]:
    """The objects with one of the classes each; those of the same class and name are numbered."""
    found = []
    for one in objects:
        name = one.class_name or (classes[0] if len(classes) == 1 else "")
        if name in classes:
            found.append(replace(one, class_name=name))
        else:
            problems.add(
                f"{case}, {one.title}",
                f"class '{name}' is none of {', '.join(classes)}" if name else "nothing says which class it is",
                "name the file CASE_CLASS, or correct --classes",
            )
    titles = Counter(one.title for one in found)
    taken = set(titles)
    for place, one in enumerate(found):
        if titles[one.title] > 1:
            numbered = (replace(one, object_name=f"{one.object_name}.{number}".lstrip(".")) for number in count(1))
            found[place] = next(named for named in numbered if named.title not in taken)
            taken.add(found[place].title)
    return tuple(found)


def _check_mesh_names(cases: Sequence[PointCase], problems: Problems) -> None:
    """Refuse objects whose meshes would be one file, on a file system that does not tell letter cases apart too, or
    would have a name that is too long."""
    owners: dict[str, str] = {}
    for case in cases:
        for one in case.objects:
            file, owner = mesh_file_name(case.name, one.title), f"{case.name}, {one.title}"
            other = owners.setdefault(file.casefold(), owner)
            if other != owner:
                problems.add(owner, f"has the same mesh file as {other}, {file}", "rename one of these objects")
            elif len(os.fsencode(file)) > _LONGEST_FILE_NAME:
                what = f"{case.name}, object {one.title[:40]}..."
                problems.add(what, "the name of its mesh file would be too long", "give the object a shorter name")


def _after_case(stem: str, case: str) -> str | None:
    """The rest of a file name after the name of the case; None where it is not of that case."""
    if stem == case:
        return ""
    return stem[len(case) + 1 :] if stem.startswith(case) and stem[len(case)] in "_-." else None
