from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from nnunet_weak.losses.refineseg import (
    complementary_matrix,
    excluded_class_loss,
    lower_resolutions_loss,
    negative_loss,
    positive_loss,
)

SPATIAL = (3, 4, 5)


def random_case(num_classes: int = 3, batch: int = 2, seed: int = 0, spatial: tuple[int, ...] = SPATIAL):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, num_classes, *spatial, generator=generator)
    annotation = torch.randint(0, num_classes + 1, (batch, *spatial), generator=generator)
    return logits.requires_grad_(), annotation


LOSSES = {
    "positive": positive_loss,
    "positive, balanced": lambda u, y: positive_loss(u, y, cross_entropy_per_class=True),
    "positive, eq. 4 as written": lambda u, y: positive_loss(u, y, dice_per_class=False),
    "negative": negative_loss,
    "negative, learned": lambda u, y: negative_loss(u, y, torch.linspace(-1, 1, u.shape[1] ** 2).view(u.shape[1], -1)),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def test_positive_loss_by_hand():
    # voxels:            class 0 drawn, class 0 drawn, class 1 drawn, blank
    u = torch.tensor([[[0.9, 0.6, 0.3, 0.5], [0.1, 0.4, 0.7, 0.5]]])
    annotation = torch.tensor([[1, 1, 2, 0]])
    cross_entropy = -(math.log(0.9) + math.log(0.6) + math.log(0.7)) / 3
    dice_0 = 2 * 1.5 / (1.8 + 2)
    dice_1 = 2 * 0.7 / (1.2 + 1)
    expected = 0.6 * cross_entropy + 0.4 * (1 - (dice_0 + dice_1) / 2)
    assert positive_loss(u, annotation).item() == pytest.approx(expected, rel=1e-6)
    joint = 0.6 * cross_entropy + 0.4 * (1 - 2 * 2.2 / (3 + 3))
    assert positive_loss(u, annotation, dice_per_class=False).item() == pytest.approx(joint, rel=1e-6)
    balanced = -((math.log(0.9) + math.log(0.6)) / 2 + math.log(0.7)) / 2
    only_cross_entropy = positive_loss(u, annotation, alpha=1, beta=0, cross_entropy_per_class=True)
    assert only_cross_entropy.item() == pytest.approx(balanced, rel=1e-6)


def test_positive_dice_leaves_out_classes_that_nobody_drew():
    # Counting the undrawn third class as Dice 0 would add a constant and reward nothing.
    u = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]])
    assert positive_loss(u, torch.tensor([[1, 2]]), alpha=0, beta=1).item() == pytest.approx(0)


def test_batch_dice_is_the_dice_of_all_samples_as_one():
    logits, annotation = random_case(batch=3)
    annotation[0][annotation[0] == 2] = 0  # the first sample lacks class 1
    annotation[2] = 0
    u = logits.softmax(1)
    options = {"alpha": 0.0, "beta": 1.0}
    value = positive_loss(u, annotation, batch_dice=True, **options)
    as_one = positive_loss(torch.cat([*u], dim=1)[None], torch.cat([*annotation])[None], **options)
    torch.testing.assert_close(value, as_one * torch.tensor([1.0, 1.0, 0.0]))
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert gradient[0, 1].any() and not gradient[2].any(), "a class that this slice lacks is kept out of it"


def test_a_balanced_class_counts_the_same_however_little_is_drawn():
    # A stroke of one voxel beside n voxels of background: its share of the gradient falls with n, unless balanced.
    def pull(n: int, balanced: bool) -> float:
        logits = torch.zeros(1, 2, n + 1, requires_grad=True)
        annotation = torch.ones(1, n + 1, dtype=torch.long)
        annotation[0, -1] = 2
        positive_loss(logits.softmax(1), annotation, beta=0, cross_entropy_per_class=balanced).sum().backward()
        return logits.grad[0, 1, -1].abs().item()

    assert pull(99, False) == pytest.approx(pull(9, False) / 10, rel=1e-4)
    assert pull(99, True) == pytest.approx(pull(9, True), rel=1e-4)


