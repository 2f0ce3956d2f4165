from __future__ import annotations

import copy
import json
import math
from collections import Counter

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.trainers import nnUNetTrainerSCOREPlus

pytestmark = pytest.mark.training


def test_the_training_is_the_stock_one_to_the_last_bit(trainer_factory, score_dataset):
    """The stock network and loss on the image channel of a batch, and what our trainer makes of the batch."""
    trainer = trainer_factory(nnUNetTrainerSCOREPlus, score_dataset)
    trainer.on_train_start()
    batch = next(trainer.dataloader_train)
    stock = nnUNetTrainer.build_network_architecture(
        trainer.plans_manager, trainer.configuration_manager, 1, 4, enable_deep_supervision=True
    )
    stock.load_state_dict(trainer.network.state_dict())
    output = stock(batch["data"][:, :1])
    expected = nnUNetTrainer._build_loss(trainer)(output, [level[:, :1] for level in batch["target"]])
    expected.backward()
    terms, _ = trainer.compute_loss(trainer.prepare_batch(trainer._to_device(copy.deepcopy(batch)), training=True))
    assert torch.stack(list(terms.values())).sum().item() == expected.item()
    torch.stack(list(terms.values())).sum().backward()
    for ours, theirs in zip(trainer.network.parameters(), stock.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None)
        assert ours.grad is None or torch.equal(ours.grad, theirs.grad)


def test_the_prior_speaks_when_predicting_only(trainer_factory, score_dataset):
    trainer = trainer_factory(nnUNetTrainerSCOREPlus, score_dataset, prior_weight=3.0)
    network = type(trainer).build_network_architecture(
        trainer.plans_manager, trainer.configuration_manager, 5, 4, enable_deep_supervision=False
    )
    data = torch.rand(1, 5, *trainer.configuration_manager.patch_size)
    data[:, -1] = torch.tensor(0.5)
    data[:, -1, 0], data[:, -1, 1], data[:, -1, 2] = 0.8, 0.0, 1.0
    with torch.no_grad():
        training, predicting = network.train()(data), network.eval()(data)
    added = predicting - training
    assert torch.all(added[:, 0] == 0), "the background's logit stays"
    expected = {0: 3 * math.log(4), 1: -3 * math.log(499), 2: 3 * math.log(499), 3: 0.0}
    for slice_, value in expected.items():
        assert torch.allclose(added[:, 1:, slice_], torch.tensor(value), atol=1e-3)


def test_without_a_prior_channel_it_is_refused(trainer_factory, score_dataset, workplace, replace_dataset_json):
    content = json.loads((workplace.preprocessed(score_dataset) / "dataset.json").read_text())
    content["nnunet_weak"]["channels"]["prior"] = False
    del content["nnunet_weak"]["prior"]
    replace_dataset_json(score_dataset, content)
    with pytest.raises(InvalidInputError, match="no channel of a boundary prior.*--prior likelihood"):
        trainer_factory(nnUNetTrainerSCOREPlus, score_dataset, dataset_json=content)


def test_half_of_the_samples_come_from_fully_annotated_cases(trainer_factory, score_dataset, mixed_dataset):
    trainer = trainer_factory(nnUNetTrainerSCOREPlus, mixed_dataset, fold="all")
    full = set(trainer.annotations.fully_annotated_cases)
    training, validation = trainer.get_tr_and_val_datasets()
    drawn = Counter(case in full for case in training.identifiers)
    assert len(full) == 2 and drawn[True] == drawn[False] == len(validation.identifiers) - 2
    without = trainer_factory(nnUNetTrainerSCOREPlus, score_dataset, fold="all").get_tr_and_val_datasets()[0]
    assert Counter(Counter(without.identifiers).values()) == {1: len(without.identifiers)}, "as stock draws them"
