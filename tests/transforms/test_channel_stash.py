from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_weak.transforms.channel_stash import RestoreChannels, StashChannels

ROUNDING = 1e-5  # of linear interpolation in float32


def nnunet_pipeline(patch_size: tuple[int, ...], *, dummy_2d: bool, always: bool) -> BasicTransform:
    """nnU-Net's own training transforms between stash and restore; ``always`` applies each of them every time."""
    stock = nnUNetTrainer.get_training_transforms(
        np.array(patch_size),
        rotation_for_DA=(-0.5, 0.5),
        deep_supervision_scales=None,
        mirror_axes=tuple(range(len(patch_size))),
        do_dummy_2d_data_aug=dummy_2d,
        use_mask_for_norm=[False] * 3,
    )
    if always:
        for transform in stock.transforms:
            if isinstance(transform, RandomTransform):
                transform.apply_probability = 1.0
            if isinstance(transform, SpatialTransform):
                transform.p_rotation = transform.p_scaling = 1.0
    return ComposeTransforms([StashChannels(first_channel=1), *stock.transforms, RestoreChannels()])


def ball_sample(shape: tuple[int, ...]) -> dict[str, Any]:
    grid = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, size) for size in shape], indexing="ij"))
    seg = ((grid - 0.15) ** 2).sum(0).sqrt() < 0.6
    prior = (1 - grid.abs().amax(0)).clamp(0, 1)
    image = torch.stack([torch.randn(shape) + 5 * seg, seg.float(), prior])
    return {"image": image, "segmentation": seg[None].to(torch.int16)}


@pytest.mark.parametrize(
    ("shape", "patch_size", "dummy_2d"),
    [((20, 28, 24), (16, 24, 20), False), ((8, 30, 26), (8, 24, 20), True), ((40, 36), (32, 28), False)],
    ids=["3d", "dummy 2d", "2d"],
)
@pytest.mark.parametrize("always", [False, True])
def test_masks_follow_the_geometry_and_nothing_else(
    shape: tuple[int, ...], patch_size: tuple[int, ...], dummy_2d: bool, always: bool
) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    pipeline = nnunet_pipeline(patch_size, dummy_2d=dummy_2d, always=always)
    for _ in range(6):
        out = pipeline(**ball_sample(shape))
        image, seg = out["image"], out["segmentation"]
        assert image.shape == (3, *patch_size) and "regression_target" not in out
        mask, prior = image[1], image[2]
        for channel in (mask, prior):
            assert channel.min() >= -ROUNDING and channel.max() <= 1 + ROUNDING
        # Mask and segmentation are interpolated alike: they agree wherever the mask is not exactly in between.
        clear = (mask - 0.5).abs() > 1e-3
        assert torch.equal((mask > 0.5)[clear], seg[0].bool()[clear]) and mask.max() > 0.5


def test_intensities_do_change() -> None:
    """Otherwise the test above would say nothing."""
    pipeline = nnunet_pipeline((16, 24, 20), dummy_2d=False, always=True)
    stock_only = ComposeTransforms(pipeline.transforms[1:-1])
    out = stock_only(**ball_sample((16, 24, 20)))["image"][1]
    assert out.min() < 0 or out.max() > 1


def test_stash_and_restore_are_inverse() -> None:
    image = torch.randn(5, 3, 4, 6)
    stashed = StashChannels(2)(image=image.clone(), segmentation=None)
    assert stashed["image"].shape[0] == 2 and stashed["regression_target"].shape[0] == 3
    assert torch.equal(RestoreChannels()(**stashed)["image"], image)


def test_without_further_channels_nothing_happens() -> None:
    image = torch.randn(2, 4, 6)
    stashed = StashChannels(2)(image=image)
    assert "regression_target" not in stashed
    assert torch.equal(RestoreChannels()(**stashed)["image"], image)


def test_transforms_survive_pickling() -> None:
    """Worker processes receive them that way where processes are spawned."""
    restored = pickle.loads(pickle.dumps(ComposeTransforms([StashChannels(3), RestoreChannels()])))
    assert restored.transforms[0].first_channel == 3


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="first_channel=0"):
        StashChannels(0)
    with pytest.raises(ValueError, match="regression_target"):
        StashChannels(1)(image=torch.zeros(2, 3, 3), regression_target=torch.zeros(1, 3, 3))
