"""RefineSegPlus: stock training on the drawings, plus what only further maps and negatives say. Not in the paper."""

from __future__ import annotations

from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn
from torch.nn import functional

from nnunet_weak.losses.refineseg import excluded_class_loss
from nnunet_weak.training.weak_trainer import WeakBatch, nnUNetTrainerWeak, per_sample


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
        drawn = [batch.maps[:, index : index + 1] for index in positive] if len(positive) > 1 else [None]
        losses = [self.loss(output, self._labels(batch, one)) for one in drawn]
        terms = {"positive": torch.stack(losses).mean()}
        if negative:
            logits = output[0] if isinstance(output, (list, tuple)) else output
            maps = torch.where(per_sample(batch.fully_annotated, batch.maps), 0, batch.maps)[:, negative]
            terms["negative"] = self.negative_weight * excluded_class_loss(logits, maps)
        return terms, output

    def _labels(self, batch: WeakBatch, drawn: torch.Tensor | None) -> Any:
        """Labels at every resolution, those of a positive map if one is given, without padding.

        Fully annotated samples keep their labels, also in the padding.
        """
        ignore = self.label_manager.ignore_label
        if ignore is None:
            return batch.seg

        def at(seg: torch.Tensor) -> torch.Tensor:
            def resampled(maps: torch.Tensor) -> torch.Tensor:
                return functional.interpolate(maps.float(), seg.shape[2:], mode="nearest-exact")

            labels = seg if drawn is None else resampled(torch.where(drawn > 0, drawn - 1, ignore)).to(seg.dtype)
            labels = torch.where(resampled(batch.inside) > 0, labels, ignore)
            return torch.where(per_sample(batch.fully_annotated, seg), seg, labels)

        return [at(seg) for seg in batch.seg] if isinstance(batch.seg, list) else at(batch.seg)
