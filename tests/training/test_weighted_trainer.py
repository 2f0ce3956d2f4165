"""nnUNetTrainerWeighted on a real, preprocessed data set: stock where all weights are 1, weighted where not."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_weak.cli.add_weights import main as add_weights
from nnunet_weak.trainers import nnUNetTrainerWeighted

pytestmark = pytest.mark.training
LABELS = {"background": 0, "proximal": 1, "shaft": 2, "distal": 3}


@pytest.fixture(scope="module")
def make_dataset(workplace):
    """Make an ordinary data set of the phantoms, add weights, plan and preprocess it."""
    from conftest import plan

    def make(number: int, weight_of_bone: float, *arguments: str) -> str:
        phantoms, name = workplace.root / "phantoms", f"Dataset{number}_Weighted"
        folder, weights = workplace.root / "nnUNet_raw" / name, workplace.root / f"weights_{number}"
        weights.mkdir()
        for kind in ("imagesTr", "labelsTr"):
            (folder / kind).mkdir(parents=True)
        for path in sorted((phantoms / "labels").iterdir()):
            shutil.copyfile(path, folder / "labelsTr" / path.name)
            image = path.name.replace(".nii.gz", "_0000.nii.gz")
            shutil.copyfile(phantoms / "images" / path.name, folder / "imagesTr" / image)
            bone = sitk.ReadImage(str(path)) > 0
            sitk.WriteImage(sitk.Cast(bone, sitk.sitkFloat32) * (weight_of_bone - 1) + 1, str(weights / path.name))
        content = {"channel_names": {"0": "CT"}, "labels": LABELS, "file_ending": ".nii.gz"}
        content["numTraining"] = len(list((folder / "labelsTr").iterdir()))
        (folder / "dataset.json").write_text(json.dumps(content))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("nnUNet_raw", workplace.environment["nnUNet_raw"])
            assert add_weights(["-d", str(number), "--voxel-weights", str(weights), "-np", "1", *arguments]) == 0
        return plan(workplace, name, "3d_fullres")

    return make


def loss_of(trainer, batch: dict) -> tuple[float, torch.Tensor]:
    """Loss of a batch, and the gradient of the first layer."""
    trainer.network.zero_grad()
    terms, _ = trainer.compute_loss(trainer.prepare_batch(trainer._to_device(batch), training=True))
    terms["weighted"].backward()
    return terms["weighted"].item(), next(trainer.network.parameters()).grad.clone()


@pytest.mark.parametrize("deep_supervision", [True, False])
def test_weights_of_one_train_as_stock_to_the_last_bit(make_dataset, trainer_factory, deep_supervision, workplace):
    name = "Dataset541_Weighted"
    if not (workplace.root / "nnUNet_raw" / name).exists():
        make_dataset(541, 1.0)
    trainer = trainer_factory(nnUNetTrainerWeighted, name, enable_deep_supervision=deep_supervision)
    torch.manual_seed(0)
    trainer.on_train_start()
    batch = next(trainer.dataloader_train)
    value, gradient = loss_of(trainer, batch)
    assert batch["target"][0].shape[1] == 3 if deep_supervision else batch["target"].shape[1] == 3

    stock = nnUNetTrainer._build_loss(trainer)
    target = batch["target"]
    seg = [level[:, :1] for level in target] if deep_supervision else target[:, :1]
    trainer.network.zero_grad()
    expected = stock(trainer.network(batch["data"]), seg)
    expected.backward()
    assert value == expected.item()
    assert torch.equal(gradient, next(trainer.network.parameters()).grad)
    assert not trainer.selects_by_loss, "selection is stock"


def test_weights_reach_the_loss_at_every_resolution(make_dataset, trainer_factory):
    name = make_dataset(542, 4.0, "--class-weights", "shaft=2")
    trainer = trainer_factory(nnUNetTrainerWeighted, name)
    torch.manual_seed(0)
    trainer.on_train_start()
    batch = next(trainer.dataloader_train)
    prepared = trainer.prepare_batch(trainer._to_device(batch), training=True)
    assert len(prepared.annotation) == len(prepared.seg) > 1
    for weights, seg in zip(prepared.annotation, prepared.seg, strict=True):
        assert weights.shape == seg.shape
        assert set(np.unique(weights.numpy())) <= {1.0, 4.0}
    full, seg = prepared.annotation[0], prepared.seg[0]
    assert (full[seg == 0] == 1).float().mean() > 0.98 and (full[seg > 0] == 4).float().mean() > 0.9
    assert trainer.loss.loss.class_weights.tolist() == [1, 1, 2, 1]
    value, _ = loss_of(trainer, batch)
    stock = nnUNetTrainer._build_loss(trainer)
    assert value != stock(trainer.network(batch["data"]), prepared.seg).item()
    before = [parameter.clone() for parameter in trainer.network.parameters()]
    assert np.isfinite(trainer.train_step(batch)["loss"])
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))
    assert set(trainer.validation_step(next(trainer.dataloader_val))) >= {"loss", "tp_hard", "fp_hard", "fn_hard"}
