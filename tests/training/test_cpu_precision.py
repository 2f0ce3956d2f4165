from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunet_weak.trainers import nnUNetTrainerSCORE
from nnunet_weak.training import cpu_precision
from nnunet_weak.training.cpu_precision import HalfPrecisionOnCPU, compute_in_bfloat16, multiplies_bfloat16


class TwoOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, x):
        result = self.conv(x)
        self.computed_in = result.dtype
        return [result, {"half": result[..., ::2], "count": torch.tensor(3)}]


def test_bfloat16_inside_float32_outside():
    torch.manual_seed(0)
    network, x = TwoOutputs(), torch.randn(2, 1, 8, 8)
    expected = network(x)[0]
    compute_in_bfloat16(network)
    result, named = network(x)
    assert network.computed_in == torch.bfloat16
    assert result.dtype == named["half"].dtype == torch.float32 and named["count"].dtype == torch.int64
    torch.testing.assert_close(result, expected, atol=0.02, rtol=0.02)
    result.sum().backward()
    assert network.conv.weight.dtype == network.conv.weight.grad.dtype == torch.float32


@pytest.mark.training
@pytest.mark.parametrize("able", [False, True])
def test_trainers_use_it_where_the_cpu_can(trainer_factory, mixed_dataset, monkeypatch, able):
    monkeypatch.setattr(cpu_precision, "multiplies_bfloat16", lambda: able)
    half = type("nnUNetTrainerHalf", (HalfPrecisionOnCPU, nnUNetTrainerSCORE), {})
    trainer = trainer_factory(half, mixed_dataset)
    trainer.initialize()
    seen = []
    stem = next(module for module in trainer.network.modules() if isinstance(module, nn.Conv3d))
    stem.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    size = trainer.configuration_manager.patch_size
    output = trainer.network(torch.zeros(1, trainer.num_input_channels, *size))
    assert seen == [torch.bfloat16 if able else torch.float32]
    assert (output[0] if isinstance(output, (list, tuple)) else output).dtype == torch.float32


def test_the_question_has_an_answer(monkeypatch):
    assert multiplies_bfloat16() in (True, False)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert multiplies_bfloat16() is False
