from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from nnunet_weak.losses.score import (
    RegionTargets,
    ScoreOptions,
    dominant_error,
    log_probabilities,
    score_domains,
    score_loss,
)

NAN = math.nan


def total_of(logits: Tensor, targets: RegionTargets, **options) -> Tensor:
    return torch.stack(list(score_loss(logits, targets, ScoreOptions(**options)).values())).sum(0)


def line_targets(
    labels: str,
    quality: Sequence[float],
    error: Sequence[int],
    *,
    prior: Sequence[float] | float = 0.5,
    padding: int = 0,
) -> RegionTargets:
    """One 2d sample that is a line in effect: seven equal rows, too far apart to reach each other or the border."""
    label = torch.tensor([int(character) for character in labels])
    masks = torch.stack([label == k + 1 for k in range(len(quality))])
    rows = 7
    width = len(labels)
    inside = torch.ones(1, 1, rows, width, dtype=torch.bool)
    inside[..., width - padding :] = False
    return RegionTargets(
        masks=masks[None, :, None].expand(1, -1, rows, -1).clone(),
        quality=torch.tensor([list(quality)]),
        error=torch.tensor([list(error)]),
        prior=torch.as_tensor(prior).expand(1, 1, rows, width).float().clone(),
        inside=inside,
        spacing=(10.0, 1.0),
    )


def random_targets(seed: int = 0, batch: int = 3, regions: int = 2) -> RegionTargets:
    generator = torch.Generator().manual_seed(seed)
    shape = (9, 12, 10)
    centres = torch.rand(batch, regions, 3, 1, 1, 1, generator=generator) * torch.tensor(shape).view(3, 1, 1, 1)
    grid = torch.stack(torch.meshgrid(*[torch.arange(size) for size in shape], indexing="ij"))
    distance = ((grid - centres) ** 2).sum(2).sqrt()
    masks = (distance < 4) & (distance == distance.amin(1, keepdim=True))
    return RegionTargets(
        masks=masks,
        quality=torch.rand(batch, regions, generator=generator) * 5,
        error=torch.randint(-1, 3, (batch, regions), generator=generator),
        prior=torch.rand(batch, 1, *shape, generator=generator),
        inside=torch.ones(batch, 1, *shape, dtype=torch.bool),
        spacing=(1.0, 1.0, 1.0),
    )


def sample(targets: RegionTargets, index: int) -> RegionTargets:
    cut = {f.name: getattr(targets, f.name)[index : index + 1] for f in fields(targets) if f.name in BATCHED}
    return replace(targets, **cut)


BATCHED = ("masks", "quality", "error", "prior", "inside")


def row(domain: Tensor) -> str:
    """A domain of one region as text; all rows must be the same."""
    assert domain.all(0).equal(domain.any(0))
    return "".join("#" if value else "." for value in domain[0].tolist())


@pytest.mark.parametrize(
    ("error", "quality", "stability", "correction", "background"),
    [
        # The band would reach two voxels to either side; the two voxels next to the border of the patch stay out.
        (1, 3.0, ".....###......", "..###...####..", "#...........##"),
        (2, 3.0, ".....###......", "..###...####..", "#...........##"),
        (-1, 3.0, ".....###......", "..###...####..", "#...........##"),
        # Excellent: all of the mask, and the background right up to it.
        (0, 5.0, "...#######....", "..............", "###.......####"),
        # Without a score: stability only, with eroded mask.
        (1, NAN, ".....###......", "..............", "#...........##"),
    ],
)
def test_domains_on_a_line(error: int, quality: float, stability: str, correction: str, background: str) -> None:
    targets = line_targets("00011111110000", [quality], [error])
    domains = score_domains(targets, 2.0)
    assert row(domains.stability[0, 0]) == stability
    assert row(domains.correction[0, 0]) == correction
    assert row(domains.background[0, 0]) == background
    assert domains.regions.tolist() == [1]


def test_paper_exact_has_no_background() -> None:
    targets = line_targets("00011111110000", [3.0], [1])
    domains = score_domains(targets, 2.0, paper_exact=True)
    assert not domains.background.any()
    assert row(domains.stability[0, 0]) == ".....###......"


def test_padding_is_unknown_and_supervises_nothing() -> None:
    # The mask touches the padding: it may go on there, so nothing is eroded and no band is known.
    domains = score_domains(line_targets("0000011111000", [3.0], [2], padding=3), 2.0)
    assert row(domains.stability[0, 0]) == ".......###..."
    assert row(domains.correction[0, 0]) == "...####......"
    assert row(domains.background[0, 0]) == "###.........."


