"""Every voxel of a case counts once, whatever the windows; the views of an annotator have the axes they claim."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nnunet_weak.networks.annotation_heads import AnnotationHeads
from nnunet_weak.training.annotator_matrices import (
    TrainedModel,
    TransitionProbe,
    _joint_counts,
    _predict,
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
    model = TrainedModel(Threshold(len(patch)), {"anna": "positive"}, ("b", "a"), patch, "", torch.device("cpu"))
    prediction, sums, voxels = _predict(model, data)
    np.testing.assert_array_equal(prediction, data[0] > 0)
    np.testing.assert_array_equal(voxels, np.bincount(prediction.ravel(), minlength=2))
    np.testing.assert_allclose(sums[0] / voxels, [[0.9, 0.1], [0.1, 0.9]], rtol=1e-5)


def test_joint_counts_have_the_axes_drawn_then_class():
    drawing = np.array([[[0, 1, 2, 2, 2]]])
    prediction = np.array([[[1, 0, 0, 0, 1]]])
    np.testing.assert_array_equal(_joint_counts(drawing, prediction, 3), [[1, 0, 0], [2, 1, 0], [0, 0, 0]])


def test_only_voxels_of_two_opinions_vote():
    drawings = {"anna": np.array([[[1, 2, 0, 3]]]), "ben": np.array([[[1, 0, 0, 2]]])}
    votes = _votes(drawings, ["anna", "ben", "cleo"], np.random.default_rng(0))
    assert votes.tolist() == [[1, 3], [1, 2], [0, 0]]
