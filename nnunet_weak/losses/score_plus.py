r"""SCOREPlus: the SCORE loss with error types used as certainty, soft targets and one common normaliser.

Not in the paper. Five changes to :mod:`nnunet_weak.losses.score`, which has the definitions of the inputs:

**Certainty.** An error type says where a mask is right, not only where it is wrong. An under-segmented region is right
up to its edge, so all of it is held and only the outer half of the band is corrected. Outside of an over-segmented
region there is background right up to its edge, and only the inner half is corrected.

**Soft targets.** A corrected voxel is supervised by cross-entropy with one distribution over the classes:

==========================================  ==================================================================
voxel                                       target
==========================================  ==================================================================
inner half-band of region k                 P on k, 1 - P on background
outer half-band, background in the mask     P on the nearest region that may reach there, 1 - P on background
within eta of another region only           none: P does not tell two regions apart
==========================================  ==================================================================

Regions equally near share P. A region whose outside is right (over-segmented or excellent) does not reach. One without
a score does, with weight 0, so the voxels nearest to it stay unsupervised.

**One normaliser.** The sum of all weighted voxel terms of a sample over the sum of their weights: ``weight_stability``
for held voxels, ``weight_correction`` times w_k for corrected ones.

**Dice of what is held.** Held voxels are labelled voxels, so nnU-Net's own answer to small structures applies to them:
a soft Dice over the regions present, on held voxels only. Without it the background, most of every patch, rules the
common normaliser and thin networks or short schedules miss the smaller regions.

**Doubt.** A quality near 0 says that a mask is unusable, not that its edge is off. Below ``held_from_quality`` what an
error type makes doubtful is held with a doubt d_k = 1 - q_k / held_from_quality: beyond the band, a voxel of an
over-segmented region may be background after all, -log(p_k + d_k p_0), and background may be an under-segmented region,
-log(p_0 + sum_k d_k p_k). At q = 0 only what is certain is left: which other regions a voxel is not.

The loss describes the masks it is given. Its certainty is about the annotated mask, so a trainer that augments masks
should show the augmented ones to the network and the ones before augmentation, with their scores, to this loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnunet_weak.losses.score import BOTH, EXCELLENT, OVER_SEGMENTED, UNDER_SEGMENTED, RegionTargets
from nnunet_weak.morphology import erode, known_band_region, truncated_distance

_RELATIVE_TOLERANCE = 1e-5


@dataclass(frozen=True)
class ScorePlusOptions:
    """Hyperparameters of the SCOREPlus loss.

    Attributes:
        eta: Half the width of the band, in the unit of the spacing of the targets.
        weight_stability: Weight of a voxel that is held.
        weight_correction: Weight of a corrected voxel of a region with q = 0; it falls with w_k = (5 - q_k) / 5.
        weight_dice: Weight of the Dice term, whose range is 0 to 1.
        held_from_quality: Quality from which a mask is held without doubt; 0 doubts none.
        use_prior: False puts P = 0.5 everywhere.
    """

    eta: float = 2.0
    weight_stability: float = 1.0
    weight_correction: float = 1.0
    weight_dice: float = 1.0
    held_from_quality: float = 2.0
    use_prior: bool = True


@dataclass(frozen=True)
class ScorePlusDomains:
    """Where what is known about a voxel. No voxel is in two of them.

    Attributes:
        stability: Boolean ``(B, K + 1, *spatial)``: this class is certain; background first.
        inner: Boolean ``(B, K, *spatial)``: in the mask of the region and perhaps background.
        outer: Boolean ``(B, K, *spatial)``: background in the mask and perhaps this region. Several regions are set
            where they are equally near.
    """

    stability: Tensor
    inner: Tensor
    outer: Tensor


class ScorePlusLoss(nn.Module):
    """The SCOREPlus loss with its hyperparameters.

    Args:
        options: Hyperparameters.
    """

    def __init__(self, options: ScorePlusOptions | None = None) -> None:
        super().__init__()
        self.options = options or ScorePlusOptions()

    def forward(self, logits: Tensor, targets: RegionTargets) -> dict[str, Tensor]:
        """The terms of :func:`score_plus_loss`, which are weighted already, and their sum as ``total``; ``(B,)``."""
        terms = score_plus_loss(logits, targets, self.options)
        return {**terms, "total": torch.stack(list(terms.values())).sum(0)}


def score_plus_loss(
    logits: Tensor, targets: RegionTargets, options: ScorePlusOptions | None = None
) -> dict[str, Tensor]:
    """Weighted voxel terms over the sum of all weights, split by the domain they come from, and Dice of held voxels.

    The first three add up to a weighted mean of cross-entropies. A sample has the same value in any batch; without any
    supervised voxel it is 0 with zero gradient.

    Args:
        logits: Raw network output, of any floating type; the loss is computed in float32 or above.
        targets: Masks, scores, error types and prior.
        options: Hyperparameters.

    Returns:
        ``stability`` (held voxels), ``expansion`` (outer half-bands), ``subtraction`` (inner half-bands) and ``dice``.

    Shape:
        - logits: ``(B, K + 1, *spatial)``. Each result is ``(B,)``.
    """
    options = options or ScorePlusOptions()
    domains = score_plus_domains(targets, options.eta)
    log_p = (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(1)
    prior = targets.prior.to(log_p.dtype) if options.use_prior else torch.full_like(log_p[:, :1], 0.5)
    region_weight = options.weight_correction * targets.correction_weight.to(log_p.dtype)
    region_weight = region_weight.reshape(*region_weight.shape, *[1] * (log_p.ndim - 2))
    # Equally near regions share a voxel, so its weight is their mean and its target has P divided among them.
    share = domains.outer / domains.outer.sum(1, keepdim=True).clamp_min(1)
    outer_weight = (share * region_weight).sum(1, keepdim=True)

    doubts = [doubt.to(log_p.dtype) for doubt in held_doubt(targets, options.held_from_quality)]
    held = -options.weight_stability * torch.where(domains.stability, log_held(log_p, *doubts), 0.0)
    inner = region_weight * torch.where(domains.inner, soft_cross_entropy(log_p[:, 1:], log_p[:, :1], prior), 0.0)
    log_claimed = (share * log_p[:, 1:]).sum(1, keepdim=True)
    outer = outer_weight * soft_cross_entropy(log_claimed, log_p[:, :1], prior)

    weights = options.weight_stability * domains.stability.flatten(1).sum(1)
    weights = weights + (region_weight * domains.inner).flatten(1).sum(1) + outer_weight.flatten(1).sum(1)
    weights = torch.where(weights > 0, weights, 1.0)
    terms = {"stability": held, "expansion": outer, "subtraction": inner}
    means = {name: term.flatten(1).sum(1) / weights for name, term in terms.items()}
    certain = torch.cat([doubts[1].sum(1, keepdim=True) == 0, doubts[0] == 0], dim=1)
    return {
        **means,
        "dice": options.weight_dice * held_dice_loss(log_p, domains.stability & _per_voxel(certain, log_p)),
    }


@torch.no_grad()
def held_doubt(targets: RegionTargets, held_from_quality: float) -> tuple[Tensor, Tensor]:
    """How seriously a held voxel may be something else.

    Args:
        targets: Scores and error types; a region without a score is not doubted.
        held_from_quality: Quality from which there is no doubt.

    Returns:
        Doubt in [0, 1] that the inside of a region's mask is background, and that background is the region; ``(B, K)``.
    """
    if held_from_quality <= 0:
        doubt = torch.zeros_like(targets.quality, dtype=torch.float32)
    else:
        doubt = (1 - targets.quality.float() / held_from_quality).clamp(0, 1).nan_to_num(0.0)
    inside, outside = targets.has_error(OVER_SEGMENTED, BOTH), targets.has_error(UNDER_SEGMENTED, BOTH)
    return doubt * inside, doubt * outside


def log_held(log_p: Tensor, doubt_inside: Tensor, doubt_outside: Tensor) -> Tensor:
    """Log-probability of each class or, as far as it is doubted, of what it may be instead.

    Args:
        log_p: Log-probabilities ``(B, K + 1, *spatial)``.
        doubt_inside: See :func:`held_doubt`.
        doubt_outside: See :func:`held_doubt`.

    Returns:
        ``(B, K + 1, *spatial)``; ``log_p`` itself where there is no doubt.
    """
    if not (doubt_inside.any() or doubt_outside.any()):
        return log_p
    background, regions = log_p[:, :1], log_p[:, 1:]
    maybe_background = background + _per_voxel(doubt_inside.log(), log_p)
    maybe_regions = regions + _per_voxel(doubt_outside.log(), log_p)
    return torch.cat(
        [torch.cat([background, maybe_regions], 1).logsumexp(1, True), regions.logaddexp(maybe_background)], dim=1
    )


def held_dice_loss(log_p: Tensor, held: Tensor) -> Tensor:
    """One minus the soft Dice on held voxels, a mean over the regions that are held anywhere; 0 where none is.

    Args:
        log_p: Log-probabilities ``(B, K + 1, *spatial)``.
        held: Boolean ``(B, K + 1, *spatial)``, exclusive; background first.

    Returns:
        One value per sample, ``(B,)``.
    """
    known = held.any(1, keepdim=True)
    p = torch.where(known, log_p.exp(), 0.0)[:, 1:].flatten(2)
    target = held[:, 1:].flatten(2)
    size = target.sum(2)
    dice = 2 * torch.where(target, p, 0.0).sum(2) / (p.sum(2) + size).clamp_min(1)
    present = size > 0
    return torch.where(present, 1 - dice, 0.0).sum(1) / present.sum(1).clamp_min(1)


def soft_cross_entropy(log_p: Tensor, log_p_background: Tensor, prior: Tensor) -> Tensor:
    """Cross-entropy of each voxel with the target P on a region and 1 - P on the background."""
    return -prior * log_p - (1 - prior) * log_p_background


@torch.no_grad()
def score_plus_domains(targets: RegionTargets, eta: float) -> ScorePlusDomains:
    """What is certain, and what is to be corrected, by the error types of the regions.

    Voxels nearer than ``eta`` to padding or to the border of the patch are not corrected; they are held where that
    needs no distance to an edge. Neither padding nor border erodes a mask.

    Args:
        targets: Masks, scores and error types.
        eta: Half the width of the band.

    Returns:
        Boolean domains.
    """
    spacing, inside = targets.spacing, targets.inside
    masks = targets.masks & inside
    foreground = masks.any(1, keepdim=True)
    known = known_band_region(inside, eta, spacing)

    right_inside = _per_voxel(targets.has_error(EXCELLENT, UNDER_SEGMENTED), masks)
    eroded = torch.cat([erode(mask | ~inside, eta, spacing) & mask for mask in masks.split(1, dim=1)], dim=1)
    regions = torch.where(right_inside, masks, eroded)
    shell = foreground & ~erode(foreground | ~inside, eta, spacing)
    inner = masks & shell & known & _per_voxel(targets.has_error(OVER_SEGMENTED, BOTH), masks)

    reaches_out = masks & ~_per_voxel(targets.has_error(EXCELLENT, OVER_SEGMENTED), masks)
    distances = torch.cat([truncated_distance(mask, eta, spacing) for mask in reaches_out.split(1, dim=1)], dim=1)
    nearest = distances.amin(1, keepdim=True)
    outer = distances.isfinite() & (distances <= nearest * (1 + _RELATIVE_TOLERANCE)) & ~foreground & inside
    background = inside & ~foreground & ~outer.any(1, keepdim=True)
    return ScorePlusDomains(torch.cat([background, regions], dim=1), inner, outer & known)


def _per_voxel(flags: Tensor, masks: Tensor) -> Tensor:
    return flags.reshape(*flags.shape, *[1] * (masks.ndim - 2))
