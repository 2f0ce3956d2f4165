"""SCORE: refine an automatic mask from quality scores of its regions.

Reference:
    de Langlais et al., "Resource-efficient automatic refinement of segmentations via weak supervision from light
    feedback".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

from nnunet_weak.dataset.annotations import WeakAnnotations
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.losses.missing_regions import count_as_background
from nnunet_weak.losses.score import RegionTargets, ScoreOptions, score_loss
from nnunet_weak.training.weak_trainer import WeakBatch, nnUNetTrainerWeak
from nnunet_weak.transforms.channel_stash import with_channels_stashed
from nnunet_weak.transforms.mask_morphology import morphological_augmentation
from nnunet_weak.transforms.soft_masks import hard_masks


class nnUNetTrainerSCORE(nnUNetTrainerWeak):
    """The paper's method, plus the background in the stability term (`score_options.paper_exact` leaves it out).

    Attributes:
        score_options: Weights and band width of the loss. `eta` is in voxels of the preprocessed grid, as in the paper.
        eta_mm: Band width in mm instead of `score_options.eta`; the bands then follow the spacing.
        morphology_probability: How often a training sample's masks are degraded further.
        morphology_radius_vox: Largest radius of that.
        emptying_probability: How often a training sample's input lacks the mask of a region that is scored as missing
            in any case, so that the network learns to draw it where there is no mask. Not in the paper.
    """

    method = "score"
    score_options = ScoreOptions()
    eta_mm: float | None = None
    morphology_probability = 0.5
    morphology_radius_vox = 2.0
    emptying_probability = 0.25

    initial_lr = 1e-4
    weight_decay = 0.0
    enable_deep_supervision = False
    # nnU-Net's oversampling counts samples of a batch and never draws foreground in a batch of one.
    probabilistic_oversampling = True

    def _read_annotations(self, plans: dict, configuration: str, dataset_json: dict) -> WeakAnnotations:
        annotations = super()._read_annotations(plans, configuration, dataset_json)
        if not any(case.scores or case.fully_annotated for case in annotations.cases.values()):
            raise InvalidInputError(
                f"{plans['dataset_name']}: no case has a score, so {type(self).__name__} would learn to keep every "
                "mask (remedy: convert with --scores, or train nnUNetTrainerSCOREPlus, which needs none)"
            )
        return annotations

    def _set_batch_size_and_oversample(self) -> None:
        self.batch_size = 1  # the paper's; one per GPU

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        """Adam, the paper's, with nnU-Net's schedule."""
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(parameters, self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> Any:
        """Stock geometry, but flips in the left-right direction only."""
        rotation, dummy_2d, initial_patch_size, _ = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        dims = len(self.configuration_manager.patch_size)
        axis = left_right_axis(self.annotations.left_right_axis, self.plans_manager.transpose_forward, dims)
        mirror_axes = () if axis is None else (axis,)
        self.inference_allowed_mirroring_axes = mirror_axes or None  # prediction crashes on an empty tuple
        return rotation, dummy_2d, initial_patch_size, mirror_axes

    def get_training_transforms(self, *args: Any, **kwargs: Any) -> ComposeTransforms:  # type: ignore[override]
        """Stock transforms, whose intensity part does not see the mask and prior channels."""
        return with_channels_stashed(super().get_training_transforms(*args, **kwargs), self.annotations.channels.images)

    def prepare_batch(self, batch: WeakBatch, training: bool) -> WeakBatch:
        """Read the masks from their channels, look up the scores, and degrade both when training."""
        channels = self.annotations.channels
        soft, data = batch.data[:, channels.mask_channels], batch.data
        quality, error = self._scores(batch.keys)
        masks = hard_masks(soft)
        unaugmented = None
        if training and self.morphology_probability > 0:
            augmented, quality = morphological_augmentation(
                soft,
                quality,
                error,
                spacing=[1.0] * (data.ndim - 2),
                max_radius=self.morphology_radius_vox,
                probability=self.morphology_probability,
            )
            data = data.clone()
            data[:, channels.mask_channels] = augmented
            masks, unaugmented = hard_masks(augmented), masks
        if training and any(self.annotations.ever_missing) and self.emptying_probability > 0:
            data = self._with_emptied_masks(data)
        targets = RegionTargets(
            masks=masks,
            quality=quality,
            error=error,
            prior=data[:, -1:].clamp(0, 1) if channels.prior else torch.full_like(data[:, :1], 0.5),
            inside=batch.inside,
            spacing=[1.0] * (data.ndim - 2) if self.eta_mm is None else list(self.configuration_manager.spacing),
            unaugmented=unaugmented,
        )
        return replace(batch, data=data, annotation=targets)

    def weak_loss(self, batch: WeakBatch, output: Any, auxiliary_output: Any) -> dict[str, torch.Tensor]:
        """The three terms of eq. 4, weighted."""
        options = self.score_options if self.eta_mm is None else replace(self.score_options, eta=self.eta_mm)
        output = count_as_background(output, self.annotations.missing_in(batch.keys))
        return score_loss(output, batch.annotation, options)

    def _with_emptied_masks(self, data: torch.Tensor) -> torch.Tensor:
        """Take masks of regions that some cases lack from the network's input, not from what it learns."""
        often = torch.tensor(self.annotations.ever_missing, device=data.device) * self.emptying_probability
        emptied = torch.rand(len(data), len(often), device=data.device) < often
        kept = (~emptied).reshape(*emptied.shape, *[1] * (data.ndim - 2))
        data = data.clone()
        data[:, self.annotations.channels.mask_channels] *= kept
        return data

    def _scores(self, keys: tuple[str, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        regions = self.annotations.channels.masks
        scores = [[self.annotations.cases[key].scores.get(region) for region in regions] for key in keys]
        quality = [[float("nan") if score is None else score.quality for score in row] for row in scores]
        error = [[0 if score is None else int(score.error) for score in row] for row in scores]
        return torch.tensor(quality, device=self.device), torch.tensor(error, device=self.device)


def left_right_axis(image_axis: int | None, transpose_forward: Sequence[int], spatial_dims: int) -> int | None:
    """Which of the network's spatial axes runs left-right in the patient.

    nnU-Net ignores the direction matrix, so it cannot know; the converter records the axis of the image.

    Args:
        image_axis: Axis of the image, x = 0, y = 1, z = 2; None if unknown.
        transpose_forward: nnU-Net's permutation of the array axes (z, y, x).
        spatial_dims: 2 or 3 (in 2d the first axis is not seen by the network).

    Returns:
        The axis, or None where it is unknown or out of plane.
    """
    if image_axis is None:
        return None
    axis = list(transpose_forward).index(2 - image_axis) - (3 - spatial_dims)
    return axis if axis >= 0 else None
