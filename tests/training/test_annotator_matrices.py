"""Every voxel of a case counts once, whatever the windows; the views of an annotator have the axes they claim."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nnunet_weak.networks.annotation_heads import AnnotationHeads
from nnunet_weak.training.annotator_matrices import (
    TrainedModel,
    TransitionProbe,
    _columns,
    _drawn_by_prediction,
    _run,
    _slice_to_look_at,
    _votes,
)


class Threshold:
    """In the place of a network: class 1 where the image is positive, features are the image."""

    def __init__(self, dims: int) -> None:
        self.heads = AnnotationHeads(["anna"], 2, 1, dims, hidden_channels=0)
        self.probe = TransitionProbe(self.heads)

    def __call__(self, tile, arguments):
        logits = torch.cat([-tile, tile], 1)
        return logits, self.probe(logits, tile, *arguments)


@pytest.mark.parametrize(
    ("shape", "patch"),
    [((3, 9, 7), (5, 4)), ((3, 9, 7), (16, 16)), ((6, 9, 7), (4, 4, 8)), ((2, 5, 7), (4, 5, 3))],
)
def test_windows_cover_every_voxel_once(shape, patch):
    data = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    strategies = {"anna": "positive"}
    model = TrainedModel(Threshold(len(patch)), strategies, ("b", "a"), patch, "", torch.device("cpu"))
    prediction, sums, deviations = _run(model, data, ("anna",))
    np.testing.assert_array_equal(prediction, data[0] > 0)
    learned, voxels = sums["anna"]
    np.testing.assert_array_equal(voxels, np.bincount(prediction.ravel(), minlength=2))
    np.testing.assert_allclose(learned / voxels, [[0.9, 0.1], [0.1, 0.9]], rtol=1e-5)
    np.testing.assert_allclose(deviations["anna"], 0.1, rtol=1e-5)
    assert deviations["anna"].shape == shape


def test_matrix_axes_are_drawn_then_class():
    drawing = np.array([[[0, 1, 2, 2, 2]]])
    prediction = np.array([[[1, 0, 0, 0, 1]]])
    counts = _drawn_by_prediction(drawing, prediction, 3)
    np.testing.assert_array_equal(counts, [[1, 0, 0], [2, 1, 0], [0, 0, 0]])
    matrix = _columns(counts)
    np.testing.assert_allclose(matrix[:, 0], [1 / 3, 2 / 3, 0])
    assert np.isnan(matrix[:, 2]).all(), "a class that is never predicted has no column"


def test_only_voxels_of_two_opinions_vote():
    drawings = {"anna": np.array([[[1, 2, 0, 3]]]), "ben": np.array([[[1, 0, 0, 2]]])}
    votes = _votes(drawings, ["anna", "ben", "cleo"], np.random.default_rng(0))
    assert votes.tolist() == [[1, 3], [1, 2], [0, 0]]


def test_the_slice_to_look_at_has_targets():
    deviation = np.array([[[0.9, 0.9]], [[0.1, 0.2]]])
    prediction = np.array([[[0, 0]], [[0, 1]]])
    found = _slice_to_look_at("x", deviation * 2, prediction + 1, prediction, deviation)
    np.testing.assert_array_equal(found.deviation, [[0.1, 0.2]])
    np.testing.assert_array_equal(found.drawing, [[1, 2]])
