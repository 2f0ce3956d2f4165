"""Short schedules for demonstrations and benchmarks on a CPU: name this folder in `nnUNet_extTrainer`.

A variant is a subclass whose class attributes say what differs. Learning rates are higher than the methods' own, as
there are few steps.
"""

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_weak.trainers.refineseg_plus import nnUNetTrainerRefineSegPlus
from nnunet_weak.trainers.score import nnUNetTrainerSCORE
from nnunet_weak.trainers.weaknet import nnUNetTrainerWeakNet
from nnunet_weak.training.cpu_precision import HalfPrecisionOnCPU


class ShortSchedule(HalfPrecisionOnCPU):
    num_epochs = 12
    num_iterations_per_epoch = 25
    num_val_iterations_per_epoch = 4
    initial_lr = 3e-3


class ShortScoreSchedule(ShortSchedule):
    """One sample a step, so more steps."""

    num_epochs = 36
    num_iterations_per_epoch = 40
    num_val_iterations_per_epoch = 2
    initial_lr = 1e-2


class nnUNetTrainerSCORE_short(ShortScoreSchedule, nnUNetTrainerSCORE):
    """`nnUNetTrainerSCORE`."""


class nnUNetTrainerWeakNet_short(ShortSchedule, nnUNetTrainerWeakNet):
    reconstruction_features = 0.5


class AdamW:
    """In place of nnU-Net's SGD, which learns next to nothing in so few steps."""

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)


class nnUNetTrainerRefineSegPlus_short(AdamW, ShortSchedule, nnUNetTrainerRefineSegPlus):
    """`nnUNetTrainerRefineSegPlus`."""


class nnUNetTrainer_short(AdamW, HalfPrecisionOnCPU, nnUNetTrainer):
    """The stock trainer, which sets its schedule in its constructor."""

    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):  # noqa: B008
        super().__init__(plans, configuration, fold, dataset_json, device)
        for name in ("num_epochs", "num_iterations_per_epoch", "num_val_iterations_per_epoch", "initial_lr"):
            setattr(self, name, getattr(ShortSchedule, name))
