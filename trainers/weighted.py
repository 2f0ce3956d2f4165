"""Full supervision with a weight for each voxel and each class.

The weights are given by `nnunet_weak_add_weights`: a further annotation map, and numbers in `dataset.json`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn
from torch.nn import functional

from nnunet_weak.losses.weighted import WeightedDiceAndCrossEntropy, voxel_weights
from nnunet_weak.training.weak_trainer import WeakBatch, nnUNetTrainerWeak


class nnUNetTrainerWeighted(nnUNetTrainerWeak):
    """Stock training, but for the weights; where all of them are 1, its loss is the stock loss to the last bit.

    All cases count as fully annotated, so pseudo Dice and best checkpoint are stock; the pseudo Dice is not weighted.
    """

    method = "weighted"
    reads_annotation_maps = True

    def _build_loss(self) -> nn.Module:
        stock = nnUNetTrainer._build_loss(self)
        supervised = isinstance(stock, DeepSupervisionWrapper)
        loss = WeightedDiceAndCrossEntropy(stock.loss if supervised else stock, self._class_weights()).to(self.device)
        return DeepSupervisionWrapper(loss, stock.weight_factors) if supervised else loss

    def _class_weights(self) -> torch.Tensor | None:
        given = self.annotations.class_weights
        if not given:
            return None
        weights = torch.ones(self.label_manager.num_segmentation_heads)
        for name, weight in given.items():
            weights[self.dataset_json["labels"][name]] = weight
        return weights

    def prepare_batch(self, batch: WeakBatch, training: bool) -> WeakBatch:
        """Read the weights from their map, at every resolution of the labels."""
        codes = batch.maps[:, :1] if batch.maps.shape[1] else torch.zeros_like(batch.inside, dtype=torch.float32)
        weights = voxel_weights(codes)
        if isinstance(batch.seg, list):
            levels = [functional.interpolate(weights, seg.shape[2:], mode="nearest-exact") for seg in batch.seg]
            return replace(batch, annotation=levels)
        return replace(batch, annotation=weights)

    def compute_loss(self, batch: WeakBatch) -> tuple[dict[str, torch.Tensor], Any]:
        """The weighted loss of the batch, as one term: nnU-Net's Dice may be one of the whole batch."""
        output = self.network(batch.data)
        return {"weighted": self.loss(output, batch.seg, batch.annotation)}, output
