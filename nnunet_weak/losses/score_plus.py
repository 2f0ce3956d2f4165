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

**Dice of held voxels.** They are labelled voxels, so nnU-Net's own answer to small structures applies to them: a soft
Dice over the regions present, on held voxels only. Without it the background, most of every patch, rules the common
normaliser and thin networks or short schedules miss the smaller regions.

**Uncertainty.** A quality near 0 says that a mask is unusable, not that its edge is off. Below ``reliable_quality`` a
mask has the uncertainty d_k = 1 - q_k / reliable_quality in the direction of its error type: beyond the band, a voxel
of an over-segmented region may be background after all, -log(p_k + d_k p_0), and background may be an under-segmented
region, -log(p_0 + sum_k d_k p_k). At q = 0 only one thing is certain: which other regions a voxel is not.

The loss describes the masks it is given. Its certainty is about the annotated mask, so a trainer that augments masks
should show the augmented ones to the network and the ones before augmentation, with their scores, to this loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nnunet_weak.losses.score import (
    BOTH,
    EXCELLENT,
    OVER_SEGMENTED,
    UNDER_SEGMENTED,
    RegionTargets,
    erode_each,
    per_voxel,
    prior_or_half,
)
from nnunet_weak.morphology import RELATIVE_TOLERANCE, erode, known_band_region, truncated_distance


@dataclass(frozen=True)
class ScorePlusOptions:
    """Hyperparameters of the SCOREPlus loss.

    Attributes:
        eta: Half the width of the band, in the unit of the spacing of the targets.
        weight_stability: Weight of a held voxel.
        weight_correction: Weight of a corrected voxel of a region with q = 0; it falls with w_k = (5 - q_k) / 5.
        weight_dice: Weight of the Dice term, whose range is 0 to 1.
        reliable_quality: Quality from which a mask has no uncertainty; 0 for none at all.
        use_prior: False puts P = 0.5 everywhere.
    """

    eta: float = 2.0
    weight_stability: float = 1.0
    weight_correction: float = 1.0
    weight_dice: float = 1.0
    reliable_quality: float = 2.0
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


_DEFAULT = ScorePlusOptions()


