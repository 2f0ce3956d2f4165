from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nnunet_weak.transforms.mask_morphology import (
    edge_width,
    morphological_augmentation,
    shift_edge,
    smooth_random_field,
)

VOXELS = (1.0, 1.0, 1.0)


def ball(shape: tuple[int, ...] = (18, 24, 21), radius: float = 6.0, centre: tuple[float, ...] = (9, 11, 10)) -> Tensor:
    grid = torch.stack(torch.meshgrid(*[torch.arange(size) for size in shape], indexing="ij"))
    return ((grid - torch.tensor(centre).view(-1, 1, 1, 1)) ** 2).sum(0).sqrt().le(radius).float()


def soft_ball() -> Tensor:
    """A mask that went through a coarser grid, as resampling leaves it."""
    coarse = interpolate(ball()[None, None], scale_factor=0.7, mode="trilinear")
    return interpolate(coarse, size=(18, 24, 21), mode="trilinear")[0, 0]


def augment(masks: Tensor, quality: float, error: int, seed: int = 0, **options: float) -> tuple[Tensor, Tensor]:
    shape = masks.shape[:2]
    return morphological_augmentation(
        masks,
        torch.full(shape, quality),
        torch.full(shape, error),
        VOXELS,
        max_radius=options.get("max_radius", 2.0),
        probability=options.get("probability", 1.0),
        generator=torch.Generator().manual_seed(seed),
    )


def test_a_hard_edge_moves_by_whole_voxels_and_stays_hard() -> None:
    mask = torch.zeros(5, 12)
    mask[:, 4:9] = 1
    spacing = (10.0, 1.0)

    def moved_by(shift: float) -> list[float]:
        moved = shift_edge(mask, torch.full(mask.shape, shift), spacing, max_shift=3.0)
        assert moved.equal(moved[:1].expand_as(moved))
        return moved[0].tolist()

    assert moved_by(1.0) == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0]
    assert moved_by(2.2) == [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]
    assert moved_by(-1.0) == [0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0]
    assert moved_by(0.3) == moved_by(-0.3) == mask[0].tolist()


def test_a_soft_edge_keeps_its_width() -> None:
    ramp = torch.tensor([1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0, 0, 0, 0, 0, 0]).expand(3, 16)
    spacing = (10.0, 1.0)
    # The estimate of a linear ramp over five steps: 6 (2 * 0.16 + 2 * 0.24) over a height of 1.
    assert edge_width(ramp, spacing).item() == pytest.approx(4.8, rel=1e-4)
    narrow = torch.tensor([1, 1, 1, 1, 1, 1, 0.75, 0.25, 0, 0, 0, 0, 0, 0]).expand(3, 14)
    outwards = shift_edge(narrow, torch.full(narrow.shape, 2.0), spacing, max_shift=2.0)
    inwards = shift_edge(narrow, torch.full(narrow.shape, -2.0), spacing, max_shift=2.0)
    for moved, expected in ((outwards, 9.5), (inwards, 5.5)):
        assert moved[0].sum().item() == pytest.approx(expected - 0.5, abs=0.3)
        assert edge_width(moved, spacing).item() == pytest.approx(edge_width(narrow, spacing).item(), rel=0.35)
        assert (moved[0].diff() <= 0).all()


@pytest.mark.parametrize("make", [ball, soft_ball])
def test_no_shift_changes_nothing(make: Callable[[], Tensor]) -> None:
    mask = make()
    half = torch.zeros_like(mask)
    half[:, :, 12:] = 1.5
    moved = shift_edge(mask, half, VOXELS, max_shift=2.0)
    assert torch.equal(moved[:, :, :12], mask[:, :, :12])
    assert (moved[:, :, 12:] > mask[:, :, 12:]).any()
    # Ripples of cubic resampling are not an edge, and stay.
    rippled = mask - 0.01 * (mask == 0) + 0.01 * (mask == 1)
    assert torch.equal(shift_edge(rippled, torch.zeros_like(mask), VOXELS, max_shift=2.0), rippled)


