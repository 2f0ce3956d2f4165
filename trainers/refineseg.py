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
from nnunet_weak.networks.annotation_heads import AnnotatedOutput, AnnotationHeads
from nnunet_weak.training.checkpoints import HEADS_KEY
from nnunet_weak.training.composite import PREFIX
from nnunet_weak.training.weak_trainer import WeakBatch, nnUNetTrainerWeak, per_sample


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
        head_lr_multiplier: Learning rate of the annotation heads, relative to the network's.
        warmup_share: Share of the epochs in which every transition matrix is the identity. Learned early, they explain
            away what the network has not learned yet.
        learned_complementary: Learn the complementary matrix M of each negative strategy instead of a uniform one.
    """

    method = "refineseg"
    reads_annotation_maps = True
    alpha, beta = 0.6, 0.4
    regulariser_weight = 0.2
    negative_weight = 1.0
    batch_dice = False
    balance_classes = False
    head_lr_multiplier = 1.0
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
        heads = AnnotationHeads(
            tuple(maps),
            num_classes,
            core.decoder.seg_layers[-1].in_channels,
            len(patch_size),
            learned_complementary=[n for n, kind in maps.items() if kind == "negative" and self.learned_complementary],
            patch_size=patch_size,
        )
        return AnnotatedOutput(heads)

    def training_state(self) -> dict[str, Any]:
        """Also how the annotation heads are built, for `nnunet_weak_report_annotators`."""
        heads = self._plain_network.auxiliary.heads
        facts = {"strategies": list(heads.strategies), "per_image": heads.per_image}
        return {**super().training_state(), HEADS_KEY: facts}

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
        """AdamW, the paper's, with nnU-Net's schedule; the heads are a parameter group of their own."""
        parameters = [(name, one) for name, one in self._plain_network.named_parameters() if one.requires_grad]
        core, heads = ([one for name, one in parameters if name.startswith(PREFIX) == mine] for mine in (False, True))
        optimizer = torch.optim.AdamW(
            [{"params": core}, {"params": heads}], self.initial_lr, weight_decay=self.weight_decay
        )
        multipliers = (1.0, self.head_lr_multiplier)
        return optimizer, _MultipliedPolyLR(optimizer, self.initial_lr, self.num_epochs, multipliers)

    def auxiliary_arguments(self, batch: WeakBatch) -> tuple[bool]:
        """Whether it is still the warm-up."""
        return (self.current_epoch < self.warmup_share * self.num_epochs,)

    def weak_loss(self, batch: WeakBatch, output: Any, auxiliary_output: Any) -> dict[str, torch.Tensor]:
        """The loss of each map, and the regulariser (eq. 8); strategies that a case lacks say nothing."""
        maps, weights = self.annotations.maps, self.output_weights
        options: Any = {
            "alpha": self.alpha,
            "beta": self.beta,
            "batch_dice": self.batch_dice,
            "cross_entropy_per_class": self.balance_classes,
        }
        # Drawings on fully annotated samples must not enter the Dice of the others.
        drawings = torch.where(per_sample(batch.fully_annotated, batch.maps), 0, batch.maps)
        terms, distances = {}, []
        for (name, kind), drawing in zip(maps.items(), drawings.unbind(1), strict=True):
            annotator = auxiliary_output[name]
            if kind == "positive":
                value = positive_loss(annotator.probabilities, drawing, **options)
            else:
                logits = annotator.complementary_logits
                value = self.negative_weight * negative_loss(annotator.probabilities, drawing, logits)
            terms[f"{kind} {name}"] = weights[0] * value
            drawn_by = [name in self.annotations.cases[case].maps for case in batch.keys]
            distances.append(annotator.identity_distance * torch.tensor(drawn_by, device=drawing.device))
        terms["regulariser"] = self.regulariser_weight * torch.stack(distances).sum(0)
        if self.enable_deep_supervision:
            positive = drawings[:, [index for index, kind in enumerate(maps.values()) if kind == "positive"]]
            terms["lower resolutions"] = lower_resolutions_loss(output[1:], positive, weights[1:], **options)
        return terms


class _MultipliedPolyLR(PolyLRScheduler):
    """nnU-Net's schedule, times a number for each parameter group."""

    def __init__(self, optimizer: Any, initial_lr: float, max_steps: int, multipliers: tuple[float, ...]) -> None:
        self.multipliers = multipliers
        super().__init__(optimizer, initial_lr, max_steps)

    def step(self, current_step: int | None = None) -> None:
        super().step(current_step)
        for group, multiplier in zip(self.optimizer.param_groups, self.multipliers, strict=True):
            group["lr"] *= multiplier
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
