"""Short schedules for demonstrations and benchmarks on a CPU: name this folder in `nnUNet_extTrainer`.

A variant is a subclass whose class attributes say what differs. Learning rates are higher than the methods' own, as
there are few steps.
"""

from nnunet_weak.trainers.score import nnUNetTrainerSCORE
from nnunet_weak.trainers.score_plus import nnUNetTrainerSCOREPlus


class ShortSchedule:
    num_epochs = 12
    num_iterations_per_epoch = 25
    num_val_iterations_per_epoch = 4
    initial_lr = 3e-3


class nnUNetTrainerSCORE_short(ShortSchedule, nnUNetTrainerSCORE):
    pass


class nnUNetTrainerSCOREPlus_short(ShortSchedule, nnUNetTrainerSCOREPlus):
    pass
