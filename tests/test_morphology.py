from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from nnunet_weak.morphology import dilate, erode, known_band_region, signed_distance, truncated_distance

SPACINGS_2D = [(1.0, 1.0), (3.0, 0.7)]
SPACINGS_3D = [(1.0, 1.0, 1.0), (2.5, 0.7, 1.3)]


def random_mask(seed: int, shape: tuple[int, ...], density: float = 0.05) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < density


@pytest.mark.parametrize("radius", [0.0, 1.0, 2.1, 4.0])
@pytest.mark.parametrize("spacing", SPACINGS_2D + SPACINGS_3D)
def test_distance_equals_scipy_up_to_the_radius(spacing: tuple[float, ...], radius: float) -> None:
    shape = (9, 14, 11)[-len(spacing) :]
    for seed in range(3):
        mask = random_mask(seed, shape)
        assert mask.any()
        expected = distance_transform_edt(~mask.numpy(), sampling=spacing)
        actual = truncated_distance(mask, radius, spacing).numpy()
        within = expected <= radius + 1e-4
        np.testing.assert_allclose(actual[within], expected[within], rtol=1e-5)
        assert np.isinf(actual[~within]).all()


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 7), min_size=2, max_size=3),
    seed=st.integers(0, 10_000),
    density=st.floats(0.0, 1.0),
    steps=st.lists(st.sampled_from([0.5, 0.7, 1.0, 2.0, 3.3]), min_size=3, max_size=3),
    radius=st.floats(0.0, 9.0),
)
def test_dilation_and_erosion_are_thresholds_of_the_distance(
    shape: list[int], seed: int, density: float, steps: list[float], radius: float
) -> None:
    mask, spacing = random_mask(seed, tuple(shape), density), steps[: len(shape)]
    outside = brute_force_distance(mask, spacing)
    to_complement = brute_force_distance(~mask, spacing)
    # Where the radius all but equals a distance, float32 decides: not what this test is about.
    clear_out, clear_in = np.abs(outside - radius) > 1e-3, np.abs(to_complement - radius) > 1e-3
    np.testing.assert_array_equal(dilate(mask, radius, spacing).numpy()[clear_out], (outside <= radius)[clear_out])
    eroded = mask.numpy() & (to_complement > radius)
    np.testing.assert_array_equal(erode(mask, radius, spacing).numpy()[clear_in], eroded[clear_in])


def brute_force_distance(mask: torch.Tensor, spacing: list[float]) -> np.ndarray:
    if not mask.any():
        return np.full(mask.shape, np.inf)
    return distance_transform_edt(~mask.numpy(), sampling=spacing)


def test_a_distance_equal_to_the_radius_is_within() -> None:
    mask = torch.zeros(1, 9, dtype=torch.bool)
    mask[0, 0] = True
    assert dilate(mask, 2.0, (1.0, 1.0)).sum() == 3
    # Three steps of 0.7 mm are 2.1 mm only up to rounding.
    assert dilate(mask, 2.1, (0.7, 0.7)).sum() == 4
    assert dilate(mask, 0.3, (0.1, 0.1)).sum() == 4
    assert not erode(torch.tensor([[False, True, True, False]]), 1.0, (1.0, 1.0)).any()


def test_ball_of_radius_two_in_an_anisotropic_grid() -> None:
    mask = torch.zeros(3, 7, 9, dtype=torch.bool)
    mask[1, 3, 4] = True
    # The slices are 3 apart and out of reach. In the plane |dy| <= 2 and |dx| * 0.5 <= 2 within a disc.
    dilated = dilate(mask, 2.0, (3.0, 1.0, 0.5))
    assert dilated[[0, 2]].sum() == 0
    assert dilated[1].sum(1).tolist() == [0, 1, 7, 9, 7, 1, 0]


def test_empty_and_full_masks() -> None:
    empty = torch.zeros(2, 3, 5, 4, dtype=torch.bool)
    spacing = (1.0, 1.0, 1.0)
    assert torch.isinf(truncated_distance(empty, 2.0, spacing)).all()
    assert not dilate(empty, 2.0, spacing).any() and not erode(empty, 2.0, spacing).any()
    # Nothing is known of the outside of the array, so it erodes nothing.
    assert erode(~empty, 2.0, spacing).all() and dilate(~empty, 0.0, spacing).all()
    assert (signed_distance(~empty, 2.0, spacing) == -math.inf).all()


def test_leading_axes_are_independent() -> None:
    masks = random_mask(5, (2, 3, 6, 8, 7), 0.1)
    masks[1, 2] = False
    spacing = (2.0, 1.0, 1.0)
    together = signed_distance(masks, 3.0, spacing)
    for sample in range(2):
        for region in range(3):
            assert torch.equal(together[sample, region], signed_distance(masks[sample, region], 3.0, spacing))


def test_signed_distance_on_a_line() -> None:
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 0]]).bool()
    expected = [math.inf, 2, 1, -1, -2, -math.inf, -2, -1, 1]
    assert signed_distance(mask, 2.0, (1.0, 1.0)).tolist() == [expected]


def test_known_region_leaves_out_the_border_and_padding() -> None:
    inside = torch.ones(1, 1, 5, 12, dtype=torch.bool)
    inside[..., :3] = False
    # Rows are 3 apart: none of their neighbours is nearer than 2. Columns lose two at padding and two at the border.
    known = known_band_region(inside, 2.0, (3.0, 1.0))
    assert known[0, 0, 0].long().tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0]
    assert known.all(2).equal(known.any(2))
    assert torch.equal(known_band_region(inside, 0.0, (3.0, 1.0)), inside)
    assert not known_band_region(inside, 4.0, (1.0, 1.0)).any()


def test_known_region_is_the_erosion_of_a_padded_image() -> None:
    inside = torch.ones(7, 9, 8, dtype=torch.bool)
    inside[:2, 5:] = False
    padded = torch.nn.functional.pad(inside, (4,) * 6)
    spacing = (1.0, 0.8, 1.7)
    expected = erode(padded, 2.3, spacing)[4:-4, 4:-4, 4:-4]
    assert torch.equal(known_band_region(inside, 2.3, spacing), expected)


@pytest.mark.parametrize(
    ("mask", "radius", "spacing", "message"),
    [
        (torch.ones(3, 3), 1.0, (1.0, 1.0), "boolean"),
        (torch.ones(3, 3, dtype=torch.bool), 1.0, (1.0, 1.0, 1.0), "spacing"),
        (torch.ones(3, 3, dtype=torch.bool), 1.0, (1.0, 0.0), "spacing"),
        (torch.ones(3, 3, dtype=torch.bool), -1.0, (1.0, 1.0), "radius"),
        (torch.ones(3, 3, dtype=torch.bool), math.inf, (1.0, 1.0), "radius"),
    ],
)
def test_unusable_arguments_are_refused(
    mask: torch.Tensor, radius: float, spacing: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        truncated_distance(mask, radius, spacing)


def test_cropping_on_the_cpu_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other devices work on the whole array, as finding the box of a mask would make them wait."""
    spacing = (2.0, 1.0, 0.7)
    mask = torch.zeros(2, 9, 12, 11, dtype=torch.bool)
    mask[0, 3:6, :5, 4:8] = random_mask(3, (3, 5, 4), 0.6)
    mask[1, 5:, 3:7, 6:] = True
    cropped = signed_distance(mask, 3.0, spacing)
    monkeypatch.setattr("nnunet_weak.morphology.work_box", lambda mask, margins: (...,))
    assert torch.equal(signed_distance(mask, 3.0, spacing), cropped)
