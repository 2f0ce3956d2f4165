"""A stock network with training-only parts beside it.

The composite owns the encoder and decoder of the stock network under their stock names, so its state dict is the stock
one plus `auxiliary.*`. Hooks hide the auxiliary entries: what nnU-Net saves, loads or compares are the stock weights,
and the auxiliary ones go their own way (`nnunet_weak.training.checkpoints`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

PREFIX = "auxiliary."


class CompositeNetwork(nn.Module):
    """Stock U-Net plus an auxiliary module that sees its logits and last decoder features.

    Args:
        core: A network of `dynamic_network_architectures` with `encoder` and `decoder` (plain or residual-encoder
            U-Net).
        auxiliary: Called as `auxiliary(logits, features, *arguments)` with the full-resolution logits `(B, L,
            *spatial)` and the features `(B, F, *spatial)` they were made from.

    Shape:
        - Input: `(B, C, *spatial)`.
        - Output: what the stock network returns (a list under deep supervision, else a tensor of logits); with
          `auxiliary_arguments` a pair of that and the auxiliary module's result.
    """

    encoder: Any
    decoder: Any
    auxiliary: Any

    def __init__(self, core: nn.Module, auxiliary: nn.Module) -> None:
        super().__init__()
        self.encoder = core.encoder
        self.decoder = core.decoder
        self.auxiliary = auxiliary
        self.register_state_dict_post_hook(_drop_auxiliary_entries)
        self.register_load_state_dict_post_hook(_forgive_auxiliary_entries)

    def forward(self, x: torch.Tensor, auxiliary_arguments: tuple[Any, ...] | None = None) -> Any:
        """Run the stock network, and the auxiliary part where its arguments are given (an empty tuple counts)."""
        skips = self.encoder(x)
        if auxiliary_arguments is None:
            return self.decoder(skips)
        output, features = self._decode(skips)
        logits = output[0] if self.decoder.deep_supervision else output
        return output, self.auxiliary(logits, features, *auxiliary_arguments)

    def _decode(self, skips: list[torch.Tensor]) -> tuple[Any, torch.Tensor]:
        # The decoder's own loop: a forward hook on its last stage would break full-graph compilation.
        decoder = self.decoder
        features, outputs = skips[-1], []
        last = len(decoder.stages) - 1
        for stage in range(last + 1):
            features = decoder.transpconvs[stage](features)
            features = decoder.stages[stage](torch.cat((features, skips[-(stage + 2)]), 1))
            if decoder.deep_supervision or stage == last:
                outputs.append(decoder.seg_layers[stage](features))
        outputs.reverse()
        return (outputs if decoder.deep_supervision else outputs[0]), features

    def auxiliary_state_dict(self) -> dict[str, torch.Tensor]:
        """Weights and buffers of the auxiliary module, which `state_dict` leaves out."""
        return dict(self.auxiliary.state_dict())

    def load_auxiliary_state_dict(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Counterpart of `auxiliary_state_dict`; strict."""
        self.auxiliary.load_state_dict(weights)


def _drop_auxiliary_entries(module: nn.Module, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
    for key in [key for key in state if key.startswith(prefix + PREFIX)]:
        del state[key]


def _forgive_auxiliary_entries(module: nn.Module, incompatible: Any) -> None:
    incompatible.missing_keys[:] = [key for key in incompatible.missing_keys if PREFIX not in key]
