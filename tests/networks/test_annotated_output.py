"""The annotation heads behind a network, as it is trained: compiled as a whole, in and after the warm-up."""

from __future__ import annotations

import copy

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from nnunet_weak.losses.refineseg import negative_loss, positive_loss
from nnunet_weak.networks.annotation_heads import AnnotatedOutput, AnnotationHeads
from nnunet_weak.training.composite import CompositeNetwork


def network() -> CompositeNetwork:
    torch.manual_seed(0)
    norm = {"norm_op": torch.nn.InstanceNorm2d, "norm_op_kwargs": {"affine": True}}
    core = PlainConvUNet(
        1, 2, [4, 8], torch.nn.Conv2d, 3, [1, 2], 1, 4, 1, conv_bias=True, nonlin=torch.nn.LeakyReLU, **norm
    )
    return CompositeNetwork(core, AnnotatedOutput(AnnotationHeads(["a", "b"], 4, 4, 2, learned_complementary=["b"])))


def gradients(model, parameters, warmup: bool) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(2, 1, 16, 12, generator=generator)
    drawn = torch.randint(0, 5, (2, 16, 12), generator=generator)
    _, annotators = model(image, (warmup,))
    a, b = annotators["a"], annotators["b"]
    loss = positive_loss(a.probabilities, drawn) + 0.2 * (a.identity_distance + b.identity_distance)
    loss = loss + negative_loss(b.probabilities, drawn, b.complementary_logits)
    return list(torch.autograd.grad(loss.sum(), parameters))


@pytest.mark.slow
@pytest.mark.parametrize("warmup", [False, True])
def test_compiles_without_a_break_and_with_the_same_gradients(warmup):
    plain = network()
    twin = copy.deepcopy(plain)
    compiled = torch.compile(twin, backend="aot_eager", fullgraph=True)
    chosen = [[p for p in model.parameters() if p.requires_grad] for model in (plain, twin)]
    for ours, theirs in zip(gradients(plain, chosen[0], warmup), gradients(compiled, chosen[1], warmup), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_heads_see_softmax_of_the_logits():
    heads = AnnotationHeads(["a"], 3, 2, 2)
    logits, features = torch.randn(1, 3, 5, 4), torch.randn(1, 2, 5, 4)
    result = AnnotatedOutput(heads)(logits, features, True)["a"]
    torch.testing.assert_close(result.probabilities, logits.softmax(1))
