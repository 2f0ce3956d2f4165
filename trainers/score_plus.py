"""SCOREPlus: SCORE with error types used as certainty, soft targets and one common normaliser. Not in the paper."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from nnunet_weak.losses.score import RegionTargets
from nnunet_weak.losses.score_plus import ScorePlusOptions, score_plus_loss
from nnunet_weak.trainers.score import nnUNetTrainerSCORE
from nnunet_weak.training.weak_trainer import WeakBatch
from nnunet_weak.transforms.gross_errors import gross_error_augmentation


class nnUNetTrainerSCOREPlus(nnUNetTrainerSCORE):
    """As `nnUNetTrainerSCORE`, with the loss of `nnunet_weak.losses.score_plus` and gross errors as augmentation.

    Attributes:
        score_plus_options: Weights and band width of the loss.
        gross_error_probability: How often a region whose mask can be believed is taken from the input, or moved.
    """

    score_plus_options = ScorePlusOptions()
    gross_error_probability = 0.1

    def prepare_batch(self, batch: WeakBatch, training: bool) -> WeakBatch:
        """As SCORE, but the loss sees masks and scores as annotated: certainty is about those."""
        prepared = super().prepare_batch(batch, training)
        targets = prepared.annotation
        if targets.unaugmented is not None:
            quality, _ = self._scores(batch.keys)
            targets = replace(targets, masks=targets.unaugmented, quality=quality, unaugmented=None)
        data = prepared.data
        if training and self.gross_error_probability > 0:
            data = self._with_gross_errors(data, targets)
        return replace(prepared, data=data, annotation=targets)

    def weak_loss(self, batch: WeakBatch, output: Any, auxiliary_output: Any) -> dict[str, torch.Tensor]:
        """The terms by domain, a weighted mean of cross-entropies when summed, and the Dice of held voxels."""
        options = self.score_plus_options if self.eta_mm is None else replace(self.score_plus_options, eta=self.eta_mm)
        return score_plus_loss(output, batch.annotation, options)

    def _with_gross_errors(self, data: torch.Tensor, targets: RegionTargets) -> torch.Tensor:
        channels = self.annotations.channels
        masks, prior = gross_error_augmentation(
            data[:, channels.mask_channels],
            targets.prior,
            targets.quality >= self.score_plus_options.reliable_quality,
            [1.0] * (data.ndim - 2),
            probability=self.gross_error_probability,
        )
        data = data.clone()
        data[:, channels.mask_channels] = masks
        if channels.prior:
            data[:, -1:] = prior
        return data