def test_band_leaves_out_what_is_stable_in_a_neighbour() -> None:
    targets = line_targets("0000111112222200000", [3.0, 5.0], [-1, 0])
    ours = score_domains(targets, 2.0)
    paper = score_domains(targets, 2.0, paper_exact=True)
    assert row(ours.correction[0, 0]) == "..####.##.........."
    assert row(paper.correction[0, 0]) == "..####.####........"
    assert row(ours.stability[0, 1]) == ".........#####....."
    # Right of the excellent region the background starts at its edge.
    assert row(ours.background[0, 0]) == "##............#####"


def test_supervision_agrees_with_the_mask_before_augmentation() -> None:
    annotated = line_targets("000001111111000000", [3.0], [-1])
    augmented = line_targets("000000011100000000", [2.0], [-1])
    alone = score_domains(augmented, 2.0)
    both = score_domains(replace(augmented, unaugmented=annotated.masks), 2.0)
    # Two voxels that the annotated mask holds, or may still reach, must not be held as background.
    assert row(alone.background[0, 0]) == "#####.......######"
    assert row(both.background[0, 0]) == "###...........####"
    assert torch.equal(alone.correction, both.correction)

    dilated = line_targets("000111111111111000", [2.0], [1])
    assert row(score_domains(dilated, 1.0).stability[0, 0]) == "....##########...."
    with_original = score_domains(replace(dilated, unaugmented=annotated.masks), 1.0)
    assert row(with_original.stability[0, 0]) == ".....#######......"


def test_values_by_hand() -> None:
    labels = "00011111110000"
    targets = line_targets(labels, [2.0], [2], prior=0.25)
    foreground = 0.8
    logits = torch.zeros(1, 2, 7, len(labels))
    logits[:, 1] = math.log(foreground / (1 - foreground))
    terms = score_loss(logits, targets)
    weight = 3 / 5
    # One region and the background: the mean of -log 0.8 and -log 0.2.
    assert terms["stability"].item() == pytest.approx(5 * (-math.log(0.8) - math.log(0.2)) / 2, rel=1e-5)
    assert terms["expansion"].item() == pytest.approx(-weight * 0.25 * math.log(0.8), rel=1e-5)
    assert terms["subtraction"].item() == pytest.approx(-weight * 0.75 * math.log(0.2), rel=1e-5)
    paper = score_loss(logits, targets, ScoreOptions(paper_exact=True))
    assert paper["stability"].item() == pytest.approx(-5 * math.log(0.8), rel=1e-5)
    doubled = score_loss(logits, targets, ScoreOptions(weight_expansion=2.0, weight_subtraction=3.0))
    assert doubled["expansion"].item() == pytest.approx(2 * terms["expansion"].item())
    assert doubled["subtraction"].item() == pytest.approx(3 * terms["subtraction"].item())


def test_two_regions_share_the_normaliser() -> None:
    labels = "0000111111100000222222200000"
    logits = torch.zeros(1, 3, 7, len(labels))
    one_scored = score_loss(logits, line_targets(labels, [0.0, NAN], [-1, 0], prior=1.0))
    assert one_scored["expansion"].item() == pytest.approx(math.log(3) / 2, rel=1e-5)
    # A region that is not in the patch does not count.
    one_present = score_loss(logits, line_targets(labels.replace("2", "0"), [0.0, 0.0], [-1, -1], prior=1.0))
    assert one_present["expansion"].item() == pytest.approx(math.log(3), rel=1e-5)


@pytest.mark.parametrize(("error", "active"), [(-1, {"expansion"}), (1, {"subtraction"}), (0, set())])
def test_error_type_chooses_the_terms(error: int, active: set[str]) -> None:
    terms = score_loss(torch.zeros(1, 2, 7, 14), line_targets("00011111110000", [3.0], [error]))
    assert {name for name in ("expansion", "subtraction") if terms[name] > 0} == active


def test_both_errors_are_cross_entropy_with_the_prior_as_soft_target() -> None:
    targets = random_targets(1, batch=1, regions=1)
    targets = replace(targets, quality=torch.tensor([[1.5]]), error=torch.tensor([[2]]))
    logits = torch.randn(1, 2, 9, 12, 10, dtype=torch.float64)
    terms = score_loss(logits, targets)
    band = score_domains(targets, 2.0).correction[0, 0]
    assert band.any()
    expected = torch.nn.functional.binary_cross_entropy(
        logits.softmax(1)[0, 1][band], targets.prior[0, 0][band].double()
    )
    assert (terms["expansion"] + terms["subtraction"]).item() == pytest.approx(0.7 * expected.item(), rel=1e-6)


def test_prior_half_without_prior() -> None:
    targets = random_targets()
    logits = torch.randn(3, 3, 9, 12, 10)
    without = score_loss(logits, targets, ScoreOptions(use_prior=False))
    half = score_loss(logits, replace(targets, prior=torch.full_like(targets.prior, 0.5)))
    for name in without:
        torch.testing.assert_close(without[name], half[name])


