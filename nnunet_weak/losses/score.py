r"""The SCORE loss: quality scores and error types of regions turned into voxel-wise supervision (eqs. 1 to 4).

.. math:: L = \lambda^{stab} L^{stab} + \lambda^+ L^+ + \lambda^- L^- \quad (4)

Axis order ``(B, K, D, H, W)``, or ``(B, K, H, W)`` in 2d; :math:`\hat S` are softmax probabilities over the background
(channel 0) and K regions (channels 1 to K), given as logits. ``eta`` is in the unit of the spacing of the targets.

Reference:
    de Langlais et al., "Resource-efficient automatic refinement of segmentations via weak supervision from light
    feedback" (SCORE), section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nnunet_weak.morphology import dilate, erode, known_band_region

UNDER_SEGMENTED, EXCELLENT, OVER_SEGMENTED, BOTH = -1, 0, 1, 2


@dataclass(frozen=True)
class RegionTargets:
    """The weak annotation of a batch, in the grid of the patches and on the device of the logits.

    Attributes:
        masks: Boolean ``(B, K, *spatial)``, the initial mask of each region after augmentation, in the order of labels.
        quality: ``(B, K)``, q_k from 0 (unusable) to 5 (excellent); NaN where the region was not scored.
        error: ``(B, K)``, l_k: -1 under-segmented, 1 over-segmented, 2 both, 0 none. Not read where quality is NaN.
        prior: ``(B, 1, *spatial)`` in [0, 1], the boundary prior P.
        inside: Boolean ``(B, 1, *spatial)``, False in padding. Padding supervises nothing.
        spacing: Voxel size of each spatial axis in the unit of ``eta``; ones if ``eta`` is in voxels.
        unaugmented: The masks before morphological augmentation, if there was any. Supervision that the paper does not
            have (the background), and stability, then hold only where both masks agree: an under-segmentation that was
            eroded further must not declare the voxels it lost to be background.
    """

    masks: Tensor
    quality: Tensor
    error: Tensor
    prior: Tensor
    inside: Tensor
    spacing: Sequence[float]
    unaugmented: Tensor | None = None

    def has_error(self, *kinds: int) -> Tensor:
        """Boolean ``(B, K)``: the region was scored and its error is one of these kinds."""
        return self.is_scored & torch.stack([self.error == kind for kind in kinds]).any(0)

    @property
    def is_scored(self) -> Tensor:
        """Boolean ``(B, K)``: the region has a quality score."""
        return ~self.quality.isnan()

    @property
    def correction_weight(self) -> Tensor:
        """``(B, K)``, w_k = (5 - q_k) / 5 between 0 (excellent) and 1 (unusable); 0 for a region without a score."""
        return ((5 - self.quality.float()) / 5).nan_to_num(0.0)


@dataclass(frozen=True)
class ScoreOptions:
    """Hyperparameters of the SCORE loss; the defaults are the paper's.

    Attributes:
        eta: Half the width of the correction band, in the unit of the spacing of the targets.
        weight_stability: lambda^stab of eq. 4. 0 removes the background supervision too (ablation without L^stab).
        weight_expansion: lambda^+ of eq. 4.
        weight_subtraction: lambda^- of eq. 4.
        use_prior: False puts P = 0.5 everywhere (ablation without P).
        paper_exact: True leaves out what the paper does not have, see :func:`score_domains`: the background in the
            stability term, above all. Nothing then keeps a network from predicting regions far from their masks.
    """

    eta: float = 2.0
    weight_stability: float = 5.0
    weight_expansion: float = 1.0
    weight_subtraction: float = 1.0
    use_prior: bool = True
    paper_exact: bool = False


@dataclass(frozen=True)
class ScoreDomains:
    """Where each term acts.

    Attributes:
        stability: Boolean ``(B, K, *spatial)``, Omega_k^stab.
        correction: Boolean ``(B, K, *spatial)``, Omega_k^corr.
        background: Boolean ``(B, 1, *spatial)``, where the background is held; empty if ``paper_exact``.
        regions: ``(B,)``, the number of regions present in each patch.
    """

    stability: Tensor
    correction: Tensor
    background: Tensor
    regions: Tensor


_PAPER = ScoreOptions()


def score_loss(logits: Tensor, targets: RegionTargets, options: ScoreOptions = _PAPER) -> dict[str, Tensor]:
    """The three weighted terms of eq. 4, one value per sample.

    A sample has the same value in any batch. A term without voxels is 0 with zero gradient.

    Args:
        logits: Raw network output ``(B, K + 1, *spatial)``, of any floating type; computed in float32 or above.
        targets: Masks, scores, error types and prior.
        options: Hyperparameters.

    Returns:
        ``stability``, ``expansion`` and ``subtraction``, each ``(B,)``.
    """
    domains = score_domains(targets, options.eta, paper_exact=options.paper_exact)
    log_p, log_not_p = log_probabilities(logits)
    prior = prior_or_half(targets, log_p, options.use_prior)
    expanded = targets.has_error(UNDER_SEGMENTED, BOTH) * targets.correction_weight
    reduced = targets.has_error(OVER_SEGMENTED, BOTH) * targets.correction_weight
    return {
        "stability": options.weight_stability * stability_loss(log_p, domains),
        "expansion": options.weight_expansion * expansion_loss(log_p[:, 1:], prior, expanded, domains),
        "subtraction": options.weight_subtraction * subtraction_loss(log_not_p[:, 1:], prior, reduced, domains),
    }


def stability_loss(log_p: Tensor, domains: ScoreDomains) -> Tensor:
    r"""Eq. 1: :math:`\frac{1}{K} \sum_k \frac{1}{|\Omega_k^{stab}|} \sum_{v \in \Omega_k^{stab}} -\log \hat S_{k,v}`.

    Deviation from the paper, off if the background domain is empty: the background is held outside of the correction
    bands and counts as one more region, also in the normaliser. K is the number of regions present in the patch.
    ``log_p`` is ``(B, K + 1, *spatial)``, the result ``(B,)``.
    """
    per_region = _mean_within(-log_p, torch.cat([domains.background, domains.stability], dim=1))
    count = domains.regions + domains.background.flatten(1).any(1)
    return per_region.sum(1) / count.clamp_min(1)


def expansion_loss(log_p: Tensor, prior: Tensor, weight: Tensor, domains: ScoreDomains) -> Tensor:
    r"""Eq. 2: mean over regions of the mean over :math:`\Omega_k^{corr}` of :math:`-w_k P_v \log \hat S_{k,v}`.

    ``log_p`` is that of the regions, ``(B, K, *spatial)``; ``weight`` is w_k, ``(B, K)``, 0 for regions that are not
    under-segmented; the result is ``(B,)``.
    """
    return _mean_over_regions(weight * _mean_within(-prior * log_p, domains.correction), domains)


def subtraction_loss(log_not_p: Tensor, prior: Tensor, weight: Tensor, domains: ScoreDomains) -> Tensor:
    r"""Eq. 3: as eq. 2, of :math:`-w_k (1 - P_v) \log(1 - \hat S_{k,v})`.

    ``weight`` is 0 for regions that are not over-segmented.
    """
    return _mean_over_regions(weight * _mean_within((prior - 1) * log_not_p, domains.correction), domains)


@torch.no_grad()
def score_domains(targets: RegionTargets, eta: float, *, paper_exact: bool = False) -> ScoreDomains:
    """Omega_k^stab, Omega_k^corr and the background that is held.

    Omega_k^stab is the eroded mask, or all of it where l_k = 0. Omega_k^corr is the dilated without the eroded mask,
    less the voxels nearer than ``eta`` to padding or to the border of the patch, whose distance to the edge is not
    known; neither erodes a mask. A region without a score is held on its eroded mask and corrected nowhere.

    Unless ``paper_exact``,

    - the background is held outside of the dilated regions, right up to the mask of a region with l_k = 0;
    - a band leaves out what is stable in a neighbour (this concerns neighbours with l = 0: others are eroded);
    - stability and background leave out what morphological augmentation changed.
    """
    spacing, inside = targets.spacing, targets.inside
    masks = targets.masks & inside
    excellent = per_voxel(targets.has_error(EXCELLENT), masks)
    corrected = per_voxel(targets.has_error(UNDER_SEGMENTED, OVER_SEGMENTED, BOTH), masks)
    known = known_band_region(inside, eta, spacing)

    eroded = erode_each(masks, inside, eta, spacing)
    dilated = torch.cat([dilate(mask, eta, spacing) for mask in masks.split(1, dim=1)], dim=1)
    stability = torch.where(excellent, masks, eroded)
    correction = dilated & ~eroded & known & corrected
    background = torch.zeros_like(inside)
    if not paper_exact:
        reached = torch.where(excellent, masks, dilated).any(1, keepdim=True)
        if targets.unaugmented is not None:
            reached |= dilate((targets.unaugmented & inside & ~excellent).any(1, keepdim=True), eta, spacing)
            stability &= targets.unaugmented
        background = inside & ~reached
        correction &= ~_claimed_by_others(stability)
    return ScoreDomains(stability, correction, background, masks.flatten(2).any(2).sum(1))


@torch.no_grad()
def dominant_error(targets: RegionTargets, eta: float) -> Tensor:
    """Error types without "both", for the paper's ablation of multi-class labels (l_k in -1, 0, 1).

    The paper does not say how its annotators chose. Rule here: the prior decides which error of the patch is larger,
    the sum of P over the outer half of the band (what seems to be missing) or of 1 - P over the inner half (what seems
    too much); under-segmentation if equal. The result is ``(B, K)``, with every 2 replaced by -1 or 1.
    """
    correction = score_domains(targets, eta, paper_exact=True).correction
    missing = (targets.prior * (correction & ~targets.masks)).flatten(2).sum(2)
    surplus = ((1 - targets.prior) * (correction & targets.masks)).flatten(2).sum(2)
    dominant = torch.where(surplus > missing, OVER_SEGMENTED, UNDER_SEGMENTED).to(targets.error.dtype)
    return torch.where(targets.error == BOTH, dominant, targets.error)


def per_voxel(flags: Tensor, like: Tensor) -> Tensor:
    """``(B, K)`` with as many axes as ``(B, K, *spatial)``."""
    return flags.reshape(*flags.shape, *[1] * (like.ndim - 2))


def prior_or_half(targets: RegionTargets, like: Tensor, use_prior: bool) -> Tensor:
    """P, or 0.5 everywhere, ``(B, 1, *spatial)`` in the type of a tensor."""
    return targets.prior.to(like.dtype) if use_prior else torch.full_like(like[:, :1], 0.5)


@torch.no_grad()
def erode_each(masks: Tensor, inside: Tensor, radius: float, spacing: Sequence[float]) -> Tensor:
    """Erosion of each mask of ``(B, K, *spatial)``, by which neither padding nor the border of the patch erodes."""
    # One region at a time: distances are float32, the results are boolean.
    return torch.cat([erode(mask | ~inside, radius, spacing) & mask for mask in masks.split(1, dim=1)], dim=1)


def log_probabilities(logits: Tensor) -> tuple[Tensor, Tensor]:
    """log p and log(1 - p) of a softmax, both finite and exact for saturated logits, in float32 or above.

    Where p is the largest probability, 1 - p is the sum of the others; anywhere else p is at most a half and 1 - p
    loses no digits.

    Shape:
        - logits and both results: ``(B, C, *spatial)``, with at least two channels.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    log_p = logits.log_softmax(1)
    if logits.shape[1] == 2:
        return log_p, log_p.flip(1)
    largest = torch.zeros_like(log_p, dtype=torch.bool).scatter_(1, log_p.argmax(1, keepdim=True), True)
    log_others = log_p.masked_fill(largest, -torch.inf).logsumexp(1, keepdim=True)
    # The branch that is not taken must not have an infinite derivative either.
    log_rest = torch.log1p(-log_p.masked_fill(largest, -1.0).exp())
    return log_p, torch.where(largest, log_others, log_rest)


def _mean_over_regions(per_region: Tensor, domains: ScoreDomains) -> Tensor:
    return per_region.sum(1) / domains.regions.clamp_min(1)


def _mean_within(values: Tensor, domain: Tensor) -> Tensor:
    """Mean of ``(B, K, *spatial)`` over a domain, ``(B, K)``; 0 with zero gradient where the domain is empty."""
    return torch.where(domain, values, 0.0).flatten(2).sum(2) / domain.flatten(2).sum(2).clamp_min(1)


def _claimed_by_others(domain: Tensor) -> Tensor:
    """Voxels of ``(B, K, *spatial)`` that belong to another region's domain."""
    return domain.sum(1, keepdim=True) > domain.long()
