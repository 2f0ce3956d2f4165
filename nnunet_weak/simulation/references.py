"""Reference label maps as numbered classes: class k of the data set to come has the value k, everything else 0."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.read import read_label_map, with_geometry_of

Classes = Mapping[str, tuple[int, ...]]
"""Name of each class with its values in the references; several values count as one class."""


def read_classes(path: Path, classes: Classes, known_values: Collection[int] | None = None) -> sitk.Image:
    """Read a label map as class numbers, from 1 in the order of `classes`; other values become background.

    Args:
        path: Label map.
        classes: The classes.
        known_values: Values that may occur; None allows all.

    Raises:
        InvalidInputError: The file cannot be read, or holds a value that is not known.
    """
    image = read_label_map(path)
    values = sitk.GetArrayViewFromImage(image)
    unknown = [] if known_values is None else sorted(set(np.unique(values).tolist()) - set(known_values))
    if unknown:
        raise InvalidInputError(
            f"{path}: holds the values {unknown}, which belong to no class (remedy: name them in --classes, as in "
            "bone=1,2, or give --other-labels background)"
        )
    numbers = np.zeros(values.shape, np.uint8 if len(classes) < 256 else np.uint16)
    for number, known in enumerate(classes.values(), start=1):
        numbers[np.isin(values, known)] = number
    return with_geometry_of(numbers, image)


def case_seed(seed: int, *names: str) -> int:
    """Seed of a case, or of a class of it, that does not depend on what else is in the folder."""
    return zlib.crc32("/".join([str(seed), *names]).encode())
