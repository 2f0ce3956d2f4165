"""The stock trainer and all of this package on one schedule: `NAME_benchmark` for each NAME, without final validation.

The environment gives epochs, iterations, learning rate (each trainer's own by default), SCORE's eta in voxels, and the
values for which there is an `nnUNetTrainerWeakNet_lambda0p01_benchmark` or an `nnUNetTrainerWeakNet_d2p5_benchmark`.
"""

import os
from dataclasses import replace

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_weak import trainers
from nnunet_weak.training.cpu_precision import HalfPrecisionOnCPU


class BenchmarkSchedule(HalfPrecisionOnCPU):
    num_epochs = int(os.environ.get("BENCHMARK_EPOCHS", "20"))
    num_iterations_per_epoch = int(os.environ.get("BENCHMARK_ITERATIONS", "100"))
    num_val_iterations_per_epoch = 5
    if "BENCHMARK_LEARNING_RATE" in os.environ:
        initial_lr = float(os.environ["BENCHMARK_LEARNING_RATE"])

    def perform_actual_validation(self, save_probabilities=False):
        """The held-out cases are predicted instead."""


class nnUNetTrainerStock_benchmark(BenchmarkSchedule, nnUNetTrainer):
    """nnU-Net's own sets its schedule in its constructor, where it would win over the class."""

    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):  # noqa: B008
        super().__init__(plans, configuration, fold, dataset_json, device)
        for name in vars(self).keys() & vars(BenchmarkSchedule).keys():
            delattr(self, name)

    def configure_optimizers(self):
        if os.environ.get("BENCHMARK_ADAMW", "0") == "0":
            return super().configure_optimizers()
        optimizer = torch.optim.AdamW(self.network.parameters(), 1e-3, weight_decay=self.weight_decay)
        return optimizer, PolyLRScheduler(optimizer, 1e-3, self.num_epochs)


def define(name, base, **attributes):
    """Where nnU-Net looks for a trainer: among the names of this module."""
    globals()[name] = type(name, (BenchmarkSchedule, base), attributes)


for name in trainers.__all__:
    base, eta_vox = getattr(trainers, name), float(os.environ.get("BENCHMARK_ETA", "2"))
    options = [key for key in ("score_options", "score_plus_options") if hasattr(base, key)]
    define(f"{name}_benchmark", base, **{key: replace(getattr(base, key), eta=eta_vox) for key in options})

for variable, label, attribute in (
    ("BENCHMARK_LAMBDAS", "lambda", "reconstruction_weight"),
    ("BENCHMARK_DISTANCES", "d", "boundary_distance_mm"),
):
    for value in os.environ.get(variable, "").split():
        name = f"nnUNetTrainerWeakNet_{label}{value.replace('.', 'p')}_benchmark"
        define(name, trainers.nnUNetTrainerWeakNet, **{attribute: float(value)})
