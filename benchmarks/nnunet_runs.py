"""Trainings with the real nnU-Net in one folder: what the benchmarks of the three methods share.

WORK gets the training and held-out cases (`train/KIND/CASE.nii.gz`, `test/KIND/CASE.nii.gz`, `patients.csv`), nnU-Net's
three folders, `predictions/` and `log.txt`, all that the commands printed. Each step is a command that a user would
type; it runs in WORK, so the paths in it are relative to that. What is complete in WORK is not done again, whatever the
options say by then: another schedule needs another WORK.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent


def add_run_options(parser: argparse.ArgumentParser, **defaults: object) -> None:
    """The folder and the options of every benchmark of trainings; `defaults` replace those that are given here."""
    add = parser.add_argument
    add("work", type=Path, metavar="WORK", help="everything goes there; what is complete in it is not done again")
    add("--configuration", default="3d_fullres", choices=("2d", "3d_fullres"), help="(default: %(default)s)")
    add(
        "--hold-out",
        type=modulo_and_remainder,
        default="4:1",
        metavar="MODULO:REMAINDER",
        help="held out are patients whose number, the first in a file's name, leaves this remainder "
        "(default: %(default)s)",
    )
    add("--most-cases", type=int, metavar="N", help="use the first N training and the first N held-out cases only")
    add("--epochs", type=int, default=20, help="(default: %(default)s)")
    add("--iterations", type=int, default=100, help="per epoch (default: %(default)s)")
    add("--features", type=int, help="of the first stage, for a CPU (default: as planned)")
    add("--batch", type=int, help="samples in a step, for a CPU (default: as planned; SCORE always takes one)")
    add("--coarser", type=float, metavar="FACTOR", help="voxels so many times as wide in plane, for a CPU")
    add("--adamw", action="store_true", help="the stock trainer too takes AdamW at 1e-3: fewer steps than SGD needs")
    add("--without-mirroring", action="store_true", help="when predicting, for a CPU")
    add("--device", default="cuda", choices=("cuda", "cpu", "mps"), help="(default: %(default)s)")
    add("-d", "--dataset", type=int, default=541, help="number of the first data set (default: %(default)s)")
    add("-np", type=int, default=os.cpu_count() or 1, help="number of processes (default: all cores)")
    parser.set_defaults(**defaults)


class Runs:
    """A folder with cases and nnU-Net's folders in it, and the commands that are run there.

    Args:
        arguments: The options of `add_run_options`.
        environment: Further variables of the trainers, see `trainers/benchmark_trainers.py`.

    Attributes:
        fold: nnU-Net's, of all trainings.
    """

    fold = "0"

    def __init__(self, arguments: argparse.Namespace, **environment: object) -> None:
        self.arguments = arguments
        self.work: Path = arguments.work.resolve()
        folders = {name: self.work / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
        for path in folders.values():
            path.mkdir(parents=True, exist_ok=True)
        self.raw, self.preprocessed, _ = folders.values()
        variables = {
            **folders,
            "nnUNet_extTrainer": HERE / "trainers",
            "nnUNet_n_proc_DA": max(1, arguments.np - 1),
            "nnUNet_compile": "f",  # compiling takes longer than it saves in a short schedule
            "BENCHMARK_EPOCHS": arguments.epochs,
            "BENCHMARK_ITERATIONS": arguments.iterations,
            "BENCHMARK_ADAMW": int(arguments.adamw),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            **environment,
        }
        self._environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
        self._log = self.work / "log.txt"

    def run(self, command: str, show: bool = False) -> None:
        """Print a command, run it, and stop the benchmark if it fails; `show` what it prints beside logging it."""
        print(f"$ {command}", flush=True)
        start = time.perf_counter()
        with self._log.open("a", encoding="utf-8") as log:
            print(f"$ {command}", file=log, flush=True)
            done = subprocess.run(
                shlex.split(command),
                cwd=self.work,
                env=self._environment,
                stdout=subprocess.PIPE if show else log,
                stderr=log,
                text=True,
                check=False,
            )
            log.write(done.stdout or "")
        if done.returncode:
            printed = self._log.read_text(encoding="utf-8", errors="replace")
            sys.exit(f"failed with exit code {done.returncode}:\n{printed[-3000:]}")
        print(f"{done.stdout or ''}    {time.perf_counter() - start:.0f} s", flush=True)

    def make(self, product: str, command: str, show: bool = False) -> None:
        """Run a command unless its product is in WORK. Only for products that appear complete or not at all."""
        if not (self.work / product).exists():
            self.run(command, show)

    def collect(self, leave_out: Collection[int] = (), **sources: Path) -> None:
        """Copy training and held-out cases into folders of their own, and write whose they are.

        Args:
            leave_out: Patients that are in neither part.
            sources: Folder of each kind, `images` among them; files are named alike in all.
        """
        modulo, remainder = self.arguments.hold_out
        counts = {"train": 0, "test": 0}
        rows = ["case,patient,part"]
        files = []
        for image in sorted(sources["images"].glob("*.nii.gz")):
            patient = _patient(image.name)
            part = "test" if patient % modulo == remainder else "train"
            if patient not in leave_out and counts[part] != self.arguments.most_cases:
                counts[part] += 1
                rows.append(f"{image.name.removesuffix('.nii.gz')},{patient},{part}")
                files += [(source / image.name, Path(part, kind, image.name)) for kind, source in sources.items()]
        table, path = "\n".join(rows) + "\n", self.work / "patients.csv"
        if path.exists() and path.read_text() != table:
            sys.exit(f"{self.work} holds other cases, or holds out others (remedy: choose another folder)")
        path.write_text(table)
        for source, name in files:
            target = self.work / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                shutil.copyfile(source, target)
        print(f"{counts['train']} training cases, {counts['test']} held-out cases", flush=True)

    def as_channel_zero(self, source: str, target: str | Path) -> None:
        """Copy images to the names that nnU-Net wants: CASE.nii.gz to CASE_0000.nii.gz."""
        (self.work / target).mkdir(parents=True, exist_ok=True)
        for path in (self.work / source).glob("*.nii.gz"):
            shutil.copyfile(path, self.work / target / path.name.replace(".nii.gz", "_0000.nii.gz"))

    def number(self, name: str) -> int:
        """Number of a data set: its own where it has been made, else the next one."""
        numbers = {path.name[11:]: int(path.name[7:10]) for path in self.raw.glob("Dataset*_*")}
        return numbers.get(name, max(numbers.values(), default=self.arguments.dataset - 1) + 1)

    def folder(self, name: str) -> str:
        """`Dataset541_full`."""
        return f"Dataset{self.number(name):03d}_{name}"

    def plan(self, name: str) -> None:
        """Plan, lighter where asked for, and preprocess."""
        folder, number, processes = self.preprocessed / self.folder(name), self.number(name), self.arguments.np
        configuration = self.arguments.configuration
        if (folder / "complete").exists():
            return
        self.run(
            f"nnUNetv2_plan_and_preprocess -d {number} -c {configuration} --verify_dataset_integrity "
            f"-npfp {processes} --no_pp"
        )
        wanted = {key: getattr(self.arguments, key) for key in ("features", "batch", "coarser")}
        options = " ".join(f"--{key} {value}" for key, value in wanted.items() if value)
        if options:
            script = shlex.quote(str(HERE.parent / "examples" / "thin_plan.py"))
            self.run(f"{shlex.quote(sys.executable)} {script} {self.folder(name)} {options}")
        plan = json.loads((folder / "nnUNetPlans.json").read_text())["configurations"][configuration]
        print(f"patch {plan['patch_size']}, spacing {plan['spacing']}, batch {plan['batch_size']}", flush=True)
        self.run(f"nnUNetv2_preprocess -d {number} -c {configuration} -np {processes}")
        (folder / "complete").touch()

    def train(self, name: str, trainer: str) -> str:
        """Train on a data set; returns the model's folder."""
        configuration, device = self.arguments.configuration, self.arguments.device
        model = f"nnUNet_results/{self.folder(name)}/{trainer}__nnUNetPlans__{configuration}"
        self.make(
            f"{model}/fold_{self.fold}/checkpoint_final.pth",
            f"nnUNetv2_train {self.folder(name)} {configuration} {self.fold} -tr {trainer} -device {device}",
        )
        return model

    def predict(
        self, name: str, trainer: str, output: str, save_probabilities: bool = False, images: str = "imagesTs"
    ) -> str:
        """Predict the held-out images, or others; returns the folder with the label maps, `predictions/OUTPUT`."""
        folder = f"predictions/{output}"
        if not (self.work / folder / "complete").exists():
            options = " --disable_tta" if self.arguments.without_mirroring else ""
            options += " --save_probabilities" if save_probabilities else ""
            self.run(
                f"nnUNetv2_predict -i {images} -o {folder} -d {self.folder(name)} -c {self.arguments.configuration} "
                f"-f {self.fold} -tr {trainer} -device {self.arguments.device} -npp 1 -nps 1{options}"
            )
            (self.work / folder / "complete").touch()
        return folder

    def evaluate(self, predictions: Mapping[str, str], labels: str, output: str, references: str = "labels") -> None:
        """Compare the first of the predictions with the others: tables, paired tests over patients, a report."""
        (name, folder), *others = predictions.items()
        baselines = " ".join(f"--baseline {shlex.quote(f'{other}={path}')}" for other, path in others)
        self.run(
            f"nnunet_weak_evaluate {folder} test/{references} {baselines} --name {shlex.quote(name)} --labels {labels} "
            f"--patients patients.csv --output {output} --report -np {self.arguments.np}",
            show=True,
        )


def modulo_and_remainder(text: str) -> tuple[int, int]:
    modulo, remainder = map(int, text.split(":"))
    return modulo, remainder


def _patient(name: str) -> int:
    number = re.search(r"\d+", name)
    if not number:
        sys.exit(
            f"{name}: has no number, which would say whose it is (remedy: name it as in patient007_frame01.nii.gz)"
        )
    return int(number.group())
