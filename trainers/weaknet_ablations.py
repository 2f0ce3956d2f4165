"""Weak-Net without its second network."""

from __future__ import annotations

from nnunet_weak.trainers.weaknet import nnUNetTrainerWeakNet


class nnUNetTrainerWeakNetNoReconstruction(nnUNetTrainerWeakNet):
    """lambda = 0: the template by cross-entropy alone; there is no second network."""

    reconstruction_weight = 0.0
