from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nnunet_weak.losses.score import RegionTargets
from nnunet_weak.losses.score_plus import (
    ScorePlusOptions,
    mask_uncertainty,
    score_plus_domains,
    score_plus_loss,
    stability_dice_loss,
    uncertain_log_probabilities,
)

NAN = math.nan


def total_of(logits: Tensor, targets: RegionTargets) -> Tensor:
    return torch.stack(list(score_plus_loss(logits, targets).values())).sum(0)


WIDTH_OF_ROWS = 6


def line_targets(
    labels: str, quality: Sequence[float], error: Sequence[int], *, prior: float = 0.5, padding: int = 0
) -> RegionTargets:
    """One 2d sample that is a line in effect: equal rows, too far apart to reach each other or the border."""
    label = torch.tensor([int(character) for character in labels])
    masks = torch.stack([label == k + 1 for k in range(len(quality))])
    inside = torch.ones(1, 1, WIDTH_OF_ROWS, len(labels), dtype=torch.bool)
    inside[..., len(labels) - padding :] = False
    return RegionTargets(
        masks=masks[None, :, None].expand(1, -1, WIDTH_OF_ROWS, -1).clone(),
        quality=torch.tensor([list(quality)]),
        error=torch.tensor([list(error)]),
        prior=torch.full((1, 1, WIDTH_OF_ROWS, len(labels)), prior),
        inside=inside,
        spacing=(10.0, 1.0),
    )


def picture(domain: Tensor) -> str:
    """``(1, C, rows, columns)`` as one line: the channel that is set, '.' for none, '*' for several."""
    assert domain.all(2).equal(domain.any(2))
    columns = domain[0, :, 0].T.tolist()
    return "".join("." if not any(c) else "*" if sum(c) > 1 else str(c.index(True)) for c in columns)


def pictures(targets: RegionTargets) -> tuple[str, str, str]:
    domains = score_plus_domains(targets, 2.0)
    return picture(domains.stability), picture(domains.inner), picture(domains.outer)


@pytest.mark.parametrize(
    ("error", "quality", "stability", "inner", "outer"),
    [
        # The stability picture counts the background as 0, the others count the first region as 0.
        (-1, 2.0, "00..1111111..000", "................", "..00.......00..."),
        (1, 2.0, "0000..111..00000", "....00...00.....", "................"),
        (2, 2.0, "00....111....000", "....00...00.....", "..00.......00..."),
        (0, 5.0, "0000111111100000", "................", "................"),
        # Without a score the band is left alone: nothing says which side is right. Outer has weight 0.
        (0, NAN, "00....111....000", "................", "..00.......00..."),
    ],
)
def test_domains_on_a_line(error: int, quality: float, stability: str, inner: str, outer: str) -> None:
    assert pictures(line_targets("0000111111100000", [quality], [error])) == (stability, inner, outer)


def test_correction_stays_away_from_border_and_padding() -> None:
    # The left band lies at the border of the patch, the right edge of the mask touches padding.
    stability, inner, outer = pictures(line_targets("0001111111000", [2.0], [2], padding=3))
    assert stability == "0....11111..."
    assert inner == "...00........"
    assert outer == "..0.........."


def test_the_nearest_region_claims_a_gap_and_neighbours_are_not_eaten() -> None:
    # A gap of three: its middle is equally near to both regions.
    gap = "0000011110002222200000"
    assert pictures(line_targets(gap, [2.0, 2.0], [-1, -1]))[2] == "...00....0*1.....11..."
    # The left region's outside is right, so only the right one may reach into the gap.
    assert pictures(line_targets(gap, [2.0, 2.0], [1, -1]))[2] == "..........11.....11..."
    # Regions that touch: each may be wrong towards the background only.
    touching = "0000111112222200000"
    stability, inner, outer = pictures(line_targets(touching, [2.0, 2.0], [-1, 2]))
    assert stability == "00..11111..2....000"
    assert inner == "............11....."
    assert outer == "..00..........11..."


def test_values_by_hand() -> None:
    targets = line_targets("0000111111100000", [2.0], [-1], prior=0.25)
    foreground = 0.8
    logits = torch.zeros(1, 2, WIDTH_OF_ROWS, 16)
    logits[:, 1] = math.log(foreground / (1 - foreground))
    terms = score_plus_loss(logits, targets)
    # Per row: 7 voxels of the region and 5 of background are held, 4 are corrected with weight 3/5.
    weights = 7 + 5 + 4 * 0.6
    assert terms["stability"].item() == pytest.approx(-(7 * math.log(0.8) + 5 * math.log(0.2)) / weights, rel=1e-5)
    soft = -0.25 * math.log(0.8) - 0.75 * math.log(0.2)
    assert terms["expansion"].item() == pytest.approx(4 * 0.6 * soft / weights, rel=1e-5)
    assert terms["subtraction"].item() == 0


