"""Trainers of `refineseg_acdc.py`: one schedule for stock and RefineSeg, from the environment; no final validation."""

import os

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_weak.trainers.refineseg import nnUNetTrainerRefineSeg
from nnunet_weak.trainers.refineseg_ablations import (
    nnUNetTrainerRefineSegDeepSupervision,
    nnUNetTrainerRefineSegIdentity,
    nnUNetTrainerRefineSegLearnedComplementary,
    nnUNetTrainerRefineSegNoNegatives,
    nnUNetTrainerRefineSegNoRegulariser,
    nnUNetTrainerRefineSegNoWarmup,
    nnUNetTrainerRefineSegSGD,
)


class BenchmarkSchedule:
    num_epochs = int(os.environ.get("REFINESEG_BENCHMARK_EPOCHS", "20"))
    num_iterations_per_epoch = int(os.environ.get("REFINESEG_BENCHMARK_ITERATIONS", "100"))
    num_val_iterations_per_epoch = 5

    def perform_actual_validation(self, save_probabilities=False):
        """The held-out patients are predicted instead."""


class nnUNetTrainerStock_benchmark(BenchmarkSchedule, nnUNetTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):  # noqa: B008
        super().__init__(plans, configuration, fold, dataset_json, device)
        for name in ("num_epochs", "num_iterations_per_epoch", "num_val_iterations_per_epoch"):
            setattr(self, name, getattr(BenchmarkSchedule, name))


class nnUNetTrainerRefineSeg_benchmark(BenchmarkSchedule, nnUNetTrainerRefineSeg):
    pass


class nnUNetTrainerRefineSegSGD_benchmark(BenchmarkSchedule, nnUNetTrainerRefineSegSGD):
    pass


class nnUNetTrainerRefineSegDeepSupervision_benchmark(BenchmarkSchedule, nnUNetTrainerRefineSegDeepSupervision):
    pass


class nnUNetTrainerRefineSegIdentity_benchmark(BenchmarkSchedule, nnUNetTrainerRefineSegIdentity):
    pass


class nnUNetTrainerRefineSegNoNegatives_benchmark(BenchmarkSchedule, nnUNetTrainerRefineSegNoNegatives):
    pass


class nnUNetTrainerRefineSegNoRegulariser_benchmark(BenchmarkSchedule, nnUNetTrainerRefineSegNoRegulariser):
    pass


class nnUNetTrainerRefineSegNoWarmup_benchmark(BenchmarkSchedule, nnUNetTrainerRefineSegNoWarmup):
    pass


class nnUNetTrainerRefineSegLearnedComplementary_benchmark(
    BenchmarkSchedule, nnUNetTrainerRefineSegLearnedComplementary
):
    pass
