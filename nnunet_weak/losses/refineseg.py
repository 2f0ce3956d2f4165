"""RefineSeg's losses: learning from coarse positive and negative drawings through transition matrices.

``L`` classes, background included. An annotation strategy ``r`` (one annotator's way of drawing) is described by the
transition matrix ``A_mk = p(drawn m | true k)``, whose columns sum to one; ``u = A p`` (eq. 1) is what that annotator
is expected to draw where the network believes ``p``, see `nnunet_weak.networks.annotation_heads`. Annotation maps are
encoded **0 = blank, k + 1 = class k**: in a positive map "this is class k", in a negative map "this is not class k".
Blank voxels (and anything below 0) say nothing.

``u`` is ``(B, L, *spatial)``, an annotation map ``(B, *spatial)`` or ``(B, 1, *spatial)``; 2d and 3d alike. Every loss
is returned per sample, ``(B,)``, depends on that sample alone (but for batch Dice), is computed in float32 also under
autocast, and is 0 with a zero gradient for a blank map.

Reference: Du et al., "RefineSeg: Dual Coarse-to-Fine Learning for Medical Image Segmentation", MICCAI 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

# Keeps log and its gradient finite in float32 (also times a gradient scale of 2^16), yet is reached only when two
# logits differ by 69, so that a confidently wrong voxel still learns; the usual 1e-7 would silence it.
_SMALLEST_PROBABILITY = 1e-30


def positive_loss(
    drawn_probabilities: Tensor,
    annotation: Tensor,
    *,
    alpha: float = 0.6,
    beta: float = 0.4,
    dice_per_class: bool = True,
    batch_dice: bool = False,
    cross_entropy_per_class: bool = False,
) -> Tensor:
    """``alpha`` times cross-entropy plus ``beta`` times Dice loss, both over drawn voxels only (eqs. 2 to 4).

    Args:
        drawn_probabilities: ``u``.
        annotation: positive map; values above L are not checked here.
        alpha: weight of the cross-entropy.
        beta: weight of the Dice loss.
        dice_per_class: Dice per class, averaged over the classes that were drawn in the sample. ``False`` sums over all
            classes within one fraction, as eq. 4 is written; that equals ``1 - mean(u of the drawn class)`` and does
            not balance classes, which is what the paper wants of it.
        batch_dice: Dice per class over the whole batch, as nnU-Net takes it with its 2d plans. A class then counts in
            all drawn samples as soon as one has it: else nothing but the cross-entropy keeps it out of slices where it
            is not drawn. Over the samples of one process only.
        cross_entropy_per_class: cross-entropy as the mean over the drawn classes too, instead of the paper's over drawn
            voxels. For thin strokes beside a background that is drawn as a whole: the mean over voxels hardly sees the
            strokes, and a class may never be learned. Not in the paper.
    """
    with _no_autocast(drawn_probabilities):
        u, drawn, drawn_class, count = _flatten(drawn_probabilities, annotation)
        u_drawn = u.gather(1, drawn_class[:, None])[:, 0]
        negative_log = -_safe_log(u_drawn)
        classes = torch.arange(u.shape[1], device=u.device)[None, :, None]
        one_hot = (drawn_class[:, None] == classes) & drawn[:, None]
        class_size = one_hot.sum(2).float()
        present = class_size > 0
        if cross_entropy_per_class:
            of_class = torch.where(one_hot, negative_log[:, None], 0).sum(2) / class_size.clamp_min(1)
            cross_entropy = _mean_of_present(of_class, present)
        else:
            cross_entropy = _mean_of_drawn(negative_log, drawn, count)
        if dice_per_class:
            overlap = torch.where(one_hot, u, 0).sum(2)
            predicted_size = torch.where(drawn[:, None], u, 0).sum(2)
            if batch_dice:
                overlap, predicted_size, class_size = (
                    size.sum(0, keepdim=True) for size in (overlap, predicted_size, class_size)
                )
                present = class_size > 0
            # An absent class has no overlap; the 1 only keeps its unused fraction away from 0 / 0.
            dice = 2 * overlap / (predicted_size + class_size).masked_fill(~present, 1.0)
            dice_loss = _mean_of_present(1 - dice, present) * (count > 0)
        else:
            dice_loss = (count > 0).float() - _mean_of_drawn(u_drawn, drawn, count)
        return alpha * cross_entropy + beta * dice_loss


def negative_loss(
    drawn_probabilities: Tensor, annotation: Tensor, complementary_logits: Tensor | None = None
) -> Tensor:
    """Mean over drawn voxels of the cross-entropy of "this is not class c" (eq. 6), by ``v = M^T u``.

    Without ``complementary_logits`` the complementary matrix ``M`` is uniform, ``1 / (L - 1)`` off the diagonal, and
    the loss is ``-log(1 - u_c)``; its constant ``log(L - 1)`` is left out, so that a perfect prediction costs 0. With
    them ``M`` is :func:`complementary_matrix` of the logits and the loss is ``-log v_c``, which contains that constant.
    For ``L = 2`` both are the ordinary cross-entropy on the other class.

    Args:
        drawn_probabilities: ``u``, summing to one over the classes.
        annotation: negative map.
        complementary_logits: learnable ``(L, L)`` logits of ``M``, or ``None`` for the uniform ``M``.
    """
    with _no_autocast(drawn_probabilities):
        u, drawn, drawn_class, count = _flatten(drawn_probabilities, annotation)
        if complementary_logits is None:
            # 1 - u_c as the sum of the other classes: no cancellation where u_c is close to 1.
            not_drawn_class = u.scatter(1, drawn_class[:, None], 0.0).sum(1)
        else:
            v = torch.matmul(complementary_matrix(complementary_logits).T, u)
            not_drawn_class = v.gather(1, drawn_class[:, None])[:, 0]
        return -_mean_of_drawn(_safe_log(not_drawn_class), drawn, count)


def excluded_class_loss(logits: Tensor, annotations: Tensor) -> Tensor:
    """``-log(1 - p_c)`` of a batch, as the mean over the excluded classes of each class's mean over voxels.

    Class by class, as excluded background is rare and valuable, excluded targets are mostly far from any. Not in the
    paper, whose :func:`negative_loss` is a mean over voxels.

    Args:
        logits: ``(B, L, *spatial)``.
        annotations: negative maps, ``(B, maps, *spatial)``.

    Returns:
        A scalar, 0 where nothing is excluded.
    """
    with _no_autocast(logits):
        logits = logits.float()
        total, classes = logits.sum() * 0.0, torch.zeros((), device=logits.device)
        normaliser = logits.logsumexp(1)
        for number in range(logits.shape[1]):
            excluded = annotations == number + 1
            voxels = excluded.sum()
            others = torch.cat([logits[:, :number], logits[:, number + 1 :]], dim=1).logsumexp(1) - normaliser
            total = total - (others[:, None] * excluded).sum() / voxels.clamp_min(1)
            classes = classes + (voxels > 0)
        return total / classes.clamp_min(1)


def lower_resolutions_loss(
    logits: Sequence[Tensor], annotations: Tensor, weights: Sequence[float], **options: Any
) -> Tensor:
    """Deep supervision: positive drawings as they are, on the coarser grids. Not in the paper.

    Transition matrices belong to the full resolution, so the coarser ones learn what was drawn.

    Args:
        logits: the network's logits at the coarser resolutions, each ``(B, L, *coarse)``.
        annotations: positive maps of all strategies, ``(B, strategies, *spatial)``.
        weights: weight of each resolution.
        options: of :func:`positive_loss`.
    """
    total = annotations.new_zeros(annotations.shape[0], dtype=torch.float32)
    for coarse, weight in zip(logits, weights, strict=True):
        probabilities = coarse.float().softmax(1)
        total = total + 0.0 * probabilities.flatten(1).mean(1)  # in the graph also without drawings, as DDP wants
        if annotations.shape[1]:
            drawings = torch.nn.functional.interpolate(annotations.float(), coarse.shape[2:], mode="nearest-exact")
            for drawing in drawings.unbind(1):
                total = total + weight * positive_loss(probabilities, drawing, **options)
    return total


def complementary_matrix(logits: Tensor) -> Tensor:
    """``M``, softmax over the off-diagonal entries of each row; the diagonal is 0 and logits there are ignored.

    ``M_mk`` is the probability that "not k" is drawn where the annotator sees class m. The paper defines it by columns,
    ``p(drawn m | true k)``, yet multiplies with ``M^T``: only if rows sum to one does ``v = M^T u`` sum to one, and
    with columns that do the loss could be lowered by inflating ``v``. Logits and result are ``(L, L)``.
    """
    diagonal = torch.eye(logits.shape[0], dtype=torch.bool, device=logits.device)
    return logits.float().masked_fill(diagonal, float("-inf")).softmax(dim=1)


def _flatten(u: Tensor, annotation: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Probabilities ``(B, L, V)``, what is drawn and its class ``(B, V)``, number of drawn voxels ``(B,)``."""
    if annotation.ndim == u.ndim and annotation.shape[1] == 1:
        annotation = annotation[:, 0]
    if annotation.shape != (u.shape[0], *u.shape[2:]):
        raise ValueError(
            f"annotation must have the batch and spatial shape of the probabilities, {(u.shape[0], *u.shape[2:])}, "
            f"but has {tuple(annotation.shape)}"
        )
    values = annotation.flatten(1).long()
    drawn = values > 0
    return u.float().flatten(2), drawn, (values - 1).clamp_min(0), drawn.sum(1)


def _no_autocast(tensor: Tensor) -> AbstractContextManager[Any]:
    # Older torch knows no autocast on mps, where nnU-Net uses none.
    return nullcontext() if tensor.device.type == "mps" else torch.autocast(tensor.device.type, enabled=False)


def _mean_of_drawn(values: Tensor, drawn: Tensor, count: Tensor) -> Tensor:
    return torch.where(drawn, values, 0).sum(1) / count.clamp_min(1)


def _mean_of_present(values: Tensor, present: Tensor) -> Tensor:
    return torch.where(present, values, 0).sum(1) / present.sum(1).clamp_min(1)


def _safe_log(probability: Tensor) -> Tensor:
    return probability.clamp_min(_SMALLEST_PROBABILITY).log()
