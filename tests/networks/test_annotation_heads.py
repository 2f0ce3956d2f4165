from __future__ import annotations

import logging
import math

import pytest
import torch

from nnunet_weak.losses.refineseg import negative_loss, positive_loss
from nnunet_weak.networks.annotation_heads import AnnotationHeads
from nnunet_weak.networks.annotator_transition import ApplyTransition

L, F = 3, 4


def make_inputs(spatial: tuple[int, ...] = (2, 3, 5), batch: int = 2, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, F, *spatial, generator=generator).requires_grad_()
    logits = torch.randn(batch, L, *spatial, generator=generator).requires_grad_()
    return features, logits


def make_heads(dims: int = 3, seed: int = 0, **options) -> AnnotationHeads:
    torch.manual_seed(seed)
    heads = AnnotationHeads(["drawing.a", "drawing.not"], L, F, dims, **options)
    for head in heads.heads:  # away from the zero start, where A is the same everywhere
        torch.nn.init.normal_(head.weight, std=0.5)
    return heads


def matrix_of(heads: AnnotationHeads, features: torch.Tensor, index: int) -> torch.Tensor:
    """``A`` of one strategy as a whole, ``(B, m, k, V)``; V = 1 for one matrix per image."""
    with torch.no_grad():
        last = heads.heads[index].last_features(features)
        return torch.stack([heads.heads[index].column(last, k) for k in range(heads.num_classes)], dim=2)


@pytest.mark.parametrize("num_classes", [2, 4, 20])
@pytest.mark.parametrize("per_image", [False, True])
def test_starts_with_the_stated_diagonal(num_classes, per_image):
    heads = AnnotationHeads(["a"], num_classes, F, 3, per_image=per_image)
    matrix = matrix_of(heads, make_inputs()[0], 0)
    expected = torch.full((num_classes, num_classes), 0.1 / (num_classes - 1)).fill_diagonal_(0.9)
    torch.testing.assert_close(matrix, expected[None, ..., None].expand_as(matrix))
    assert heads.heads[0].bias[0, 0].item() == pytest.approx(math.log(9 * (num_classes - 1)), rel=1e-6)


@pytest.mark.parametrize("spatial", [(4, 7), (2, 3, 5)])
@pytest.mark.parametrize("per_image", [False, True])
def test_streamed_result_and_gradients_equal_the_whole_matrix(spatial, per_image):
    features, logits = make_inputs(spatial)
    heads = make_heads(len(spatial), per_image=per_image)
    weight = torch.randn(2, L, *spatial, generator=torch.Generator().manual_seed(3))
    parameters = [features, logits, *heads.heads.parameters()]

    output = heads(features, logits.softmax(1))["drawing.not"]
    streamed = (output.probabilities * weight).sum() + (output.identity_distance * torch.tensor([1.0, 2.0])).sum()
    streamed_gradients = torch.autograd.grad(streamed, parameters, allow_unused=True)

    head = heads.heads[1]
    hidden = head.hidden(features).flatten(2)
    hidden = hidden.mean(2, keepdim=True) if per_image else hidden
    matrix = (torch.einsum("kmf,bfv->bmkv", head.weight, hidden) + head.bias.T[None, :, :, None]).softmax(1)
    torch.testing.assert_close(matrix_of(heads, features, 1), matrix.detach())
    u = torch.einsum("bmkv,bkv->bmv", matrix.expand(-1, -1, -1, math.prod(spatial)), logits.softmax(1).flatten(2))
    u = u.unflatten(2, spatial)
    distance = (matrix - torch.eye(L)[..., None]).square().sum((1, 2)).mean(1)
    torch.testing.assert_close(output.probabilities, u)
    torch.testing.assert_close(output.identity_distance, distance)
    whole = (u * weight).sum() + (distance * torch.tensor([1.0, 2.0])).sum()
    for streamed_gradient, gradient in zip(
        streamed_gradients, torch.autograd.grad(whole, parameters, allow_unused=True), strict=True
    ):
        assert (streamed_gradient is None) == (gradient is None)
        if gradient is not None:
            torch.testing.assert_close(streamed_gradient, gradient, rtol=1e-4, atol=1e-5)


