"""nnU-Net raw folders: one writer for all converters.

A folder appears complete or not at all. Everything is written into a hidden sibling, `.Dataset511_Name.partial-...`,
which takes its final name at the end and is removed if anything fails. Its content:

- `imagesTr`, `labelsTr` and, where there are further maps, `annotationsTr/MAP`: written case by case in parallel, by
  the converter's own function, through `CaseFiles`;
- `dataset.json` with the `"nnunet_weak"` block. Mask and prior channels are called `noNorm`, which nnU-Net takes as
  "leave the values alone";
- `splits_final.json`, where nnU-Net's own folds would not do (see `splits`);
- `conversion.json`: what was converted how, with the sizes and SHA-256 sums of all input files.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from nnunet_weak import __version__
from nnunet_weak.dataset.annotations import BLOCK, WeakAnnotations
from nnunet_weak.dataset.splits import SPLIT_SEED, make_splits
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.write import WRITABLE_ENDINGS
from nnunet_weak.parallel import run_tasks

logger = logging.getLogger(__name__)

Task = TypeVar("Task")
Result = TypeVar("Result")

NO_NORMALISATION = "noNorm"
_FOLDER_VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
_SHA_CHUNK_BYTES = 1 << 20


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
        _check_name(self.dataset_id, self.name, problems)
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


def target_folder(dataset_id: int, name: str, *, overwrite: bool) -> Path:
    """Where a data set goes, checked to be free.

    Args:
        dataset_id: Its number.
        name: Its name without number.
        overwrite: Whether a data set of the same number and name may be replaced.

    Raises:
        InvalidInputError: `nnUNet_raw` is not set, the number belongs to another name in any of nnU-Net's folders, or
        the folder exists.
    """
    problems = Problems()
    _check_name(dataset_id, name, problems)
    problems.raise_if_any()
    raw = os.environ.get("nnUNet_raw")
    if not raw:
        raise InvalidInputError(
            "The environment variable nnUNet_raw is not set (remedy: export nnUNet_raw=/path/to/nnUNet_raw, the "
            "folder that holds the raw data sets)"
        )
    target = Path(raw) / f"Dataset{dataset_id:03d}_{name}"
    for variable in _FOLDER_VARIABLES:
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
    problems.raise_if_any()
    return target


@dataclass(frozen=True)
class WrittenCase(Generic[Result]):
    """What the writer of one case hands back.

    Attributes:
        result: Whatever `describe` needs to know of it.
        inputs: The input files it was made of.
    """

    result: Result
    inputs: tuple[Path, ...]


def write_raw_dataset(
    target: Path,
    tasks: Sequence[Task],
    write_case: Callable[[Path, Task], WrittenCase[Result]],
    describe: Callable[[list[Result]], RawDataset],
    *,
    processes: int | None = None,
    input_roots: Mapping[str, Path] | None = None,
    further_inputs: Iterable[Path] = (),
    progress: bool = True,
) -> Path:
    """Write a raw data set, complete or not at all.

    Args:
        target: Its folder, from `target_folder`. What stands there is replaced, once the new one is complete.
        tasks: What `write_case` needs to know of each case.
        write_case: Called as `write_case(folder, task)`, in parallel: writes the case's files below `folder` by means
            of `CaseFiles`.
        describe: Called with the results of all cases: what the data set says beside its images. May raise.
        processes: Number of processes; None takes all cores.
        input_roots: Folders, by name, under which `conversion.json` lists the input files that lie in them.
        further_inputs: Input files that belong to no case: tables.
        progress: Whether to show a progress bar.

    Returns:
        The folder.

    Raises:
        InvalidInputError: Whatever `write_case` and `describe` find.
        OSError: The disk is full, or a file cannot be read or written. Nothing new is left behind, an old data set
            stays.
    """
    _report_leftovers(target)
    replacing = target.exists()
    with _appearing_at(target) as folder:
        for name in ("imagesTr", "labelsTr"):
            (folder / name).mkdir()
        written = run_tasks(
            partial(_write_and_fingerprint, write_case, folder),
            tasks,
            processes=processes,
            description="Writing",
            progress=progress,
        )
        dataset = describe([result for result, _ in written])
        if dataset.folder_name != target.name:
            raise InvalidInputError(f"{target}: the data set is called {dataset.folder_name}")
        files = [entry for _, entries in written for entry in entries] + [_fingerprint(path) for path in further_inputs]
        _write_json(folder / "dataset.json", dataset.dataset_json())
        splits = dataset.splits()
        if splits is not None:
            _write_json(folder / "splits_final.json", splits)
        _write_json(folder / "conversion.json", _conversion(dataset, files, dict(input_roots or {})))
        for name, content in dataset.texts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content, encoding="utf-8")
    if replacing:
        _report_stale(target)
    return target


def _check_name(dataset_id: int, name: str, problems: Problems) -> None:
    if not 1 <= dataset_id <= 999:
        problems.add("data set number", f"{dataset_id} is outside 1 to 999")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        problems.add("data set name", f"{name!r} is no file name of letters, digits, '_', '-' and '.'")


@contextmanager
def _appearing_at(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that takes its place at the end, or vanishes if anything goes wrong."""
    target.parent.mkdir(parents=True, exist_ok=True)
    mark = f"{os.getpid()}-{uuid.uuid4().hex[:6]}"
    partial_folder = target.with_name(f".{target.name}.partial-{mark}")
    replaced = target.with_name(f".{target.name}.replaced-{mark}")
    try:
        partial_folder.mkdir()
        yield partial_folder
        if target.exists():
            target.rename(replaced)
        try:
            partial_folder.rename(target)
        except BaseException:
            if replaced.exists():
                replaced.rename(target)
            raise
    except BaseException:
        shutil.rmtree(partial_folder, ignore_errors=True)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _report_leftovers(target: Path) -> None:
    for path in sorted(target.parent.glob(f".{target.name}.partial-*")):
        logger.warning("%s was left by a conversion that was killed; delete it if none is running.", path)
    for path in sorted(target.parent.glob(f".{target.name}.replaced-*")):
        logger.warning(
            "%s is an older version of the data set, left by a conversion that was killed; delete it or move it back.",
            path,
        )


