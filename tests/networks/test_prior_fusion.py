from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from nnunet_weak.networks.prior_fusion import PriorFusedNetwork, fuse_probabilities


class Core(nn.Module):
    """Encoder and decoder that return the image channel as the logits of two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Identity(), nn.Conv3d(1, 3, 1)
        self.decoder.deep_supervision = False


def test_odds_are_multiplied_by_those_of_the_prior():
    probabilities = np.array([0.5, 0.3, 0.2]).reshape(3, 1, 1, 1)
    fused = fuse_probabilities(probabilities, np.full((1, 1, 1), 0.75), weight=2.0).ravel()
    # Odds of 3 : 1, squared, for both regions against the background.
    np.testing.assert_allclose(fused, np.array([0.5, 2.7, 1.8]) / 5.0, rtol=1e-5)


def test_a_prior_of_one_half_changes_nothing_and_certainty_stays_finite():
    probabilities = np.array([[1.0, 0.25], [0.0, 0.75]]).reshape(2, 2, 1, 1)
    fused = fuse_probabilities(probabilities, np.full((2, 1, 1), 0.5), weight=3.0)
    np.testing.assert_allclose(fused, probabilities, atol=1e-6)
    assert np.isfinite(fuse_probabilities(probabilities, np.array([1.0, 0.0]).reshape(2, 1, 1), weight=3.0)).all()


def test_the_prior_speaks_for_a_new_region_and_not_against_it():
    probabilities = np.array([[0.5, 0.5], [0.3, 0.3], [0.2, 0.2]]).reshape(3, 2, 1, 1)
    fused = fuse_probabilities(probabilities, np.array([0.75, 0.25]).reshape(2, 1, 1), weight=1.0, new=[2])
    # Odds of 3 : 1 for both regions, and of 1 : 3 for the first one alone.
    np.testing.assert_allclose(fused[:, 0].ravel(), np.array([0.5, 0.9, 0.6]) / 2.0, rtol=1e-5)
    np.testing.assert_allclose(fused[:, 1].ravel(), np.array([0.5, 0.1, 0.2]) / 0.8, rtol=1e-5)


def test_on_one_grid_network_and_function_agree():
    torch.manual_seed(0)
    network = PriorFusedNetwork(Core(), images=1, weight=3.0).eval()
    data = torch.rand(1, 5, 4, 5, 6)
    with torch.no_grad():
        fused = network(data).softmax(1)[0].numpy()
        network.weight = 0.0
        alone = network(data).softmax(1)[0].numpy()
    np.testing.assert_allclose(fuse_probabilities(alone, data[0, -1].numpy(), 3.0), fused, atol=1e-5)


@pytest.mark.parametrize("state", ["training", "deep supervision"])
def test_the_prior_stays_out_of_the_training(state):
    network = PriorFusedNetwork(Core(), images=1, weight=3.0).train(state == "training")
    network.decoder.deep_supervision = state == "deep supervision"
    data = torch.rand(1, 5, 2, 2, 2)
    with torch.no_grad():
        assert torch.equal(network(data), network.decoder(data[:, :1]))
    network.train(False)
    network.decoder.deep_supervision = False
    data[:, -1] = 0.0  # padding
    with torch.no_grad():
        added = network(data) - network.decoder(data[:, :1])
    assert torch.allclose(added[:, 1:], torch.tensor(-3 * math.log(499)), atol=1e-3) and not added[:, 0].any()
