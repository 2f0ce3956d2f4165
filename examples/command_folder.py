"""nnU-Net's three folders in one place, and commands that run there: shared by demonstrations and benchmarks."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


class CommandFolder:
    """Runs commands in a folder that holds nnU-Net's three folders; paths in the commands are relative to it.

    Args:
        folder: Created where it is missing.
        trainers: Folder for nnU-Net's variable `nnUNet_extTrainer`.
        processes: Number of processes of a training and of other commands (default: all cores).
        variables: Further environment variables.
    """

    def __init__(self, folder: Path, trainers: Path, processes: int | None = None, **variables: object) -> None:
        self.folder = folder.resolve()
        self.processes = processes or os.cpu_count() or 1
        self.log = self.folder / "log.txt"
        for name in VARIABLES:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        own = {name: self.folder / name for name in VARIABLES} | {
            "nnUNet_extTrainer": trainers,
            "nnUNet_n_proc_DA": self.processes,
            "nnUNet_def_n_proc": self.processes,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        }
        self._environment = {**os.environ, **{name: str(value) for name, value in (own | variables).items()}}

    def run(self, command: str, show: bool = True, **variables: object) -> None:
        """Print a command, run it and stop the program if it fails; its output is logged, and shown where asked for."""
        print(f"$ {command}", flush=True)
        start = time.perf_counter()
        with self.log.open("a+", encoding="utf-8", errors="replace") as log:
            print(f"$ {command}", file=log, flush=True)
            done = subprocess.run(
                shlex.split(command),
                cwd=self.folder,
                env=self._environment | {name: str(value) for name, value in variables.items()},
                stdout=subprocess.PIPE if show else log,
                stderr=log,
                text=True,
                check=False,
            )
            log.write(done.stdout or "")
        if done.returncode:
            printed = self.log.read_text(encoding="utf-8", errors="replace")
            sys.exit(f"failed with exit code {done.returncode}, see {self.log}:\n{printed[-3000:]}")
        print(f"{done.stdout or ''}    {time.perf_counter() - start:.0f} s", flush=True)

    def copy_as_channel_zero(self, source: str, target: str, names: Sequence[str] | None = None) -> None:
        """Copy images, all or these, to nnU-Net's names: CASE.nii.gz to CASE_0000.nii.gz."""
        print(f"$ # copy {source}/CASE.nii.gz to {target}/CASE_0000.nii.gz", flush=True)
        (self.folder / target).mkdir(parents=True, exist_ok=True)
        for path in sorted((self.folder / source).glob("*.nii.gz")):
            if names is not None and path.name not in names:
                continue
            shutil.copyfile(path, self.folder / target / path.name.replace(".nii.gz", "_0000.nii.gz"))

    def thin_plan(self, dataset: str, options: str) -> None:
        """Change the plan of a data set, see `thin_plan.py`."""
        self.run(f"{shlex.quote(sys.executable)} {shlex.quote(str(HERE / 'thin_plan.py'))} {dataset} {options}")


class Demonstration(CommandFolder):
    """Commands with headings; what an earlier demonstration left in the folder is deleted."""

    def __init__(self, description: str | None, default_folder: str) -> None:
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--folder", type=Path, default=Path(default_folder), help="(default: %(default)s)")
        folder = parser.parse_args().folder
        shutil.rmtree(folder, ignore_errors=True)
        super().__init__(folder, HERE / "trainers")

    def step(self, heading: str, command: str) -> None:
        """Run a command under a heading; nnU-Net's own, which print pages, are logged only."""
        print(f"\n=== {heading}", flush=True)
        self.run(command, show=not command.startswith("nnUNetv2"))

    def plan(self, dataset: str, configuration: str) -> None:
        """Plan a thin network, which a CPU trains in minutes, and preprocess."""
        self.step(
            "Planning and preprocessing",
            f"nnUNetv2_plan_and_preprocess -d {dataset[7:10]} -c {configuration} --verify_dataset_integrity "
            f"-npfp {self.processes} -np {self.processes}",
        )
        self.thin_plan(dataset, "--features 8")

    def train_and_predict(self, heading: str, dataset_id: int, configuration: str, trainer: str) -> None:
        """Train, and predict `imagesTs` into the folder TRAINER."""
        options = f"-tr {trainer} -device cpu"
        self.step(heading, f"nnUNetv2_train {dataset_id} {configuration} 0 {options}")
        self.step(
            "Prediction of the held-out cases",
            f"nnUNetv2_predict -i imagesTs -o {trainer} -d {dataset_id} -c {configuration} -f 0 {options}",
        )
