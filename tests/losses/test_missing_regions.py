"""A region that a mask lacks counts as background where it may be, and as nothing else."""

from __future__ import annotations

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

from nnunet_weak.losses.missing_regions import count_as_background

MISSING = [[False, False, False], [False, True, True]]


def logits(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 4, 3, 4, 5, dtype=dtype) * 3


def test_probabilities_add_up():
    before, after = logits().softmax(1), count_as_background(logits(), MISSING).softmax(1)
    assert torch.allclose(after[1, 0], before[1, 0] + before[1, 2] + before[1, 3])
    assert torch.allclose(after[1, 1], before[1, 1])
    assert torch.all(after[1, 2:] == 0)


def test_other_samples_are_the_same_to_the_last_bit():
    given = logits(torch.float32)
    assert torch.equal(count_as_background(given, MISSING)[0], given[0])
    assert count_as_background(given, [[False] * 3] * 2) is given
    levels = count_as_background([given, given[..., ::2]], MISSING)
    assert [level.shape for level in levels] == [given.shape, given[..., ::2].shape]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_stock_loss_neither_draws_nor_forbids_a_missing_region(dtype):
    loss = DC_and_CE_loss(
        {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False},
        {},
        weight_ce=1,
        weight_dice=1,
        dice_class=MemoryEfficientSoftDiceLoss,
    )
    target = torch.zeros(2, 1, 3, 4, 5)
    target[:, :, 0] = 1
    given = logits(dtype).requires_grad_()
    loss(count_as_background(given, MISSING).float(), target).backward()
    assert torch.isfinite(given.grad).all()
    free = torch.zeros(1, 4, 3, 4, 5)
    drawn = free.clone()
    free[:, 0, 1:], drawn[:, 2, 1:], free[:, 1, 0], drawn[:, 1, 0] = 9, 9, 9, 9
    values = [loss(count_as_background(each, MISSING[1:]), target[:1]).item() for each in (free, drawn)]
    assert values[0] == pytest.approx(values[1], abs=1e-6)
    assert loss(drawn, target[:1]) > values[1] + 1
