"""Trainers of `score_refinement.py`: one schedule for all, from the environment; no final validation."""

import os

from nnunet_weak.losses.score import ScoreOptions
from nnunet_weak.losses.score_plus import ScorePlusOptions
from nnunet_weak.trainers.score import nnUNetTrainerSCORE
from nnunet_weak.trainers.score_plus import nnUNetTrainerSCOREPlus

ETA_VOX = float(os.environ.get("SCORE_BENCHMARK_ETA", "2"))


class ScoreBenchmarkSchedule:
    num_epochs = int(os.environ.get("SCORE_BENCHMARK_EPOCHS", "24"))
    num_iterations_per_epoch = int(os.environ.get("SCORE_BENCHMARK_ITERATIONS", "60"))
    num_val_iterations_per_epoch = 8
    initial_lr = float(os.environ.get("SCORE_BENCHMARK_LR", "1e-3"))

    def perform_actual_validation(self, save_probabilities=False):
        """The held-out cases are predicted instead."""


class nnUNetTrainerSCORE_benchmark(ScoreBenchmarkSchedule, nnUNetTrainerSCORE):
    score_options = ScoreOptions(eta=ETA_VOX)


class nnUNetTrainerSCOREPlus_benchmark(ScoreBenchmarkSchedule, nnUNetTrainerSCOREPlus):
    score_plus_options = ScorePlusOptions(eta=ETA_VOX)
