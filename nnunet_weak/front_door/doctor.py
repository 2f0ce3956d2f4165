"""`nnunet_weak doctor`: what is installed, what nnU-Net finds, and what is wrong with a data set or model folder."""

from __future__ import annotations

import contextlib
import io
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_weak.dataset.annotations import WeakAnnotations
from nnunet_weak.dataset.check import check_raw_dataset
from nnunet_weak.dataset.folders import dataset_folder
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.parallel import default_processes

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PACKAGE = "nnunet_weak"
VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")

_BASES = ("nnUNetTrainerSCORE", "nnUNetTrainerRefineSeg", "nnUNetTrainerWeakNet")
_GIB = 1 << 30
_SMALL_SHARED_MEMORY = _GIB
"""Data loading workers hand over batches in shared memory, of which containers get 64 MiB unless told otherwise."""


def examine(dataset: str | None, processes: int | None, say: Callable[[str], None]) -> None:
    """Report on the installation, and on a data set or model if one is named.

    Args:
        dataset: Folder, or number or name of a data set; None for the installation alone.
        processes: Number of processes that read images; None takes all cores.
        say: Takes the lines of the report.

    Raises:
        InvalidInputError: Everything that is wrong.
    """
    problems = Problems()
    sections: dict[str, Iterator[str]] = {
        "installed": _packages(problems),
        "trainers that nnUNetv2_train -tr finds": _trainers(problems),
        "folders of nnU-Net": _folders(problems),
        "machine": _machine(problems),
    }
    if dataset is not None:
        sections[f"{dataset}"] = _data(dataset, processes, problems)
    for title, lines in sections.items():
        say(f"{title}:")
        for line in lines:
            say(f"  {line}")
        say("")
    problems.raise_if_any("nnunet_weak doctor")
    say("Nothing is wrong.")


def _packages(problems: Problems) -> Iterator[str]:
    from packaging.requirements import Requirement

    yield f"Python {platform.python_version()} ({sys.executable})"
    yield f"{PACKAGE} {version(PACKAGE)}"
    wanted = metadata(PACKAGE)["Requires-Python"]
    if wanted and not Requirement(f"python{wanted}").specifier.contains(platform.python_version(), prereleases=True):
        problems.add("Python", f"{platform.python_version()} is not {wanted}", "install another Python")
    for text in requires(PACKAGE) or ():
        requirement = Requirement(text)
        extra = next((name for name in ("", "xlsx", "mesh") if _applies(requirement, name)), None)
        if extra is None:
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            if extra:
                yield f"{requirement.name}: not installed, only needed for {PACKAGE}[{extra}]"
            else:
                problems.add(requirement.name, "is not installed", f"pip install '{requirement.name}'")
            continue
        yield f"{requirement.name} {found}"
        if not requirement.specifier.contains(found, prereleases=True):
            problems.add(
                f"{requirement.name} {found}",
                f"{PACKAGE} needs {requirement.specifier}",
                f"pip install '{requirement.name}{requirement.specifier}'",
            )