def test_growth_leaves_no_trace_of_the_old_edge() -> None:
    """A network could read the unchanged mask from a ghost of its soft edge."""
    mask = soft_ball()
    # The edge is less than three voxels wide, so after a shift by three none of it may be left.
    assert 1.5 < edge_width(mask, VOXELS) < 3
    grown = shift_edge(mask, torch.full_like(mask, 3.0), VOXELS, max_shift=3.0)
    assert (grown[mask > 0.1] > 0.999).all() and grown.max() == 1
    shrunk = shift_edge(mask, torch.full_like(mask, -3.0), VOXELS, max_shift=3.0)
    assert (shrunk[mask < 0.9] < 0.001).all() and shrunk.max() == 1


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize(("error", "direction"), [(-1, -1), (1, 1)])
def test_errors_grow_and_scores_fall_with_the_volume(hard: bool, error: int, direction: int) -> None:
    mask = (ball() if hard else soft_ball())[None, None]
    before = mask.clone()
    masks, quality = augment(mask, 4.0, error)
    assert torch.equal(mask, before)
    assert ((masks - mask) * direction >= 0).all() and not torch.equal(masks, mask)
    assert masks.min() >= 0 and masks.max() <= 1
    change = ((masks.sum() - mask.sum()).abs() / mask.sum()).item()
    assert quality.item() == pytest.approx(max(4.0 - 5 * change, 0.0), rel=1e-4)
    if hard:
        assert ((masks == 0) | (masks == 1)).all()


def test_both_errors_go_either_way_and_scores_stay_in_range() -> None:
    mask = ball()[None, None]
    outcomes = [augment(mask, 0.2, 2, seed) for seed in range(8)]
    signs = {math.copysign(1, (masks - mask).sum()) for masks, _ in outcomes}
    assert signs == {-1.0, 1.0}
    assert all(0 <= quality <= 5 for _, quality in outcomes)


@pytest.mark.parametrize(("quality", "error", "probability"), [(3.0, 0, 1.0), (math.nan, 1, 1.0), (3.0, 1, 0.0)])
def test_what_is_left_alone(quality: float, error: int, probability: float) -> None:
    mask = ball()[None, None]
    masks, scores = augment(mask, quality, error, probability=probability)
    assert torch.equal(masks, mask)
    torch.testing.assert_close(scores, torch.full((1, 1), quality), equal_nan=True)


def test_an_absent_region_stays_absent() -> None:
    masks = torch.stack([ball(), torch.zeros(18, 24, 21)])[None]
    augmented, quality = augment(masks, 3.0, 1)
    assert not augmented[0, 1].any() and quality[0, 1] == 3 and quality[0, 0] < 3


def test_a_region_is_not_eroded_away() -> None:
    thin = torch.zeros(1, 1, 18, 24, 21)
    thin[..., 10:12] = 1
    masks, quality = augment(thin, 3.0, -1, max_radius=6.0)
    assert torch.equal(masks, thin) and quality.item() == 3


def test_regions_do_not_overlap_after_growing() -> None:
    left, right = ball(radius=5.0, centre=(9, 6, 10)), ball(radius=5.0, centre=(9, 17, 10))
    for masks in (torch.stack([left, right])[None], torch.stack([soft_ball(), 1 - soft_ball()])[None]):
        augmented, _ = augment(masks, 3.0, 1, max_radius=4.0)
        assert augmented.sum(1).max() <= 1 + 1e-5
        assert (augmented >= masks).all()


def test_samples_and_two_dimensions() -> None:
    masks = torch.zeros(2, 1, 20, 26)
    masks[:, 0, 6:14, 8:18] = 1
    error = torch.tensor([[0], [1]], dtype=torch.int8)
    augmented, quality = morphological_augmentation(
        masks, torch.full((2, 1), 3.0), error, (1.0, 1.0), max_radius=3.0, probability=1.0
    )
    assert torch.equal(augmented[0], masks[0]) and augmented[1].sum() > masks[1].sum()
    assert quality[0] == 3 and quality[1] < 3


def test_the_seed_decides() -> None:
    masks = ball()[None, None]
    assert torch.equal(augment(masks, 3.0, 1, seed=1)[0], augment(masks, 3.0, 1, seed=1)[0])
    assert not torch.equal(augment(masks, 3.0, 1, seed=1)[0], augment(masks, 3.0, 1, seed=2)[0])


def test_the_radius_respects_the_spacing() -> None:
    """Slices 5 mm apart are out of reach of 2 mm."""
    mask = torch.zeros(9, 16, 14)
    mask[4, 5:10, 5:9] = 1
    grown = shift_edge(mask, torch.full_like(mask, 2.0), (5.0, 1.0, 1.0), max_shift=2.0)
    assert grown[4].sum() > mask[4].sum()
    assert grown.sum() == grown[4].sum()


@pytest.mark.parametrize("shape", [(40, 33, 28), (5, 64, 48), (50, 37)])
def test_the_field_is_smooth_and_bounded(shape: tuple[int, ...]) -> None:
    field = smooth_random_field(shape, 2.0, generator=torch.Generator().manual_seed(0))
    assert field.shape == shape and field.min() >= 0 and field.max() <= 2
    assert field.max() - field.min() > 0.5
    for axis, size in enumerate(shape):
        # Between two of the eight points the largest difference is the whole range.
        assert field.diff(dim=axis).abs().max() <= 2 * max(7 / (size - 1), 4 / (size - 1)) + 1e-5