@pytest.mark.parametrize("error", [-1, 0, 1, 2])
def test_following_the_annotation_is_better_than_contradicting_it(error: int) -> None:
    labels = "00001111111100000"
    label = torch.tensor([int(character) for character in labels])
    targets = line_targets(labels, [5.0 if error == 0 else 2.0], [error], prior=(label == 1).float().tolist())
    good = torch.stack([1.0 - label, label.float()])[None, :, None].expand(1, 2, 7, -1) * 4
    assert total_of(good, targets) < total_of(0 * good, targets) < total_of(-good, targets)


def test_a_sample_has_the_same_loss_in_any_batch() -> None:
    targets = random_targets()
    logits = torch.randn(3, 3, 9, 12, 10)
    together = score_loss(logits, targets)
    for index in range(3):
        alone = score_loss(logits[index : index + 1], sample(targets, index))
        for name, value in together.items():
            torch.testing.assert_close(value[index], alone[name][0])


def test_gradient_is_zero_where_nothing_is_supervised() -> None:
    targets = line_targets("00011111110000", [3.0], [2], prior=0.3, padding=2)
    logits = torch.randn(1, 2, 7, 14, requires_grad=True)
    total_of(logits, targets).sum().backward()
    domains = score_domains(targets, 2.0)
    supervised = (domains.stability | domains.correction | domains.background)[0, 0]
    assert logits.grad is not None
    assert (logits.grad[0, 1][~supervised] == 0).all() and (~supervised).any()
    assert (logits.grad[0, 1][supervised] != 0).all()
    assert not supervised[:, -2:].any()


@pytest.mark.parametrize("paper_exact", [False, True])
@pytest.mark.parametrize("quality", [2.0, NAN])
def test_nothing_at_all(quality: float, paper_exact: bool) -> None:
    targets = line_targets("00000000000000", [quality, quality], [2, 1])
    logits = torch.randn(1, 3, 7, 14, requires_grad=True)
    terms = score_loss(logits, targets, ScoreOptions(paper_exact=paper_exact))
    torch.stack(list(terms.values())).sum().backward()
    assert terms["expansion"].item() == terms["subtraction"].item() == 0
    assert (terms["stability"].item() == 0) == paper_exact
    assert logits.grad is not None and logits.grad.isfinite().all()
    assert (logits.grad == 0).all() == paper_exact
    all_padding = replace(targets, inside=torch.zeros_like(targets.inside))
    assert total_of(logits, all_padding).item() == 0


@pytest.mark.parametrize("channels", [2, 3, 5])
def test_log_probabilities_are_exact_for_saturated_logits(channels: int) -> None:
    logits = torch.randn(2, channels, 4, 3, dtype=torch.float64) * 30
    log_p, log_not_p = log_probabilities(logits.float())
    exact = torch.stack(
        [logits[:, [c for c in range(channels) if c != k]].logsumexp(1) - logits.logsumexp(1) for k in range(channels)],
        dim=1,
    )
    torch.testing.assert_close(log_p.double(), logits.log_softmax(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(log_not_p.double(), exact, rtol=1e-4, atol=1e-5)


def test_log_probabilities_have_the_right_gradient() -> None:
    logits = torch.randn(1, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: log_probabilities(x), (logits,))
    saturated = (torch.randn(1, 4, 2, 2) * 200).requires_grad_()
    log_probabilities(saturated)[1].sum().backward()
    assert saturated.grad is not None and saturated.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_finite_in_half_precision_and_autocast(dtype: torch.dtype) -> None:
    targets = random_targets()
    logits = (torch.randn(3, 3, 9, 12, 10) * 1000).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        total = total_of(logits, targets)
    assert total.dtype == torch.float32 and total.isfinite().all()
    total.sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all() and (logits.grad != 0).any()


def test_dominant_error_follows_the_prior() -> None:
    labels = "0000111111110000"
    bright_outside = [1.0 if character == "0" else 0.9 for character in labels]
    dark_inside = [0.0] * len(labels)
    assert dominant_error(line_targets(labels, [2.0], [2], prior=bright_outside), 2.0).tolist() == [[-1]]
    assert dominant_error(line_targets(labels, [2.0], [2], prior=dark_inside), 2.0).tolist() == [[1]]
    assert dominant_error(line_targets(labels, [2.0], [-1], prior=dark_inside), 2.0).tolist() == [[-1]]


def test_without_stability_nothing_holds_the_background() -> None:
    targets = line_targets("00011111110000", [3.0], [2])
    logits = torch.randn(1, 2, 7, 14, requires_grad=True)
    total_of(logits, targets, weight_stability=0.0).sum().backward()
    assert logits.grad is not None
    assert ((logits.grad[0, 1] != 0) == score_domains(targets, 2.0).correction[0, 0]).all()