def _report_stale(target: Path) -> None:
    preprocessed = os.environ.get("nnUNet_preprocessed")
    if preprocessed and (Path(preprocessed) / target.name).exists():
        logger.warning(
            "%s has been preprocessed before: run nnUNetv2_plan_and_preprocess again, or training goes on with the "
            "old data.",
            target.name,
        )
        if (Path(preprocessed) / target.name / "splits_final.json").exists():
            logger.warning(
                "Its splits_final.json in nnUNet_preprocessed is kept by nnU-Net; delete it to have the new folds."
            )


def _write_and_fingerprint(
    write_case: Callable[[Path, Task], WrittenCase[Result]], folder: Path, task: Task
) -> tuple[Result, list[dict[str, Any]]]:
    written = write_case(folder, task)
    return written.result, [_fingerprint(path) for path in written.inputs]


def _fingerprint(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_SHA_CHUNK_BYTES):
            digest.update(chunk)
    return {"path": path, "size_bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _conversion(dataset: RawDataset, files: Sequence[Mapping[str, Any]], roots: Mapping[str, Path]) -> dict[str, Any]:
    listed = {_relative(entry["path"], roots): {key: entry[key] for key in ("size_bytes", "sha256")} for entry in files}
    return {
        "nnunet_weak": __version__,
        "split_seed": dataset.split_seed,
        **dataset.provenance,
        "input_files": dict(sorted(listed.items())),
    }


def _relative(path: Path, roots: Mapping[str, Path]) -> str:
    for name, root in roots.items():
        if path.absolute().is_relative_to(root.absolute()):
            return f"{name}/{path.absolute().relative_to(root.absolute()).as_posix()}"
    return path.name


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
