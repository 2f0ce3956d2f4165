"""A template weighed against a model: hand-computed on a bar of voxels."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_weak.surface.fit import fit_surface
from nnunet_weak.surface.mesh import icosphere
from nnunet_weak.surface.model_evidence import certain_within_mm, weigh_probability

WHOLE = (slice(0, 1), slice(0, 1), slice(0, 20))
BOX = (slice(0, 1), slice(0, 1), slice(5, 12))
UNSURE = np.full((1, 1, 20), 0.5)


def weighed(probability: np.ndarray, scale_mm: float, voxel_mm=(1.0, 1.0, 1.0), known_shape=False) -> list[int]:
    """Places along the bar of the object; the template has 5 to 11."""
    box, found = weigh_probability(BOX, np.ones((1, 1, 7), bool), probability, voxel_mm, scale_mm, known_shape)
    grid = np.zeros((1, 1, 20), bool)
    grid[box] = found
    return np.flatnonzero(grid).tolist()


def test_without_an_opinion_the_template_stays():
    assert weighed(UNSURE, 0.5) == list(range(5, 12))


@pytest.mark.parametrize(
    "odds, scale_mm, last",
    [
        # voxel 12 has the depth -0.5 and the log-odds -0.5 / scale, voxel 13 -1.5 / scale, ...
        (np.exp(0.9), 0.5, 11),
        (np.exp(1.1), 0.5, 12),
        (np.exp(3.1), 0.5, 13),
        (np.exp(3.1), 1.0, 14),
        # voxel 11 has 0.5 / scale, voxel 10 has 1.5 / scale
        (np.exp(-0.9), 0.5, 11),
        (np.exp(-1.1), 0.5, 10),
        (np.exp(-3.1), 0.5, 9),
    ],
)
def test_log_odds_are_added(odds, scale_mm, last):
    probability = UNSURE.copy()
    probability[..., 9:] = odds / (1 + odds)
    assert weighed(probability, scale_mm) == list(range(5, last + 1))


def test_distances_are_in_mm():
    probability = UNSURE.copy()
    probability[..., 9:] = np.exp(3.1) / (1 + np.exp(3.1))
    # half of (0.5 ** 3) ** (1/3) = 0.25; voxel 12 + n lies (n + 1) / 2 - 0.25 mm outside
    assert weighed(probability, 0.5, (0.5, 0.5, 0.5)) == list(range(5, 15))


@pytest.mark.parametrize("certain", [0.0, 1.0])
def test_a_certain_model_moves_the_boundary_by_seven_scales_at_most(certain):
    probability = np.full((1, 1, 20), certain)
    # ln 999 = 6.9: of voxels 12 and farther those up to 6.9 * 0.25 = 1.73 mm outside, 1.5 mm: 12 and 13, and at the
    # other end; a surely absent object loses as much.
    assert weighed(probability, 0.25) == (list(range(3, 14)) if certain else [7, 8, 9])


def test_a_template_of_a_known_shape_has_a_say_in_the_size():
    probability = UNSURE.copy()
    probability[..., 9:] = np.exp(4.6) / (1 + np.exp(4.6))
    # Voxels 12 and 13 have -1 and -3 from the template and 4.6 from the model, voxel 5 has 1 and nothing.
    assert weighed(probability, 0.5) == list(range(5, 14))
    # The sum has 9 voxels, the template 7, the root of 63 is 8: without voxel 5, where both know least.
    assert weighed(probability, 0.5, known_shape=True) == list(range(6, 14))


@pytest.mark.parametrize("known_shape", [False, True])
def test_a_template_of_which_nothing_would_be_left_stays(known_shape):
    assert weighed(np.zeros((1, 1, 20)), 5.0, known_shape=known_shape) == list(range(5, 12))


@pytest.mark.parametrize("known_shape", [False, True])
def test_a_template_that_fills_the_image_stays(known_shape):
    whole, nothing, voxel_mm = np.ones((1, 1, 20), bool), np.zeros((1, 1, 20)), (1.0, 1.0, 1.0)
    box, found = weigh_probability(WHOLE, whole, nothing, voxel_mm, 1.0, known_shape)
    assert box == WHOLE and found.all()


def test_the_scale_is_a_part_of_the_spacing_of_the_points():
    points = 10 * icosphere(1)[0]  # 42 points on a sphere of 1257 mm2, 5.5 mm apart
    assert certain_within_mm(fit_surface(points), 42) == pytest.approx(np.sqrt(4 * np.pi * 100 / 42) / 16, rel=0.02)
