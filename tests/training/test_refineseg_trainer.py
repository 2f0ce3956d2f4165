"""RefineSeg's trainers on a real, preprocessed data set with two annotators, negatives and fully annotated cases."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.losses.refineseg import negative_loss, positive_loss
from nnunet_weak.trainers import (
    nnUNetTrainerRefineSeg,
    nnUNetTrainerRefineSegBalanced,
    nnUNetTrainerRefineSegDeepSupervision,
    nnUNetTrainerRefineSegHeadLR20,
    nnUNetTrainerRefineSegLearnedComplementary,
    nnUNetTrainerRefineSegNoNegatives,
    nnUNetTrainerRefineSegNoRegulariser,
    nnUNetTrainerRefineSegNoTransitionMatrices,
    nnUNetTrainerRefineSegNoWarmup,
    nnUNetTrainerRefineSegSGD,
)
from nnunet_weak.training.weak_trainer import FULL_TERM

pytestmark = pytest.mark.training
MAPS = ("anna", "anna_not", "ben", "random_walker")


def batch_of(trainer, case: str) -> dict:
    """A batch of one patch, without augmentation: of the 2d plan, the slice with most drawn."""
    data, seg, _, _ = trainer._stacked(stock_dataset(trainer, [case])).load_case(case)
    data, seg = np.asarray(data[:]), np.asarray(seg[:])
    size = trainer.configuration_manager.patch_size
    if len(size) == 2:
        index = int((seg[1] > 1).sum((1, 2)).argmax())
        data, seg = data[:, index], seg[:, index]
    pad = [(0, 0), *[(0, max(0, n - s)) for n, s in zip(size, data.shape[1:], strict=True)]]
    window = (slice(None), *(slice(0, n) for n in size))
    data, seg = np.pad(data, pad)[window], np.maximum(np.pad(seg, pad, constant_values=-1)[window], 0)
    target: object = torch.from_numpy(seg)[None]
    if trainer.enable_deep_supervision:
        scales = trainer._get_deep_supervision_scales()
        target = [target[(..., *[slice(None, None, round(1 / s)) for s in scale])] for scale in scales]
    return {"data": torch.from_numpy(data).float()[None], "target": target, "keys": [case]}


def stock_dataset(trainer, cases: list[str]):
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

    return infer_dataset_class(trainer.preprocessed_dataset_folder)(trainer.preprocessed_dataset_folder, cases)


def cases_by_kind(trainer) -> tuple[str, str, str]:
    """A case that all drew, one that ben did not, one that is fully annotated."""
    cases = trainer.annotations.cases
    full = trainer.annotations.fully_annotated_cases[0]
    weak = [name for name, case in cases.items() if not case.fully_annotated]
    return (
        next(name for name in weak if "ben" in cases[name].maps),
        next(name for name in weak if "ben" not in cases[name].maps),
        full,
    )


def ready(trainer, epoch: int = 1):
    torch.manual_seed(0)
    trainer.initialize()
    trainer.current_epoch = epoch
    return trainer


def terms_of(trainer, batch):
    return trainer.compute_loss(trainer.prepare_batch(trainer._to_device(batch), training=False))[0]


def test_drawings_follow_the_image_through_augmentation(trainer_factory, drawings_dataset):
    trainer = trainer_factory(nnUNetTrainerRefineSeg, drawings_dataset, "2d", batch_size=4)
    trainer.on_train_start()
    assert tuple(trainer.annotations.maps) == MAPS
    ignore, agreement, drawn = trainer.label_manager.ignore_label, [], 0
    for _ in range(6):
        batch = trainer._to_device(next(trainer.dataloader_train))
        assert batch.maps.shape[1] == len(MAPS) and batch.inside.shape[1] == 1
        weak = ~batch.fully_annotated
        labels, anna = batch.seg[weak][:, 0], batch.maps[weak][:, 0]
        inside = batch.inside[weak][:, 0]
        expected = torch.where(anna > 0, anna - 1, ignore)
        agreement.append((labels == expected)[inside].float().mean().item())
        drawn += int((anna > 1).sum())
        assert (batch.maps[~batch.inside.expand_as(batch.maps)] == 0).all(), "padding is blank"
    assert drawn > 100 and np.mean(agreement) > 0.97


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_warm_up_is_the_identity_and_what_follows_is_not(trainer_factory, drawings_dataset, configuration):
    trainer = trainer_factory(nnUNetTrainerRefineSeg, drawings_dataset, configuration, num_epochs=10)
    ready(trainer, epoch=4)
    batch = trainer._to_device(batch_of(trainer, cases_by_kind(trainer)[0]))
    output, annotators = trainer.network(batch.data, trainer.auxiliary_arguments(batch))
    probabilities = output.softmax(1)
    terms = trainer.weak_loss(batch, output, annotators)
    assert terms["regulariser"].item() == 0
    assert terms["positive anna"].item() == pytest.approx(positive_loss(probabilities, batch.maps[:, 0]).item())
    assert terms["negative anna_not"].item() == pytest.approx(negative_loss(probabilities, batch.maps[:, 1]).item())
    trainer.current_epoch = 5
    output, annotators = trainer.network(batch.data, trainer.auxiliary_arguments(batch))
    learned = trainer.weak_loss(batch, output, annotators)
    assert learned["positive anna"] != terms["positive anna"]
    # Each of four columns of four heads starts at 0.9: (0.1 ** 2 + 3 * (0.1 / 3) ** 2) * 4 * 4 * lambda.
    assert learned["regulariser"].item() == pytest.approx(0.2 * 4 * 4 * (0.01 + 3 / 900), rel=1e-3)


def test_a_strategy_that_a_case_lacks_says_nothing(trainer_factory, drawings_dataset):
    trainer = ready(trainer_factory(nnUNetTrainerRefineSeg, drawings_dataset, "2d"))
    with_ben, without_ben, _ = cases_by_kind(trainer)
    there, lacking = (terms_of(trainer, batch_of(trainer, case)) for case in (with_ben, without_ben))
    assert lacking["positive ben"].item() == 0 and lacking["positive anna"].item() > 0
    assert lacking["regulariser"].item() == pytest.approx(there["regulariser"].item() * 3 / 4, rel=1e-3)


@pytest.mark.parametrize(
    "base",
    [
        nnUNetTrainerRefineSeg,
        nnUNetTrainerRefineSegBalanced,
        nnUNetTrainerRefineSegDeepSupervision,
        nnUNetTrainerRefineSegLearnedComplementary,
        nnUNetTrainerRefineSegSGD,
        nnUNetTrainerRefineSegNoNegatives,
        nnUNetTrainerRefineSegNoTransitionMatrices,
    ],
)
def test_every_parameter_has_a_gradient_at_every_step(trainer_factory, drawings_dataset, base):
    """DDP waits for all of them: in the warm-up, where a case lacks maps, and where it is fully annotated."""
    trainer = trainer_factory(base, drawings_dataset, "2d", num_epochs=10)
    for epoch in (0, 5):
        if not trainer.was_initialized:
            ready(trainer)
        trainer.current_epoch = epoch
        for case in cases_by_kind(trainer)[1:]:
            trainer.optimizer.zero_grad(set_to_none=True)
            loss = torch.stack(list(terms_of(trainer, batch_of(trainer, case)).values())).sum()
            loss.backward()
            missing = [n for n, p in trainer.network.named_parameters() if p.requires_grad and p.grad is None]
            assert missing == [] and torch.isfinite(loss)


def test_balanced_classes_change_the_positive_terms_only(trainer_factory, drawings_dataset):
    plain, balanced = (
        ready(trainer_factory(base, drawings_dataset, "2d"))
        for base in (nnUNetTrainerRefineSeg, nnUNetTrainerRefineSegBalanced)
    )
    balanced.network.load_state_dict(plain.network.state_dict())
    case = cases_by_kind(plain)[0]
    there, other = terms_of(plain, batch_of(plain, case)), terms_of(balanced, batch_of(balanced, case))
    changed = {name for name in there if there[name].item() != pytest.approx(other[name].item(), rel=1e-5)}
    assert changed == {name for name in there if name.startswith("positive")}


def joined(parts: list[dict]) -> dict:
    """One batch of several."""
    targets = [part["target"] for part in parts]
    levels = [torch.cat(level) for level in zip(*targets, strict=True)] if isinstance(targets[0], list) else None
    return {
        "data": torch.cat([part["data"] for part in parts]),
        "target": torch.cat(targets) if levels is None else levels,
        "keys": [part["keys"][0] for part in parts],
    }


def test_a_balanced_batch_has_one_dice(trainer_factory, drawings_dataset):
    trainer = ready(trainer_factory(nnUNetTrainerRefineSegBalanced, drawings_dataset, "2d", num_epochs=10))
    with_ben, without_ben, full = (batch_of(trainer, case) for case in cases_by_kind(trainer))
    both = joined([with_ben, without_ben])
    batch = trainer._to_device(both)
    u = trainer.network(batch.data).softmax(1)
    expected = positive_loss(u, batch.maps[:, 0], batch_dice=True, cross_entropy_per_class=True).mean().item()
    assert terms_of(trainer, both)["positive anna"].item() == pytest.approx(expected, rel=1e-5)
    # A fully annotated sample that somebody also drew on stays out of it.
    full["target"][:, 1:4] = with_ben["target"][:, 1:4]
    assert terms_of(trainer, joined([with_ben, full]))["positive anna"].item() == pytest.approx(
        terms_of(trainer, with_ben)["positive anna"].item() / 2, rel=1e-5
    )


@pytest.mark.parametrize("base", [nnUNetTrainerRefineSeg, nnUNetTrainerRefineSegDeepSupervision])
def test_a_sample_contributes_the_same_in_any_batch(trainer_factory, drawings_dataset, base):
    trainer = ready(trainer_factory(base, drawings_dataset, "2d"))
    parts = [batch_of(trainer, case) for case in cases_by_kind(trainer)]
    together = terms_of(trainer, joined(parts))
    alone = [terms_of(trainer, part) for part in parts]
    for name, value in together.items():
        assert value.item() == pytest.approx(sum(terms[name].item() for terms in alone) / 3, rel=1e-4, abs=1e-6)
    assert alone[2][FULL_TERM] > 0 and all(alone[2][name] == 0 for name in alone[2] if name != FULL_TERM)


def test_ablations_change_what_they_say(trainer_factory, drawings_dataset):
    def make(base):
        return ready(trainer_factory(base, drawings_dataset, "2d", num_epochs=10), epoch=0)

    case = cases_by_kind(make(nnUNetTrainerRefineSeg))[0]
    no_warmup, identity = make(nnUNetTrainerRefineSegNoWarmup), make(nnUNetTrainerRefineSegNoTransitionMatrices)
    assert terms_of(no_warmup, batch_of(no_warmup, case))["regulariser"] > 0
    identity.current_epoch = 9
    assert terms_of(identity, batch_of(identity, case))["regulariser"] == 0
    no_regulariser, no_negatives = make(nnUNetTrainerRefineSegNoRegulariser), make(nnUNetTrainerRefineSegNoNegatives)
    no_regulariser.current_epoch = 9
    assert terms_of(no_regulariser, batch_of(no_regulariser, case))["regulariser"] == 0
    assert terms_of(no_negatives, batch_of(no_negatives, case))["negative anna_not"] == 0
    learned = make(nnUNetTrainerRefineSegLearnedComplementary)
    learned = [logits.requires_grad for logits in learned.network.auxiliary.heads.complementary_logits]
    assert learned == [name == "anna_not" for name in MAPS]
    assert isinstance(make(nnUNetTrainerRefineSegSGD).optimizer, torch.optim.SGD)
    optimizer = make(nnUNetTrainerRefineSeg).optimizer
    assert isinstance(optimizer, torch.optim.AdamW)
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (1e-3, 2e-5)


def test_the_head_lr_multiplier_lasts_the_schedule(trainer_factory, drawings_dataset):
    def rates(base, epoch):
        trainer = ready(trainer_factory(base, drawings_dataset, "2d", num_epochs=10), epoch=epoch)
        trainer.lr_scheduler.step(epoch)
        return trainer, [group["lr"] for group in trainer.optimizer.param_groups]

    for epoch in (0, 5):
        expected = 1e-3 * (1 - epoch / 10) ** 0.9
        assert rates(nnUNetTrainerRefineSeg, epoch)[1] == pytest.approx([expected, expected])
        assert rates(nnUNetTrainerRefineSegHeadLR20, epoch)[1] == pytest.approx([expected, 20 * expected])
    trainer, _ = rates(nnUNetTrainerRefineSegHeadLR20, 0)
    core, heads = ({id(one) for one in group["params"]} for group in trainer.optimizer.param_groups)
    assert heads == {id(one) for one in trainer.network.auxiliary.parameters() if one.requires_grad}
    assert core | heads == {id(one) for one in trainer.network.parameters() if one.requires_grad}


def test_missing_maps_are_made_when_training_starts(trainer_factory, drawings_dataset, workplace, monkeypatch):
    trainer = trainer_factory(nnUNetTrainerRefineSeg, drawings_dataset, "2d")
    maps = Path(trainer.preprocessed_dataset_folder) / "annotation_maps"
    before = {path: path.read_bytes() for path in sorted(maps.rglob("*.b2nd"))}
    shutil.rmtree(maps / "anna_not")
    trainer.get_tr_and_val_datasets()
    assert set(maps.rglob("*.b2nd")) == set(before)
    shutil.rmtree(maps / "anna_not")
    raw = workplace.root / "nnUNet_raw" / drawings_dataset / "annotationsTr"
    raw.rename(raw.with_name("away"))
    try:
        with pytest.raises(InvalidInputError, match="anna_not(.|\n)*nnunet_weak_preprocess_annotations"):
            trainer.get_tr_and_val_datasets()
    finally:
        raw.with_name("away").rename(raw)
    trainer.get_tr_and_val_datasets()


def test_without_maps_there_is_nothing_to_learn(trainer_factory, drawings_dataset, workplace):
    import json

    content = json.loads((workplace.preprocessed(drawings_dataset) / "dataset.json").read_text())
    bare = copy.deepcopy(content)
    bare["nnunet_weak"].pop("maps")
    for case in bare["nnunet_weak"]["cases"].values():
        case.pop("maps", None)
    raw = workplace.root / "nnUNet_raw" / drawings_dataset / "dataset.json"
    original = raw.read_text()
    raw.write_text(json.dumps(bare))
    try:
        trainer = trainer_factory(nnUNetTrainerRefineSeg, drawings_dataset, "2d", dataset_json=bare)
        with pytest.raises(InvalidInputError, match="no annotation maps(.|\n)*nnunet_weak_convert_drawings"):
            trainer.initialize()
    finally:
        raw.write_text(original)


def test_training_learns(trainer_factory, drawings_dataset):
    trainer = ready(trainer_factory(nnUNetTrainerRefineSeg, drawings_dataset, "2d"))
    batch = batch_of(trainer, cases_by_kind(trainer)[0])
    losses = [float(trainer.train_step(copy.deepcopy(batch))["loss"]) for _ in range(12)]
    assert np.isfinite(losses).all() and losses[-1] < 0.92 * losses[0]