def score_plus_loss(logits: Tensor, targets: RegionTargets, options: ScorePlusOptions = _DEFAULT) -> dict[str, Tensor]:
    """Weighted voxel terms over the sum of all weights, split by the domain they come from, and Dice of held voxels.

    The first three add up to a weighted mean of cross-entropies. A sample has the same value in any batch; without any
    supervised voxel it is 0 with zero gradient.

    Args:
        logits: Raw network output ``(B, K + 1, *spatial)``, of any floating type; computed in float32 or above.
        targets: Masks, scores, error types and prior.
        options: Hyperparameters.

    Returns:
        ``stability`` (held voxels), ``expansion`` (outer half-bands), ``subtraction`` (inner half-bands) and ``dice``,
        each ``(B,)``.
    """
    domains = score_plus_domains(targets, options.eta)
    log_p = (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(1)
    prior = prior_or_half(targets, log_p, options.use_prior)
    region_weight = per_voxel(options.weight_correction * targets.correction_weight.to(log_p.dtype), log_p)
    # Equally near regions share a voxel, so its weight is their mean and its target has P divided among them.
    share = domains.outer / domains.outer.sum(1, keepdim=True).clamp_min(1)
    outer_weight = (share * region_weight).sum(1, keepdim=True)

    uncertainty = [value.to(log_p.dtype) for value in mask_uncertainty(targets, options.reliable_quality)]
    held = -options.weight_stability * torch.where(
        domains.stability, uncertain_log_probabilities(log_p, *uncertainty), 0.0
    )
    inner = region_weight * torch.where(domains.inner, soft_cross_entropy(log_p[:, 1:], log_p[:, :1], prior), 0.0)
    log_claimed = (share * log_p[:, 1:]).sum(1, keepdim=True)
    outer = outer_weight * soft_cross_entropy(log_claimed, log_p[:, :1], prior)

    weights = options.weight_stability * domains.stability.flatten(1).sum(1)
    weights = weights + (region_weight * domains.inner).flatten(1).sum(1) + outer_weight.flatten(1).sum(1)
    weights = torch.where(weights > 0, weights, 1.0)
    terms = {"stability": held, "expansion": outer, "subtraction": inner}
    means = {name: term.flatten(1).sum(1) / weights for name, term in terms.items()}
    certain = torch.cat([uncertainty[1].sum(1, keepdim=True) == 0, uncertainty[0] == 0], dim=1)
    return {
        **means,
        "dice": options.weight_dice * stability_dice_loss(log_p, domains.stability & per_voxel(certain, log_p)),
    }


@torch.no_grad()
def mask_uncertainty(targets: RegionTargets, reliable_quality: float) -> tuple[Tensor, Tensor]:
    """How far a held voxel may be another class.

    Args:
        targets: Scores and error types; a region without a score has no uncertainty.
        reliable_quality: Quality from which there is none.

    Returns:
        In [0, 1], for the inside of a region's mask being background, and for background being the region; ``(B, K)``.
    """
    if reliable_quality <= 0:
        uncertainty = torch.zeros_like(targets.quality, dtype=torch.float32)
    else:
        uncertainty = (1 - targets.quality.float() / reliable_quality).clamp(0, 1).nan_to_num(0.0)
    inside, outside = targets.has_error(OVER_SEGMENTED, BOTH), targets.has_error(UNDER_SEGMENTED, BOTH)
    return uncertainty * inside, uncertainty * outside


def uncertain_log_probabilities(log_p: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """Log-probability of each class or, as far as that is uncertain, of the classes it may be instead.

    ``log_p`` and the result are ``(B, K + 1, *spatial)``; uncertainties as of :func:`mask_uncertainty`.
    """
    if not (inside.any() or outside.any()):
        return log_p
    background, regions = log_p[:, :1], log_p[:, 1:]
    maybe_background = background + per_voxel(inside.log(), log_p)
    maybe_regions = regions + per_voxel(outside.log(), log_p)
    return torch.cat(
        [torch.cat([background, maybe_regions], 1).logsumexp(1, True), regions.logaddexp(maybe_background)], dim=1
    )


def stability_dice_loss(log_p: Tensor, held: Tensor) -> Tensor:
    """One minus the soft Dice on held voxels, a mean over the regions that are held anywhere; 0 where none is.

    ``log_p`` and ``held``, boolean and exclusive, are ``(B, K + 1, *spatial)``, background first; the result ``(B,)``.
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
    """
    spacing, inside = targets.spacing, targets.inside
    masks = targets.masks & inside
    foreground = masks.any(1, keepdim=True)
    known = known_band_region(inside, eta, spacing)

    right_inside = per_voxel(targets.has_error(EXCELLENT, UNDER_SEGMENTED), masks)
    eroded = erode_each(masks, inside, eta, spacing)
    regions = torch.where(right_inside, masks, eroded)
    shell = foreground & ~erode(foreground | ~inside, eta, spacing)
    inner = masks & shell & known & per_voxel(targets.has_error(OVER_SEGMENTED, BOTH), masks)

    reaches_out = masks & ~per_voxel(targets.has_error(EXCELLENT, OVER_SEGMENTED), masks)
    distances = torch.cat([truncated_distance(mask, eta, spacing) for mask in reaches_out.split(1, dim=1)], dim=1)
    nearest = distances.amin(1, keepdim=True)
    outer = distances.isfinite() & (distances <= nearest * (1 + RELATIVE_TOLERANCE)) & ~foreground & inside
    background = inside & ~foreground & ~outer.any(1, keepdim=True)
    return ScorePlusDomains(torch.cat([background, regions], dim=1), inner, outer & known)