def test_a_shared_voxel_divides_the_prior_and_averages_the_weight() -> None:
    targets = line_targets("0000011110002222200000", [0.0, 2.5], [-1, -1], prior=0.6)
    logits = torch.randn(1, 3, 1, 1).expand(1, 3, WIDTH_OF_ROWS, 22)
    log_p = logits.log_softmax(1)[0, :, 0, 0].tolist()
    terms = score_plus_loss(logits, targets)
    first = -0.6 * log_p[1] - 0.4 * log_p[0]
    second = -0.6 * log_p[2] - 0.4 * log_p[0]
    shared = -0.3 * log_p[1] - 0.3 * log_p[2] - 0.4 * log_p[0]
    held = 4 + 5 + 6
    expected = 3 * 1.0 * first + 3 * 0.5 * second + 0.75 * shared
    assert terms["expansion"].item() == pytest.approx(expected / (held + 3 + 1.5 + 0.75), rel=1e-5)


def test_an_unscored_region_corrects_nothing() -> None:
    terms = score_plus_loss(torch.randn(1, 2, WIDTH_OF_ROWS, 16), line_targets("0000111111100000", [NAN], [2]))
    assert terms["stability"] > 0 and terms["expansion"] == 0 and terms["subtraction"] == 0


@pytest.mark.parametrize("error", [-1, 0, 1, 2])
def test_good_is_better_than_bad(error: int) -> None:
    targets = line_targets("0000111111100000", [2.0], [error])
    label = targets.masks.float()
    targets = replace(targets, prior=label)
    good = torch.cat([1 - label, label], dim=1) * 4
    values = [total_of(logits, targets).item() for logits in (good, 0 * good, -good)]
    assert values == sorted(values) and values[0] < values[2]


def random_targets(batch: int = 3, regions: int = 3) -> RegionTargets:
    generator = torch.Generator().manual_seed(4)
    shape = (7, 12, 10)
    grid = torch.stack(torch.meshgrid(*[torch.arange(size) for size in shape], indexing="ij"))
    centres = torch.rand(batch, regions, 3, 1, 1, 1, generator=generator) * torch.tensor(shape).view(3, 1, 1, 1)
    distance = ((grid - centres) ** 2).sum(2).sqrt()
    return RegionTargets(
        masks=(distance < 4) & (distance == distance.amin(1, keepdim=True)),
        quality=torch.tensor([[1.0, NAN, 3.0], [5.0, 2.0, 0.0], [4.0, 1.0, 2.0]]),
        error=torch.tensor([[-1, 0, 1], [0, 2, -1], [2, 2, -1]]),
        prior=torch.rand(batch, 1, *shape, generator=generator),
        inside=torch.ones(batch, 1, *shape, dtype=torch.bool),
        spacing=(1.5, 1.0, 1.0),
    )


def test_no_voxel_is_in_two_domains() -> None:
    domains = score_plus_domains(random_targets(), 2.0)
    outer = domains.outer.any(1, keepdim=True)
    assert outer.any() and domains.inner.any()
    assert torch.cat([domains.stability, domains.inner, outer], dim=1).sum(1).max() == 1


def test_a_sample_has_the_same_loss_in_any_batch() -> None:
    targets = random_targets()
    logits = torch.randn(3, 4, 7, 12, 10)
    together = score_plus_loss(logits, targets)
    for index in range(3):
        cut = {
            name: getattr(targets, name)[index : index + 1] for name in ("masks", "quality", "error", "prior", "inside")
        }
        alone = score_plus_loss(logits[index : index + 1], replace(targets, **cut))
        for name, value in together.items():
            torch.testing.assert_close(value[index], alone[name][0])


def test_gradient_is_zero_where_nothing_is_supervised() -> None:
    targets = random_targets()
    logits = torch.randn(3, 4, 7, 12, 10, requires_grad=True)
    total_of(logits, targets).sum().backward()
    domains = score_plus_domains(targets, 2.0)
    weighted = domains.outer & (targets.correction_weight > 0)[:, :, None, None, None]
    supervised = torch.cat([domains.stability, domains.inner, weighted], dim=1).any(1)
    assert logits.grad is not None and logits.grad.isfinite().all()
    moved = (logits.grad != 0).any(1)
    assert torch.equal(moved, supervised) and (~supervised).any()


