"""Trainers of `weaknet_hippocampus.py`: one schedule for stock and Weak-Net, from the environment; no final validation.

`nnUNetTrainerWeakNet_lambda0p01_benchmark` and `nnUNetTrainerWeakNet_d2p5_benchmark` are made for the values that the
environment names.
"""

import os

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_weak.trainers.weaknet import nnUNetTrainerWeakNet
from nnunet_weak.trainers.weaknet_ablations import nnUNetTrainerWeakNetNoReconstruction
from nnunet_weak.trainers.weaknet_trust import nnUNetTrainerWeakNetTrust


class WeakNetBenchmarkSchedule:
    num_epochs = int(os.environ.get("WEAKNET_BENCHMARK_EPOCHS", "20"))
    num_iterations_per_epoch = int(os.environ.get("WEAKNET_BENCHMARK_ITERATIONS", "100"))
    num_val_iterations_per_epoch = 5

    def perform_actual_validation(self, save_probabilities=False):
        """The held-out cases are predicted instead."""


class nnUNetTrainerStock_weaknet_benchmark(WeakNetBenchmarkSchedule, nnUNetTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):  # noqa: B008
        super().__init__(plans, configuration, fold, dataset_json, device)
        for name in ("num_epochs", "num_iterations_per_epoch", "num_val_iterations_per_epoch"):
            setattr(self, name, getattr(WeakNetBenchmarkSchedule, name))


class nnUNetTrainerWeakNet_benchmark(WeakNetBenchmarkSchedule, nnUNetTrainerWeakNet):
    pass


class nnUNetTrainerWeakNetNoReconstruction_benchmark(WeakNetBenchmarkSchedule, nnUNetTrainerWeakNetNoReconstruction):
    pass


class nnUNetTrainerWeakNetTrust_benchmark(WeakNetBenchmarkSchedule, nnUNetTrainerWeakNetTrust):
    pass


for label, attribute in (("lambda", "reconstruction_weight"), ("d", "boundary_distance_mm")):
    for value in os.environ.get(f"WEAKNET_BENCHMARK_{label.upper()}", "").split():
        name = f"nnUNetTrainerWeakNet_{label}{value.replace('.', 'p')}_benchmark"
        globals()[name] = type(name, (nnUNetTrainerWeakNet_benchmark,), {attribute: float(value)})
