"""Record of what the files of a case were made from, so that a repeated run keeps only what still matches.

A record is a JSON file for each case, because cases are written by several processes, and by several machines on a
shared disk. It holds the settings, and size and SHA-256 of every input and output:

```json
{"settings": {"version": "0.1.0", "other_labels": "refuse"},
 "inputs": [{"name": "case_01.nii.gz", "size_bytes": 311, "sha256": "..."}],
 "outputs": [{"name": "case_01_0000.nii.gz", "size_bytes": 311, "sha256": "..."}]}
```
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.atomic import atomic_file
from nnunet_weak.images.integrity import fingerprint
from nnunet_weak.images.json_files import load_json

NOT_MADE_BEFORE = "not made before"


@dataclass(frozen=True)
class CaseRecord:
    """Record of one case.

    Attributes:
        path: The JSON file.
        settings: Everything beside the inputs that decides what the outputs hold, as JSON.
        inputs: Files that are read, in a fixed order. Their names and folders do not count.
        outputs: Files that are written, all into one folder.
    """

    path: Path
    settings: Mapping[str, Any]
    inputs: Sequence[Path]
    outputs: Sequence[Path]

    def difference(self) -> str | None:
        """Why the outputs have to be made; None if all files and settings are as recorded.

        Raises:
            OSError: A file cannot be read.
        """
        present = [path for path in self.outputs if path.is_file()]
        if not self.path.is_file():
            return f"no record says what {present[0].name} was made from" if present else NOT_MADE_BEFORE
        try:
            found = load_json(self.path)
        except InvalidInputError:
            found = None
        if not isinstance(found, dict) or set(found) != {"settings", "inputs", "outputs"}:
            return f"its record {self.path.name} is damaged"
        if found["settings"] != json.loads(json.dumps(self.settings)):
            return "made with other options or by another version"
        if len(present) < len(self.outputs):
            return f"{next(path.name for path in self.outputs if path not in present)} is missing"
        for key, paths in (("inputs", self.inputs), ("outputs", self.outputs)):
            changed = _first_change(found[key], paths)
            if changed:
                return changed
        return None

    def describe_inputs(self) -> list[dict[str, Any]]:
        """Names and fingerprints of the inputs, to be taken before these are read."""
        return [{"name": path.name, **fingerprint(path)} for path in self.inputs]

    def put_in_place(self, inputs: Sequence[Mapping[str, Any]], folder: Path) -> None:
        """Write the record, then move the outputs to their places.

        A run that is killed in between leaves files that do not match the record, and are made again.

        Args:
            inputs: From `describe_inputs`.
            folder: Where the outputs lie, on the same file system.
        """
        content = {
            "settings": self.settings,
            "inputs": inputs,
            "outputs": [{"name": path.name, **fingerprint(folder / path.name)} for path in self.outputs],
        }
        self.path.parent.mkdir(exist_ok=True)
        with atomic_file(self.path) as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        for path in self.outputs:
            os.replace(folder / path.name, path)

    def remove_outputs(self) -> list[Path]:
        """Remove the outputs and their record, if there is a record; returns what was removed."""
        if not self.path.is_file():
            return []
        removed = [path for path in self.outputs if path.is_file()]
        for path in [*removed, self.path]:
            path.unlink()
        return removed


def _first_change(recorded: Any, paths: Sequence[Path]) -> str | None:
    if not isinstance(recorded, list) or len(recorded) != len(paths):
        return "made from other files"
    for entry, path in zip(recorded, paths, strict=True):
        if not isinstance(entry, dict) or entry.get("size_bytes") != path.stat().st_size:
            return f"{path.name} has changed"
    for entry, path in zip(recorded, paths, strict=True):
        if entry.get("sha256") != fingerprint(path)["sha256"]:
            return f"{path.name} has changed"
    return None
