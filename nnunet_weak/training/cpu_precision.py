"""Half precision on the CPU, for those who have no GPU: two to four times the steps in the same time.

nnU-Net trains in float16 on a GPU and in float32 on a CPU. Recent CPUs (Intel's since 2020, AMD's since 2022) multiply
bfloat16 numbers much faster; this is the same mixed precision for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


class HalfPrecisionOnCPU:
    """Put it before any trainer, stock or ours: `class nnUNetTrainer_cpu(HalfPrecisionOnCPU, nnUNetTrainer)`.

    The network computes in bfloat16 and returns float32, so losses are computed as on a GPU. Weights, optimiser and
    checkpoints stay in float32. On a GPU, and on a CPU without instructions for bfloat16, nothing changes.
    `nnUNetv2_predict` computes in float32.
    """

    device: torch.device
    network: Any

    def initialize(self) -> None:
        """The trainer's own, then the network in bfloat16."""
        super().initialize()  # type: ignore[misc]
        if self.device.type == "cpu" and multiplies_bfloat16():
            compute_in_bfloat16(self.network)


def multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for it; False where PyTorch (before 2.6) cannot tell."""
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in _INSTRUCTIONS)


def compute_in_bfloat16(network: torch.nn.Module) -> None:
    """Wrap the forward pass of a network on the CPU in autocast; what it returns is float32 again."""
    module = getattr(network, "_orig_mod", network)
    forward = module.forward

    def in_bfloat16(*arguments: Any, **named: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            output = forward(*arguments, **named)
        return tree_map(_to_float32, output)

    module.forward = in_bfloat16


def _to_float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.bfloat16 else value
