"""RefineSegPlus on a real, preprocessed data set with two annotators, negatives, a walker's map and full cases."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_weak.losses.refineseg import excluded_class_loss
from nnunet_weak.trainers import nnUNetTrainerRefineSegPlus

pytestmark = pytest.mark.training


@pytest.fixture
def trainer(trainer_factory, drawings_dataset):
    torch.manual_seed(0)
    trainer = trainer_factory(nnUNetTrainerRefineSegPlus, drawings_dataset, "2d", batch_size=4)
    trainer.on_train_start()
    return trainer


@pytest.fixture
def batch(trainer):
    """Weak and fully annotated samples, some of them padded."""
    for _ in range(50):
        batch = trainer._to_device(next(trainer.dataloader_train))
        padded = ~batch.inside.flatten(1).all(1)
        if (padded & ~batch.fully_annotated).any() and batch.fully_annotated.any():
            return batch
    raise AssertionError("no such batch")


def with_maps(trainer, kind: str | None, batch):
    """The batch as if the data set had maps of that kind only, or one positive map only."""
    maps = trainer.annotations.maps
    names = [name for name, one in maps.items() if one == kind] or ["anna"]
    trainer.annotations = replace(trainer.annotations, maps={name: maps[name] for name in names})
    return replace(batch, maps=batch.maps[:, [list(maps).index(name) for name in names]])


def terms_of(trainer, batch):
    return trainer.compute_loss(batch)[0]


def test_with_one_map_and_no_padding_it_is_the_stock_loss_to_the_last_bit(trainer, batch):
    batch = with_maps(trainer, None, replace(batch, inside=torch.ones_like(batch.inside)))
    expected = nnUNetTrainer._build_loss(trainer)(trainer.network(batch.data), batch.seg)
    (term,) = terms_of(trainer, batch).values()
    assert term.item() == expected.item()


def test_padding_teaches_nothing_but_in_fully_annotated_samples(trainer, batch):
    batch = with_maps(trainer, None, batch)
    before = terms_of(trainer, batch)["positive"]

    def painted(samples: torch.Tensor):
        changed = copy.deepcopy(batch)
        for level in changed.seg:
            inside = torch.nn.functional.interpolate(batch.inside.float(), level.shape[2:], mode="nearest-exact") > 0
            level[~inside & samples.view(-1, 1, 1, 1)] = 2
        return terms_of(trainer, changed)["positive"]

    assert painted(~batch.fully_annotated) == before
    padded = (~batch.inside).flatten(1).any(1) & batch.fully_annotated
    assert not padded.any() or painted(batch.fully_annotated) != before


def test_positive_maps_count_alike(trainer, batch):
    batch = with_maps(trainer, "positive", replace(batch, inside=torch.ones_like(batch.inside)))
    output = trainer.network(batch.data)
    losses = []
    for number in range(batch.maps.shape[1]):
        levels = []
        for seg in batch.seg:
            drawn = torch.nn.functional.interpolate(
                batch.maps[:, number : number + 1].float(), seg.shape[2:], mode="nearest-exact"
            )
            labels = torch.where(drawn > 0, drawn - 1, trainer.label_manager.ignore_label).to(seg.dtype)
            levels.append(torch.where(batch.fully_annotated.view(-1, 1, 1, 1), seg, labels))
        losses.append(trainer.loss(output, levels))
    assert len(losses) == 3 and len({round(loss.item(), 4) for loss in losses}) == 3
    assert terms_of(trainer, batch)["positive"].item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-6)


def test_negatives_of_weak_samples_count_with_their_weight(trainer, batch):
    trainer.negative_weight = 0.5
    batch = replace(batch, maps=batch.maps.clone())
    batch.maps[:, 1] = torch.randint(0, 5, batch.maps[:, 1].shape)
    full = batch.fully_annotated
    with torch.no_grad():
        logits = trainer.network(batch.data)[0]
        expected = 0.5 * excluded_class_loss(logits[~full], batch.maps[~full, 1:2])
        assert terms_of(trainer, batch)["negative"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_training_ends_in_a_stock_model(trainer):
    trainer.run_training()
    weights = torch.load(f"{trainer.output_folder}/checkpoint_final.pth", weights_only=False)["network_weights"]
    stock = nnUNetTrainer.build_network_architecture(
        trainer.plans_manager, trainer.configuration_manager, 1, trainer.label_manager.num_segmentation_heads, True
    )
    stock.load_state_dict(weights)