def test_negative_loss_by_hand():
    u = torch.tensor([[[0.5, 0.2, 0.1], [0.3, 0.2, 0.1], [0.2, 0.6, 0.8]]])
    annotation = torch.tensor([[1, 3, 0]])
    assert negative_loss(u, annotation).item() == pytest.approx(-(math.log(0.5) + math.log(0.4)) / 2, rel=1e-6)


def test_negative_loss_with_two_classes_is_cross_entropy_on_the_other_class():
    logits, _ = random_case(num_classes=2)
    annotation = torch.randint(1, 3, (2, *SPATIAL), generator=torch.Generator().manual_seed(1))
    other = 2 - annotation
    expected = functional.cross_entropy(logits, other, reduction="none").flatten(1).mean(1)
    torch.testing.assert_close(negative_loss(logits.softmax(1), annotation), expected)
    learned = negative_loss(logits.softmax(1), annotation, torch.tensor([[3.0, -2.0], [1.0, 5.0]]))
    torch.testing.assert_close(learned, expected)


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_uniform_complementary_matrix_is_the_closed_form_plus_its_constant(num_classes):
    logits, _ = random_case(num_classes)
    annotation = torch.randint(1, num_classes + 1, (2, *SPATIAL), generator=torch.Generator().manual_seed(2))
    u = logits.softmax(1)
    learned = negative_loss(u, annotation, torch.zeros(num_classes, num_classes))
    torch.testing.assert_close(learned, negative_loss(u, annotation) + math.log(num_classes - 1))


def test_complementary_matrix_has_rows_of_one_and_an_empty_diagonal():
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    matrix = complementary_matrix(logits)
    torch.testing.assert_close(matrix.sum(1), torch.ones(4))
    assert (matrix.diagonal() == 0).all()
    matrix[0, 1].backward()
    assert logits.grad.isfinite().all()


def test_learned_complementary_matrix_cannot_lower_the_loss_by_inflating_v():
    # With column-stochastic M, v of a class could exceed the share that u leaves to it.
    logits, _ = random_case(4)
    v = torch.einsum("mc,bmxyz->bcxyz", complementary_matrix(torch.randn(4, 4) * 5), logits.softmax(1))
    torch.testing.assert_close(v.sum(1), torch.ones(2, *SPATIAL))


@every_loss
def test_blank_map_gives_zero_and_zero_gradient(loss):
    logits, annotation = random_case()
    annotation[1] = 0
    annotation[1, 0] = -1  # padding, should nnU-Net's own removal of -1 ever be missing
    value = loss(logits.softmax(1), annotation)
    assert value[1] == 0 and value[0] > 0
    value.sum().backward()
    assert logits.grad[1].abs().max() == 0
    assert logits.grad[0].abs().max() > 0


@every_loss
def test_only_drawn_voxels_receive_a_gradient(loss):
    logits, annotation = random_case()
    loss(logits.softmax(1), annotation).sum().backward()
    assert (logits.grad.abs().sum(1)[annotation == 0] == 0).all()
    assert (logits.grad.abs().sum(1)[annotation > 0] > 0).all()


