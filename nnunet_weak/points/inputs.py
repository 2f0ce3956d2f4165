"""What belongs together: images, points of each object, reference labels and patients, matched by case.

Point files are called `CASE` (all objects of the case), `CASE_CLASS` or `CASE_CLASS-2` (one object each), or lie under
any such name, or just `CLASS` or `CLASS-2`, in a folder `CASE`. What a file itself says about class and object wins.

Everything that is wrong is collected; nothing is written here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nnunet_weak.dataset.find_cases import discover_cases
from nnunet_weak.dataset.names import suggest
from nnunet_weak.dataset.patients import read_patients
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.read import list_images
from nnunet_weak.points.files import POINT_FILE_ENDINGS, point_file_ending, read_points
from nnunet_weak.points.options import PointConversion
from nnunet_weak.points.points import ObjectPoints

ONLY_CLASS = "object"
"""Name of the class where there is one and nobody names it."""

_NUMBERED = re.compile(r"(.*?)[-_#]?(\d+)")


@dataclass(frozen=True)
class PointInputs:
    """The cases of a data set to come.

    Attributes:
        images: Image channels by case.
        objects: Points of the objects by case, each with the name of its class.
        files: The point files by case.
        classes: Values in reference label maps, by class, in the order of their labels.
        references: Reference labels of the fully annotated cases.
        patients: Patient by case, where a table of patients was given.
        warnings: What was noticed in point files.
        left_out: Cases and files that were left out, with the reason.
    """

    images: Mapping[str, Sequence[Path]]
    objects: Mapping[str, tuple[ObjectPoints, ...]]
    files: Mapping[str, tuple[Path, ...]]
    classes: Mapping[str, tuple[int, ...]]
    references: Mapping[str, Path]
    patients: Mapping[str, str] | None
    warnings: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PointFile:
    """A point file, and what its name says of the object in it; empty where it says nothing."""

    path: Path
    hint: str = ""


def gather_inputs(options: PointConversion, problems: Problems) -> PointInputs:
    """Find all files, match them by case and read the points; problems are noted."""
    found = (
        problems.attempt(
            discover_cases, options.images, channel_suffixes=options.channel_suffixes, layout=options.case_layout
        )
        or {}
    )
    left_out: dict[str, str] = {}

    def unmatched(path: Path, name: str, what: str) -> None:
        if options.allow_missing:
            left_out[f"{what} {name}"] = "no image of this name"
        elif found:
            close = suggest(name, list(found))
            problems.add(
                str(path),
                f"{what} without an image of this name in {options.images}",
                f"perhaps it belongs to {' or '.join(close)}; names begin with those of the images"
                if close
                else "rename or remove it, or leave it out with --allow-missing",
            )

    files: dict[str, list[PointFile]] = {}
    for case, file in problems.attempt(find_point_files, options.points, list(found)) or []:
        if case is None:
            unmatched(file.path, file.hint, "points")
        else:
            files.setdefault(case, []).append(file)
    references: dict[str, Path] = {}
    folder = options.references
    if folder is not None:
        for name, path in (problems.attempt(list_images, folder) or {}).items():
            if name in found:
                references[name] = path
            else:
                unmatched(path, name, "reference")
    for case in found:
        if case not in files and case not in references and (files or references):
            if options.allow_missing:
                left_out[case] = "no points"
            else:
                problems.add(
                    f"{options.images}, case '{case}'",
                    "no points and no reference labels",
                    "click some, or leave out what is incomplete with --allow-missing",
                )
    names = [case for case in found if case in files or case in references]
    warnings: list[str] = []
    read = {case: _read_objects(files.get(case, ()), options, problems, warnings) for case in names}
    classes, objects = _named_classes(read, options, problems)
    table = options.patients
    patients = problems.attempt(read_patients, table, names) if table is not None else None
    return PointInputs(
        {case: found[case] for case in names},
        objects,
        {case: tuple(file.path for file in files.get(case, ())) for case in names},
        classes,
        references,
        patients,
        tuple(warnings),
        left_out,
    )


def find_point_files(folder: Path, cases: Sequence[str]) -> list[tuple[str | None, PointFile]]:
    """All point files of a folder with the case they belong to, sorted by name; None where no case fits.

    Raises:
        InvalidInputError: No such folder, or no point files in it.
    """
    if not folder.is_dir():
        raise InvalidInputError(f"{folder}: no such folder of point files")
    found: list[tuple[str | None, PointFile]] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            inside = [file for file in sorted(path.iterdir()) if _is_point_file(file)]
            for file in inside:
                stem = _stem(file)
                rest = _after_case(stem, path.name)
                hint = stem if rest is None else rest
                known = path.name in cases
                found.append((path.name if known else None, PointFile(file, hint if known else path.name)))
        elif _is_point_file(path):
            stem = _stem(path)
            fitting = [case for case in cases if _after_case(stem, case) is not None]
            case = max(fitting, key=len, default=None)  # case_1 and case_1_b may both be cases
            found.append((case, PointFile(path, stem if case is None else _after_case(stem, case) or "")))
    if not found:
        raise InvalidInputError(
            f"{folder}: no point files (remedy: give the folder that holds files ending in "
            f"{', '.join(POINT_FILE_ENDINGS)}, or a folder of them for each case)"
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
    files: Sequence[PointFile], options: PointConversion, problems: Problems, warnings: list[str]
) -> list[ObjectPoints]:
    objects = []
    for file in files:
        try:
            points = read_points(file.path, options.coordinate_system, group_by=options.group_by)
        except InvalidInputError as error:
            for problem in error.problems:
                problems.add(str(file.path.parent), problem)
            continue
        warnings += points.warnings
        class_name, object_name = names_of_hint(file.hint, list(options.classes))
        objects += [
            replace(one, class_name=one.class_name or class_name, object_name=one.object_name or object_name)
            for one in points
        ]
    return objects


def _named_classes(
    read: Mapping[str, list[ObjectPoints]], options: PointConversion, problems: Problems
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[ObjectPoints, ...]]]:
    """The classes, and every object with one of them."""
    named = list(dict.fromkeys(one.class_name for objects in read.values() for one in objects if one.class_name))
    classes = dict(options.classes)
    if not classes:
        if len(named) > 1:
            problems.add(
                "--classes",
                f"the point files name {len(named)} classes, {', '.join(named[:10])}, and their order is not given",
                f"--classes {' '.join(sorted(named)[:10])}, for example; where they overlap the first-named wins. If "
                "these are objects of one class, name that one",
            )
            classes = {name: (number,) for number, name in enumerate(named, start=1)}
        else:
            classes = {(named or [ONLY_CLASS])[0]: (1,)}
    objects: dict[str, tuple[ObjectPoints, ...]] = {}
    for case, found in read.items():
        kept = []
        for one in found:
            name = one.class_name or (next(iter(classes)) if len(classes) == 1 else "")
            if name in classes:
                kept.append(replace(one, class_name=name))
            else:
                problems.add(
                    f"{case}, {one.title}",
                    f"class '{name}' is none of {', '.join(classes)}" if name else "nothing says which class it is",
                    "name the file CASE_CLASS, or correct --classes",
                )
        objects[case] = _distinctly_named(kept)
    return classes, objects


def _distinctly_named(objects: Sequence[ObjectPoints]) -> tuple[ObjectPoints, ...]:
    """Objects of the same class and name are numbered."""
    titles = [one.title for one in objects]
    taken = set(titles)
    result = []
    for one, title in zip(objects, titles, strict=True):
        if titles.count(title) > 1:
            numbers = (str(number) for number in range(1, len(objects) + len(taken) + 1))
            one = next(
                named
                for number in numbers
                if (named := replace(one, object_name=f"{one.object_name}.{number}".lstrip("."))).title not in taken
            )
            taken.add(one.title)
        result.append(one)
    return tuple(result)


def _is_point_file(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and point_file_ending(path) is not None


def _stem(path: Path) -> str:
    return path.name[: -len(point_file_ending(path) or "")]


def _after_case(stem: str, case: str) -> str | None:
    """What follows the name of the case in a file name; None where it is not of that case."""
    if stem == case:
        return ""
    return stem[len(case) + 1 :] if stem.startswith(case) and stem[len(case)] in "_-." else None
