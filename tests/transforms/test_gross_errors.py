from __future__ import annotations

import torch

from nnunet_weak.transforms.gross_errors import gross_error_augmentation

SPACING = [1.0, 1.0]


def sample() -> tuple[torch.Tensor, torch.Tensor]:
    masks = torch.zeros(1, 2, 40, 40)
    masks[0, 0, 5:13, 5:13] = 1
    masks[0, 1, 20:30, 20:30] = 0.8
    return masks, torch.full((1, 1, 40, 40), 0.7)


def outcomes(usable: torch.Tensor, probability: float = 1.0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    masks, prior = sample()
    before = masks.clone(), prior.clone()
    results = []
    for seed in range(30):
        generator = torch.Generator().manual_seed(seed)
        results.append(
            gross_error_augmentation(masks, prior, usable, SPACING, probability=probability, generator=generator)
        )
    assert torch.equal(masks, before[0]) and torch.equal(prior, before[1]), "inputs are not changed"
    return results


def test_a_region_vanishes_or_moves_and_its_prior_with_it():
    masks, prior = sample()
    vanished = moved = 0
    for new, new_prior in outcomes(torch.tensor([[False, True]])):
        assert torch.equal(new[0, 0], masks[0, 0]), "a region that may not be chosen stays"
        assert not torch.equal(new[0, 1], masks[0, 1])
        around = new_prior[0, 0, 15:35, 20:30]
        assert (around == 0).all() and (new_prior[0, 0, 14, 20:30] > 0).all(), "in and five voxels around the region"
        assert (new_prior[0, 0, 5:13, 5:13] == prior[0, 0, 5:13, 5:13]).all(), "not in another one"
        assert (new.sum(1) <= 1 + 1e-6).all()
        vanished += not new[0, 1].any()
        moved += bool(new[0, 1].any())
        assert set(new[0, 1].unique().tolist()) <= {0.0, masks[0, 1].max().item()}, "a soft mask stays as it was"
    assert vanished > 5 and moved > 5


def test_what_leaves_the_patch_does_not_come_back():
    masks = torch.zeros(1, 1, 40, 40)
    masks[0, 0, :3, :3] = 1
    for seed in range(30):
        new, _ = gross_error_augmentation(
            masks,
            torch.zeros(1, 1, 40, 40),
            torch.tensor([[True]]),
            SPACING,
            probability=1.0,
            generator=torch.Generator().manual_seed(seed),
        )
        assert not new[0, 0, 25:].any() and not new[0, 0, :, 25:].any()


def test_nothing_happens_by_chance_zero_or_without_a_voxel():
    masks, prior = sample()
    for new, new_prior in outcomes(torch.tensor([[True, True]]), probability=0.0):
        assert torch.equal(new, masks) and torch.equal(new_prior, prior)
    empty, same = gross_error_augmentation(
        torch.zeros_like(masks), prior, torch.tensor([[True, True]]), SPACING, probability=1.0
    )
    assert not empty.any() and torch.equal(same, prior)
