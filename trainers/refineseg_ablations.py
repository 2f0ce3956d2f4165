"""RefineSeg for scribbles, with nnU-Net's optimiser, with deep supervision, and without each of its parts."""

from __future__ import annotations

import math
from typing import Any

import torch

from nnunet_weak.trainers.refineseg import nnUNetTrainerRefineSeg
from nnunet_weak.training.weak_trainer import nnUNetTrainerWeak


class nnUNetTrainerRefineSegSGD(nnUNetTrainerRefineSeg):
    """nnU-Net's optimiser, SGD with Nesterov momentum."""

    initial_lr = 1e-2
    weight_decay = 3e-5

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
        """Stock."""
        return nnUNetTrainerWeak.configure_optimizers(self)


class nnUNetTrainerRefineSegBalanced(nnUNetTrainerRefineSeg):
    """For scribbles: every drawn class counts the same, however little of it is drawn. Not in the paper.

    That takes weight from the background, which then must not lose its hold where a class is absent: batch Dice.
    """

    balance_classes = True
    batch_dice = True


class nnUNetTrainerRefineSegHeadLR20(nnUNetTrainerRefineSeg):
    """Annotation heads with a higher learning rate: in a short training they hardly leave the identity else."""

    head_lr_multiplier = 20.0


class nnUNetTrainerRefineSegDeepSupervision(nnUNetTrainerRefineSeg):
    """With deep supervision by the positive drawings."""

    enable_deep_supervision = True


class nnUNetTrainerRefineSegNoNegatives(nnUNetTrainerRefineSeg):
    """Positive drawings alone."""

    negative_weight = 0.0


class nnUNetTrainerRefineSegNoRegulariser(nnUNetTrainerRefineSeg):
    """Nothing pulls the transition matrices towards the identity."""

    regulariser_weight = 0.0


class nnUNetTrainerRefineSegNoWarmup(nnUNetTrainerRefineSeg):
    """Transition matrices are learned from the first step on."""

    warmup_share = 0.0


class nnUNetTrainerRefineSegLearnedComplementary(nnUNetTrainerRefineSeg):
    """The complementary matrix M is learned."""

    learned_complementary = True


class nnUNetTrainerRefineSegNoTransitionMatrices(nnUNetTrainerRefineSeg):
    """Transition matrices stay the identity: partial losses on all drawings, nothing else."""

    warmup_share = math.inf
