"""Annotation heads: what each annotator makes of the truth, as transition matrices on the last decoder features.

For every annotation strategy ``r`` a head turns the features ``(B, F, *spatial)`` into ``A^(r)``, an ``L x L`` matrix
per voxel (or per image) with ``A_mk = p(drawn m | true k)``: softmax over m, columns sum to one. Training needs only
``u = A p`` and the distance of ``A`` to the identity, so ``A`` itself, ``L`` times as large as the network's output,
is never held in memory: it is made, used and dropped a few columns at a time, and made again in the backward pass.

Works in 2d ``(B, F, H, W)`` and 3d ``(B, F, D, H, W)``. Training only: nothing here is part of the network that
predicts.

Reference: Du et al., "RefineSeg", MICCAI 2025, eqs. 1 and 7; the pixel-wise matrices follow Zhang et al., NeurIPS 2020.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

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
            _AnnotationHead(num_classes, feature_channels, hidden, dims, initial_diagonal, self.per_image)
            for _ in self.strategies
        )
        self.complementary_logits = nn.ParameterList(
            nn.Parameter(torch.zeros(num_classes, num_classes), requires_grad=name in learned_complementary)
            for name in self.strategies
        )

    def forward(self, features: Tensor, probabilities: Tensor, released: bool = True) -> dict[str, AnnotatorOutput]:
        """``u`` and the regulariser of every strategy.

        Args:
            features: last decoder features.
            probabilities: the network's class probabilities ``p``, not logits.
            released: ``False`` during the warm-up: ``A = I``, so ``u = p``. Every parameter still enters the result,
                times 0, because distributed training waits for a gradient of each.

        Returns:
            Strategy name to :class:`AnnotatorOutput`, in the order of the strategies.

        Shape:
            features ``(B, F, *spatial)``; probabilities ``(B, L, *spatial)``.
        """
        probabilities = probabilities.float()
        results = {}
        for index, name in enumerate(self.strategies):
            if released:
                u, distance = self.heads[index](features, probabilities)
            else:
                nothing = torch.stack([parameter.sum() for parameter in self.heads[index].parameters()]).sum() * 0.0
                u, distance = probabilities + nothing, nothing.expand(features.shape[0])
            logits = self.complementary_logits[index]
            results[name] = AnnotatorOutput(u, distance, logits if logits.requires_grad else None)
        return results

    @torch.no_grad()
    def transition_matrix(self, features: Tensor, strategy: str) -> Tensor:
        """``A`` of one strategy as a whole, for inspection; its memory grows with ``L^2``.

        Shape:
            ``(B, L, L, *spatial)``, or ``(B, L, L)`` with one matrix per image; axes ``(B, m, k, ...)``.
        """
        column = self._columns(features, strategy)
        matrix = torch.stack([column(k) for k in range(self.num_classes)], dim=2)
        return matrix[..., 0] if self.per_image else matrix.unflatten(3, features.shape[2:])

    @torch.no_grad()
    def transition_sums(self, features: Tensor, classes: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Per strategy what :func:`mean_transition_matrix` accumulates, without making ``A``.

        Args:
            features: last decoder features.
            classes: class of every voxel, true or predicted, 0 to L - 1; other values are left out. ``(B, *spatial)``.
        """
        return {
            name: _column_sums(self._columns(features, name), classes.flatten(1), self.num_classes)
            for name in self.strategies
        }

    def _columns(self, features: Tensor, strategy: str) -> Callable[[int], Tensor]:
        head = cast(_AnnotationHead, self.heads[self.strategies.index(strategy)])
        return partial(head.column, head.last_features(features))


