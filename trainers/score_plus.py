"""SCOREPlus: SCORE with error types used as certainty, soft targets and one common normaliser. Not in the paper."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from nnunet_weak.losses.score_plus import ScorePlusOptions, score_plus_loss
from nnunet_weak.trainers.score import nnUNetTrainerSCORE
from nnunet_weak.training.weak_trainer import WeakBatch


class nnUNetTrainerSCOREPlus(nnUNetTrainerSCORE):
    """As `nnUNetTrainerSCORE`, with the loss of `nnunet_weak.losses.score_plus`.

    Attributes:
        score_plus_options: Weights and band width of the loss.
    """

    score_plus_options = ScorePlusOptions()

    def prepare_batch(self, batch: WeakBatch, training: bool) -> WeakBatch:
        """As SCORE, but the loss sees masks and scores as annotated: certainty is about those."""
        prepared = super().prepare_batch(batch, training)
        targets = prepared.annotation
        if targets.unaugmented is not None:
            quality, _ = self._scores(batch.keys)
            targets = replace(targets, masks=targets.unaugmented, quality=quality, unaugmented=None)
        return replace(prepared, annotation=targets)

    def weak_loss(self, batch: WeakBatch, output: Any, auxiliary_output: Any) -> dict[str, torch.Tensor]:
        """The terms by domain, a weighted mean of cross-entropies when summed, and the Dice of held voxels."""
        options = self.score_plus_options if self.eta_mm is None else replace(self.score_plus_options, eta=self.eta_mm)
        return score_plus_loss(output, batch.annotation, options)
