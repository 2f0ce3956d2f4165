"""A wider first convolution, with the old channels' output."""

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.training.input_channels import inflate_weights


def unet(channels: int, features: int = 4) -> nn.Module:
    return PlainConvUNet(
        channels, 2, [features, 6], nn.Conv3d, 3, [(1, 1, 1), (2, 2, 2)], 1, 2, 1, conv_bias=True,
        norm_op=nn.InstanceNorm3d, norm_op_kwargs={}, nonlin=nn.ReLU,
    )  # fmt: skip


def test_new_channels_change_nothing_before_training():
    torch.manual_seed(0)
    narrow, wide = unet(1), unet(4)
    weights = inflate_weights(narrow.state_dict(), wide.state_dict(), "a.pth")
    wide.load_state_dict(weights)  # strict; covers the names under encoder and decoder
    x = torch.randn(1, 4, 8, 6, 10)
    assert torch.allclose(wide(x), narrow(x[:, :1]))
    assert len([key for key, value in weights.items() if value.shape != narrow.state_dict()[key].shape]) == 4


def test_other_architecture_is_refused_with_the_layers():
    with pytest.raises(InvalidInputError, match=r"a\.pth.*shape"):
        inflate_weights(unet(1, features=8).state_dict(), unet(4).state_dict(), "a.pth")


def test_fewer_channels_are_refused():
    with pytest.raises(InvalidInputError):
        inflate_weights(unet(4).state_dict(), unet(1).state_dict(), "a.pth")
