from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.networks.reconstruction import Reconstruction, reconstruction_unet


def plans(dims: int, kind: str) -> tuple[str, dict, list[str]]:
    arguments = {
        "n_stages": 3,
        "features_per_stage": [8, 16, 16],
        "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
        "kernel_sizes": [[3] * dims] * 3,
        "strides": [[1] * dims, [2] * dims, [2] * dims],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
        "n_blocks_per_stage" if kind == "ResidualEncoderUNet" else "n_conv_per_stage": [1, 1, 1],
    }
    return (
        f"dynamic_network_architectures.architectures.unet.{kind}",
        arguments,
        ["conv_op", "norm_op", "dropout_op", "nonlin"],
    )


@pytest.mark.parametrize("kind", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize("size", [(8, 12), (8, 4, 12)])
def test_from_probabilities_to_image_channels(kind, size):
    name, arguments, imports = plans(len(size), kind)
    network = Reconstruction(reconstruction_unet(name, arguments, imports, 3, 2, features=0.5))
    logits = torch.randn(2, 3, *size, requires_grad=True)
    image = network(logits, torch.zeros(()))
    assert image.shape == (2, 2, *size)
    image.square().sum().backward()
    assert logits.grad.abs().sum() > 0, "the segmentation network learns through it"
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad), "DDP wants every parameter"
    first = next(module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Conv3d)))
    assert (first.in_channels, first.out_channels) == (3, 4)
    assert arguments["features_per_stage"] == [8, 16, 16], "the plans are left alone"


def test_adding_a_constant_to_the_logits_changes_nothing():
    """It sees probabilities, not logits."""
    name, arguments, imports = plans(2, "PlainConvUNet")
    network = Reconstruction(reconstruction_unet(name, arguments, imports, 3, 1))
    logits = torch.randn(1, 3, 8, 12)
    torch.testing.assert_close(network(logits, logits), network(logits + 5, logits))


def test_a_width_of_nothing_is_refused():
    with pytest.raises(InvalidInputError, match="reconstruction_features"):
        reconstruction_unet(*plans(2, "PlainConvUNet"), 3, 1, features=0)
