"""SCOREPlus: stock training on the initial masks, corrected by the boundary prior when predicting. Not in the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from nnunet_weak.dataset.annotations import BEST_QUALITY, CaseAnnotation, WeakAnnotations
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.networks.prior_fusion import PriorFusedNetwork
from nnunet_weak.training.weak_trainer import WeakBatch, nnUNetTrainerWeak
from nnunet_weak.transforms.channel_stash import RestoreChannels, StashChannels


class nnUNetTrainerSCOREPlus(nnUNetTrainerWeak):
    """nnU-Net's own training, step for step, with the initial masks (or reference labels) as labels.

    The network sees the images only, so that it cannot copy the masks. Their errors are partly random, and average out;
    the better a case's scores, the more often it is drawn. When predicting, `PriorFusedNetwork` adds the evidence of
    the boundary prior, best of kind `likelihood`, which says what the intensities alone tell.

    Attributes:
        prior_weight: Weight of the prior's log-odds.
        draws_per_point: How many times as often a case is drawn for each point of its mean quality; 1: all alike.
    """

    method = "score"
    predicts_as_stock = False
    prior_weight = 3.0
    draws_per_point = 2.0

    def _read_annotations(self, plans: dict, configuration: str, dataset_json: dict) -> WeakAnnotations:
        annotations = super()._read_annotations(plans, configuration, dataset_json)
        if not annotations.channels.prior:
            raise InvalidInputError(
                f"{plans['dataset_name']}: has no channel of a boundary prior, which {type(self).__name__} predicts "
                "with (remedy: convert with --prior likelihood, or train nnUNetTrainerSCORE)"
            )
        return annotations

    @classmethod
    def build_network_architecture(  # type: ignore[override]
        cls,
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The stock network for the images, in the network that adds the prior."""
        images = num_input_channels - num_output_channels  # background and K regions: a mask for each, and the prior
        core = nnUNetTrainer.build_network_architecture(
            plans_manager, configuration_manager, images, num_output_channels, enable_deep_supervision
        )
        return PriorFusedNetwork(core, images, cls.prior_weight)

    def _build_loss(self) -> nn.Module:
        return nnUNetTrainer._build_loss(self)

    def compute_loss(self, batch: WeakBatch) -> tuple[dict[str, torch.Tensor], Any]:
        """The stock loss of the batch, and the network's output."""
        output = self.network(batch.data)
        return {"stock loss": self.loss(output, batch.seg)}, output

    def get_training_transforms(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Stock transforms, whose intensity part does not see the mask and prior channels."""
        stock = super().get_training_transforms(*args, **kwargs)
        return type(stock)([StashChannels(self.annotations.channels.images), *stock.transforms, RestoreChannels()])

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """As the base; nnU-Net draws from a list of cases, in which a case stands the more often the better it is."""
        training, validation = super().get_tr_and_val_datasets()
        cases = self.annotations.cases
        counts = draws({name: cases[name] for name in training.identifiers}, self.draws_per_point)
        training.identifiers = [name for name, count in counts.items() for _ in range(count)]
        return training, validation


def draws(cases: Mapping[str, CaseAnnotation], per_point: float) -> dict[str, int]:
    """How often each case is drawn where the worst is drawn once.

    A case counts by the mean quality of its scored regions, a fully annotated one as the best quality, and one without
    scores as the mean of the scored cases.
    """
    known = {
        name: BEST_QUALITY if case.fully_annotated else float(np.mean([s.quality for s in case.scores.values()]))
        for name, case in cases.items()
        if case.fully_annotated or case.scores
    }
    if not known:
        return dict.fromkeys(cases, 1)
    mean, lowest = float(np.mean(list(known.values()))), min(known.values())
    return {name: round(per_point ** (known.get(name, mean) - lowest)) for name in cases}
