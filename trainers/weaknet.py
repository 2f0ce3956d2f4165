"""Weak-Net: learn from templates that were fitted to a few points on the surface of an object.

Reference:
    "Weakly Supervised Volumetric Image Segmentation with Deformed Templates" (Weak-Net), MICCAI 2022.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from torch import nn

from nnunet_weak.losses.weaknet import cross_entropy_loss, reconstruction_loss, reconstruction_weights
from nnunet_weak.networks.reconstruction import Reconstruction, reconstruction_unet
from nnunet_weak.training.weak_trainer import WeakBatch, nnUNetTrainerWeak


@dataclass(frozen=True)
class TemplateTargets:
    """By resolution, finest first: the template, and which voxels count (inside the image, not ignored)."""

    template: tuple[torch.Tensor, ...]
    counted: tuple[torch.Tensor, ...]


class nnUNetTrainerWeakNet(nnUNetTrainerWeak):
    """The paper's method, without deep supervision as there.

    Attributes:
        reconstruction_weight: lambda of eq. 1. The paper's 1e-4 is for its intensities, nnU-Net's have an SD of 1.
        boundary_distance_mm: d, how far from the template's boundary the reconstruction counts fully.
        far_weight: Weight of the reconstruction elsewhere.
        reconstruction_features: Width of the reconstruction network, relative to the segmentation network.
        gamma: See the base class; 0.5 as in nnU-Net, or `nnunet_weak_set_threshold` afterwards.
    """

    method = "weaknet"
    reconstruction_weight = 0.1
    boundary_distance_mm = 5.0
    far_weight = 0.1
    reconstruction_features = 1.0

    initial_lr = 1e-3
    weight_decay = 3e-5
    enable_deep_supervision = False

    def build_auxiliary_network(self, core: Any, num_input_channels: int, num_classes: int) -> nn.Module | None:
        """The second U-Net; None where lambda is 0."""
        if self.reconstruction_weight == 0:
            return None
        plan = self.configuration_manager
        architecture = plan.network_arch_class_name, plan.network_arch_init_kwargs
        needs_import, width = plan.network_arch_init_kwargs_req_import, self.reconstruction_features
        unet = reconstruction_unet(*architecture, needs_import, num_classes, num_input_channels, features=width)
        return Reconstruction(unet)

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
        """AdamW, which trains the reconstruction network at the same pace whatever lambda is."""
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

    def prepare_batch(self, batch: WeakBatch, training: bool) -> WeakBatch:
        """Take the template from the label map, and leave out padding and ignored voxels."""
        templates = batch.seg if isinstance(batch.seg, list) else [batch.seg]
        inside = batch.inside.float()
        ignore = self.label_manager.ignore_label
        counted = tuple(
            (nn.functional.interpolate(inside, template.shape[2:], mode="nearest-exact") > 0)
            & (True if ignore is None else template != ignore)
            for template in templates
        )
        return replace(batch, annotation=TemplateTargets(tuple(part.long() for part in templates), counted))

    def weak_loss(self, batch: WeakBatch, output: Any, auxiliary_output: Any) -> dict[str, torch.Tensor]:
        """Both terms of eq. 1, weighted."""
        terms = {"cross-entropy": self.template_loss(output, batch.annotation)}
        if auxiliary_output is not None:
            template, counted = batch.annotation.template[0], batch.annotation.counted[0]
            spacing = list(self.configuration_manager.spacing)
            weights = reconstruction_weights(template, counted, self.boundary_distance_mm, spacing, self.far_weight)
            mse = reconstruction_loss(auxiliary_output, batch.data, weights, counted)
            terms["reconstruction"] = self.reconstruction_weight * mse
        return terms

    def template_loss(self, output: Any, targets: TemplateTargets) -> torch.Tensor:
        """L_ce; under deep supervision over the resolutions, weighted as stock weights them."""
        outputs = output if isinstance(output, list) else [output]
        levels = zip(self.output_weights, outputs, targets.template, targets.counted, strict=True)
        return torch.stack([weight * cross_entropy_loss(*level) for weight, *level in levels]).sum(0)


class nnUNetTrainerWeakNetNoReconstruction(nnUNetTrainerWeakNet):
    """lambda = 0: the template by cross-entropy alone; there is no second network."""

    reconstruction_weight = 0.0
