"""Annotation heads: what each annotator makes of the truth, as transition matrices on the last decoder features.

For every annotation strategy ``r`` a head turns the features ``(B, F, *spatial)`` into ``A^(r)``, an ``L x L`` matrix
per voxel (or per image) with ``A_mk = p(drawn m | true k)``: softmax over m, columns sum to one. Training needs only
``u = A p`` (eq. 1) and the distance of ``A`` to the identity (eq. 7), see `nnunet_weak.networks.annotator_transition`.

Works in 2d ``(B, F, H, W)`` and 3d ``(B, F, D, H, W)``. Training only: nothing here is part of the network that
predicts.

Reference: Du et al., "RefineSeg", MICCAI 2025, eqs. 1 and 7; the pixel-wise matrices follow Zhang et al., NeurIPS 2020.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from nnunet_weak.networks.annotator_transition import ApplyTransition, no_autocast, transition_columns

logger = logging.getLogger(__name__)

PER_IMAGE_ABOVE = 2**30
"""Matrix entries per sample (``L * L * voxels``) above which one matrix per image replaces one per voxel.

Memory does not grow with ``L^2``, but time does. 20 classes at a 128^3 patch (0.84e9) stay below, 118 classes at any
usual patch do not.
"""


class AnnotatorOutput(NamedTuple):
    """What one head says about a batch; goes into the losses of ``nnunet_weak.losses.refineseg``.

    Attributes:
        probabilities: ``u = A p``, ``(B, L, *spatial)``, float32.
        identity_distance: mean over voxels of ``||A - I||_F^2`` (eq. 7), ``(B,)``, float32; 0 during the warm-up.
        complementary_logits: logits of the learned complementary matrix ``M``, ``(L, L)``; ``None`` where it is
            uniform.
    """

    probabilities: Tensor
    identity_distance: Tensor
    complementary_logits: Tensor | None


class AnnotationHeads(nn.Module):
    """One annotation head per strategy.

    A head is a 3-wide convolution with instance norm and leaky ReLU, then a 1-wide convolution to the ``L * L`` logits.
    The latter starts at zero with a bias that gives every column ``initial_diagonal`` on the diagonal.

    Args:
        strategies: names of the annotation maps, in the order of the results.
        num_classes: ``L``, background included.
        feature_channels: ``F``, channels of the last decoder stage.
        dims: 2 or 3.
        learned_complementary: names of the (negative) strategies whose complementary matrix ``M`` is learned.
        hidden_channels: width of the hidden convolution; 0 for none; ``None`` for ``feature_channels``.
        initial_diagonal: ``A_kk`` at the start.
        per_image: one matrix per image, from the features' mean over the voxels, instead of one per voxel. ``None``
            decides by ``patch_size`` and :data:`PER_IMAGE_ABOVE`, with a warning where it changes the method.
        patch_size: voxels per axis in training; needed for the automatic choice only.

    Raises:
        ValueError: for names that are unknown or occur twice, fewer than two classes, or a diagonal outside (0, 1).
    """

    def __init__(
        self,
        strategies: Sequence[str],
        num_classes: int,
        feature_channels: int,
        dims: int,
        *,
        learned_complementary: Sequence[str] = (),
        hidden_channels: int | None = None,
        initial_diagonal: float = 0.9,
        per_image: bool | None = None,
        patch_size: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.strategies = tuple(strategies)
        _check_arguments(self.strategies, learned_complementary, num_classes, dims, initial_diagonal)
        self.num_classes = num_classes
        self.per_image = _choose_per_image(per_image, num_classes, patch_size)
        hidden = feature_channels if hidden_channels is None else hidden_channels
        # A list, not a ModuleDict: names of annotation maps may contain dots.
        self.heads = nn.ModuleList(
            AnnotationHead(num_classes, feature_channels, hidden, dims, initial_diagonal, self.per_image)
            for _ in self.strategies
        )
        self.complementary_logits = nn.ParameterList(
            nn.Parameter(torch.zeros(num_classes, num_classes), requires_grad=name in learned_complementary)
            for name in self.strategies
        )

    def forward(self, features: Tensor, probabilities: Tensor, warmup: bool = False) -> dict[str, AnnotatorOutput]:
        """``u`` and the regulariser of every strategy.

        Args:
            features: last decoder features.
            probabilities: the network's class probabilities ``p``, not logits.
            warmup: ``A = I``, so ``u = p``. Every parameter still enters the result, times 0, because distributed
                training waits for a gradient of each.

        Returns:
            Strategy name to :class:`AnnotatorOutput`, in the order of the strategies.

        Shape:
            features ``(B, F, *spatial)``; probabilities ``(B, L, *spatial)``.
        """
        probabilities = probabilities.float()
        results = {}
        for name, head, logits in zip(self.strategies, self.heads, self.complementary_logits, strict=True):
            if warmup:
                zero = torch.stack([parameter.sum() for parameter in head.parameters()]).sum() * 0.0
                u, distance = probabilities + zero, zero.expand(features.shape[0])
            else:
                u, distance = head(features, probabilities)
            results[name] = AnnotatorOutput(u, distance, logits if logits.requires_grad else None)
        return results

    @torch.no_grad()
    def transition_sums(self, features: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Sums from which annotators' mean transition matrices are reported, without making ``A``.

        Column k of a strategy's mean matrix, sum over number, tells what the annotator draws where the class is k.

        Args:
            features: last decoder features.
            classes: class of every voxel, true or predicted, 0 to L - 1; other values are left out. ``(B, *spatial)``.

        Returns:
            Sums of each strategy's columns over the voxels of their class, axes (strategy, m, k), and the number of
            voxels of each class ``(L,)``; both float64 on the CPU.
        """
        voxels = [classes.flatten(1) == k for k in range(self.num_classes)]
        weights = [of_class.sum(1, keepdim=True) if self.per_image else of_class for of_class in voxels]
        sums = []
        for head in cast("list[AnnotationHead]", list(self.heads)):
            last = head.last_features(features)
            columns = [
                torch.matmul(head.column(last, k), weight[..., None].to(torch.float32)).sum((0, 2))
                for k, weight in enumerate(weights)
            ]
            sums.append(torch.stack(columns, dim=1))
        # Double on the CPU: a data set has more voxels than float32 can count, and not every device has float64.
        return torch.stack(sums).cpu().double(), torch.stack([of_class.sum() for of_class in voxels]).cpu().double()


