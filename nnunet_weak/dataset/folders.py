"""Folders of data sets below nnU-Net's folders `nnUNet_raw`, `nnUNet_preprocessed` and `nnUNet_results`."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from nnunet_weak.errors import InvalidInputError, Problems

CONVERSION_RECORD = "conversion.json"
"""File in every raw data set of this package: how it was made."""

_VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


def dataset_folder(dataset: str, *variables: str, option: str = "-d") -> Path:
    """Find the folder of a data set.

    nnU-Net's `maybe_convert_to_dataset_name` is not used: it imports torch, and takes the number alone.

    Args:
        dataset: Number or name.
        variables: Environment variables that name the folders to search, in this order.
        option: The option that names the data set, for messages.

    Raises:
        InvalidInputError: No variable is set, or there is no such data set, or several of this number.
    """
    roots = {variable: Path(os.environ[variable]) for variable in variables if os.environ.get(variable)}
    if not roots:
        raise InvalidInputError(
            f"The environment variable {variables[0]} is not set (remedy: export {variables[0]}=/path/to/it)"
        )
    number = re.fullmatch("[0-9]{1,9}", dataset)
    pattern = f"Dataset{int(dataset):03d}_*" if number else glob.escape(dataset)
    if Path(dataset).name != dataset:
        raise InvalidInputError(
            f"{option} {dataset}: is no number and no name of a data set (remedy: write 511 or Dataset511_NAME)"
        )
    found: dict[str, Path] = {}
    for root in roots.values():
        for path in sorted(root.glob(pattern)):
            if path.is_dir():
                found.setdefault(path.name, path)
    if len(found) != 1:
        count = f"{len(found)} data sets ({', '.join(found)})" if found else "no data set"
        places = " or ".join(f"{variable}={root}" for variable, root in roots.items())
        raise InvalidInputError(f"{option} {dataset}: {count} of this number or name in {places}")
    return next(iter(found.values()))


def new_dataset_folder(dataset_id: int, name: str, *, overwrite: bool) -> Path:
    """Name the raw folder of a new data set and check that it is free.

    Args:
        dataset_id: Its number.
        name: Its name without number.
        overwrite: Whether a data set of the same number and name may be replaced.

    Raises:
        InvalidInputError: `nnUNet_raw` is not set, the number belongs to another name in any of nnU-Net's folders, or
            the folder exists and is not to be replaced, or was not made by a converter of this package.
    """
    problems = Problems()
    check_dataset_name(dataset_id, name, problems)
    problems.raise_if_any()
    raw = os.environ.get("nnUNet_raw")
    if not raw:
        raise InvalidInputError(
            "The environment variable nnUNet_raw is not set (remedy: export nnUNet_raw=/path/to/nnUNet_raw, the "
            "folder that holds the raw data sets)"
        )
    above = next(path for path in (Path(raw).absolute(), *Path(raw).absolute().parents) if path.exists())
    if not above.is_dir():
        problems.add(f"nnUNet_raw={raw}", f"{above} is a file", "name a folder")
    elif not os.access(above, os.W_OK | os.X_OK):
        problems.add(f"nnUNet_raw={raw}", f"no permission to write to {above}", "change its rights or take another")
    problems.raise_if_any()
    target = Path(raw) / f"Dataset{dataset_id:03d}_{name}"
    for variable in _VARIABLES:
        folder = os.environ.get(variable)
        for path in sorted(Path(folder).glob(f"Dataset{dataset_id:03d}_*")) if folder else ():
            if path.is_dir() and path.name != target.name:
                problems.add(
                    f"data set number {dataset_id}",
                    f"{variable} has it as {path.name} already",
                    "choose another number",
                )
    if target.exists() and not overwrite:
        problems.add(str(target), "exists already", "choose another number or name, or replace it with --overwrite")
    elif target.exists() and not (target / CONVERSION_RECORD).is_file():
        problems.add(
            str(target),
            f"holds no {CONVERSION_RECORD}: no converter of this package made it, and --overwrite will not delete it",
            "choose another number or name, or remove the folder yourself",
        )
    problems.raise_if_any()
    return target


def check_dataset_name(dataset_id: int, name: str, problems: Problems) -> None:
    """Check number and name of a data set."""
    if not 1 <= dataset_id <= 999:
        problems.add("data set number", f"{dataset_id} is outside 1 to 999")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        problems.add("data set name", f"{name!r} is no file name of letters, digits, '_', '-' and '.'")
