"""Weak-Net that trusts a template the less the farther it is from a clicked point. Not in the paper."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.surface.trust import TRUSTED
from nnunet_weak.trainers.weaknet import nnUNetTrainerWeakNet
from nnunet_weak.training.weak_trainer import WeakBatch, nnUNetTrainerWeak


class nnUNetTrainerWeakNetTrust(nnUNetTrainerWeakNet):
    """Points lie on the boundary, a template is guesswork between them: what the network learns near points, it applies
    everywhere. The converter's map of trusted voxels says where; see `nnunet_weak.surface.trust`.

    Attributes:
        untrusted_weight: Weight of the template's other voxels in the cross-entropy.
    """

    untrusted_weight = 0.1

    def prepare_batch(self, batch: WeakBatch, training: bool) -> WeakBatch:
        """As Weak-Net, with lower weights where the template is not trusted."""
        prepared = super().prepare_batch(batch, training)
        targets = prepared.annotation
        trusted = (batch.extra[:, :1] > 0).float()
        weights = []
        for counted in targets.counted:
            share = nn.functional.interpolate(trusted, counted.shape[2:], mode="nearest-exact")
            weights.append(
                counted * torch.lerp(torch.full_like(share, self.untrusted_weight), share.new_ones(()), share)
            )
        return replace(prepared, annotation=replace(targets, weights=tuple(weights)))

    def _stacked(self, dataset: Any) -> Any:
        if tuple(self.annotations.maps) != (TRUSTED,):
            raise InvalidInputError(
                f"{self.plans_manager.dataset_name}: has no map of trusted voxels, which {type(self).__name__} needs "
                "(remedy: convert the points again with nnunet_weak_convert_points)"
            )
        return nnUNetTrainerWeak._stacked(self, dataset)