def mean_transition_matrix(transition: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Sums and counts from which an annotator's mean transition matrix is reported.

    Add both up over batches; ``sums / counts`` is then the mean matrix, whose column k tells what the annotator draws
    where the class is k. A column without a voxel has count 0.

    Args:
        transition: ``A``, ``(B, L, L, *spatial)`` or ``(B, L, L)``.
        classes: class of every voxel, true or predicted, 0 to L - 1; other values are left out. ``(B, *spatial)``.

    Returns:
        Sums ``(L, L)``, axes (m, k), and numbers of voxels ``(L,)``, both float64 on the CPU.
    """
    flat = transition.flatten(3) if transition.ndim > 3 else transition[..., None]
    return _column_sums(partial(flat.select, 2), classes.flatten(1), transition.shape[1])


class _AnnotationHead(nn.Module):
    """Head of one strategy; ``weight[k, m]`` and ``bias[k, m]`` of the last convolution make the logit of ``A_mk``."""

    def __init__(
        self,
        num_classes: int,
        feature_channels: int,
        hidden_channels: int,
        dims: int,
        initial_diagonal: float,
        per_image: bool,
    ) -> None:
        super().__init__()
        self.per_image = per_image
        self.hidden = _hidden_block(feature_channels, hidden_channels, dims)
        self.weight = nn.Parameter(torch.zeros(num_classes, num_classes, hidden_channels or feature_channels))
        odds = initial_diagonal / (1 - initial_diagonal)
        self.bias = nn.Parameter(torch.eye(num_classes) * math.log(odds * (num_classes - 1)))

    def forward(self, features: Tensor, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """``u = A p``, ``(B, L, *spatial)``, and the mean over voxels of ``||A - I||_F^2``, ``(B,)``."""
        last_features, flat = self.last_features(features), probabilities.flatten(2)
        if self.per_image:
            with _no_autocast(flat):
                matrix = _columns(last_features, self.weight, self.bias)[..., 0].transpose(1, 2)
                u = torch.bmm(matrix, flat)
                distance = (matrix - torch.eye(flat.shape[1], device=flat.device)).square().sum((1, 2))
        else:
            u, distance = _ApplyTransition.apply(last_features, flat, self.weight, self.bias)
        return u.unflatten(2, probabilities.shape[2:]), distance

    def last_features(self, features: Tensor) -> Tensor:
        """Input of the last convolution, ``(B, F, V)``, with V = 1 for one matrix per image."""
        hidden = self.hidden(features).flatten(2)
        return hidden.mean(2, keepdim=True, dtype=torch.float32) if self.per_image else hidden

    def column(self, last_features: Tensor, k: int) -> Tensor:
        """``A_mk`` over m, ``(B, L, V)``, float32."""
        return _columns(last_features, self.weight[k : k + 1], self.bias[k : k + 1])[:, 0]


class _ApplyTransition(torch.autograd.Function):
    """``u = A p`` and the distance of ``A`` to the identity, a few columns of ``A`` in memory at a time.

    Autograd would keep all columns (logits, softmax, product) for the backward pass; this keeps only its inputs and
    makes the columns again.
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, probabilities: Tensor, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(features, probabilities, weight, bias)
        u = torch.zeros_like(probabilities)
        distance = probabilities.new_zeros(probabilities.shape[0])
        for start, stop in _blocks(weight):
            columns = _columns(features, weight[start:stop], bias[start:stop])
            for k in range(start, stop):
                u.addcmul_(columns[:, k - start], probabilities[:, k : k + 1])
                columns[:, k - start, k] -= 1
            distance += columns.square_().sum((1, 2, 3))
        return u, distance / probabilities.shape[2]

    @staticmethod
    def backward(ctx: Any, grad_u: Tensor, grad_distance: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        features, probabilities, weight, bias = ctx.saved_tensors
        grad_features, grad_probabilities = torch.zeros_like(features), torch.empty_like(probabilities)
        grad_weight, grad_bias = torch.empty_like(weight), torch.empty_like(bias)
        pull = (2 / probabilities.shape[2]) * grad_distance[:, None, None, None]
        for start, stop in _blocks(weight):
            columns = _columns(features, weight[start:stop], bias[start:stop])
            grad_columns = grad_u[:, None] * columns
            grad_probabilities[:, start:stop] = grad_columns.sum(2)
            torch.mul(pull, columns, out=grad_columns)
            grad_columns.addcmul_(grad_u[:, None], probabilities[:, start:stop, None])
            for k in range(start, stop):
                grad_columns[:, k - start, k] -= pull[:, 0, 0]
            # The softmax: each column's logits receive a * (g - <g, a>).
            grad_columns *= columns
            grad_logits = torch.addcmul(grad_columns, columns, grad_columns.sum(2, keepdim=True), value=-1)
            grad_bias[start:stop] = grad_logits.sum((0, 3))
            grad_logits = grad_logits.flatten(1, 2).to(features.dtype)
            of_block = torch.bmm(grad_logits, features.transpose(1, 2)).sum(0, dtype=weight.dtype)
            grad_weight[start:stop] = of_block.view_as(weight[start:stop])
            grad_features.baddbmm_(_matrices(weight[start:stop], features).transpose(1, 2), grad_logits)
        return grad_features, grad_probabilities, grad_weight, grad_bias


def _blocks(weight: Tensor) -> list[tuple[int, int]]:
    """Ranges of columns, of which as many are made at once as take no more memory than the features."""
    num_classes, _, channels = weight.shape
    size = max(1, channels // num_classes)
    return [(start, min(start + size, num_classes)) for start in range(0, num_classes, size)]


def _columns(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Columns ``A_mk``, ``(B, k, m, V)``; contracted in the precision of the features ``(B, F, V)``, else float32."""
    with _no_autocast(features):
        logits = torch.bmm(_matrices(weight, features), features).to(bias.dtype)
        return logits.unflatten(1, bias.shape).add_(bias[..., None]).softmax(dim=2)


def _matrices(weight: Tensor, features: Tensor) -> Tensor:
    """``(B, k * m, F)``; a plain matmul would fold the batch into the voxels, at the price of copying the features."""
    return weight.flatten(0, 1).to(features.dtype).expand(features.shape[0], -1, -1)


def _no_autocast(tensor: Tensor) -> AbstractContextManager[Any]:
    # Older torch knows no autocast on mps, where nnU-Net uses none.
    return nullcontext() if tensor.device.type == "mps" else torch.autocast(tensor.device.type, enabled=False)


def _column_sums(column: Callable[[int], Tensor], classes: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Sum of ``column(k)``, ``(B, L, V or 1)``, over the voxels of class k, and their number."""
    sums, counts = [], []
    for k in range(num_classes):
        of_class = classes == k
        count = of_class.sum(1)
        matrix = column(k)
        weight = count[:, None] if matrix.shape[2] == 1 else of_class
        sums.append(torch.matmul(matrix, weight[..., None].to(matrix.dtype)).sum((0, 2)))
        counts.append(count.sum())
    # Double on the CPU: a data set has more voxels than float32 can count, and not every device has float64.
    return torch.stack(sums, dim=1).cpu().double(), torch.stack(counts).cpu().double()


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
