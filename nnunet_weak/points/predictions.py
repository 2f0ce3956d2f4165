"""A model's probabilities of the training images, as evidence of where an object's surface runs between its points.

A folder of them is what `nnUNetv2_predict --save_probabilities` writes: `CASE.npz` with `probabilities` (label, z, y,
x), and the model's `dataset.json` and `plans.json`. Nothing is written here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.read import with_geometry_of

_REORIENTS = "NibabelIOWithReorient"
_REMEDY = "nnUNetv2_predict -i imagesTr -o FOLDER ... --save_probabilities"


@dataclass(frozen=True)
class PredictedCase:
    """Where a case's probabilities are.

    Attributes:
        path: Its `.npz` file.
        channels: Label of each class in it.
    """

    path: Path
    channels: Mapping[str, int]

    def probabilities(self, image: sitk.Image) -> dict[str, sitk.Image]:
        """Probability of each class on the grid of a case's image.

        Raises:
            InvalidInputError: It cannot be read, holds no probabilities, or those of another size than the image.
        """
        try:
            with np.load(self.path) as content:
                values = content["probabilities"]
        except (KeyError, OSError, ValueError, BadZipFile) as error:
            raise InvalidInputError(f"{self.path}: holds no probabilities: {error} (remedy: {_REMEDY})") from error
        expected = (max(self.channels.values()) + 1, *image.GetSize()[::-1])
        if values.shape[1:] != expected[1:] or values.shape[0] < expected[0]:
            raise InvalidInputError(
                f"{self.path}: probabilities of shape {values.shape} (label, z, y, x), but labels and image need "
                f"{expected} (remedy: predict these images with the model that the folder's dataset.json is of)"
            )
        return {
            name: with_geometry_of(values[channel].astype(np.float32), image) for name, channel in self.channels.items()
        }


def find_predictions(
    folder: Path, classes: Iterable[str], cases: Sequence[str], problems: Problems
) -> dict[str, PredictedCase]:
    """The probabilities of those cases that have some; what is wrong with the folder is noted."""
    channels = problems.attempt(_channels, folder, list(classes))
    if channels is None:
        return {}
    paths = {case: folder / f"{case}.npz" for case in cases}
    missing = [case for case, path in paths.items() if not path.is_file()]
    if missing:
        problems.add(
            f"--follow-prediction {folder}",
            f"no probabilities of {len(missing)} of {len(cases)} cases: {', '.join(missing[:10])}",
            f"predict the training images, {_REMEDY}",
        )
    return {case: PredictedCase(path, channels) for case, path in paths.items() if case not in missing}


def _channels(folder: Path, classes: Sequence[str]) -> dict[str, int]:
    labels = _json(folder, "dataset.json").get("labels", {})
    missing = [name for name in classes if not isinstance(labels.get(name), int)]
    if missing:
        raise InvalidInputError(
            f"{folder}: its model has no label of its own for {', '.join(missing)}, but {', '.join(labels)} "
            "(remedy: predict with a model that was trained on these classes)"
        )
    if _json(folder, "plans.json").get("image_reader_writer") == _REORIENTS:
        raise InvalidInputError(
            f"{folder}: predicted with {_REORIENTS}, whose arrays are oriented differently from the images "
            "(remedy: plan with nnU-Net's default reader)"
        )
    return {name: labels[name] for name in classes}


def _json(folder: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise InvalidInputError(
            f"{folder}: holds no {name} that can be read, so it is no folder of predictions (remedy: {_REMEDY})"
        )
    return content
