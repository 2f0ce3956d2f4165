"""The data sets of the trainings, which of their cases are trained on, and which are measured.

Every data set is a folder of `images/`, `labels/` and further kinds of files, named alike: `patient007_frame01.nii.gz`.
The first number in a name is the patient's, and decides the part: **test** cases are measured for results,
**development** cases for choices; all others are trained on. Patients on whom the model behind the initial masks was
trained are in no part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.atomic import atomic_file
from nnunet_weak.images.read import with_geometry_of

Part = Literal["test", "development"]


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A folder of cases and its split.

    Attributes:
        classes: Values in the labels of each class; they become 1, 2, ... in this order.
        modulo: Of the patient's number, with the remainders of the test and the development cases.
        left_out: Patients that are in no part.
        prior: `--prior` of SCOREPlus: `likelihood` where intensities tell inside from outside.
        likelihood_options: `--prior-options` of `--prior likelihood`, chosen on development cases.
        kinds: Folders beside images and labels.
        one_component: Whether every class is one connected object, so that predictions are measured a second time with
            nnU-Net's postprocessing.
    """

    classes: Mapping[str, tuple[int, ...]]
    modulo: int
    test: int
    development: int
    left_out: frozenset[int] = field(default=frozenset())
    channel: str = "MRI"
    configuration: str = "3d_fullres"
    prior: Literal["posterior", "likelihood"] = "posterior"
    likelihood_options: str = ""
    kinds: tuple[str, ...] = ()
    one_component: bool = False

    @property
    def labels(self) -> str:
        """`RV=1 MYO=2`, as commands take it."""
        return " ".join(f"{name}={number}" for number, name in enumerate(self.classes, start=1))

    def part(self, patient: int) -> Literal["train", "test", "development"] | None:
        """Part of a patient."""
        if patient in self.left_out:
            return None
        remainder = patient % self.modulo
        return "test" if remainder == self.test else "development" if remainder == self.development else "train"


DATA = {
    "acdc": DataSet(
        classes={"RV": (1,), "MYO": (2,), "LV": (3,)},
        modulo=4,
        test=2,
        development=3,
        configuration="2d",
        kinds=("scribbles",),
        one_component=True,
    ),
    "hippocampus": DataSet(
        classes={"hippocampus": (1, 2)},
        modulo=4,
        test=3,
        development=1,
        left_out=frozenset({11, 94, 171, 244}),
        kinds=("initial_masks",),
    ),
    "mandible_ct": DataSet(
        classes={"mandible": (1,)},
        modulo=5,
        test=1,
        development=3,
        left_out=frozenset({2, 4, 7, 13}),
        channel="CT",
        prior="likelihood",
        likelihood_options="core_mm=4",
        kinds=("initial_masks",),
    ),
    "spine_mri": DataSet(
        classes={f"vertebra{number}": (number,) for number in range(1, 6)},
        modulo=4,
        test=1,
        development=3,
        kinds=("outlines",),
    ),
}


def spread_over(numbers: Sequence[int], count: int) -> set[int]:
    """So many of sorted numbers, evenly spread over their places."""
    return {numbers[(2 * place + 1) * len(numbers) // (2 * count)] for place in range(count)}


def patient_of(case: str) -> int:
    """Number of a case's patient.

    Raises:
        InvalidInputError: The name has none.
    """
    number = re.search(r"\d+", case)
    if not number:
        raise InvalidInputError(f"{case}: has no number of a patient (remedy: name it as in patient007_frame01.nii.gz)")
    return int(number.group())


def collect(data: DataSet, source: Path, folder: Path, part: Part, most_cases: int | None = None) -> dict[str, int]:
    """Link training and held-out cases into a folder: `train/KIND/CASE.nii.gz`, `held_out/KIND/CASE.nii.gz`.

    `patients.csv` tells the patient and the part of each case. Labels of several values are written with the classes'
    numbers.

    Returns:
        Number of cases of `train` and `held_out`.

    Raises:
        InvalidInputError: The folder holds other cases, or a file's name has no number.
    """
    places = {"train": "train", part: "held_out"}
    counts = {"train": 0, "held_out": 0}
    rows = ["case,patient,part"]
    for image in sorted((source / "images").glob("*.nii.gz")):
        patient = patient_of(image.name)
        place = places.get(data.part(patient) or "")
        if place is None or counts[place] == most_cases:
            continue
        counts[place] += 1
        rows.append(f"{image.name.removesuffix('.nii.gz')},{patient},{place}")
        for kind in ("images", "labels", *data.kinds):
            target = folder / place / kind / image.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                _link_or_number(source / kind / image.name, target, data.classes if kind == "labels" else {})
    table, path = "\n".join(rows) + "\n", folder / "patients.csv"
    if path.exists() and path.read_text() != table:
        raise InvalidInputError(f"{folder} holds other cases, or holds out others (remedy: choose another folder)")
    with atomic_file(path) as partial:  # another benchmark may read it
        partial.write_text(table)
    return counts


def _link_or_number(source: Path, target: Path, classes: Mapping[str, tuple[int, ...]]) -> None:
    if all(values == (number,) for number, values in enumerate(classes.values(), start=1)):
        target.symlink_to(source.resolve())
        return
    image = sitk.ReadImage(str(source))
    labels = sitk.GetArrayFromImage(image)
    numbered = np.zeros(labels.shape, np.uint8)
    for number, values in enumerate(classes.values(), start=1):
        numbered[np.isin(labels, values)] = number
    sitk.WriteImage(with_geometry_of(numbered, image), str(target))
