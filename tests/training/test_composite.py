"""The composite network is the stock one to everything that saves, loads or compares."""

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import nn

from nnunet_weak.training.composite import CompositeNetwork


class ToyHead(nn.Module):
    """One matrix-like map from features, scaled by an argument."""

    def __init__(self, features: int, classes: int, conv: type[nn.Module]) -> None:
        super().__init__()
        self.conv = conv(features, classes, 1)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, logits, features, scale):
        return self.conv(features) * scale + logits


def stock(kind: str, deep_supervision: bool) -> nn.Module:
    dims = 2 if kind.endswith("2d") else 3
    conv = nn.Conv2d if dims == 2 else nn.Conv3d
    norm = nn.InstanceNorm2d if dims == 2 else nn.InstanceNorm3d
    strides = [(1,) * dims, (2,) * dims, (2,) * dims]
    common = dict(
        input_channels=2,
        n_stages=3,
        features_per_stage=[4, 6, 8],
        conv_op=conv,
        kernel_sizes=3,
        strides=strides,
        num_classes=3,
        n_conv_per_stage_decoder=[1, 1],
        conv_bias=True,
        norm_op=norm,
        norm_op_kwargs={},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=deep_supervision,
    )
    if kind.startswith("residual"):
        return ResidualEncoderUNet(n_blocks_per_stage=[1, 1, 1], **common)
    return PlainConvUNet(n_conv_per_stage=[1, 1, 1], **common)


def composite(core: nn.Module, dims: int) -> CompositeNetwork:
    return CompositeNetwork(core, ToyHead(4, 3, nn.Conv2d if dims == 2 else nn.Conv3d))


@pytest.mark.parametrize("kind", ["plain_3d", "residual_3d", "plain_2d"])
@pytest.mark.parametrize("deep_supervision", [True, False])
def test_output_and_state_are_stock(kind, deep_supervision):
    torch.manual_seed(0)
    core = stock(kind, deep_supervision)
    dims = 2 if kind.endswith("2d") else 3
    x = torch.randn(2, 2, *(8, 12, 16)[:dims])
    expected = core(x)
    network = composite(core, dims)
    plain, (with_head, auxiliary) = network(x), network(x, (2.0,))
    for ours in (plain, with_head):
        for a, b in zip(
            ours if deep_supervision else [ours], expected if deep_supervision else [expected], strict=True
        ):
            assert torch.equal(a, b)
    assert auxiliary.shape == (2, 3, *x.shape[2:])
    assert list(network.state_dict()) == list(core.state_dict())
    stock(kind, deep_supervision).load_state_dict(network.state_dict())  # strict
    assert network.load_state_dict(core.state_dict()).missing_keys == []


def test_loading_stays_strict_for_stock_keys():
    network = composite(stock("plain_3d", True), 3)
    state = dict(network.state_dict())
    state.pop(next(iter(state)))
    with pytest.raises(RuntimeError, match="Missing key"):
        network.load_state_dict(state)


def test_auxiliary_weights_travel_separately():
    a, b = composite(stock("plain_3d", True), 3), composite(stock("plain_3d", True), 3)
    a.auxiliary.seen.fill_(7)
    b.load_auxiliary_state_dict(a.auxiliary_state_dict())
    assert torch.equal(a.auxiliary.conv.weight, b.auxiliary.conv.weight)
    assert b.auxiliary.seen == 7
    with pytest.raises(RuntimeError):
        b.load_auxiliary_state_dict({})


def test_auxiliary_parameters_are_trained():
    network = composite(stock("plain_3d", True), 3)
    names = [name for name, _ in network.named_parameters()]
    assert any(name.startswith("auxiliary.") for name in names)


def test_nested_in_another_module_hides_the_same_entries():
    """As DistributedDataParallel nests it."""
    nested = nn.ModuleDict({"module": composite(stock("plain_3d", False), 3)})
    assert not [key for key in nested.state_dict() if "auxiliary" in key]
    assert nested.load_state_dict(nested.state_dict()).missing_keys == []


def test_compiles_in_one_graph():
    """A forward hook in the place of the decoder's loop would break the graph."""
    network = composite(stock("plain_3d", True), 3)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    x = torch.randn(1, 2, 8, 12, 16)
    for a, b in zip(compiled(x, (1.0,))[0], network(x, (1.0,))[0], strict=True):
        assert torch.allclose(a, b)
