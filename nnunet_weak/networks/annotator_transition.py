"""``u = A p`` for a transition matrix ``A`` per voxel, a few of its columns in memory at a time.

``A_mk = p(drawn m | true k)`` is a softmax over m of a linear map of the features: ``weight[k, m]`` and ``bias[k, m]``
make the logit. ``A``, ``L`` times as large as the network's output, is made, used and dropped block by block, and made
again in the backward pass. Voxels are flattened: features ``(B, F, V)``, probabilities ``(B, L, V)``.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def no_autocast(tensor: Tensor) -> AbstractContextManager[Any]:
    """Context in which a tensor's device computes in the types that it is given."""
    # Older torch knows no autocast on mps, where nnU-Net uses none.
    return nullcontext() if tensor.device.type == "mps" else torch.autocast(tensor.device.type, enabled=False)


def transition_columns(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Columns ``A_mk``, ``(B, k, m, V)``; contracted in the precision of the features, else float32."""
    with no_autocast(features):
        logits = torch.bmm(_matrices(weight, features), features).to(bias.dtype)
        return logits.unflatten(1, bias.shape).add_(bias[..., None]).softmax(dim=2)


class ApplyTransition(torch.autograd.Function):
    """``u = A p``, ``(B, L, V)``, and the mean over voxels of ``||A - I||_F^2``, ``(B,)``.

    Autograd would keep all columns (logits, softmax, product) for the backward pass; this keeps only its inputs.
    """

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, probabilities: Tensor, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``u`` and the distance to the identity."""
        ctx.save_for_backward(features, probabilities, weight, bias)
        u = torch.zeros_like(probabilities)
        distance = probabilities.new_zeros(probabilities.shape[0])
        for start, stop in _blocks(weight):
            columns = transition_columns(features, weight[start:stop], bias[start:stop])
            for k in range(start, stop):
                u.addcmul_(columns[:, k - start], probabilities[:, k : k + 1])
                columns[:, k - start, k] -= 1
            distance += columns.square_().sum((1, 2, 3))
        return u, distance / probabilities.shape[2]

    @staticmethod
    def backward(ctx: Any, grad_u: Tensor, grad_distance: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gradients of features, probabilities, weight and bias."""
        features, probabilities, weight, bias = ctx.saved_tensors
        grad_features, grad_probabilities = torch.zeros_like(features), torch.empty_like(probabilities)
        grad_weight, grad_bias = torch.empty_like(weight), torch.empty_like(bias)
        pull = (2 / probabilities.shape[2]) * grad_distance[:, None, None, None]
        for start, stop in _blocks(weight):
            columns = transition_columns(features, weight[start:stop], bias[start:stop])
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


def _matrices(weight: Tensor, features: Tensor) -> Tensor:
    """``(B, k * m, F)``; a plain matmul would fold the batch into the voxels, at the price of copying the features."""
    return weight.flatten(0, 1).to(features.dtype).expand(features.shape[0], -1, -1)
