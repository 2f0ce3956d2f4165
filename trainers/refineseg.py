"""RefineSeg: learn from rough drawings of what is and what is not the target.

Reference:
    Du et al., "RefineSeg: Dual Coarse-to-Fine Learning for Medical Image Segmentation", MICCAI 2025.
"""

from __future__ import annotations

from typing import Any

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from torch import nn

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.losses.refineseg import lower_resolutions_loss, negative_loss, positive_loss
from nnunet_weak.networks.annotated_output import AnnotatedOutput
from nnunet_weak.networks.annotation_heads import AnnotationHeads
from nnunet_weak.training.checkpoints import HEADS_KEY
from nnunet_weak.training.composite import PREFIX
from nnunet_weak.training.weak_trainer import WeakBatch, nnUNetTrainerWeak


class nnUNetTrainerRefineSeg(nnUNetTrainerWeak):
    """The paper's method, with a warm-up in which every transition matrix is the identity.

    Without deep supervision, as the paper's network: what an annotator draws is modelled at full resolution only. With
    it, the lower resolutions learn the positive drawings as they are.

    Attributes:
        alpha: Weight of the cross-entropy of positive drawings (eq. 2).
        beta: Weight of their Dice loss (eq. 2).
        regulariser_weight: lambda, pulls the transition matrices towards the identity (eq. 8).
        negative_weight: Weight of the negative drawings.
        batch_dice: Dice of positive drawings over the batch instead of sample by sample.
        balance_classes: Cross-entropy of positive drawings as the mean over the drawn classes, not over drawn voxels.
        heads_pace: Learning rate of the annotation heads, relative to the network's.
        warmup_share: Share of the epochs before the transition matrices are released. Released early, they explain away
            what the network has not learned yet.
        learned_complementary: Learn the complementary matrix M of each negative strategy instead of a uniform one.
    """

    method = "refineseg"
    alpha, beta = 0.6, 0.4
    regulariser_weight = 0.2
    negative_weight = 1.0
    batch_dice = False
    balance_classes = False
    heads_pace = 1.0
    warmup_share = 0.5
    learned_complementary = False

    initial_lr = 1e-3
    weight_decay = 2e-5
    enable_deep_supervision = False

    def build_auxiliary_network(self, core: Any, num_input_channels: int, num_classes: int) -> nn.Module:
        """One annotation head for each map."""
        maps = self.annotations.maps
        if not maps:
            raise InvalidInputError(
                f"{self.plans_manager.dataset_name}: dataset.json names no annotation maps, and {type(self).__name__} "
                "learns from nothing else (remedy: convert drawings with nnunet_weak_convert_drawings, or train a "
                "stock trainer)"
            )
        patch_size = self.configuration_manager.patch_size
        learned = [name for name, kind in maps.items() if kind == "negative" and self.learned_complementary]
        features = core.decoder.seg_layers[-1].in_channels
        heads = AnnotationHeads(
            tuple(maps),
            num_classes,
            features,
            len(patch_size),
            learned_complementary=learned,
            patch_size=patch_size,
        )
        return AnnotatedOutput(heads)

    def training_state(self) -> dict[str, Any]:
        """Also what the annotation heads are like, for `nnunet_weak_report_annotators`."""
        heads = self._plain_network.auxiliary.heads
        facts = {"strategies": list(heads.strategies), "per_image": heads.per_image}
        return {**super().training_state(), HEADS_KEY: facts}

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
        """AdamW, the paper's, with nnU-Net's schedule."""
        parameters = [(name, one) for name, one in self._plain_network.named_parameters() if one.requires_grad]
        groups = [
            {"params": [one for name, one in parameters if name.startswith(PREFIX) == of_heads], "pace": pace}
            for of_heads, pace in ((False, 1.0), (True, self.heads_pace))
        ]
        optimizer = torch.optim.AdamW(groups, self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, _PacedPolyLR(optimizer, self.initial_lr, self.num_epochs)

    def auxiliary_arguments(self, batch: WeakBatch) -> tuple[bool]:
        """Whether the transition matrices are released."""
        return (self.current_epoch >= self.warmup_share * self.num_epochs,)

    def weak_loss(self, batch: WeakBatch, output: Any, auxiliary_output: Any) -> dict[str, torch.Tensor]:
        """The loss of each map, and the regulariser (eq. 8); strategies that a case lacks say nothing."""
        terms = {}
        distances = []
        options: Any = {
            "alpha": self.alpha,
            "beta": self.beta,
            "batch_dice": self.batch_dice,
            "cross_entropy_per_class": self.balance_classes,
        }
        # What fully annotated samples have drawn must not enter the Dice of the others.
        drawings = torch.where(batch.fully_annotated.view(-1, *[1] * (batch.extra.ndim - 1)), 0, batch.extra)
        for channel, (name, kind) in enumerate(self.annotations.maps.items()):
            drawing, annotator = drawings[:, channel], auxiliary_output[name]
            if kind == "positive":
                value = positive_loss(annotator.probabilities, drawing, **options)
            else:
                logits = annotator.complementary_logits
                value = self.negative_weight * negative_loss(annotator.probabilities, drawing, logits)
            terms[f"{kind} {name}"] = value
            drawn_by = [name in self.annotations.cases[case].maps for case in batch.keys]
            distances.append(annotator.identity_distance * torch.tensor(drawn_by, device=drawing.device))
        terms["regulariser"] = self.regulariser_weight * torch.stack(distances).sum(0)
        if self.enable_deep_supervision:
            positive = [index for index, kind in enumerate(self.annotations.maps.values()) if kind == "positive"]
            terms["lower resolutions"] = lower_resolutions_loss(output, drawings[:, positive], **options)
        return terms


class _PacedPolyLR(PolyLRScheduler):
    """nnU-Net's schedule, times the `pace` of each parameter group."""

    def step(self, current_step: int | None = None) -> None:
        super().step(current_step)
        for group in self.optimizer.param_groups:
            group["lr"] *= group["pace"]
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
