r"""The Weak-Net loss: cross-entropy with a template, and reconstruction of the image from the segmentation.

.. math:: L = L_{ce} + \lambda L_{mse} \quad (1), \qquad
    L_{ce} = -\sum Y \log \hat Y, \qquad L_{mse} = \sum W^{mse} (X - \hat X)^2

Cross-entropy alone gives the template back, reconstruction alone gives edges that need not be the object's. W_mse is
high within a distance d of the boundary of the template and low elsewhere.

Where the paper is silent: both terms are means over the same voxels instead of sums, which leaves their ratio as it
is; cross-entropy counts the background too; with several image channels their squared errors are averaged; with several
classes the boundary is every border between two of them. Padding and ignored voxels are in neither term.

Tensors are ``(B, C, D, H, W)``, 2d ``(B, C, H, W)``. Every term is ``(B,)``: a sample has the same value in any batch.
A sample without any counted voxel has 0 with zero gradient.

Reference:
    Weak-Net paper, section 3.1, eq. 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nnunet_weak.morphology import dilate


def cross_entropy_loss(logits: Tensor, target: Tensor, counted: Tensor) -> Tensor:
    """L_ce: mean cross-entropy with the template over the counted voxels.

    Args:
        logits: Raw network output, of any floating type; computed in float32.
        target: Class of each voxel.
        counted: True where a voxel is inside the image and annotated.

    Shape:
        - logits: ``(B, L, *spatial)``
        - target: ``(B, 1, *spatial)``, integers
        - counted: ``(B, 1, *spatial)``, bool
        - Output: ``(B,)``
    """
    # Ignored voxels may carry any value, one that is no class too.
    per_voxel = -logits.float().log_softmax(1).gather(1, torch.where(counted, target, 0).long())
    return _mean(per_voxel, counted)


def reconstruction_loss(reconstruction: Tensor, image: Tensor, weights: Tensor, counted: Tensor) -> Tensor:
    """L_mse: weighted squared error of the reconstruction, over the number of counted voxels.

    Args:
        reconstruction: What the second network makes of the probabilities.
        image: The image channels of the first network's input.
        weights: W_mse.
        counted: As for the cross-entropy.

    Shape:
        - reconstruction, image: ``(B, C, *spatial)``
        - weights: ``(B, 1, *spatial)``
        - counted: ``(B, 1, *spatial)``, bool
        - Output: ``(B,)``
    """
    error = (reconstruction.float() - image.float()).square().mean(1, keepdim=True)
    return _mean(weights * error, counted)


@torch.no_grad()
def reconstruction_weights(
    template: Tensor, counted: Tensor, distance: float, spacing: Sequence[float], far_weight: float = 0.1
) -> Tensor:
    """W_mse: 1 within a distance of the template's boundary, `far_weight` elsewhere.

    The boundary runs between two voxels of different class, so distances are measured to the centres of the voxels on
    both sides of it. A border to ignored voxels or padding is no boundary.

    Args:
        template: Class of each voxel.
        counted: True where that is annotated.
        distance: d, in the unit of `spacing`. 0 leaves the voxels at the boundary itself.
        spacing: Voxel size of each spatial axis.
        far_weight: The low weight.

    Shape:
        - template: ``(B, 1, *spatial)``, integers
        - counted: ``(B, 1, *spatial)``, bool
        - Output: ``(B, 1, *spatial)``, float32
    """
    edge = boundary_voxels(template, counted, len(spacing))
    return torch.where(dilate(edge, distance, spacing), 1.0, far_weight)


def boundary_voxels(template: Tensor, counted: Tensor, dimensions: int) -> Tensor:
    """Voxels that share a face with a voxel of another class; both must be counted.

    Args:
        template: Class of each voxel.
        counted: True where that is annotated.
        dimensions: Number of spatial axes, the last ones.

    Returns:
        Boolean tensor of the shape of the template.
    """
    edge = torch.zeros_like(counted)
    for axis in range(template.ndim - dimensions, template.ndim):
        steps = template.shape[axis] - 1
        here, there = (slice(None),) * axis + (slice(0, steps),), (slice(None),) * axis + (slice(1, None),)
        differs = (template[here] != template[there]) & counted[here] & counted[there]
        edge[here] |= differs
        edge[there] |= differs
    return edge


def _mean(per_voxel: Tensor, counted: Tensor) -> Tensor:
    total = torch.where(counted, per_voxel, 0.0).flatten(1).sum(1)
    return total / counted.flatten(1).sum(1).clamp_min(1)
