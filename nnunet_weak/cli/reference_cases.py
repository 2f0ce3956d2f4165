"""What the simulators of annotation share: reference label maps in, a folder that appears as a whole out."""

from __future__ import annotations

import shutil
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_weak.errors import Problems

if TYPE_CHECKING:
    import SimpleITK as sitk


def files_by_case(folder: Path, problems: Problems, kind: str = "label maps") -> dict[str, Path]:
    """Images of a folder by case; what is wrong, and that there are none of the `kind`, is noted."""
    from nnunet_weak.images.read import list_images

    found = problems.attempt(list_images, folder)
    if found == {}:
        problems.add(str(folder), f"holds no {kind}")
    return found or {}


def read_classes(path: Path, classes: Mapping[str, tuple[int, ...]]) -> sitk.Image:
    """A label map whose values are the numbers of the classes, from 1; what belongs to no class is background."""
    import numpy as np
    import SimpleITK as sitk

    from nnunet_weak.images.read import read_label_map, with_geometry_of

    image = read_label_map(path)
    values = sitk.GetArrayViewFromImage(image)
    numbers = np.zeros(values.shape, np.uint8)
    for number, known in enumerate(classes.values(), start=1):
        numbers[np.isin(values, known)] = number
    return with_geometry_of(numbers, image)


def seed_of(seed: int, *names: str) -> int:
    """A seed for each case and class, whatever else is in the folder."""
    return zlib.crc32("/".join([str(seed), *names]).encode())


def check_output(folder: Path, overwrite: bool, problems: Problems) -> None:
    """Note what keeps a folder from being written."""
    if folder.exists() and not overwrite:
        problems.add(f"--output {folder}", "exists already", "choose another name, or give --overwrite")
    elif folder.exists() and not folder.is_dir():
        problems.add(f"--output {folder}", "is a file", "name a folder")
    if not folder.absolute().parent.is_dir():
        problems.add(f"--output {folder}", f"{folder.absolute().parent}: no such folder")


@contextmanager
def appearing_folder(folder: Path) -> Iterator[Path]:
    """A new folder that takes its name at the end, or vanishes if anything goes wrong; it replaces an old one."""
    partial = folder.with_name(f".{folder.name}.partial-{uuid.uuid4().hex[:6]}")
    try:
        partial.mkdir()
        yield partial
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
