"""The trainer base on a real, preprocessed data set.

Mixed supervision, exact continuation, refusals, distributed training.
"""

from __future__ import annotations

import copy
import json
import math
import os
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.trainers import nnUNetTrainerSCORE
from nnunet_weak.training.composite import CompositeNetwork
from nnunet_weak.training.weak_trainer import FULL_TERM

pytestmark = pytest.mark.training


class Calibration(nn.Module):
    """A training-only part with parameters of its own."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(features, classes, 1)

    def forward(self, logits, features):
        return logits + self.conv(features)


class nnUNetTrainerWithAuxiliary(nnUNetTrainerSCORE):
    """SCORE with an auxiliary network whose output enters the loss of weak samples."""

    morphology_probability = 0.0
    enable_deep_supervision = True

    def build_auxiliary_network(self, core, num_input_channels, num_classes):
        return Calibration(core.decoder.seg_layers[-1].in_channels, num_classes)

    def weak_loss(self, batch, output, auxiliary_output):
        terms = super().weak_loss(batch, output[0], auxiliary_output)
        # The lower resolutions enter, as DDP needs every output in the loss.
        return {
            **terms,
            "auxiliary": auxiliary_output.square().flatten(1).mean(1)
            + 1e-6 * sum(o.flatten(1).mean(1) for o in output),
        }


def batches(trainer, count: int) -> list[dict]:
    """Batches of one sample each, of different cases, without augmentation."""
    training, _ = trainer.get_tr_and_val_datasets()
    size = trainer.configuration_manager.patch_size
    made = []
    for key in training.identifiers[:count]:
        data, seg, _, _ = training.load_case(key)
        data, seg = np.asarray(data[:]), np.maximum(np.asarray(seg[:]), 0)
        window = tuple(slice(0, n) for n in size)
        pad = [(0, 0), *[(0, max(0, n - s)) for n, s in zip(size, data.shape[1:], strict=True)]]
        data, seg = np.pad(data, pad)[(slice(None), *window)], np.pad(seg, pad)[(slice(None), *window)]
        target: object = torch.from_numpy(seg)[None]
        if trainer.enable_deep_supervision:
            target = [
                target[:, :, :: 2**i, :: 2**i, :: 2**i] for i in range(len(trainer._get_deep_supervision_scales()))
            ]
        made.append({"data": torch.from_numpy(data).float()[None], "target": target, "keys": [key]})
    return made


def stacked(parts: list[dict]) -> dict:
    targets = [part["target"] for part in parts]
    joined = (
        [torch.cat(level) for level in zip(*targets, strict=True)]
        if isinstance(targets[0], list)
        else torch.cat(targets)
    )
    return {
        "data": torch.cat([part["data"] for part in parts]),
        "target": joined,
        "keys": [key for part in parts for key in part["keys"]],
    }


def terms_of(trainer, batch: dict) -> dict[str, torch.Tensor]:
    return trainer.compute_loss(trainer.prepare_batch(trainer._to_device(batch), training=False))[0]


@pytest.mark.parametrize("base", [nnUNetTrainerSCORE, nnUNetTrainerWithAuxiliary])
def test_a_sample_contributes_the_same_in_any_batch(trainer_factory, mixed_dataset, base):
    trainer = trainer_factory(base, mixed_dataset)
    torch.manual_seed(0)
    trainer.initialize()
    parts = batches(trainer, 4)
    full = [trainer.annotations.cases[part["keys"][0]].fully_annotated for part in parts]
    assert len(set(full)) == 2, "the batch mixes both kinds"
    alone = [terms_of(trainer, part) for part in parts]
    together = terms_of(trainer, stacked(parts))
    for name, value in together.items():
        assert value.item() == pytest.approx(
            sum(terms[name].item() for terms in alone) / len(parts), rel=1e-4, abs=1e-6
        )
    for terms, is_full in zip(alone, full, strict=True):
        others = {name: value.item() for name, value in terms.items() if (name == FULL_TERM) != is_full}
        assert all(value == 0 for value in others.values())


def test_fully_annotated_samples_get_the_stock_loss(trainer_factory, mixed_dataset):
    """Against nnU-Net's own loss object, built by the stock method."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    trainer = trainer_factory(nnUNetTrainerSCORE, mixed_dataset)
    trainer.initialize()
    part = next(part for part in batches(trainer, 6) if part["keys"][0] in trainer.annotations.fully_annotated_cases)
    stock = nnUNetTrainer._build_loss(trainer)
    expected = stock(trainer.network(part["data"]), part["target"][:, :1])
    assert terms_of(trainer, part)[FULL_TERM].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("base", [nnUNetTrainerSCORE, nnUNetTrainerWithAuxiliary])