def test_all_padding_gives_zero_and_zero_gradient() -> None:
    targets = random_targets()
    targets = replace(targets, inside=torch.zeros_like(targets.inside))
    logits = torch.randn(3, 4, 7, 12, 10, requires_grad=True)
    total = total_of(logits, targets)
    total.sum().backward()
    assert (total == 0).all() and logits.grad is not None and (logits.grad == 0).all()


def test_weights_and_prior_options() -> None:
    targets = random_targets()
    logits = torch.randn(3, 4, 7, 12, 10)
    without = score_plus_loss(logits, targets, ScorePlusOptions(use_prior=False))
    half = score_plus_loss(logits, replace(targets, prior=torch.full_like(targets.prior, 0.5)))
    torch.testing.assert_close(without, half)
    only_held = score_plus_loss(logits, targets, ScorePlusOptions(weight_correction=0.0))
    assert (only_held["expansion"] == 0).all() and (only_held["subtraction"] == 0).all()
    # The common normaliser: scaling both weights changes nothing.
    scaled = score_plus_loss(logits, targets, ScorePlusOptions(weight_stability=3.0, weight_correction=3.0))
    torch.testing.assert_close(scaled, score_plus_loss(logits, targets))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_finite_in_half_precision_and_autocast(dtype: torch.dtype) -> None:
    logits = (torch.randn(3, 4, 7, 12, 10) * 1000).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        total = total_of(logits, random_targets())
    total.sum().backward()
    assert total.dtype == torch.float32 and total.isfinite().all()
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_dice_of_held_voxels_by_hand() -> None:
    """Three held voxels of region 1 at p = 0.5, two held background voxels at p = 0.25, one free voxel at p = 1."""
    p = torch.tensor([0.5, 0.5, 0.5, 0.25, 0.25, 1 - 1e-7]).view(1, 1, 1, 6)
    log_p = torch.cat([1 - p, p], dim=1).log()
    region = torch.tensor([1, 1, 1, 0, 0, 0], dtype=torch.bool).view(1, 1, 1, 6)
    background = torch.tensor([0, 0, 0, 1, 1, 0], dtype=torch.bool).view(1, 1, 1, 6)
    value = stability_dice_loss(log_p, torch.cat([background, region], dim=1))
    assert value.item() == pytest.approx(1 - 2 * 1.5 / (1.5 + 0.5 + 3), rel=1e-5)
    assert stability_dice_loss(log_p, torch.cat([background, region & False], dim=1)).item() == 0


def test_uncertainty_by_hand() -> None:
    """An unusable under-segmentation leaves open whether background is the region, an over-segmentation the inverse."""
    p = torch.tensor([0.2, 0.3, 0.5])
    log_p = p.log().view(1, 3, 1, 1)
    none, whole, half = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.0]])
    torch.testing.assert_close(uncertain_log_probabilities(log_p, none, none), log_p)
    torch.testing.assert_close(
        uncertain_log_probabilities(log_p, none, whole).exp().flatten(), torch.tensor([0.5, 0.3, 0.5])
    )
    torch.testing.assert_close(
        uncertain_log_probabilities(log_p, half, none).exp().flatten(), torch.tensor([0.2, 0.4, 0.5])
    )


@pytest.mark.parametrize(
    ("quality", "error", "inside", "outside"),
    [(0.0, -1, 0.0, 1.0), (0.5, 1, 0.75, 0.0), (1.0, 2, 0.5, 0.5), (2.0, 2, 0.0, 0.0), (NAN, 0, 0.0, 0.0)],
)
def test_uncertainty_follows_quality_and_error_type(quality: float, error: int, inside: float, outside: float) -> None:
    targets = line_targets("0001111111000", [quality], [error])
    assert [value.item() for value in mask_uncertainty(targets, 2.0)] == [inside, outside]
    assert not any(value.any() for value in mask_uncertainty(targets, 0.0))


def test_an_unusable_mask_does_not_say_where_the_region_is_not() -> None:
    """Background is told apart from the other region only, and the Dice term counts no uncertain voxel."""
    targets = line_targets("000111111100000022222220000", [0.0, 4.0], [-1, -1])
    everywhere = torch.zeros(1, 3, WIDTH_OF_ROWS, 27)
    everywhere[:, 1] = torch.where(targets.masks[:, 1], -9.0, 9.0)
    everywhere[:, 2] = -everywhere[:, 1]
    terms = score_plus_loss(everywhere, targets)
    assert terms["stability"].item() < 1e-3 and terms["dice"].item() < 1e-3
    certain = score_plus_loss(everywhere, targets, ScorePlusOptions(reliable_quality=0.0))
    assert certain["stability"].item() > 1 and certain["dice"].item() > 0.1
