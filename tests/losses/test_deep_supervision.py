"""Weights of deep supervision are stock nnU-Net's."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_weak.losses.deep_supervision import deep_supervision_weights


@pytest.mark.parametrize("every_output", [False, True])
@pytest.mark.parametrize("outputs", [2, 3, 5, 6])
def test_weights_are_those_of_the_stock_trainer(outputs, every_output):
    trainer = SimpleNamespace(
        label_manager=SimpleNamespace(has_regions=False, ignore_label=None),
        configuration_manager=SimpleNamespace(batch_dice=False),
        is_ddp=every_output,
        enable_deep_supervision=True,
        _do_i_compile=lambda: False,
        _get_deep_supervision_scales=lambda: [[1.0]] * outputs,
    )
    expected = nnUNetTrainer._build_loss(trainer).weight_factors
    assert deep_supervision_weights(outputs, every_output=every_output) == list(expected)


def test_a_single_output_counts_fully():
    assert deep_supervision_weights(1) == deep_supervision_weights(1, every_output=True) == [1.0]
