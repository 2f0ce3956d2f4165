"""Where a command may write: never over or into its inputs, and never over anything that it did not make itself."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from nnunet_weak.errors import Problems


def check_output_folder(
    folder: Path,
    *,
    command: str,
    record: str,
    overwrite: bool,
    inputs: Iterable[Path | None],
    option: str = "--output",
) -> None:
    """Check that a command may make a folder, or replace it.

    Folders above it need not exist. An empty folder may always be replaced. Any other needs `overwrite`, and the record
    of an earlier run of the same command: nothing else tells a result that can be made again from somebody's data.

    Args:
        folder: Folder to be written as a whole.
        command: Name of the command; the record names it.
        record: Name of the text file that every run leaves in its folder.
        overwrite: Whether the user wants an earlier result replaced.
        inputs: Files and folders that the command reads; None is skipped.
        option: The option that names the folder, for messages.

    Raises:
        InvalidInputError: The folder is, holds or lies in an input; or there is something that must not be replaced.
    """
    problems = Problems()
    where = f"{option} {folder}"
    check_place(folder, inputs, where, problems)
    above = next((parent for parent in folder.absolute().parents if parent.exists()), folder)
    if not above.is_dir():
        problems.add(where, f"{above} is a file", "name a folder in a folder")
    elif folder.is_symlink():
        problems.add(where, "is a link", "name the folder itself")
    elif folder.exists() and not folder.is_dir():
        problems.add(where, "is a file", "name a folder")
    elif folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            problems.add(where, "exists already", "choose another name, or give --overwrite")
        elif not _names(folder / record, command):
            problems.add(
                where,
                f"holds no {record} of {command}, which therefore did not make it and will not delete it",
                "choose another name",
            )
    problems.raise_if_any()


def check_output_file(
    path: Path,
    *,
    overwrite: bool,
    inputs: Iterable[Path | None],
    begins_with: bytes,
    option: str = "--output",
) -> None:
    """Check that a command may write a file, or replace it.

    Args:
        path: File to be written.
        overwrite: Whether the user wants an earlier result replaced.
        inputs: Files and folders that the command reads; None is skipped.
        begins_with: First bytes of what the command writes; a file that begins otherwise is not replaced.
        option: The option that names the file, for messages.

    Raises:
        InvalidInputError: The file is an input or lies in one; or there is something that must not be replaced.
    """
    problems = Problems()
    where = f"{option} {path}"
    check_place(path, inputs, where, problems)
    if not path.absolute().parent.is_dir():
        problems.add(where, f"{path.absolute().parent}: no such folder", "make it, or correct the name")
    elif path.is_dir():
        problems.add(where, "is a folder", "name a file")
    elif path.exists():
        if not overwrite:
            problems.add(where, "exists already", "choose another name, or give --overwrite")
        elif not path.is_file() or path.open("rb").read(len(begins_with)) != begins_with:
            problems.add(where, "is no file of this command, which will not replace it", "choose another name")
    problems.raise_if_any()


def check_place(target: Path, inputs: Iterable[Path | None], where: str, problems: Problems) -> None:
    """Check that a file or folder to be written neither is an input, nor holds one, nor lies in one.

    Args:
        target: What will be written.
        inputs: Files and folders that the command reads; None is skipped.
        where: The option that names the target, for messages.
        problems: Takes what is wrong.
    """
    target = real_path(target)
    for given in inputs:
        if given is None or not given.exists():
            continue
        # Folders of links are common: the files that they lead to are inputs as well.
        linked = [real_path(entry) for entry in given.iterdir() if entry.is_symlink()] if given.is_dir() else []
        if real_path(given) == target:
            relation = "is"
        elif any(path.is_relative_to(target) for path in (real_path(given), *linked)):
            relation = "holds"
        elif given.is_dir() and target.is_relative_to(real_path(given)):
            relation = "lies in"
        else:
            continue
        problems.add(where, f"{relation} the input {given}", "write somewhere else")


def _names(record: Path, command: str) -> bool:
    """Whether a record names a command; it may be of any text format."""
    return record.is_file() and command.encode() in record.read_bytes()[: 1 << 16]


def real_path(path: Path) -> Path:
    """The absolute path that links lead to; of a link to itself its own, where `Path.resolve` would fail."""
    return Path(os.path.realpath(path))
