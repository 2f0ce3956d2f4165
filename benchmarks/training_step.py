"""Training-step time and peak memory of our trainers against stock nnU-Net: same plan, network, batch, device and run.

Both sides train the network without deep supervision on one and the same sample, step by step in turn, so that a
machine's drift hits both. What is timed is `train_step` from the batch on the CPU to the updated weights: transfer,
augmentation on the device, forward, loss, backward, optimiser. Stock gets SGD as always, ours Adam. With `--compile`
both networks are compiled: by nnU-Net on CUDA, by this script on the CPU, where nnU-Net never compiles. Memory is the
allocator's peak on CUDA; on the CPU each side runs in a process of its own for the peak resident size.

"Operations" are those of forward and backward pass of the training network, as PyTorch counts them.

    python benchmarks/training_step.py --method score --device cuda --patch 128 128 128 --features 32
    python benchmarks/training_step.py --method refineseg --device cpu --patch 64 64 64 --classes 20
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
LABELS = "proximal=1 shaft=2 distal=3"


@dataclass(frozen=True)
class Method:
    """What is measured: trainers, and the commands that make their data set `{d}` of phantoms in `{p}`."""

    dataset: str
    trainers: tuple[str, ...]
    commands: tuple[str, ...]
    commands_after_planning: tuple[str, ...] = ()


METHODS = {
    "score": Method(
        "Dataset517_StepsScore",
        ("nnUNetTrainerSCORE", "nnUNetTrainerSCOREPlus"),
        (
            "nnunet_weak_convert_scores --images {p}/images --masks {p}/initial_masks --scores {p}/scores.csv "
            f"--regions {LABELS} --prior local {{d}}",
        ),
    ),
    "refineseg": Method(
        "Dataset518_StepsRefineSeg",
        ("nnUNetTrainerRefineSeg",),
        (
            f"nnunet_weak_simulate_drawings --references {{p}}/labels --classes {LABELS} -o {{p}}/drawn --negative "
            "--annotators anna=typical",
            "nnunet_weak_convert_drawings --images {p}/images --positive anna={p}/drawn/positive_anna --negative "
            f"anna={{p}}/drawn/negative_anna --labels background=0 {LABELS} --blank 4 {{d}}",
        ),
        ("nnunet_weak_preprocess_annotations -d {number} -c 3d_fullres",),
    ),
    "weaknet": Method(
        "Dataset519_StepsWeakNet",
        ("nnUNetTrainerWeakNetNoReconstruction", "nnUNetTrainerWeakNet"),
        (
            "nnunet_weak_simulate_points --references {p}/labels --classes bone=1,2,3 -n 25 -o {p}/points",
            "nnunet_weak_convert_points --images {p}/images --points {p}/points --classes bone=1,2,3 --no-previews {d}",
        ),
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="score", choices=list(METHODS))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--patch", type=int, nargs=3, default=(64, 64, 64))
    parser.add_argument("--features", type=int, default=32, help="of the first stage (default: nnU-Net's 32)")
    parser.add_argument("--steps", type=int, default=12, help="counted steps of each side, after three more")
    parser.add_argument("--classes", type=int, help="with background; further ones occur nowhere (default: the data's)")
    parser.add_argument("--trainers", nargs="+", help="(default: the method's)")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, help="planned data of an earlier call")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    method = METHODS[arguments.method]
    arguments.trainers = arguments.trainers or list(method.trainers)
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="step_benchmark_"))
    os.environ.update({name: str(folder / name) for name in VARIABLES}, nnUNet_n_proc_DA="0")
    os.environ["nnUNet_compile"] = str(arguments.compile)
    try:
        if not (folder / method.dataset).exists():
            prepare(folder, method)
        if arguments.only:
            peak_of_one(arguments)
        else:
            compare(arguments, folder)
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder)
    return 0


def prepare(folder: Path, method: Method) -> None:
    """Two phantoms of 128 voxels, converted and planned."""
    for name in VARIABLES:
        (folder / name).mkdir(parents=True, exist_ok=True)
    phantoms, number, name = folder / "phantoms", *method.dataset.removeprefix("Dataset").split("_")
    made = () if phantoms.exists() else ("nnunet_weak_make_phantoms {p} --cases 2 --test-cases 1 --size 128 128 128",)
    plan = "nnUNetv2_plan_and_preprocess -d {number} -c 3d_fullres -np 1"
    for command in (*made, *method.commands, plan, *method.commands_after_planning):
        filled = command.format(p=phantoms, d=f"-d {number} -n {name}", number=number)
        environment = {**os.environ, "nnUNet_n_proc_DA": "1"}  # with 0, for this process, planning fails
        done = subprocess.run(shlex.split(filled), env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{filled}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    (folder / method.dataset).touch()


def make_trainer(name: str, arguments: argparse.Namespace):
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    import nnunet_weak.trainers

    folder = Path(os.environ["nnUNet_preprocessed"]) / METHODS[arguments.method].dataset
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    plans["continue_training"] = False
    configuration = plans["configurations"]["3d_fullres"]
    configuration["patch_size"], configuration["batch_size"] = list(arguments.patch), 1
    network = configuration["architecture"]["arch_kwargs"]
    network["features_per_stage"] = [min(arguments.features * 2**i, 320) for i in range(network["n_stages"])]
    trainer_class = nnUNetTrainer if name == "stock" else getattr(nnunet_weak.trainers, name)
    dataset_json = json.loads((folder / "dataset.json").read_text())
    add_classes(dataset_json["labels"], arguments.classes)
    trainer = trainer_class(plans, "3d_fullres", "all", dataset_json, torch.device(arguments.device))
    if name == "stock":
        trainer.enable_deep_supervision = False
    trainer.initialize()
    trainer.current_epoch = trainer.num_epochs - 1  # past any warm-up
    if arguments.compile and arguments.device == "cpu":
        trainer.network = torch.compile(trainer.network)  # what nnU-Net does on CUDA, and refuses on the CPU
    trainer.network.train()
    return trainer


def add_classes(labels: dict[str, int], classes: int | None) -> None:
    """So many classes in all; the label `ignore` stays the highest."""
    ignore = labels.pop("ignore", None)
    for number in range(len(labels), classes or 0):
        labels[f"unused{number}"] = number
    if ignore is not None:
        labels["ignore"] = len(labels)


def make_batch(arguments: argparse.Namespace) -> dict:
    """One sample around the bone, with all further channels of the target; stock reads the first."""
    trainer = make_trainer(arguments.trainers[-1], argparse.Namespace(**{**vars(arguments), "device": "cpu"}))
    trainer.oversample_foreground_percent = 1.0
    loader, _ = trainer.get_dataloaders()
    return next(loader)


def batch_for(name: str, batch: dict) -> dict:
    return {**copy.copy(batch), "target": batch["target"][:, :1].clone()} if name == "stock" else batch


def step_time(trainer, batch: dict) -> float:
    import torch

    if trainer.device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    trainer.train_step(batch)
    if trainer.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    import torch

    torch.set_num_threads(arguments.threads)
    names = ["stock", *arguments.trainers]
    batch = make_batch(arguments)
    trainers = {name: make_trainer(name, arguments) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for step in range(arguments.steps + 3):
        for name in names:
            seconds = step_time(trainers[name], batch_for(name, batch))
            if step >= 3:
                times[name].append(seconds)
    operations = {name: count_operations(trainers[name], batch_for(name, batch)) for name in names}
    peaks = {name: peak(name, arguments, folder) for name in names}
    print(
        f"{arguments.method}, {arguments.device}, patch {tuple(arguments.patch)}, {arguments.features} features, "
        f"batch 1, compile {arguments.compile}"
    )
    print(f"{'trainer':38} {'ms a step':>10} {'ratio':>6} {'GFLOP':>8} {'ratio':>6} {'peak MiB':>9} {'ratio':>6}")
    for name in names:
        median = statistics.median(times[name])
        ratio = statistics.median(ours / stock for ours, stock in zip(times[name], times["stock"], strict=True))
        work, memory = operations[name], peaks[name]
        print(
            f"{name:38} {median * 1e3:10.1f} {ratio:6.2f} {work / 1e9:8.1f} {work / operations['stock']:6.2f} "
            f"{memory:9.0f} {memory / peaks['stock']:6.2f}"
        )


def count_operations(trainer, batch: dict) -> int:
    """Of one step."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        trainer.train_step(batch)
    return counter.get_total_flops()


def peak(name: str, arguments: argparse.Namespace, folder: Path) -> float:
    own = list(sys.argv)
    command = [sys.executable, *own, "--only", name, *([] if arguments.folder else ["--folder", str(folder)])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def peak_of_one(arguments: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(arguments.threads)
    batch = make_batch(arguments)
    trainer = make_trainer(arguments.only, arguments)
    if arguments.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(3):
        trainer.train_step(batch_for(arguments.only, batch))
    in_bytes = torch.cuda.max_memory_allocated() if arguments.device == "cuda" else resident_peak()
    print(in_bytes / 2**20)


def resident_peak() -> int:
    """Of this process; Linux's `ru_maxrss` would include the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
