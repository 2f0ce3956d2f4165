"""A model's probabilities of the training images, which templates are weighed against in a second round.

`nnUNetv2_predict --save_probabilities` writes a folder of them: `CASE.npz` with `probabilities` (label, z, y, x), and
the model's `dataset.json` and `plans.json`. Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.json_files import load_json

_HEADER_BYTES = 1 << 16
_REORIENTS = "NibabelIOWithReorient"
_REMEDY = "nnUNetv2_predict -i imagesTr -o FOLDER ... --save_probabilities"


def find_predictions(
    folder: Path | None, classes: Sequence[str], cases: Sequence[str], problems: Problems
) -> dict[str, Path]:
    """The files of these cases, none without a folder; a problem is noted if any is missing, or of another model."""
    if folder is None:
        return {}
    paths = {case: folder / f"{case}.npz" for case in cases}
    missing = [case for case, path in paths.items() if not path.is_file()]
    if problems.attempt(_labels_of, folder, classes) is not None and missing:
        problems.add(
            f"--follow-prediction {folder}",
            f"no probabilities of {len(missing)} of {len(cases)} cases: {', '.join(missing[:10])}",
            f"predict the training images, {_REMEDY}",
        )
    return paths


def read_probabilities(path: Path, classes: Sequence[str], image: sitk.Image) -> dict[str, NDArray[np.float32]]:
    """Probability of each class on the grid of a case's image, (z, y, x).

    Raises:
        InvalidInputError: The file cannot be read, holds no probabilities, or those of another size than the image.
    """
    labels = _labels_of(path.parent, classes)
    most = image.GetNumberOfPixels() * len(_read(path.parent, "dataset.json")["labels"]) * 8 + _HEADER_BYTES
    try:
        with ZipFile(path) as archive:
            unpacked = archive.getinfo("probabilities.npy").file_size
        if unpacked > most:
            raise ValueError(f"{unpacked} bytes, labels and image need at most {most}")
        with np.load(path) as content:
            values = np.asarray(content["probabilities"])  # bytes, where the member is no array
        if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            raise ValueError("not all of them are numbers")
    except Exception as error:  # archives, compression and array headers have exceptions of their own
        raise InvalidInputError(f"{path}: holds no probabilities: {error} (remedy: {_REMEDY})") from error
    expected = (max(labels.values()) + 1, *image.GetSize()[::-1])
    if values.shape[1:] != expected[1:] or values.shape[0] < expected[0]:
        raise InvalidInputError(
            f"{path}: probabilities of shape {values.shape} (label, z, y, x), but labels and image need {expected} "
            "(remedy: predict these images with the model that the folder's dataset.json is of)"
        )
    return {name: values[label].astype(np.float32) for name, label in labels.items()}


def _labels_of(folder: Path, classes: Sequence[str]) -> dict[str, int]:
    """The model's label of each class."""
    labels = _read(folder, "dataset.json").get("labels", {})
    missing = [name for name in classes if not isinstance(labels.get(name), int)]
    if missing:
        raise InvalidInputError(
            f"{folder}: its model has no label of its own for {', '.join(missing)}, but {', '.join(labels)} "
            "(remedy: predict with a model that was trained on these classes)"
        )
    if _read(folder, "plans.json").get("image_reader_writer") == _REORIENTS:
        raise InvalidInputError(
            f"{folder}: predicted with {_REORIENTS}, whose arrays are oriented differently from the images "
            "(remedy: plan with nnU-Net's default reader)"
        )
    return {name: labels[name] for name in classes}


def _read(folder: Path, name: str) -> dict[str, Any]:
    content = Problems().attempt(load_json, folder / name)
    if not isinstance(content, dict):
        what = f"holds no {name} that can be read, so it is no folder of predictions"
        raise InvalidInputError(f"{folder}: {what} (remedy: {_REMEDY})")
    return content