def test_gradients_are_exact():
    weight = torch.randn(L, L, F, dtype=torch.double, requires_grad=True)
    bias = torch.randn(L, L, dtype=torch.double, requires_grad=True)
    features = torch.randn(2, F, 5, dtype=torch.double, requires_grad=True)
    probabilities = torch.rand(2, L, 5, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(ApplyTransition.apply, (features, probabilities, weight, bias))


def test_columns_sum_to_one_so_u_does_too():
    features, logits = make_inputs()
    for output in make_heads()(features, logits.softmax(1)).values():
        torch.testing.assert_close(output.probabilities.sum(1), torch.ones(2, 2, 3, 5))


def test_warm_up_is_the_identity_and_reaches_every_parameter():
    features, logits = make_inputs()
    heads = make_heads(learned_complementary=["drawing.not"])
    outputs = heads(features, logits.softmax(1), warmup=True)
    annotation = torch.ones(2, 2, 3, 5)
    loss = 0
    for output in outputs.values():
        torch.testing.assert_close(output.probabilities, logits.softmax(1))
        assert output.identity_distance.tolist() == [0, 0]
        loss = loss + output.identity_distance.sum()
    loss = loss + positive_loss(outputs["drawing.a"].probabilities, annotation).sum()
    negative = outputs["drawing.not"]
    loss = loss + negative_loss(negative.probabilities, annotation, negative.complementary_logits).sum()
    loss.backward()
    for name, parameter in heads.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert name.startswith("complementary_logits") or parameter.grad.abs().max() == 0


def test_blank_maps_leave_heads_with_zero_gradients_not_none():
    # Distributed training waits for every parameter's gradient, also of a strategy that no case of the batch has.
    features, logits = make_inputs()
    heads = make_heads()
    outputs = heads(features, logits.softmax(1))
    sum(positive_loss(o.probabilities, torch.zeros(2, 2, 3, 5)).sum() for o in outputs.values()).backward()
    assert all(p.grad is not None and p.grad.abs().max() == 0 for p in heads.parameters() if p.requires_grad)


def test_complementary_logits_only_where_learned():
    features, logits = make_inputs()
    outputs = make_heads(learned_complementary=["drawing.not"])(features, logits.softmax(1))
    assert outputs["drawing.a"].complementary_logits is None
    assert outputs["drawing.not"].complementary_logits.shape == (L, L)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_keeps_probabilities_in_float32(dtype):
    features, logits = make_inputs()
    heads = make_heads()
    expected = heads(features, logits.softmax(1))["drawing.a"]
    with torch.autocast("cpu", dtype=dtype):
        output = heads(features, logits.softmax(1))["drawing.a"]
    assert output.probabilities.dtype == output.identity_distance.dtype == torch.float32
    torch.testing.assert_close(output.probabilities.sum(1), torch.ones(2, 2, 3, 5))
    torch.testing.assert_close(output.probabilities, expected.probabilities, rtol=0.05, atol=0.02)
    output.probabilities[:, 0].sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in heads.parameters())
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("per_image", [False, True])
def test_a_sample_gives_the_same_result_in_any_batch(per_image):
    features, logits = make_inputs(batch=3)
    heads = make_heads(per_image=per_image)
    together = heads(features, logits.softmax(1))["drawing.a"]
    alone = heads(features[1:2], logits[1:2].softmax(1))["drawing.a"]
    torch.testing.assert_close(together.probabilities[1:2], alone.probabilities)
    torch.testing.assert_close(together.identity_distance[1:2], alone.identity_distance)


