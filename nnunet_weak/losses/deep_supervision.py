"""How nnU-Net weights the losses of its outputs at several resolutions."""

from __future__ import annotations

_LOWEST = 1e-6


def deep_supervision_weights(outputs: int, *, every_output: bool = False) -> list[float]:
    """Weights of nnU-Net's outputs, full resolution first; they sum to one.

    Each is half of the one before, and the lowest resolution has none.

    Args:
        outputs: Number of outputs.
        every_output: Give the lowest resolution a weight of 1e-6 before normalisation: without compilation,
            distributed training stops at parameters that take no part in the loss.
    """
    weights = [0.5**level for level in range(outputs)]
    if outputs > 1:
        weights[-1] = _LOWEST if every_output else 0.0
    total = sum(weights)
    return [weight / total for weight in weights]
