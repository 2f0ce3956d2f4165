"""What the demonstrations share: nnU-Net's folders in one place, and steps that are printed before they run."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
_VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


class Demonstration:
    """A folder with nnU-Net's three folders in it, and the commands that are run on them.

    Args:
        folder: Everything goes there; what is in it is deleted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.raw, self.preprocessed, self.results = (self.folder / name for name in _VARIABLES)
        for path in (self.raw, self.preprocessed, self.results):
            path.mkdir(parents=True)
        self.cores = str(os.cpu_count() or 1)
        self._log = self.folder / "log.txt"
        self._environment = {
            **os.environ,
            **{name: str(self.folder / name) for name in _VARIABLES},
            "nnUNet_extTrainer": str(HERE / "trainers"),
            "nnUNet_n_proc_DA": self.cores,
            "nnUNet_def_n_proc": self.cores,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        }

    def run(self, step: str, command: str) -> None:
        """Print a command, run it, and stop the demonstration if it fails."""
        print(f"\n=== {step}\n$ {command}", flush=True)
        start = time.perf_counter()
        quiet = command.startswith("nnUNetv2")  # nnU-Net prints pages; ours are short
        with self._log.open("a") as output:
            target = output if quiet else None
            done = subprocess.run(
                shlex.split(command), env=self._environment, stdout=target, stderr=target, check=False
            )
        if done.returncode:
            print(self._log.read_text()[-3000:] if quiet else "", file=sys.stderr)
            sys.exit(f"failed with exit code {done.returncode}; all output of nnU-Net is in {self._log}")
        print(f"    {time.perf_counter() - start:.0f} s", flush=True)

    def as_channel_zero(self, source: Path, target: Path) -> None:
        """Copy images to the names that nnU-Net wants for prediction: CASE.nii.gz to CASE_0000.nii.gz."""
        print(f"\n=== Names as nnU-Net wants them: {source} to {target}", flush=True)
        target.mkdir(parents=True)
        for path in sorted(source.glob("*.nii.gz")):
            shutil.copyfile(path, target / path.name.replace(".nii.gz", "_0000.nii.gz"))

    def make_thin(self, dataset: str) -> None:
        """Fewer features, so that a CPU trains the network in minutes."""
        self.run("A thin network, for the CPU", f"{sys.executable} {HERE / 'thin_plan.py'} {dataset} --features 8")

    def model(self, dataset: str, trainer: str, configuration: str) -> Path:
        """Model folder of a training."""
        return self.results / dataset / f"{trainer}__nnUNetPlans__{configuration}"


def demonstration(description: str | None, default_folder: str) -> Demonstration:
    """Read the command line of a demonstration."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--folder", type=Path, default=Path(default_folder), help="everything goes there (default: %(default)s)"
    )
    return Demonstration(parser.parse_args().folder)