def test_continuation_is_exact(trainer_factory, score_dataset, base, tmp_path):
    first = trainer_factory(base, score_dataset)
    first.on_train_start()
    for _ in range(2):
        first.train_step(next(first.dataloader_train))
    first._loss_average, first._best_loss, first.current_epoch = 1.5, 1.25, 7
    path = tmp_path / "checkpoint_latest.pth"
    first.save_checkpoint(str(path))
    second = trainer_factory(base, score_dataset)
    second.load_checkpoint(str(path))

    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    assert (second._loss_average, second._best_loss, second.current_epoch) == (1.5, 1.25, 8)
    for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any("auxiliary" in name for name, _ in first.network.named_parameters()) == (
        base is nnUNetTrainerWithAuxiliary
    )
    ours, theirs = second.optimizer.state_dict(), first.optimizer.state_dict()
    assert ours["param_groups"] == theirs["param_groups"] and ours["state"].keys() == theirs["state"].keys()
    for key, state in theirs["state"].items():
        assert all(
            torch.equal(torch.as_tensor(state[name]), torch.as_tensor(ours["state"][key][name])) for name in state
        )

    batch = next(first.dataloader_train)
    for trainer in (first, second):
        torch.manual_seed(1)
        trainer.network.train()
        trainer.train_step(copy.deepcopy(batch))
    for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_stock_network_loads_an_auxiliary_training(trainer_factory, score_dataset, tmp_path):
    trainer = trainer_factory(nnUNetTrainerWithAuxiliary, score_dataset)
    trainer.initialize()
    assert isinstance(trainer.network, CompositeNetwork)
    trainer.save_checkpoint(str(tmp_path / "a.pth"))
    checkpoint = torch.load(tmp_path / "a.pth", weights_only=False)
    stock = type(trainer).build_network_architecture(
        trainer.plans_manager,
        trainer.configuration_manager,
        trainer.num_input_channels,
        4,
        enable_deep_supervision=False,
    )
    stock.load_state_dict(checkpoint["network_weights"])
    assert set(checkpoint["nnunet_weak"]["auxiliary_weights"]) == {"conv.weight", "conv.bias"}


def test_validation_counts_full_cases_only(trainer_factory, mixed_dataset):
    trainer = trainer_factory(nnUNetTrainerSCORE, mixed_dataset)
    trainer.on_train_start()
    assert not trainer.selects_by_loss
    full = [
        key
        for key in trainer.dataloader_val.data_loader._data.identifiers
        if trainer.annotations.cases[key].fully_annotated
    ]
    assert full == list(trainer.dataloader_val.data_loader._data.identifiers), "folds validate on fully annotated cases"
    weak = next(
        part for part in batches(trainer, 6) if part["keys"][0] not in trainer.annotations.fully_annotated_cases
    )
    with torch.no_grad():
        result = trainer.validation_step(weak)
    assert sum(result[name].sum() for name in ("tp_hard", "fp_hard", "fn_hard")) == 0


def test_the_data_loaders_end_with_a_training_that_fails(trainer_factory, score_dataset, monkeypatch):
    trainer = trainer_factory(nnUNetTrainerSCORE, score_dataset)
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")
    workers = []

    def fail():
        workers.extend([*trainer.dataloader_train._processes, *trainer.dataloader_val._processes])
        assert all(worker.is_alive() for worker in workers)
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "on_epoch_start", fail)
    with pytest.raises(KeyboardInterrupt):
        trainer.run_training()
    assert len(workers) == 2 and not any(worker.is_alive() for worker in workers)
    assert trainer.dataloader_train._processes == []


