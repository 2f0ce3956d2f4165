r"""Supervision of a case whose mask lacks a region that is there (SCORE, SCOREPlus).

Nobody knows where the region is, only that the mask calls it background. So "background" there means "background or the
region", and its probability is the sum of both,

.. math:: \hat S'_0 = \hat S_0 + \sum_{k \in missing} \hat S_k, \qquad \hat S'_k = 0,

which leaves the network free to draw the region wherever the mask has background, and all other regions as they are.

Reference:
    The marginal loss of Shi, Zhou, Yang, Zhu, Zhou: Marginal loss and exclusion loss for partially supervised
    multi-organ segmentation, Medical Image Analysis 70 (2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

_NEVER = -1e4  # a logit whose probability is 0, within the range of half precision


def count_as_background(output: Any, missing: Sequence[Sequence[bool]]) -> Any:
    """A network's output, by which the probability of missing regions is the background's.

    Samples without a missing region keep their logits to the last bit.

    Args:
        output: Logits of the background and K regions, or a list of them by resolution.
        missing: Of each sample, which of the K regions are missing from the mask of its case.

    Shape:
        - output and result: ``(B, K + 1, *spatial)``.
    """
    if not any(map(any, missing)):
        return output
    if isinstance(output, (list, tuple)):
        return [count_as_background(level, missing) for level in output]
    hidden = torch.tensor(missing, device=output.device).reshape(len(missing), -1, *[1] * (output.ndim - 2))
    background, regions = output[:, :1], output[:, 1:]
    either = torch.cat([background, regions.masked_fill(~hidden, -torch.inf)], dim=1).logsumexp(1, keepdim=True)
    return torch.cat([either, regions.masked_fill(hidden, _NEVER)], dim=1)
