"""SCOREPlus: stock training on the initial masks, corrected by the boundary prior when predicting. Not in the paper."""

from __future__ import annotations

from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from nnunet_weak.dataset.annotations import WeakAnnotations
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.losses.missing_regions import count_as_background
from nnunet_weak.networks.prior_fusion import PriorFusedNetwork
from nnunet_weak.training.weak_trainer import WeakBatch, nnUNetTrainerWeak
from nnunet_weak.transforms.channel_stash import with_channels_stashed


class nnUNetTrainerSCOREPlus(nnUNetTrainerWeak):
    """nnU-Net's own training, step for step, with the initial masks (or reference labels) as labels.

    The network sees the images only, so that it cannot copy the masks. Their errors are partly random, and average out.
    When predicting, `PriorFusedNetwork` adds the evidence of the boundary prior, best of kind `likelihood`, which says
    what the intensities alone tell. Scores are not used: drawing the better masks more often made development cases
    worse. Drawing fully annotated cases more often, half of the time, made them better.

    Attributes:
        prior_weight: Weight of the prior's log-odds.
    """

    method = "score"
    predicts_as_stock = False
    prior_weight = 3.0
    full_case_share = 0.5

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
        """The stock loss of the batch, and the network's output; what is scored as missing is no background."""
        output = self.network(batch.data)
        judged = count_as_background(output, self.annotations.missing_in(batch.keys))
        return {"stock loss": self.loss(judged, batch.seg)}, output

    def get_training_transforms(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Stock transforms, whose intensity part does not see the mask and prior channels."""
        return with_channels_stashed(super().get_training_transforms(*args, **kwargs), self.annotations.channels.images)