def test_an_epoch_without_foreground_keeps_the_average_finite(trainer_factory, mixed_dataset):
    trainer = trainer_factory(nnUNetTrainerSCORE, mixed_dataset)
    trainer.initialize()
    nothing = {name: np.zeros(3) for name in ("tp_hard", "fp_hard", "fn_hard")}
    for epoch, result in enumerate([nothing, {**nothing, "tp_hard": np.ones(3)}, nothing]):
        trainer.current_epoch = epoch
        with (
            np.errstate(invalid="ignore"),
            pytest.warns(RuntimeWarning) if not result["tp_hard"].any() else nullcontext(),
        ):
            trainer.on_validation_epoch_end([{"loss": np.float32(1.0), "term/stability": np.float32(1.0), **result}])
    assert trainer.logger.local_logger.my_fantastic_logging["ema_fg_dice"] == [0.0, 0.1, 0.1]


def test_a_missing_region_is_no_background_and_is_learned_without_its_mask(
    trainer_factory, score_dataset, workplace, replace_dataset_json
):
    content = json.loads((workplace.preprocessed(score_dataset) / "dataset.json").read_text())
    scores = content["nnunet_weak"]["cases"]
    first, second = list(scores)[:2]
    scores[first]["scores"]["shaft"], scores[first]["missing"] = {"quality": 0, "error": "under"}, ["shaft"]
    replace_dataset_json(score_dataset, content)
    trainer = trainer_factory(nnUNetTrainerSCORE, score_dataset, dataset_json=content, emptying_probability=1.0)
    trainer.initialize()
    shape = trainer.configuration_manager.patch_size
    data = torch.zeros(1, 5, *shape)
    data[:, 1, 4:8, 4:8, 4:8] = data[:, 2, 10:14, 4:8, 4:8] = 1
    target = torch.ones(1, 2, *shape)
    seen = {}
    for case in (first, second):
        given = {"data": data.clone(), "target": target, "keys": [case]}
        seen[case] = trainer.prepare_batch(trainer._to_device(given), training=True)
        assert seen[case].data[:, 1].any() and not seen[case].data[:, 2].any(), "shaft is scored as missing once"
        assert seen[case].annotation.masks[:, 1].any(), "and is learned"
    output = torch.zeros(1, 4, *shape)
    output[:, 2] = 9  # shaft everywhere
    stability = {case: trainer.weak_loss(batch, output, None)["stability"].item() for case, batch in seen.items()}
    assert stability[first] < stability[second] / 2
    assert not trainer.prepare_batch(trainer._to_device(given), training=False).data[:, 2].logical_xor(data[:, 2]).any()


def test_only_left_right_flips(trainer_factory, score_dataset):
    trainer = trainer_factory(nnUNetTrainerSCORE, score_dataset)
    trainer.initialize()
    _, _, _, axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    image_axis = trainer.annotations.left_right_axis
    expected = () if image_axis is None else (trainer.plans_manager.transpose_forward.index(2 - image_axis),)
    assert axes == expected and trainer.inference_allowed_mirroring_axes == (expected or None)


def test_masks_and_prior_escape_intensity_augmentation(trainer_factory, score_dataset):
    trainer = trainer_factory(nnUNetTrainerSCORE, score_dataset)
    trainer.on_train_start()
    fractional = 0.0
    for _ in range(8):
        batch = next(trainer.dataloader_train)
        masks = batch["data"][:, 1:4]
        assert masks.min() > -0.2 and masks.max() < 1.2
        label = torch.cat([1 - masks.sum(1, keepdim=True), masks], 1).argmax(1)
        fractional += (label == batch["target"][:, 0]).float().mean().item() / 8
    assert fractional > 0.97


