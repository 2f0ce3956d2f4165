"""nnU-Net's Dice and cross-entropy with a weight for each voxel and each class.

With voxel weights w_v and class weights c_k, for voxels v of label y_v that are not ignored:

    cross-entropy = sum_v w_v c_{y_v} (-log p_v[y_v]) / sum_v w_v c_{y_v}
    Dice of class k = 2 sum_v w_v p_v[k] [y_v = k] / sum_v w_v (p_v[k] + [y_v = k])

so w = 0 is nnU-Net's `ignore`, and w = 2 counts a voxel twice. Classes are not weighted in the Dice, which gives each
of them the same share already. Where all weights are one, nnU-Net's own loss is what is computed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from nnunet_weak.dataset.weights import STEPS_PER_UNIT


def voxel_weights(codes: torch.Tensor) -> torch.Tensor:
    """Weights of the codes of `nnunet_weak.dataset.weights`, float32; 1 in blanks and in padding."""
    return torch.where(codes > 0, (codes.float() - 1) / STEPS_PER_UNIT, 1.0)  # a quotient is exactly 1 for weight 1


class WeightedDiceAndCrossEntropy(nn.Module):
    """The loss of one resolution.

    Args:
        stock: nnU-Net's `DC_and_CE_loss`, which says how Dice is computed, what is ignored, and how both are combined.
        class_weights: c, `(L,)`, background included; None for ones.
    """

    class_weights: torch.Tensor | None

    def __init__(self, stock: Any, class_weights: torch.Tensor | None = None) -> None:
        super().__init__()
        self.stock = stock
        uniform = class_weights is None or bool((class_weights == 1).all())
        self.register_buffer("class_weights", None if uniform else class_weights)

    def forward(self, logits: torch.Tensor, seg: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Compute the loss of a batch.

        Args:
            logits: `(B, L, *spatial)`.
            seg: Labels, `(B, 1, *spatial)`.
            weights: w, not negative, `(B, 1, *spatial)`.

        Returns:
            A scalar; 0 from the cross-entropy where all weights are 0.
        """
        if self.class_weights is None and bool((weights == 1).all()):
            return self.stock(logits, seg)
        return self.weighted(logits, seg, weights)

    def weighted(self, logits: torch.Tensor, seg: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """As `forward`, whatever the weights are."""
        if self.stock.ignore_label is not None:
            known = seg != self.stock.ignore_label
            seg, weights = torch.where(known, seg, 0), weights * known
        labels = seg[:, 0].long()
        voxels = weights[:, 0] if self.class_weights is None else weights[:, 0] * self.class_weights[labels]
        cross_entropy = functional.cross_entropy(logits, labels, reduction="none")
        mean = (cross_entropy * voxels).sum() / voxels.sum().clamp_min(torch.finfo(torch.float32).tiny)
        return self.stock.weight_ce * mean + self.stock.weight_dice * self.stock.dc(logits, seg, loss_mask=weights)
