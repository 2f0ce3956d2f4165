"""A conversion split over machines: each part writes its cases, and a merge makes the data set of all.

`nnUNet_raw/.parts-Dataset511_Bones/CASE` holds the files of a case as the data set will, and `result.json`: what the
converter found, and what it was made from. A case appears complete or not at all, so a part that is killed can be
started again and goes on after its last complete case. The merge links all files into the new data set, which therefore
is the one that a single run writes, byte by byte, and removes the parts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from nnunet_weak.dataset.case_results import from_json, to_json
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.atomic import atomic_folder
from nnunet_weak.images.integrity import fingerprint
from nnunet_weak.images.json_files import load_json

_RESULT = "result.json"

Case = TypeVar("Case")
Task = TypeVar("Task")
InputFile = tuple[Path, dict[str, Any]]
"""A file that was read, with its size and SHA-256."""


@dataclass(frozen=True)
class PartStore(Generic[Case]):
    """The folder that the parts of a conversion write to.

    Attributes:
        folder: It.
        settings: Version and options of the conversion, as JSON: cases made with others are made again.
    """

    folder: Path
    settings: Mapping[str, Any]

    @classmethod
    def beside(cls, target: Path, settings: Mapping[str, Any]) -> PartStore[Case]:
        """The store of a data set that is to become `target`."""
        return cls(target.with_name(f".parts-{target.name}"), settings)

    def convert(self, convert_case: Callable[[Task, Path | None], Any], name: str, task: Task) -> bool:
        """Convert a case into the store; False if it is there already.

        Raises:
            InvalidInputError: All problems of the case.
        """
        if self.read(name, task) is not None:
            return False
        with atomic_folder(self.folder / name) as folder:
            case = convert_case(task, folder)
            content = {
                "made_with": self._made_with(task),
                "inputs": _stamp(case.inputs),
                "fingerprints": [fingerprint(path) for path in case.inputs],
                "case": to_json(case),
            }
            (folder / _RESULT).write_text(json.dumps(content), encoding="utf-8")
        return True

    def read(self, name: str, task: Any) -> tuple[Case, list[InputFile]] | None:
        """What was found in a case, and its input files; None if it has to be converted (again)."""
        path = self.folder / name / _RESULT
        if not path.is_file():
            return None
        try:
            content = load_json(path)
            case = from_json(content["case"])
            inputs, made_with = content["inputs"], content["made_with"]
            prints = content["fingerprints"]
        except (InvalidInputError, KeyError, TypeError):
            return None
        if made_with != self._made_with(task) or inputs != _stamp(case.inputs):
            return None
        return case, list(zip(case.inputs, prints, strict=True))

    def link_into(self, target: Path, name: str) -> None:
        """Put the files of a case into a data set: by links, or copies where the disk has none."""
        for path in self._files_of(name):
            place = target / path.relative_to(self.folder / name)
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, place)
            except OSError:
                shutil.copyfile(path, place)

    def remove(self) -> None:
        """Remove the store, after the merge."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files_of(self, name: str) -> Iterator[Path]:
        root = self.folder / name
        return (path for path in sorted(root.rglob("*")) if path.is_file() and path != root / _RESULT)

    def _made_with(self, task: Any) -> dict[str, Any]:
        return json.loads(json.dumps({**self.settings, "task": hashlib.sha256(repr(task).encode()).hexdigest()}))


def read_all(
    store: PartStore[Case], tasks: Mapping[str, Any], num_parts: int, problems: Problems
) -> dict[str, tuple[Case, list[InputFile]]]:
    """Read the results of all cases; those that are missing or out of date are problems, which name their part."""
    found = {}
    for index, name in enumerate(sorted(tasks)):
        result = store.read(name, tasks[name])
        if result is None:
            remedy = f"run -num_parts {num_parts} -part_id {index % num_parts} (again)" if num_parts > 1 else "run it"
            problems.add(f"{store.folder}, case '{name}'", "is not converted, or has changed since", remedy)
        else:
            found[name] = result
    return {name: found[name] for name in tasks if name in found}


def _stamp(paths: tuple[Path, ...]) -> list[list[Any]]:
    """Size and time of files: reading a hundred thousand scans to see that none has changed would take days."""
    return [[str(path), (stat := path.stat()).st_size, stat.st_mtime_ns] if path.exists() else [] for path in paths]
