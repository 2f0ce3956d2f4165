from __future__ import annotations

import math

import pytest
import torch

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.training.checkpoints import KEY
from nnunet_weak.training.threshold import final_bias_names, set_threshold, shifted_bias, threshold_of

WEIGHTS = {
    "decoder.seg_layers.0.bias": torch.tensor([1.0, 2.0]),
    "decoder.seg_layers.10.bias": torch.tensor([0.1, -0.3]),
    "decoder.seg_layers.9.bias": torch.tensor([3.0, 4.0]),
    "encoder.stages.0.bias": torch.zeros(2),
}


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "checkpoint_final.pth"
    torch.save({"network_weights": WEIGHTS, "trainer_name": "nnUNetTrainer"}, path)
    return path


def weights(path):
    return torch.load(path, weights_only=False)["network_weights"]


@pytest.mark.parametrize("gamma", [0.05, 0.3, 0.5, 0.8])
def test_argmax_of_shifted_logits_is_the_threshold(gamma):
    logits = torch.randn(2, 4000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    probability = logits.softmax(0)[1]
    shifted = logits + shifted_bias(torch.zeros(2, dtype=torch.float64), gamma)[:, None]
    assert torch.equal(shifted.argmax(0) == 1, probability > gamma)


def test_with_several_classes_each_is_compared_with_the_background():
    gamma = 0.2
    logits = torch.randn(3, 4000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    p = logits.softmax(0)
    shifted = logits + shifted_bias(torch.zeros(3, dtype=torch.float64), gamma)[:, None]
    expected = torch.where((p[1:] / p[0]).amax(0) > gamma / (1 - gamma), p[1:].argmax(0) + 1, 0)
    assert torch.equal(shifted.argmax(0), expected)


def test_set_again_and_undo(checkpoint):
    assert set_threshold(checkpoint, 0.3) == 0.5
    stored = torch.load(checkpoint, weights_only=False)
    assert threshold_of(stored) == 0.3
    torch.testing.assert_close(
        weights(checkpoint)["decoder.seg_layers.10.bias"], torch.tensor([0.1, -0.3 - math.log(0.3 / 0.7)])
    )
    assert set_threshold(checkpoint, 0.8) == 0.3
    torch.testing.assert_close(
        weights(checkpoint)["decoder.seg_layers.10.bias"], torch.tensor([0.1, -0.3 - math.log(0.8 / 0.2)])
    )
    assert set_threshold(checkpoint, None) == 0.8
    after = torch.load(checkpoint, weights_only=False)
    assert KEY not in after and threshold_of(after) == 0.5
    assert all(torch.equal(after["network_weights"][name], value) for name, value in WEIGHTS.items())
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_undo_of_nothing_changes_nothing(checkpoint):
    set_threshold(checkpoint, None)
    assert all(torch.equal(weights(checkpoint)[name], value) for name, value in WEIGHTS.items())


def test_copies_of_the_last_layer_are_all_shifted():
    twice = {**WEIGHTS, "copy.decoder.seg_layers.10.bias": WEIGHTS["decoder.seg_layers.10.bias"]}
    assert final_bias_names(twice) == ["decoder.seg_layers.10.bias", "copy.decoder.seg_layers.10.bias"]


def test_what_has_no_last_layer_is_refused():
    with pytest.raises(InvalidInputError, match="seg_layers"):
        final_bias_names({"head.bias": torch.zeros(2)})


@pytest.mark.parametrize("gamma", [0.0, 1.0, -0.1, math.nan])
def test_only_probabilities(checkpoint, gamma):
    with pytest.raises(InvalidInputError, match="between 0 and 1"):
        set_threshold(checkpoint, gamma)
    assert torch.equal(weights(checkpoint)["decoder.seg_layers.10.bias"], WEIGHTS["decoder.seg_layers.10.bias"])