def _applies(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement is one of an extra, or of everybody ("")."""
    if requirement.marker is None:
        return not extra
    return requirement.marker.evaluate({"extra": extra}) and (
        not extra or not requirement.marker.evaluate({"extra": ""})
    )


def _trainers(problems: Problems) -> Iterator[str]:
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    from nnunet_weak import trainers

    ours = 0
    for name in trainers.__all__:
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # nnU-Net tells every folder that it searches
                found = recursive_find_trainer_class_by_name(name)
        except Exception as error:  # nnU-Net imports all modules of the user's folders, which may raise anything
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            problems.add(
                name,
                f"nnU-Net does not find it ({reason})",
                "see 'Install' in the README for the variable nnUNet_extTrainer",
            )
            continue
        if found is getattr(trainers, name):
            ours += 1
        else:
            yield f"{name}: {found.__module__}, which comes before ours"
    yield f"{ours} of our {len(trainers.__all__)}: {', '.join(_BASES)} and their variants"


def _folders(problems: Problems) -> Iterator[str]:
    for variable in VARIABLES:
        value = os.environ.get(variable)
        if not value:
            problems.add(variable, "is not set", f"export {variable}=/path/to/it")
            continue
        folder = Path(value)
        if not folder.is_dir():
            problems.add(f"{variable}={value}", "no such folder", "make it, or correct the variable")
        elif not os.access(folder, os.W_OK | os.X_OK):
            problems.add(f"{variable}={value}", "cannot be written", "change its rights, or choose another folder")
        else:
            yield f"{variable}={value}, {shutil.disk_usage(folder).free / _GIB:.0f} GiB free"
    extra = os.environ.get("nnUNet_extTrainer", "")
    yield f"nnUNet_extTrainer={extra or '(not set)'}"


def _machine(problems: Problems) -> Iterator[str]:
    import torch

    memory = _available_memory_bytes()
    yield f"{default_processes()} cores, {'unknown' if memory is None else f'{memory / _GIB:.1f} GiB'} of memory free"
    shared = Path("/dev/shm")
    if shared.is_dir():
        usage = shutil.disk_usage(shared)
        yield f"{usage.free / _GIB:.1f} GiB of shared memory free"
        if usage.total < _SMALL_SHARED_MEMORY:
            problems.add(
                "/dev/shm",
                f"{usage.total / (1 << 20):.0f} MiB of shared memory are too few for nnU-Net's data loading",
                "start the container with --ipc=host or --shm-size=8g",
            )
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            yield f"GPU {index}: {name}, {free / _GIB:.1f} of {total / _GIB:.1f} GiB free"
    elif torch.backends.mps.is_available():
        yield "GPU: Apple's, by -device mps"
    else:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU alone"
        yield f"no GPU that PyTorch {torch.__version__} ({built}) can use: give -device cpu"


def _available_memory_bytes() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return None


def _data(dataset: str, processes: int | None, problems: Problems) -> Iterator[str]:
    folder: Path | None = Path(dataset)
    if folder is not None and not folder.is_dir():
        folder = problems.attempt(
            dataset_folder, dataset, "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", option="doctor"
        )
    if folder is None:
        return
    if (folder / "imagesTr").is_dir():
        yield from check_raw_dataset(folder, problems, processes=processes)
    elif (folder / "plans.json").is_file() or any(folder.glob("fold_*")):
        yield from _model(folder, problems)
    elif (folder / "nnUNetPlans.json").is_file() or (folder / "dataset.json").is_file():
        annotations = problems.attempt(WeakAnnotations.read, folder)
        if annotations is not None:
            yield f"preprocessed data set, method '{annotations.method}', {len(annotations.cases)} cases"
    else:
        problems.add(
            str(folder),
            "is neither a data set nor a model: no imagesTr, no dataset.json, no plans.json",
            "name a folder below nnUNet_raw or nnUNet_preprocessed, or a model folder TRAINER__PLANS__CONFIGURATION",
        )


def _model(folder: Path, problems: Problems) -> Iterator[str]:
    from nnunet_weak.training.checkpoints import KEY, read_checkpoint

    for name in ("plans.json", "dataset.json"):
        if not (folder / name).is_file():
            problems.add(
                str(folder / name), "no such file", "take it from the data set's folder in nnUNet_preprocessed"
            )
    if (folder / "dataset.json").is_file():
        annotations = problems.attempt(WeakAnnotations.read, folder)
        if annotations is not None:
            yield f"model of the method '{annotations.method}', channels: {_channels(annotations)}"
    checkpoints = sorted(folder.glob("fold_*/checkpoint_*.pth"))
    if not checkpoints:
        problems.add(str(folder), "holds no fold_*/checkpoint_*.pth", "train a fold with nnUNetv2_train")
    for path in checkpoints:
        try:
            checkpoint = read_checkpoint(path)
        except InvalidInputError as error:
            problems.extend(error)
            continue
        own = checkpoint.get(KEY, {})
        trainer = own.get("trainer", checkpoint.get("trainer_name"))
        epoch = checkpoint.get("current_epoch")
        yield f"{path.parent.name}/{path.name}: {trainer}, epoch {epoch}"


def _channels(annotations: WeakAnnotations) -> str:
    layout = annotations.channels
    masks = f", masks of {', '.join(layout.masks)}" if layout.masks else ""
    return f"{layout.images} image{'s' if layout.images > 1 else ''}{masks}{', boundary prior' if layout.prior else ''}"