class AnnotationHead(nn.Module):
    """Head of one strategy; see `AnnotationHeads`."""

    def __init__(
        self, num_classes: int, features: int, hidden: int, dims: int, initial_diagonal: float, per_image: bool
    ) -> None:
        super().__init__()
        self.per_image = per_image
        self.hidden = _hidden_block(features, hidden, dims)
        self.weight = nn.Parameter(torch.zeros(num_classes, num_classes, hidden or features))
        odds = initial_diagonal / (1 - initial_diagonal)
        self.bias = nn.Parameter(torch.eye(num_classes) * math.log(odds * (num_classes - 1)))

    def forward(self, features: Tensor, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """``u = A p``, ``(B, L, *spatial)``, and the mean over voxels of ``||A - I||_F^2``, ``(B,)``."""
        last_features, flat = self.last_features(features), probabilities.flatten(2)
        if self.per_image:
            with no_autocast(flat):
                matrix = transition_columns(last_features, self.weight, self.bias)[..., 0].transpose(1, 2)
                u = torch.bmm(matrix, flat)
                distance = (matrix - torch.eye(flat.shape[1], device=flat.device)).square().sum((1, 2))
        else:
            u, distance = ApplyTransition.apply(last_features, flat, self.weight, self.bias)
        return u.unflatten(2, probabilities.shape[2:]), distance

    def last_features(self, features: Tensor) -> Tensor:
        """Input of the last convolution, ``(B, F, V)``, with V = 1 for one matrix per image."""
        hidden = self.hidden(features).flatten(2)
        return hidden.mean(2, keepdim=True, dtype=torch.float32) if self.per_image else hidden

    def column(self, last_features: Tensor, k: int) -> Tensor:
        """``A_mk`` over m, ``(B, L, V)``, float32."""
        return transition_columns(last_features, self.weight[k : k + 1], self.bias[k : k + 1])[:, 0]


class AnnotatedOutput(nn.Module):
    """Annotation heads behind a segmentation network's logits, as the auxiliary part of a composite network."""

    def __init__(self, heads: AnnotationHeads) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, logits: Tensor, features: Tensor, warmup: bool) -> dict[str, AnnotatorOutput]:
        """Annotator outputs; logits ``(B, L, *spatial)`` were made from the features ``(B, F, *spatial)``."""
        return self.heads(features, logits.float().softmax(1), warmup)


def _hidden_block(in_channels: int, channels: int, dims: int) -> nn.Module:
    if channels == 0:
        return nn.Identity()
    convolution, norm = (nn.Conv2d, nn.InstanceNorm2d) if dims == 2 else (nn.Conv3d, nn.InstanceNorm3d)
    return nn.Sequential(
        convolution(in_channels, channels, kernel_size=3, padding=1, bias=False),
        norm(channels, affine=True),
        nn.LeakyReLU(0.01, inplace=True),
    )


def _choose_per_image(per_image: bool | None, num_classes: int, patch_size: Sequence[int] | None) -> bool:
    if per_image is not None or patch_size is None:
        return bool(per_image)
    entries = num_classes * num_classes * math.prod(patch_size)
    if entries <= PER_IMAGE_ABOVE:
        return False
    logger.warning(
        "Annotation heads: one transition matrix per voxel would mean %.1e entries per sample and strategy "
        "(%d classes, patch %s), more than the limit of %.1e. One matrix per image is used instead. "
        "Fewer classes, a smaller patch, or per_image=False (slower) keep one matrix per voxel.",
        entries, num_classes, tuple(patch_size), PER_IMAGE_ABOVE,
    )  # fmt: skip
    return True


def _check_arguments(
    strategies: tuple[str, ...], learned: Sequence[str], num_classes: int, dims: int, initial_diagonal: float
) -> None:
    if not strategies or len(set(strategies)) != len(strategies):
        raise ValueError(f"strategies must be one or more different names, got {list(strategies)}")
    unknown = sorted(set(learned) - set(strategies))
    if unknown:
        raise ValueError(f"learned_complementary names {unknown}, not among the strategies {list(strategies)}")
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2 (background and one target), got {num_classes}")
    if dims not in (2, 3):
        raise ValueError(f"dims must be 2 or 3, got {dims}")
    if not 0 < initial_diagonal < 1:
        raise ValueError(f"initial_diagonal must lie between 0 and 1, got {initial_diagonal}")
