"""What an nnU-Net raw folder says beside its images.

- `dataset.json` with the `"nnunet_weak"` block. Mask and prior channels are called `noNorm`, which nnU-Net takes as
  "leave the values alone";
- `splits_final.json`, where nnU-Net's own folds would not do (see `splits`);
- `conversion.json`: the command, its options, and the sizes and SHA-256 sums of all input files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_weak import __version__
from nnunet_weak.dataset.annotations import BLOCK, WeakAnnotations
from nnunet_weak.dataset.folders import CONVERSION_RECORD, check_dataset_name
from nnunet_weak.dataset.splits import SPLIT_SEED, make_splits
from nnunet_weak.errors import Problems
from nnunet_weak.images.write import WRITABLE_ENDINGS

NO_NORMALISATION = "noNorm"


@dataclass(frozen=True)
class RawDataset:
    """What a raw folder says beside its images.

    Attributes:
        dataset_id: Number of the data set, 1 to 999.
        name: Name without number: 511 and `HumerusScore` make `Dataset511_HumerusScore`.
        channel_names: Names of the image channels, which choose nnU-Net's normalisation: `CT` for Hounsfield units, any
            other (`MRI`) for z-scores. Names of mask and prior channels follow from the annotations.
        labels: Label names and values with `background`: 0.
        annotations: The `"nnunet_weak"` block, with all cases.
        file_ending: Ending of all files.
        patients: Patient of each case, so that folds keep them together; None where each case is a patient.
        split_seed: Seed of the folds.
        provenance: What `conversion.json` says beside version, seed and input files: the command and its options.
        texts: Further text files, tables for example: content by path in the folder.
    """

    dataset_id: int
    name: str
    channel_names: tuple[str, ...]
    labels: Mapping[str, int]
    annotations: WeakAnnotations = field(repr=False)
    file_ending: str = ".nii.gz"
    patients: Mapping[str, str] | None = None
    split_seed: int = SPLIT_SEED
    provenance: Mapping[str, Any] = field(default_factory=dict, repr=False)
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        problems = Problems()
        check_dataset_name(self.dataset_id, self.name, problems)
        if self.file_ending not in WRITABLE_ENDINGS:
            problems.add("file ending", f"{self.file_ending!r} is not one of {', '.join(WRITABLE_ENDINGS)}")
        images = self.annotations.channels.images
        if len(self.channel_names) != images:
            problems.add("channel names", f"{len(self.channel_names)} are given for {images} image channels")
        if not self.annotations.cases:
            problems.add("cases", "there are none")
        if self.patients is not None:
            for case in self.annotations.cases:
                if case not in self.patients:
                    problems.add(case, "the table of patients does not name it", "add a row for it")
        problems.raise_if_any("Data set")

    @property
    def folder_name(self) -> str:
        """`Dataset511_HumerusScore`."""
        return f"Dataset{self.dataset_id:03d}_{self.name}"

    def dataset_json(self) -> dict[str, Any]:
        """The content of `dataset.json`."""
        channels = self.annotations.channels
        names = [*self.channel_names, *[NO_NORMALISATION] * (channels.count - channels.images)]
        return {
            "channel_names": {str(index): name for index, name in enumerate(names)},
            "labels": {name: int(value) for name, value in self.labels.items()},
            "numTraining": len(self.annotations.cases),
            "file_ending": self.file_ending,
            "name": self.folder_name,
            "converted_by": f"nnunet_weak {__version__}",
            BLOCK: self.annotations.to_json(),
        }

    def splits(self) -> list[dict[str, list[str]]] | None:
        """The folds, or None where nnU-Net's own are as good."""
        annotations = self.annotations
        return make_splits(
            list(annotations.cases),
            patients=self.patients,
            fully_annotated=annotations.fully_annotated_cases,
            seed=self.split_seed,
        )

    def write_texts(self, folder: Path, input_files: Mapping[str, Mapping[str, Any]]) -> None:
        """Write everything but the images into the raw folder.

        Args:
            folder: The raw folder.
            input_files: Size and SHA-256 sum of each input file, by its name in `conversion.json`.
        """
        contents: dict[str, object] = {
            "dataset.json": self.dataset_json(),
            "splits_final.json": self.splits(),
            CONVERSION_RECORD: {
                "nnunet_weak": __version__,
                "split_seed": self.split_seed,
                **self.provenance,
                "input_files": dict(sorted(input_files.items())),
            },
        }
        texts = {
            name: json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            for name, content in contents.items()
            if content is not None
        }
        for name, text in {**texts, **self.texts}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