def test_memory_kept_for_the_backward_pass_does_not_grow_with_the_square_of_the_classes():
    saved = {}
    for num_classes in (4, 16):
        heads = AnnotationHeads(["a"], num_classes, F, 3, hidden_channels=0)
        features = torch.randn(1, F, 6, 7, 8, requires_grad=True)
        probabilities = torch.rand(1, num_classes, 6, 7, 8, requires_grad=True)
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t):
            heads(features, probabilities)
        saved[num_classes] = sum(size for size in sizes if size >= 6 * 7 * 8)
    assert saved[16] < 16 / 4 * saved[4] + 16 * 16 * (F + 1)


@pytest.mark.parametrize("per_image", [False, True])
def test_transition_sums_by_hand(per_image):
    features, logits = make_inputs()
    heads = make_heads(per_image=per_image)
    classes = logits.argmax(1)
    classes[0, 0, 0, 0] = -1  # no class: left out
    sums, counts = heads.transition_sums(features, classes)
    assert counts.tolist() == [(classes == k).sum().item() for k in range(L)] and sums.shape == (2, L, L)
    for index in range(2):
        matrix = matrix_of(heads, features, index).expand(-1, -1, -1, 2 * 3 * 5)
        for k in range(L):
            expected = matrix[:, :, k].movedim(1, -1)[classes.flatten(1) == k].sum(0)
            torch.testing.assert_close(sums[index, :, k], expected.double(), rtol=1e-5, atol=1e-5)


def test_one_matrix_per_image_above_the_limit_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        assert not AnnotationHeads(["a"], 20, F, 3, patch_size=(128, 128, 128)).per_image
        assert not caplog.records
        assert AnnotationHeads(["a"], 118, F, 3, patch_size=(128, 128, 128)).per_image
    assert "One matrix per image" in caplog.text and "118 classes" in caplog.text
    caplog.clear()
    assert not AnnotationHeads(["a"], 118, F, 3, patch_size=(128, 128, 128), per_image=False).per_image
    assert not caplog.records


def test_heads_learn_a_planted_confusion_where_the_truth_is_known():
    # p is the truth here: what is left to learn is A alone. Class 2 is drawn as class 1 in the left half of the image.
    torch.manual_seed(0)
    truth = torch.randint(0, L, (2, 6, 8))
    drawn = torch.where((truth == 2) & (torch.arange(8) < 4), 1, truth)
    features = torch.where(torch.arange(8) < 4, 1.0, -1.0).expand(2, 1, 6, 8)
    heads = AnnotationHeads(["a"], L, 1, 2, hidden_channels=0)
    optimiser = torch.optim.Adam(heads.parameters(), lr=0.1)
    p = torch.nn.functional.one_hot(truth, L).movedim(-1, 1).float()
    for _ in range(60):
        optimiser.zero_grad()
        positive_loss(heads(features, p)["a"].probabilities, drawn + 1).sum().backward()
        optimiser.step()
    matrix = matrix_of(heads, features, 0).unflatten(3, (6, 8))
    assert matrix[0, 1, 2, 0, 0] > 0.9 and matrix[0, 2, 2, 0, 7] > 0.9
    assert matrix[0, 1, 1].min() > 0.9


@pytest.mark.slow
def test_compiles_without_a_graph_break():
    features, logits = make_inputs()
    heads = make_heads()
    expected = heads(features, logits.softmax(1))["drawing.a"]
    compiled = torch.compile(heads, backend="aot_eager", fullgraph=True)
    output = compiled(features, logits.softmax(1))["drawing.a"]
    torch.testing.assert_close(output.probabilities, expected.probabilities)
    gradients = [
        torch.autograd.grad(o.probabilities[:, 0].sum() + o.identity_distance.sum(), heads.heads[0].weight)[0]
        for o in (expected, output)
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a", "a"], 3, 4, 3), "different names"),
        (([], 3, 4, 3), "different names"),
        ((["a"], 1, 4, 3), "at least 2"),
        ((["a"], 3, 4, 1), "2 or 3"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AnnotationHeads(*arguments)


def test_unknown_learned_strategy_is_refused():
    with pytest.raises(ValueError, match="not among"):
        AnnotationHeads(["a"], 3, 4, 3, learned_complementary=["b"])
