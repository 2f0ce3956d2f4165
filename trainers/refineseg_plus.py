"""RefineSegPlus: stock training on the drawings, plus what only further maps and negatives say. Not in the paper."""

from __future__ import annotations

from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn
from torch.nn import functional

from nnunet_weak.losses.refineseg import excluded_class_loss
from nnunet_weak.training.weak_trainer import WeakBatch, nnUNetTrainerWeak


class nnUNetTrainerRefineSegPlus(nnUNetTrainerWeak):
    """nnU-Net's own loss (deep supervision, batch Dice as planned) on each positive map, and a loss of the negatives.

    Drawings are taken as they are: no transition matrices. Augmentation pads images; stock training calls the padding
    background, which on sparse drawings is most of what it learns from. Here it is ignored. With one positive map, no
    negatives and no padding the loss is the stock loss to the last bit.

    Attributes:
        negative_weight: Weight of the negative drawings.
    """

    method = "refineseg"
    reads_annotation_maps = True
    negative_weight = 1.0

    def _build_loss(self) -> nn.Module:
        return nnUNetTrainer._build_loss(self)

    def compute_loss(self, batch: WeakBatch) -> tuple[dict[str, torch.Tensor], Any]:
        """The stock loss as a mean over the positive maps, the negatives' loss, and the network's output."""
        output = self.network(batch.data)
        positive, negative = (
            [n for n, kind in enumerate(self.annotations.maps.values()) if kind == wanted]
            for wanted in ("positive", "negative")
        )
        # The label map is the first map that a case has.
        targets = [self._labels_of(batch, index) for index in positive] if len(positive) > 1 else [batch.seg]
        losses = [self.loss(output, self._without_padding(batch, target)) for target in targets]
        terms = {"positive": torch.stack(losses).mean()}
        if negative:
            logits = output[0] if isinstance(output, (list, tuple)) else output
            maps = torch.where(_per_sample(batch.fully_annotated, batch.maps), 0, batch.maps)[:, negative]
            terms["negative"] = self.negative_weight * excluded_class_loss(logits, maps)
        return terms, output

    def _labels_of(self, batch: WeakBatch, index: int) -> Any:
        """A positive map as label map at every resolution; fully annotated samples keep their labels."""
        ignore = self.label_manager.ignore_label
        drawn = batch.maps[:, index : index + 1]
        labels = torch.where(drawn > 0, drawn - 1, ignore)

        def at(seg: torch.Tensor) -> torch.Tensor:
            coarse = functional.interpolate(labels.float(), seg.shape[2:], mode="nearest-exact").to(seg.dtype)
            return torch.where(_per_sample(batch.fully_annotated, seg), seg, coarse)

        return [at(seg) for seg in batch.seg] if isinstance(batch.seg, list) else at(batch.seg)

    def _without_padding(self, batch: WeakBatch, target: Any) -> Any:
        if self.label_manager.ignore_label is None or bool(batch.inside.all()):
            return target

        def ignored(seg: torch.Tensor) -> torch.Tensor:
            inside = functional.interpolate(batch.inside.float(), seg.shape[2:], mode="nearest-exact") > 0
            kept = inside | _per_sample(batch.fully_annotated, seg)
            return torch.where(kept, seg, self.label_manager.ignore_label)

        return [ignored(seg) for seg in target] if isinstance(target, list) else ignored(target)


def _per_sample(flags: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return flags.view(-1, *[1] * (like.ndim - 1))
