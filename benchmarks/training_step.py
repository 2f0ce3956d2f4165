"""What does a training step of our trainers cost beside stock nnU-Net's: time, operations, peak memory?

Same plan, network, sample, device and run, step by step in turn, so that a machine's drift hits all. A trainer with
deep supervision (SCOREPlus, RefineSegPlus) is compared with the stock trainer as it is, any other with the stock
trainer without it. Timed is `train_step` from the batch on the CPU to the updated weights: transfer, augmentation
on the device, forward, loss, backward, optimiser (each trainer's own). With `--compile` the networks are compiled: by
nnU-Net on CUDA, by this script on the CPU, where nnU-Net never compiles. Operations are those of forward and backward
pass, as PyTorch counts them; memory is measured in a process for each trainer. The data are phantoms; a `--folder`
keeps them for the next run.

    python -m benchmarks.training_step --method score --device cuda --patch 128 128 128 --features 32
    python -m benchmarks.training_step --method refineseg --device cpu --patch 64 64 64 --classes 20
"""

from __future__ import annotations

import json
import os
import random
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.measure import measure, time_of
from examples.command_folder import VARIABLES, CommandFolder
from nnunet_weak.options import option, parse

LABELS = "proximal=1 shaft=2 distal=3"
DATASET = "Dataset517_Steps"
STOCK, STOCK_PLAIN = "stock", "stock, no deep supervision"
TRAINERS = {
    "score": ("SCORE", "SCOREPlus"),
    "refineseg": ("RefineSeg", "RefineSegPlus"),
    "weaknet": ("WeakNetNoReconstruction", "WeakNet"),
}
COMMANDS = {
    "score": (
        "nnunet_weak_convert_scores --images phantoms/images --masks phantoms/initial_masks "
        f"--scores phantoms/scores.csv --regions {LABELS} --prior local -d 517 -n Steps",
    ),
    "refineseg": (
        f"nnunet_weak_simulate_drawings --references phantoms/labels --classes {LABELS} -o drawn --negative "
        "--annotators anna=typical",
        "nnunet_weak_convert_drawings --images phantoms/images --positive anna=drawn/positive_anna --negative "
        f"anna=drawn/negative_anna --labels background=0 {LABELS} --blank 4 -d 517 -n Steps",
    ),
    "weaknet": (
        "nnunet_weak_simulate_points --references phantoms/labels --classes bone=1,2,3 -n 25 -o points",
        "nnunet_weak_convert_points --images phantoms/images --points points --classes bone=1,2,3 --no-previews "
        "-d 517 -n Steps",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    method: Literal["score", "refineseg", "weaknet"] = option(default="score", help="(default: %(default)s)")
    device: str = option(default="cpu", help="of PyTorch (default: %(default)s)")
    patch: tuple[int, ...] = option(default=(64, 64, 64), nargs=3, help="size in voxels")
    features: int = option(default=32, help="of the first stage (default: nnU-Net's 32)")
    steps: int = option(default=12, help="counted steps of each side, after three more (default: %(default)s)")
    classes: int | None = option(default=None, help="with background; further ones occur nowhere (default: 4 or 2)")
    trainers: tuple[str, ...] = option(default=(), help="without nnUNetTrainer (default: the method's)")
    compile: bool = option(default=False, help="compile the networks")
    threads: int = option(default=os.cpu_count() or 1, help="of PyTorch (default: all cores)")
    folder: Path | None = option(default=None, metavar="DIR", help="of the data, made once (default: temporary)")


def main() -> None:
    options = parse(Options, None, description=__doc__)
    options = replace(options, trainers=options.trainers or TRAINERS[options.method])
    with tempfile.TemporaryDirectory(prefix="step_benchmark_") as name:
        folder = (options.folder or Path(name)).resolve() / options.method
        if not (folder / "complete").exists():
            prepare_data(folder, options)
            (folder / "complete").touch()
        os.environ.update({variable: str(folder / variable) for variable in VARIABLES}, nnUNet_n_proc_DA="0")
        os.environ["nnUNet_compile"] = str(options.compile)
        compare(options)


def prepare_data(path: Path, options: Options) -> None:
    """Two phantoms of 128 voxels, converted and planned."""
    folder = CommandFolder(path, path)
    folder.run("nnunet_weak_make_phantoms phantoms --cases 2 --test-cases 1 --size 128 128 128")
    for command in COMMANDS[options.method]:
        folder.run(command)
    folder.run("nnUNetv2_plan_and_preprocess -d 517 -c 3d_fullres -np 1", show=False)
    if options.method == "refineseg":
        folder.run("nnunet_weak_preprocess_annotations -d 517 -c 3d_fullres")


def compare(options: Options) -> None:
    import torch

    torch.set_num_threads(options.threads)
    trainers = {name: make_trainer(name, options) for name in (STOCK, STOCK_PLAIN, *options.trainers)}
    rivals = {name: STOCK if trainers[name].enable_deep_supervision else STOCK_PLAIN for name in trainers}
    trainers = {name: trainer for name, trainer in trainers.items() if name in {*options.trainers, *rivals.values()}}
    steps = {name: step_of(trainer) for name, trainer in trainers.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(options.steps + 3):
        for name, step in steps.items():
            seconds = time_of(step, options.device)
            if number >= 3:
                times[name].append(seconds)
    operations = {name: count_operations(step) for name, step in steps.items()}
    peaks = {name: measure(three_steps, name, options, device=options.device).peak_bytes for name in steps}
    print(
        f"{options.method}, {options.device}, patch {options.patch}, {options.features} features, batch 1, "
        f"compile {options.compile}"
    )
    print(f"{'trainer':26} {'ms a step':>10} {'ratio':>6} {'GFLOP':>8} {'ratio':>6} {'peak MiB':>9} {'ratio':>6}")
    for name in steps:
        rival = rivals[name]
        ratio = statistics.median(ours / stock for ours, stock in zip(times[name], times[rival], strict=True))
        print(
            f"{name:26} {statistics.median(times[name]) * 1e3:10.1f} {ratio:6.2f} "
            f"{operations[name] / 1e9:8.1f} {operations[name] / operations[rival]:6.2f} "
            f"{peaks[name] / 2**20:9.0f} {peaks[name] / peaks[rival]:6.2f}"
        )


def make_trainer(name: str, options: Options):
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from nnunet_weak import trainers

    folder = Path(os.environ["nnUNet_preprocessed"]) / DATASET
    plans = json.loads((folder / "nnUNetPlans.json").read_text()) | {"continue_training": False}
    configuration = plans["configurations"]["3d_fullres"]
    configuration["patch_size"], configuration["batch_size"] = list(options.patch), 1
    network = configuration["architecture"]["arch_kwargs"]
    network["features_per_stage"] = [min(options.features * 2**i, 320) for i in range(network["n_stages"])]
    dataset_json = json.loads((folder / "dataset.json").read_text())
    add_classes(dataset_json["labels"], options.classes)
    trainer_class = nnUNetTrainer if name in (STOCK, STOCK_PLAIN) else getattr(trainers, f"nnUNetTrainer{name}")
    trainer = trainer_class(plans, "3d_fullres", "all", dataset_json, torch.device(options.device))
    if name == STOCK_PLAIN:
        trainer.enable_deep_supervision = False
    trainer.initialize()
    trainer.current_epoch = trainer.num_epochs - 1  # past any warm-up
    if options.compile and options.device == "cpu":
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


def step_of(trainer) -> Callable[[], object]:
    """A step on a sample around the bone, as the trainer's own loader gives it."""
    trainer.oversample_foreground_percent = 1.0
    random.seed(0)
    np.random.seed(0)
    loader, _ = trainer.get_dataloaders()
    batch = next(loader)
    return lambda: trainer.train_step(batch)


def count_operations(step: Callable[[], object]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def three_steps(name: str, options: Options) -> Callable[[], object]:
    import torch

    torch.set_num_threads(options.threads)
    step = step_of(make_trainer(name, options))
    return lambda: [step() for _ in range(3)]


if __name__ == "__main__":
    main()
