from __future__ import annotations

import math

import pytest
import torch

from nnunet_weak.losses.weaknet import (
    boundary_voxels,
    cross_entropy_loss,
    reconstruction_loss,
    reconstruction_weights,
)

SPATIAL = (3, 4, 6)
SPACING = (3.0, 1.0, 0.5)


def random_case(num_classes: int = 3, batch: int = 2, channels: int = 2, spatial=SPATIAL, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, num_classes, *spatial, generator=generator).requires_grad_()
    reconstruction = torch.randn(batch, channels, *spatial, generator=generator).requires_grad_()
    template = torch.randint(0, num_classes, (batch, 1, *spatial), generator=generator)
    image = torch.randn(batch, channels, *spatial, generator=generator)
    counted = torch.rand(batch, 1, *spatial, generator=generator) > 0.3
    return logits, reconstruction, template, image, counted


def total_of(logits, reconstruction, template, image, counted, spacing=SPACING):
    """Eq. 1 as the trainer sums it."""
    weights = reconstruction_weights(template, counted, 1.0, spacing)
    mse = reconstruction_loss(reconstruction, image, weights, counted)
    return cross_entropy_loss(logits, template, counted) + 0.1 * mse


def as_volume(text: str) -> torch.Tensor:
    return torch.tensor([[int(char) for char in line.split()] for line in text.strip().splitlines()])[None, None]


def test_cross_entropy_by_hand():
    logits = torch.tensor([[[0.0, math.log(3.0), 5.0], [0.0, 0.0, -5.0]]])
    target, counted = torch.tensor([[[0, 1, 1]]]), torch.tensor([[[True, True, False]]])
    expected = (-math.log(0.5) - math.log(0.25)) / 2
    assert cross_entropy_loss(logits, target, counted).item() == pytest.approx(expected, rel=1e-6)


def test_reconstruction_by_hand():
    """Two channels: squared errors 4 and 0, 1 and 1, and one voxel that does not count."""
    image = torch.tensor([[[2.0, 1.0, 9.0], [0.0, 1.0, 9.0]]])
    weights, counted = torch.tensor([[[1.0, 0.1, 1.0]]]), torch.tensor([[[True, True, False]]])
    value = reconstruction_loss(torch.zeros_like(image), image, weights, counted)
    assert value.item() == pytest.approx((1.0 * 2.0 + 0.1 * 1.0) / 2)


def test_both_terms_count_the_same_voxels():
    """So that lambda means the paper's ratio of sums: doubling what is counted changes neither."""
    logits, reconstruction, template, image, counted = random_case()
    twice = [torch.cat([part, part], -1) for part in (logits, reconstruction, template, image, counted)]
    weights = torch.ones_like(counted, dtype=torch.float32)
    single = cross_entropy_loss(logits, template, counted), reconstruction_loss(reconstruction, image, weights, counted)
    double = (
        cross_entropy_loss(twice[0], twice[2], twice[4]),
        reconstruction_loss(twice[1], twice[3], torch.cat([weights, weights], -1), twice[4]),
    )
    torch.testing.assert_close(single, double)


def test_boundary_is_on_both_sides_of_every_border_but_not_at_ignored_voxels():
    template = as_volume("""
        0 0 0 0 0
        0 1 1 2 2
        0 1 1 9 9
    """)
    counted = template != 9
    expected = as_volume("""
        0 1 1 1 1
        1 1 1 1 1
        1 1 0 0 0
    """)
    assert torch.equal(boundary_voxels(template, counted, 2).int(), expected.int())


def test_weights_follow_the_spacing():
    """One step is 3 mm down and 0.5 mm across: 1 mm reaches two voxels beyond the boundary across, none down."""
    template = as_volume("""
        0 0 0 0 0 0 0 0
        0 0 0 0 1 1 1 1
    """)
    counted = torch.ones_like(template, dtype=torch.bool)
    weights = reconstruction_weights(template, counted, 1.0, (3.0, 0.5), far_weight=0.25)
    near = as_volume("""
        0 0 1 1 1 1 1 1
        0 1 1 1 1 1 1 1
    """)
    assert torch.equal(weights, torch.where(near > 0, 1.0, 0.25))
    assert torch.equal(
        reconstruction_weights(template * 0, counted, 1.0, (3.0, 0.5), 0.25), torch.full_like(weights, 0.25)
    )


def test_two_dimensions():
    logits, reconstruction, template, image, counted = random_case(spatial=(5, 7))
    value = total_of(logits, reconstruction, template, image, counted, (1.0, 2.0))
    assert value.shape == (2,) and value.isfinite().all()


def test_good_is_below_bad():
    _, _, template, image, counted = random_case()
    right = 8.0 * torch.nn.functional.one_hot(template[:, 0], 3).movedim(-1, 1).float()
    perfect = total_of(right, image, template, image, counted)
    assert (perfect < total_of(right.roll(1, 1), image, template, image, counted)).all()
    assert (perfect < total_of(right, image + 1, template, image, counted)).all()


def test_a_sample_has_the_same_value_in_any_batch():
    parts = random_case()
    together = total_of(*parts)
    for index in range(2):
        alone = total_of(*(part[index : index + 1] for part in parts))
        torch.testing.assert_close(alone[0], together[index])


def test_nothing_counted_is_zero_with_zero_gradient():
    logits, reconstruction, template, image, counted = random_case()
    loss = total_of(logits, reconstruction, template + 200, image, counted & False)
    loss.sum().backward()
    assert torch.equal(loss, torch.zeros(2)) and not logits.grad.any() and not reconstruction.grad.any()


def test_gradient_is_zero_where_nothing_is_counted():
    logits, reconstruction, template, image, counted = random_case()
    total_of(logits, reconstruction, template, image, counted).sum().backward()
    outside = ~counted.expand_as(logits)
    assert not logits.grad[outside].any() and logits.grad[~outside].all()
    assert not reconstruction.grad[~counted.expand_as(reconstruction)].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    logits, reconstruction, template, image, counted = random_case()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = total_of(300 * logits.to(dtype), reconstruction.to(dtype), template, image, counted)
    assert value.dtype == torch.float32 and value.isfinite().all()
