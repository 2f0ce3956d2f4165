"""Weak-Net's second U-Net: it reconstructs the image from the segmentation, and exists while training only.

Reference:
    Weak-Net paper, section 3.1 and Fig. 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import Tensor, nn

from nnunet_weak.errors import InvalidInputError

_LEAST_FEATURES = 4


class Reconstruction(nn.Module):
    """A U-Net behind a segmentation network's logits.

    Args:
        unet: Takes as many channels as there are classes, gives as many as the image has.
    """

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, logits: Tensor, features: Tensor) -> Tensor:
        """The image as the probabilities suggest it.

        Args:
            logits: The segmentation network's logits at full resolution.
            features: Its last decoder features, not used: the paper's network sees the probabilities only, or the
                image could reach it past them.

        Shape:
            logits `(B, L, *spatial)`, result `(B, C, *spatial)`.
        """
        return self.unet(logits.float().softmax(1))


def reconstruction_unet(
    class_name: str,
    arguments: Mapping[str, Any],
    needs_import: Sequence[str],
    num_classes: int,
    image_channels: int,
    *,
    features: float = 1.0,
) -> nn.Module:
    """A U-Net like the segmentation network of the plans, from class probabilities to image channels.

    Args:
        class_name: Name of the network class, `network_arch_class_name` of the plans.
        arguments: Its arguments, `network_arch_init_kwargs`.
        needs_import: Which of them name something to import.
        num_classes: Input channels, background included.
        image_channels: Output channels.
        features: Factor on the number of features of every stage: 0.5 halves the network's width, and takes a quarter
            of its memory for weights.

    Raises:
        InvalidInputError: The factor is not above 0.
    """
    if not features > 0:
        raise InvalidInputError(f"reconstruction_features must be above 0, got {features} (remedy: 1 for the paper's)")
    scaled = dict(arguments)
    scaled["features_per_stage"] = [
        max(_LEAST_FEATURES, round(features * count)) for count in arguments["features_per_stage"]
    ]
    unet: Any = get_network_from_plans(
        class_name, scaled, needs_import, num_classes, image_channels, allow_init=True, deep_supervision=False
    )
    unet.decoder.seg_layers[:-1].requires_grad_(False)  # unused parameters stop DDP
    return unet
