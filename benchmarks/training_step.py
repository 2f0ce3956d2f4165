"""Training-step time and peak memory of our trainers against stock nnU-Net: same plan, network, batch, device and run.

Both sides train the network without deep supervision on one and the same sample, step by step in turn, so that a
machine's drift hits both. What is timed is `train_step` from the batch on the CPU to the updated weights: transfer,
augmentation on the device, forward, loss, backward, optimiser. Stock gets SGD as always, ours Adam. With `--compile`
both networks are compiled: by nnU-Net on CUDA, by this script on the CPU, where nnU-Net never compiles. Memory is the
allocator's peak on CUDA; on the CPU each side runs in a process of its own for the peak resident size.

    python benchmarks/training_step.py --device cuda --patch 128 128 128 --features 32
    python benchmarks/training_step.py --device cpu --patch 64 64 64 --features 16
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
DATASET = "Dataset519_StepBenchmark"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--patch", type=int, nargs=3, default=(64, 64, 64))
    parser.add_argument("--features", type=int, default=32, help="of the first stage (default: nnU-Net's 32)")
    parser.add_argument("--steps", type=int, default=12, help="counted steps of each side, after three more")
    parser.add_argument("--trainers", nargs="+", default=["nnUNetTrainerSCORE", "nnUNetTrainerSCOREPlus"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=Path, help="planned data of an earlier call")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="step_benchmark_"))
    os.environ.update({name: str(folder / name) for name in VARIABLES}, nnUNet_n_proc_DA="0")
    os.environ["nnUNet_compile"] = str(arguments.compile)
    try:
        if not (folder / "nnUNet_preprocessed" / DATASET / "nnUNetPlans.json").exists():
            prepare(folder)
        if arguments.only:
            peak_of_one(arguments)
        else:
            compare(arguments, folder)
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder)
    return 0


def prepare(folder: Path) -> None:
    """Two phantoms of 128 voxels, converted and planned."""
    for name in VARIABLES:
        (folder / name).mkdir(parents=True, exist_ok=True)
    phantoms = folder / "phantoms"

    def run(command: str) -> None:
        done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    run(f"nnunet_weak_make_phantoms {phantoms} --cases 2 --test-cases 1 --size 128 128 128")
    run(
        f"nnunet_weak_convert_scores --images {phantoms}/images --masks {phantoms}/initial_masks "
        f"--scores {phantoms}/scores.csv --regions proximal=1 shaft=2 distal=3 --prior local "
        f"-d {DATASET[7:10]} -n {DATASET[11:]}"
    )
    run(f"nnUNetv2_plan_and_preprocess -d {DATASET[7:10]} -c 3d_fullres -np 1")


def make_trainer(name: str, arguments: argparse.Namespace):
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    import nnunet_weak.trainers

    folder = Path(os.environ["nnUNet_preprocessed"]) / DATASET
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    plans["continue_training"] = False
    configuration = plans["configurations"]["3d_fullres"]
    configuration["patch_size"], configuration["batch_size"] = list(arguments.patch), 1
    network = configuration["architecture"]["arch_kwargs"]
    network["features_per_stage"] = [min(arguments.features * 2**i, 320) for i in range(network["n_stages"])]
    trainer_class = nnUNetTrainer if name == "stock" else getattr(nnunet_weak.trainers, name)
    dataset_json = json.loads((folder / "dataset.json").read_text())
    trainer = trainer_class(plans, "3d_fullres", "all", dataset_json, torch.device(arguments.device))
    if name == "stock":
        trainer.enable_deep_supervision = False
    trainer.initialize()
    if arguments.compile and arguments.device == "cpu":
        trainer.network = torch.compile(trainer.network)  # what nnU-Net does on CUDA, and refuses on the CPU
    trainer.network.train()
    return trainer


def make_batch(arguments: argparse.Namespace) -> dict:
    """One sample around the bone, with the channel that tells padding; stock reads the first target channel."""
    trainer = make_trainer("nnUNetTrainerSCORE", argparse.Namespace(**{**vars(arguments), "device": "cpu"}))
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
    peaks = {name: peak(name, arguments, folder) for name in names}
    print(
        f"device {arguments.device}, patch {tuple(arguments.patch)}, {arguments.features} features, batch 1, "
        f"compile {arguments.compile}"
    )
    print(f"{'trainer':28} {'ms a step':>10} {'ratio':>6} {'peak MiB':>9} {'ratio':>6}")
    for name in names:
        median = statistics.median(times[name])
        ratio = statistics.median(ours / stock for ours, stock in zip(times[name], times["stock"], strict=True))
        print(f"{name:28} {median * 1e3:10.1f} {ratio:6.2f} {peaks[name]:9.0f} {peaks[name] / peaks['stock']:6.2f}")


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
    in_bytes = (
        torch.cuda.max_memory_allocated()
        if arguments.device == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    print(in_bytes / 2**20)


if __name__ == "__main__":
    sys.exit(main())
