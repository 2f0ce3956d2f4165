"""Weights of voxels and classes in nnU-Net's loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import nn

from nnunet_weak.dataset.weights import LARGEST_WEIGHT, weight_codes
from nnunet_weak.losses.weighted import WeightedDiceAndCrossEntropy, voxel_weights

SHAPE = (2, 3, 4, 5, 6)  # B, L, z, y, x
IGNORE = 3


def stock_loss(batch_dice: bool = False, ignore: bool = False, weight_dice: float = 1) -> DC_and_CE_loss:
    dice = {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": False, "ddp": False}
    return DC_and_CE_loss(
        dice, {}, weight_ce=1, weight_dice=weight_dice, ignore_label=IGNORE if ignore else None,
        dice_class=MemoryEfficientSoftDiceLoss,
    )  # fmt: skip


def example(ignore: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = (3 * torch.randn(SHAPE, generator=generator)).requires_grad_()
    seg = torch.randint(0, 4 if ignore else 3, (2, 1, *SHAPE[2:]), generator=generator).float()
    return logits, seg, torch.rand((2, 1, *SHAPE[2:]), generator=generator) * 3


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("batch_dice", [False, True])
def test_weights_of_one_give_the_stock_loss_to_the_last_bit(batch_dice, ignore):
    logits, seg, _ = example(ignore)
    stock = stock_loss(batch_dice, ignore)
    loss = WeightedDiceAndCrossEntropy(stock, torch.ones(SHAPE[1]))
    values = {}
    for name, value in (("stock", stock(logits, seg)), ("weighted", loss(logits, seg, torch.ones_like(seg)))):
        (gradient,) = torch.autograd.grad(value, logits)
        values[name] = (value.item(), gradient)
    assert values["stock"][0] == values["weighted"][0]
    assert torch.equal(values["stock"][1], values["weighted"][1])


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("batch_dice", [False, True])
def test_the_weighted_formula_agrees_with_stock_where_weights_are_one(batch_dice, ignore):
    logits, seg, _ = example(ignore)
    stock = stock_loss(batch_dice, ignore)
    value = WeightedDiceAndCrossEntropy(stock).weighted(logits, seg, torch.ones_like(seg))
    assert value.item() == pytest.approx(stock(logits, seg).item(), rel=1e-6)


def test_a_value_by_hand():
    """One sample of three voxels; probabilities 1/2, 3/4, 1/4 of the foreground."""
    logits = torch.tensor([[[0.0, 0.0, 0.0], [0.0, math.log(3), -math.log(3)]]])[:, :, None]
    seg = torch.tensor([[[[1.0, 1.0, 0.0]]]])
    weights = torch.tensor([[[[2.0, 1.0, 0.5]]]])
    ce = (2 * math.log(2) + 1 * math.log(4 / 3) + 0.5 * math.log(4 / 3)) / 3.5
    dice = 2 * (2 * 0.5 + 0.75) / (2 * 0.5 + 0.75 + 0.5 * 0.25 + 2 + 1)
    loss = WeightedDiceAndCrossEntropy(stock_loss())
    assert loss(logits, seg, weights).item() == pytest.approx(ce - dice, rel=1e-5)
    ce = (3 * 2 * math.log(2) + 3 * math.log(4 / 3) + 0.5 * math.log(4 / 3)) / 9.5
    loss = WeightedDiceAndCrossEntropy(stock_loss(), torch.tensor([1.0, 3.0]))
    assert loss(logits, seg, weights).item() == pytest.approx(ce - dice, rel=1e-5)


def test_class_weights_are_those_of_torch():
    logits, seg, _ = example()
    classes = torch.tensor([0.5, 1.0, 8.0])
    loss = WeightedDiceAndCrossEntropy(stock_loss(weight_dice=0), classes)
    expected = nn.CrossEntropyLoss(classes)(logits, seg[:, 0].long())
    assert loss(logits, seg, torch.ones_like(seg)).item() == pytest.approx(expected.item(), rel=1e-6)


def test_weight_zero_is_the_ignore_label():
    logits, seg, _ = example(ignore=True)
    ignored = seg == IGNORE
    expected = stock_loss(ignore=True)(logits, seg)
    loss = WeightedDiceAndCrossEntropy(stock_loss())(logits, torch.where(ignored, 1, seg), (~ignored).float())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[ignored.expand(SHAPE)] == 0).all() and gradient.abs().sum() > 0


def test_nothing_counts():
    logits, seg, weights = example()
    loss = WeightedDiceAndCrossEntropy(stock_loss(weight_dice=0))(logits, seg, 0 * weights)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0 and (gradient == 0).all()


def test_better_predictions_cost_less_and_half_precision_is_finite():
    logits, seg, weights = example()
    loss = WeightedDiceAndCrossEntropy(stock_loss(), torch.tensor([1.0, 2.0, 4.0]))
    good = 4 * nn.functional.one_hot(seg[:, 0].long(), 3).movedim(-1, 1).float()
    assert loss(good, seg, weights) < loss(logits, seg, weights) < loss(-good, seg, weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss((100 * logits).bfloat16(), seg, weights).isfinite()


def test_codes_keep_weights_in_steps_of_a_tenth():
    weights = np.array([0, 0.04, 0.5, 1, 7.3, LARGEST_WEIGHT])
    codes = weight_codes(weights)
    assert codes.tolist() == [1, 1, 6, 11, 74, 255]
    restored = voxel_weights(torch.from_numpy(codes.astype(np.int16)))
    assert restored.numpy() == pytest.approx([0, 0, 0.5, 1, 7.3, LARGEST_WEIGHT])
    assert restored[3] == 1, "exactly: the stock loss depends on it"
    assert voxel_weights(torch.zeros(2)).tolist() == [1, 1], "blank and padding"
