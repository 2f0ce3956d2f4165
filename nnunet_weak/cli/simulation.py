"""Options, inputs, output and run over cases that the four commands share which simulate annotation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from nnunet_weak import __version__
from nnunet_weak.dataset.classes import parse_classes
from nnunet_weak.errors import Problems
from nnunet_weak.options import RUN, option, parse, processes_option, read_count, record_of

Case = TypeVar("Case")
Result = TypeVar("Result")
Options = TypeVar("Options", bound="SeededOptions")

INPUT = "input and output"


def _find_dataset_json(text: str) -> Path:
    return Path(text) / "dataset.json" if Path(text).is_dir() else Path(text)


@dataclass(frozen=True)
class References:
    """Reference label maps by case, and their classes; `known_values` has background and the ignore label as well."""

    files: Mapping[str, Path]
    classes: Mapping[str, tuple[int, ...]]
    known_values: frozenset[int]

    @property
    def labels(self) -> dict[str, int]:
        """Labels of a data set of the classes."""
        return {"background": 0, **{name: number for number, name in enumerate(self.classes, start=1)}}

    def describe_classes(self) -> str:
        """The classes and their values, for messages."""
        return ", ".join(f"{name}={','.join(map(str, values))}" for name, values in self.classes.items())


@dataclass(frozen=True, kw_only=True)
class SeededOptions:
    """Options of every command that makes something at random."""

    command: ClassVar[str]
    description: ClassVar[str]
    epilog: ClassVar[str]
    record: ClassVar[str] = "simulation.json"
    """File that every run leaves in its folder."""

    output: Path = option("-o", group=INPUT, metavar="DIR", recorded=False, help="folder to make")
    seed: int = option(
        default=0, group=RUN, read=partial(read_count, "--seed", least=0), help="of the random numbers (default: 0)"
    )
    overwrite: bool = option(
        default=False, group=RUN, recorded=False, help="replace what an earlier run of this command made"
    )
    processes: int | None = processes_option()

    @classmethod
    def parse(cls: type[Options], argv: Sequence[str] | None) -> Options:
        """Read a command line."""
        return parse(cls, argv, prog=cls.command, description=cls.description, epilog=cls.epilog)

    def check_output(self, *inputs: Path | None) -> None:
        """Check that the output folder may be written, where `inputs` are read."""
        from nnunet_weak.images.outputs import check_output_folder

        check_output_folder(
            self.output, command=self.command, record=self.record, overwrite=self.overwrite, inputs=inputs
        )

    def write_record(self, folder: Path, **facts: Any) -> None:
        """Write how the folder was made, which also marks it as replaceable by `--overwrite`."""
        record = {"made_by": f"{self.command} {__version__}", **record_of(self), **facts}
        (folder / self.record).write_text(json.dumps(record, indent=4) + "\n", encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class SimulationOptions(SeededOptions):
    """Options of every simulator."""

    references: Path = option(group=INPUT, metavar="DIR", recorded=False, help="folder of reference label maps")
    classes: Mapping[str, tuple[int, ...]] = option(
        default=dict,
        group=INPUT,
        nargs="+",
        metavar="NAME=VALUES",
        read=parse_classes,
        recorded=False,
        help="classes and their values, for example liver=1 or bone=1,2 or ribs=3-14",
    )
    dataset_json: Path | None = option(
        default=None,
        group=INPUT,
        metavar="FILE",
        read=_find_dataset_json,
        recorded=False,
        help="take the classes from nnU-Net's dataset.json instead",
    )

    def check_inputs(self) -> References:
        """List the references, read the classes, and check that the output may be written.

        Raises:
            InvalidInputError: Everything that is wrong.
        """
        from nnunet_weak.evaluation.labels import read_dataset_json

        problems = Problems()
        classes, values = self.classes, [0]
        if bool(classes) == (self.dataset_json is not None):
            problems.add("--classes, --dataset-json", "one of the two is needed", "name the classes, as in liver=1")
        if self.dataset_json is not None:
            scheme = problems.attempt(read_dataset_json, self.dataset_json)
            if scheme is not None:
                classes = scheme.labels
                values += [] if scheme.ignore_label is None else [scheme.ignore_label]
        files = find_images(self.references, problems)
        self.check_further(files, problems)
        problems.raise_if_any(self.command)
        return References(files, classes, frozenset(values).union(*classes.values()))

    def check_further(self, files: Mapping[str, Path], problems: Problems) -> None:
        """Check the output, and what only this command takes; `files` are the references by case."""
        problems.attempt(self.check_output, self.references, self.dataset_json)

    def run_cases(
        self, function: Callable[[tuple[str, Case]], Result], cases: Mapping[str, Case], description: str
    ) -> dict[str, Result]:
        """Call a function for each case and its name, in several processes.

        Raises:
            InvalidInputError: What the function found wrong with any of the cases.
        """
        from nnunet_weak.parallel import run_cases

        problems, tasks = Problems(), {name: (name, case) for name, case in cases.items()}
        results = run_cases(function, tasks, problems, processes=self.processes, description=description)
        problems.raise_if_any(self.command)
        return results


@dataclass(frozen=True, kw_only=True)
class OtherLabels:
    """The option of the simulators in which a forgotten value would do harm."""

    other_labels: Literal["refuse", "background"] = option(
        default="refuse", group=INPUT, help="values that belong to no class (default: %(default)s)"
    )


def find_images(folder: Path, problems: Problems) -> Mapping[str, Path]:
    """List the images of a folder by case; that there are none is noted."""
    from nnunet_weak.images.read import list_images

    found = problems.attempt(list_images, folder)
    if found == {}:
        problems.add(str(folder), "holds no images", "correct the name; images end in .nii.gz or .nrrd, for example")
    return found or {}