@every_loss
def test_a_sample_gives_the_same_loss_in_any_batch(loss):
    logits, annotation = random_case(batch=3)
    u = logits.softmax(1)
    together = loss(u, annotation)
    alone = torch.cat([loss(u[i : i + 1], annotation[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=0)


@every_loss
def test_channel_dimension_of_the_map_and_2d_are_accepted(loss):
    logits, annotation = random_case(spatial=(3, 7))
    u = logits.softmax(1)
    assert torch.equal(loss(u, annotation), loss(u, annotation[:, None].float()))


@every_loss
def test_half_precision_under_autocast_stays_finite(loss):
    logits, annotation = random_case()
    with torch.autocast("cpu", dtype=torch.float16):
        value = loss((logits.half() * 4).softmax(1), annotation)
    assert value.dtype == torch.float32
    value.sum().backward()
    assert value.isfinite().all() and logits.grad.isfinite().all()


@every_loss
def test_a_certain_and_wrong_voxel_still_learns(loss):
    # A clamp at 1e-7 has no gradient below it: a voxel wrong by more than 16 logits would never be corrected.
    logits = torch.tensor([[[40.0], [0.0], [0.0]]], requires_grad=True)
    negative = loss in (LOSSES["negative"], LOSSES["negative, learned"])
    says_not_class_0 = torch.tensor([[1 if negative else 2]])
    loss(logits.softmax(1), says_not_class_0).sum().backward()
    assert logits.grad[0, 0, 0] > 0.3
    assert logits.grad.isfinite().all()


@every_loss
def test_agreement_costs_less_than_disagreement(loss):
    _, annotation = random_case()
    target = (annotation - 1).clamp_min(0)
    agrees = functional.one_hot(target, 3).movedim(-1, 1) * 4.0
    if loss in (LOSSES["negative"], LOSSES["negative, learned"]):
        agrees = -agrees
    assert (loss(agrees.softmax(1), annotation) < loss((-agrees).softmax(1), annotation)).all()


def test_a_map_of_another_shape_is_refused():
    logits, annotation = random_case()
    with pytest.raises(ValueError, match="batch and spatial shape"):
        positive_loss(logits.softmax(1), annotation[..., :-1])


def test_lower_resolutions_learn_the_drawings_as_they_are():
    """By hand: blank counts for nothing on any grid."""
    drawn = torch.zeros(1, 1, 4, 6)
    drawn[..., :3] = 2  # class 1 on the left half, blank on the right
    half, quarter = (torch.zeros(1, 2, *size).requires_grad_() for size in ((2, 3), (1, 2)))
    value = lower_resolutions_loss([half, quarter], drawn, (0.5, 0.25), alpha=1.0, beta=0.0)
    assert value.item() == pytest.approx(0.75 * math.log(2), rel=1e-5)
    value.sum().backward()
    assert (half.grad[..., :1] != 0).all() and (half.grad[..., 2:] == 0).all()
    for drawings in (torch.zeros(1, 1, 4, 6), torch.zeros(1, 0, 4, 6)):
        quarter.grad = None
        nothing = lower_resolutions_loss([half, quarter], drawings, (0.5, 0.25))
        nothing.sum().backward()
        assert nothing.item() == 0 and quarter.grad is not None and (quarter.grad == 0).all()


def test_excluded_classes_count_alike_whatever_their_size():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4], [0.2, 0.2, 0.6]])
    annotation = torch.tensor([1, 3, 3, 0])  # not class 0; not class 2, twice; blank
    logits = (p.log() + torch.tensor([[1.0], [-2.0], [0.0], [3.0]])).T[None]
    expected = -(math.log(0.3) + (math.log(0.7) + math.log(0.6)) / 2) / 2
    assert excluded_class_loss(logits, annotation[None, None]).item() == pytest.approx(expected, rel=1e-5)


def test_excluded_class_loss_of_blank_and_of_extreme_logits():
    logits = torch.tensor([[[1e4, -1e4], [-1e4, 1e4]]], requires_grad=True)
    blank = excluded_class_loss(logits, torch.zeros(1, 2, 2, dtype=torch.long))
    blank.backward()
    assert blank.item() == 0 and logits.grad is not None and not logits.grad.any()
    logits.grad = None
    wrong = excluded_class_loss(logits, torch.tensor([[[1, 0]]]))
    wrong.backward()
    assert torch.isfinite(wrong) and wrong.item() == 2e4
    assert logits.grad[0, 0, 0] == 1 and logits.grad[0, 1, 0] == -1, "a confidently wrong voxel learns"