def test_what_cannot_work_says_so(trainer_factory, score_dataset, workplace, replace_dataset_json):
    content = json.loads((workplace.preprocessed(score_dataset) / "dataset.json").read_text())
    other = copy.deepcopy(content)
    other["nnunet_weak"]["method"] = "refineseg"
    with pytest.raises(InvalidInputError, match="converted for the method 'refineseg'"):
        trainer_factory(nnUNetTrainerSCORE, score_dataset, dataset_json=other)
    stale = copy.deepcopy(content)
    case = next(iter(stale["nnunet_weak"]["cases"].values()))
    next(iter(case["scores"].values()))["quality"] = 0.5
    with pytest.raises(InvalidInputError, match="stale annotation.*nnUNetv2_plan_and_preprocess"):
        trainer_factory(nnUNetTrainerSCORE, score_dataset, dataset_json=stale)
    unscored = copy.deepcopy(content)
    for case in unscored["nnunet_weak"]["cases"].values():
        case.clear()
    with pytest.raises(InvalidInputError, match="nnunet_weak_convert"):
        trainer_factory(
            nnUNetTrainerSCORE,
            score_dataset,
            dataset_json={key: value for key, value in content.items() if key != "nnunet_weak"},
        )
    replace_dataset_json(score_dataset, unscored)
    with pytest.raises(InvalidInputError, match="no case has a score.*nnUNetTrainerSCOREPlus"):
        trainer_factory(nnUNetTrainerSCORE, score_dataset, dataset_json=unscored)


def test_debug_information_has_no_scores(trainer_factory, score_dataset):
    trainer = trainer_factory(nnUNetTrainerSCORE, score_dataset)
    trainer.on_train_start()
    text = open(os.path.join(trainer.output_folder, "debug.json")).read()
    assert "annotations" in text and "quality" not in text and "RegionScore" not in text


def test_two_processes_with_different_numbers_of_full_cases(trainer_factory, mixed_dataset, tmp_path):
    """DDP over gloo: rank 0 sees a full case at every step, rank 1 never; parameters and curves must agree."""
    trainer = trainer_factory(nnUNetTrainerWithAuxiliary, mixed_dataset)
    parts = batches(trainer, 4)
    is_full = [trainer.annotations.cases[part["keys"][0]].fully_annotated for part in parts]
    full, weak = parts[is_full.index(True)], parts[is_full.index(False)]
    store = f"file://{tmp_path / 'store'}"
    initialise = {
        "plans": json.loads(json.dumps(trainer.plans_manager.plans)),
        "dataset": trainer.preprocessed_dataset_folder_base,
    }
    mp.spawn(_distributed_training, args=(store, initialise, full, weak, str(tmp_path)), nprocs=2, join=True)
    a, b = (torch.load(tmp_path / f"rank{rank}.pth") for rank in range(2))
    assert a["curves"] == b["curves"] and math.isfinite(a["curves"]["train_losses"][0])
    assert all(torch.equal(x, y) for x, y in zip(a["parameters"], b["parameters"], strict=True))


def _distributed_training(rank: int, store: str, initialise: dict, full: dict, weak: dict, folder: str) -> None:
    torch.set_num_threads(1)
    with open(os.path.join(initialise["dataset"], "dataset.json")) as file:
        dataset_json = json.load(file)
    plans = {**initialise["plans"], "continue_training": False}
    # nnU-Net's constructor takes an initialised process group for CUDA's, so the group comes after it.
    trainer = nnUNetTrainerWithAuxiliary(plans, "3d_fullres", 0, dataset_json, torch.device("cpu"))
    torch.manual_seed(0)
    trainer.initialize()
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    trainer.is_ddp, trainer.local_rank = True, rank
    trainer.loss = trainer._build_loss()
    trainer.network = DistributedDataParallel(trainer.network)
    trainer.selects_by_loss = False
    outputs = [trainer.train_step(copy.deepcopy(full if rank == 0 else weak)) for _ in range(3)]
    outputs.append(trainer.train_step(copy.deepcopy(stacked([full, weak]) if rank == 0 else weak)))
    trainer.on_train_epoch_end(outputs)
    trainer.network.eval()
    with torch.no_grad():
        trainer.on_validation_epoch_end([trainer.validation_step(copy.deepcopy(full if rank == 0 else weak))])
    result = {
        "curves": {
            key: [float(v) for v in values]
            for key, values in trainer.logger.local_logger.my_fantastic_logging.items()
            if "loss" in key or "/" in key
        },
        "parameters": [parameter.detach() for parameter in trainer.network.parameters()],
    }
    torch.save(result, os.path.join(folder, f"rank{rank}.pth"))
    dist.barrier()
    dist.destroy_process_group()
    # Without this the destructors of gloo and DDP run after the group's end, where they have waited for ever.
    os._exit(0)
