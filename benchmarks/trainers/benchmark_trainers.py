"""The stock trainer and all of this package on one schedule: `NAME_benchmark` for each NAME, without final validation.

The environment gives epochs, iterations, learning rate (each trainer's own by default), SCORE's eta in voxels, threads
on a CPU, and the seed (other than 0 it is part of the name: `NAME_benchmark_seed1`). With `nnUNet_n_proc_DA=0` the seed
decides patches and augmentation too, also of an epoch after an interruption. Weak-Net is there with other values of
lambda and d: `nnUNetTrainerWeakNet_lambda0p01_benchmark`.
"""

import os
import random
from dataclasses import replace

import numpy as np
import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_weak import trainers
from nnunet_weak.training.cpu_precision import HalfPrecisionOnCPU

SEED = int(os.environ.get("BENCHMARK_SEED", "0"))
SUFFIX = "_benchmark" + (f"_seed{SEED}" if SEED else "")

LAMBDAS = (0.001, 0.01, 0.1, 1.0, 10.0)
DISTANCES_MM = (1.0, 2.0, 5.0, 10.0, 20.0)


def seed(epoch):
    number = 100_000 * SEED + epoch + 1
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


class BenchmarkSchedule(HalfPrecisionOnCPU):
    num_epochs = int(os.environ.get("BENCHMARK_EPOCHS", "20"))
    num_iterations_per_epoch = int(os.environ.get("BENCHMARK_ITERATIONS", "100"))
    num_val_iterations_per_epoch = 5
    save_every = 5
    if "BENCHMARK_LEARNING_RATE" in os.environ:
        initial_lr = float(os.environ["BENCHMARK_LEARNING_RATE"])

    def initialize(self):
        """Seed the weights; nnU-Net itself takes all cores of a CPU."""
        seed(-1)
        if "BENCHMARK_THREADS" in os.environ:
            torch.set_num_threads(int(os.environ["BENCHMARK_THREADS"]))
        super().initialize()

    def on_epoch_start(self):
        """Seed the epoch."""
        seed(self.current_epoch)
        super().on_epoch_start()

    def perform_actual_validation(self, save_probabilities=False):
        """The held-out cases are predicted instead."""


class StockOptimizer:
    """For trainers with nnU-Net's own optimiser."""

    def configure_optimizers(self):
        if os.environ.get("BENCHMARK_ADAMW", "0") == "0":
            return super().configure_optimizers()
        optimizer = torch.optim.AdamW(self.network.parameters(), 1e-3, weight_decay=self.weight_decay)
        return optimizer, PolyLRScheduler(optimizer, 1e-3, self.num_epochs)


class StockBenchmark(StockOptimizer, nnUNetTrainer):
    """nnU-Net's own sets its schedule in its constructor, where it would win over the class."""

    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):  # noqa: B008
        super().__init__(plans, configuration, fold, dataset_json, device)
        for name in vars(self).keys() & vars(BenchmarkSchedule).keys():
            delattr(self, name)


def define(name, base, **attributes):
    """Where nnU-Net looks for a trainer: among the names of this module."""
    has_own_optimizer = base.configure_optimizers is not nnUNetTrainer.configure_optimizers
    bases = (BenchmarkSchedule, base) if has_own_optimizer else (BenchmarkSchedule, StockOptimizer, base)
    globals()[name] = type(name, bases, attributes)


def variant(label, value):
    """Weak-Net with another value."""
    return f"nnUNetTrainerWeakNet_{label}{value:g}".replace(".", "p")


define(f"nnUNetTrainerStock{SUFFIX}", StockBenchmark)
for name in trainers.__all__:
    base, eta_vox = getattr(trainers, name), float(os.environ.get("BENCHMARK_ETA", "2"))
    own = {"score_options": replace(base.score_options, eta=eta_vox)} if hasattr(base, "score_options") else {}
    define(f"{name}{SUFFIX}", base, **own)

for value in LAMBDAS:
    define(variant("lambda", value) + SUFFIX, trainers.nnUNetTrainerWeakNet, reconstruction_weight=value)
for value in DISTANCES_MM:
    define(variant("d", value) + SUFFIX, trainers.nnUNetTrainerWeakNet, boundary_distance_mm=value)
