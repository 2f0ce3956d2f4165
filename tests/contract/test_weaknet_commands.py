"""Weak-Net by the real commands: from points to a model that any nnU-Net predicts with, at any threshold."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from conftest import plan

from nnunet_weak.dataset.annotations import WeakAnnotations
from nnunet_weak.trainers import nnUNetTrainerWeakNet, nnUNetTrainerWeakNetNoReconstruction
from nnunet_weak.training.composite import CompositeNetwork
from nnunet_weak.training.threshold import set_threshold, threshold_of

pytestmark = pytest.mark.training

DATASET, TRAINER = "Dataset531_BonePoints", "nnUNetTrainerWeakNet_tiny"
TRAINERS = '''
"""Trainers of a user."""
from nnunet_weak.trainers import nnUNetTrainerWeakNet
from tiny_trainers import Tiny


class nnUNetTrainerWeakNet_tiny(Tiny, nnUNetTrainerWeakNet):
    initial_lr = 3e-3


class nnUNetTrainerWeakNet_tiny_narrow(Tiny, nnUNetTrainerWeakNet):
    reconstruction_features = 0.5
'''
PREDICT = (
    "if __name__ == '__main__':\n"
    "    from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder as main\n    main()\n"
)


@pytest.fixture(scope="module")
def dataset(workplace) -> str:
    """Six cases of one class, two of them fully annotated."""
    (workplace.root / "trainers" / "tiny_weaknet_trainers.py").write_text(TRAINERS)
    phantoms, points = workplace.root / "phantoms", workplace.root / "points"
    workplace.run(
        f"nnunet_weak_simulate_points --references {phantoms}/labels --classes bone=1,2,3 -n 20 -o {points} -np 1"
    )
    references = workplace.root / "bone_references"
    references.mkdir()
    for path in sorted((phantoms / "labels").iterdir())[:2]:
        (references / path.name).write_bytes(path.read_bytes())
    workplace.run(
        f"nnunet_weak_convert_points --images {phantoms}/images --points {points} --classes bone=1,2,3 "
        f"--references {references} --channel-names zscore -d 531 -n BonePoints -np 1"
    )
    return plan(workplace, DATASET, "2d 3d_fullres")


@pytest.fixture(scope="module")
def model(workplace, dataset) -> Path:
    workplace.run(f"nnUNetv2_train 531 3d_fullres 0 -tr {TRAINER} -device cpu")
    return workplace.model(dataset, TRAINER)


@pytest.fixture(scope="module")
def inputs(workplace) -> Path:
    folder = workplace.root / "bone_imagesTs"
    folder.mkdir()
    for path in sorted((workplace.root / "phantoms" / "test" / "images").iterdir()):
        (folder / path.name.replace(".nii.gz", "_0000.nii.gz")).write_bytes(path.read_bytes())
    return folder


def predict(
    workplace, inputs: Path, model: Path, name: str, python: Path | None = None, options: str = "", **variables: str
) -> dict[str, bytes]:
    """With the package by nnU-Net's command, without by the path of the model folder."""
    output = workplace.root / name
    command = f"-i {inputs} -o {output} -f 0 -device cpu {options}"
    if python is None:
        workplace.run(f"nnUNetv2_predict {command} -d 531 -c 3d_fullres -tr {TRAINER} -npp 0 -nps 0")
    else:
        script = workplace.root / "predict_model.py"
        script.write_text(PREDICT)
        workplace.run(f"{python} {script} {command} -m {model} -npp 1 -nps 1", **variables)
    return {path.name: path.read_bytes() for path in sorted(output.glob("*.nii.gz"))}


def foreground(files: Path) -> int:
    return sum(int((sitk.GetArrayFromImage(sitk.ReadImage(str(path))) > 0).sum()) for path in files.glob("*.nii.gz"))


def test_the_data_set_holds_templates_and_what_a_person_looks_at(workplace, dataset):
    raw = workplace.root / "nnUNet_raw" / dataset
    annotations = WeakAnnotations.read(raw)
    assert len(annotations.fully_annotated_cases) == 2 and not annotations.maps
    rows = list(csv.DictReader((raw / "templates" / "objects.csv").open()))
    assert len(rows) == 6 and all(row["points"] == "20" for row in rows)
    assert {path.stem for path in (raw / "templates" / "previews").iterdir()} == set(annotations.cases)
    weak = sorted(set(annotations.cases) - set(annotations.fully_annotated_cases))
    for case in weak:
        template = sitk.GetArrayFromImage(sitk.ReadImage(str(raw / "labelsTr" / f"{case}.nii.gz")))
        true = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(workplace.root / "phantoms" / "labels" / f"{case}.nii.gz"))) > 0
        )
        assert 2 * (true & (template == 1)).sum() / (true.sum() + (template == 1).sum()) > 0.6


def test_templates_of_a_second_round_are_weighed_against_the_model(workplace, dataset, model):
    raw, phantoms = workplace.root / "nnUNet_raw", workplace.root / "phantoms"
    predict(workplace, raw / dataset / "imagesTr", model, "of_training", options="--save_probabilities")
    annotations = WeakAnnotations.read(raw / dataset)
    weak = sorted(set(annotations.cases) - set(annotations.fully_annotated_cases))
    templates, believed = {}, {}
    for case in weak:
        templates[case] = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(raw / dataset / "labelsTr" / f"{case}.nii.gz"))) == 1
        )
        path = workplace.root / "of_training" / f"{case}.npz"
        probability = np.load(path)["probabilities"][1]
        # So short a training is unsure of everything: of half of the template it shall be sure.
        believed[case] = probability > np.median(probability[templates[case]])
        sure = np.where(believed[case], 0.999, 0.001).astype(np.float32)
        np.savez_compressed(path, probabilities=np.stack([1 - sure, sure]))
    workplace.run(
        f"nnunet_weak_convert_points --images {phantoms}/images --points {workplace.root}/points --classes bone "
        f"--follow-prediction {workplace.root}/of_training --channel-names zscore -d 532 -n SecondRound -np 1"
    )
    for case, template in templates.items():
        path = raw / "Dataset532_SecondRound" / "labelsTr" / f"{case}.nii.gz"
        weighed = sitk.GetArrayFromImage(sitk.ReadImage(str(path))) == 1
        assert (weighed != template).any()
        assert believed[case][weighed & ~template].all() and not believed[case][template & ~weighed].any()


def test_threshold_without_the_package_and_undo(workplace, dataset, model, inputs, bare_python):
    checkpoint = model / "fold_0" / "checkpoint_final.pth"
    trained = torch.load(checkpoint, weights_only=False)
    assert trained["trainer_name"] == "nnUNetTrainer"
    assert not any("auxiliary" in name for name in trained["network_weights"])
    assert trained["nnunet_weak"]["auxiliary_weights"]
    before = predict(workplace, inputs, model, "at_half", options="--save_probabilities")
    probabilities = np.concatenate(
        [np.load(path)["probabilities"][1].ravel() for path in (workplace.root / "at_half").glob("*.npz")]
    )
    half = (probabilities > 0.5).mean()
    assert foreground(workplace.root / "at_half") == half * probabilities.size
    # so short a training may leave any probabilities: a threshold among them that moves a quarter of the voxels or more
    gamma = float(np.quantile(probabilities, 0.75 if half > 0.5 else 0.25))

    workplace.run(f"nnunet_weak_set_threshold -m {model} --gamma {gamma!r}")
    with_package = predict(workplace, inputs, model, "at_gamma")
    without = predict(workplace, inputs, model, "at_gamma_bare", bare_python, nnUNet_extTrainer="")
    assert without == with_package != before
    expected = (probabilities > gamma).mean()
    assert abs(expected - half) > 0.2
    assert foreground(workplace.root / "at_gamma") / probabilities.size == pytest.approx(expected, abs=0.01)

    workplace.run(f"nnunet_weak_set_threshold -m {model} --gamma 0.7")
    workplace.run(f"nnunet_weak_set_threshold -m {model} --undo")
    undone = torch.load(checkpoint, weights_only=False)
    assert undone["nnunet_weak"].keys() == trained["nnunet_weak"].keys()
    for name, value in trained["network_weights"].items():
        assert torch.equal(undone["network_weights"][name].view(torch.uint8), value.view(torch.uint8)), name


def test_calibration_on_fully_annotated_validation_cases(workplace, dataset, model):
    printed = workplace.run(f"nnunet_weak_set_threshold -m {model} --calibrate -device cpu")
    assert "Dice of 1 fully annotated validation cases" in printed and "<- best" in printed
    best = next(float(line.split()[0]) for line in printed.splitlines() if "<- best" in line)
    checkpoint = model / "fold_0" / "checkpoint_final.pth"
    assert threshold_of(torch.load(checkpoint, weights_only=False)) == best
    again = workplace.run(f"nnunet_weak_set_threshold -m {model} --calibrate -device cpu")
    assert again.splitlines()[-2].endswith(f"gamma {best:g} -> {best:g}"), "a threshold that is set does not count"
    workplace.run(f"nnunet_weak_set_threshold -m {model} --undo")


def test_threshold_command_refuses(workplace, model):
    assert "between 0 and 1" in workplace.run(f"nnunet_weak_set_threshold -m {model} --gamma 1.5", expect=2)
    assert "not a model folder" in workplace.run(f"nnunet_weak_set_threshold -m {model.parent} --undo", expect=2)
    assert "finish its training" in workplace.run(f"nnunet_weak_set_threshold -m {model} --undo -f 3", expect=2)


def test_2d_is_interrupted_and_continues(workplace, dataset, inputs):
    trainer = "nnUNetTrainerWeakNet_tiny_narrow"
    command = f"nnUNetv2_train 531 2d 1 -tr {trainer} -device cpu"
    workplace.run(command, expect=None, STOP_BEFORE_EPOCH="2")
    fold = workplace.model(dataset, trainer, "2d") / "fold_1"
    before = torch.load(fold / "checkpoint_latest.pth", weights_only=False)
    workplace.run(f"{command} --c")
    after = torch.load(fold / "checkpoint_final.pth", weights_only=False)
    assert (before["current_epoch"], after["current_epoch"]) == (2, 3)
    for key in ("train_losses", "train/cross-entropy", "train/reconstruction"):
        assert after["logging"][key][:2] == before["logging"][key][:2] and len(after["logging"][key]) == 3
    assert len(list((fold / "validation").glob("*.nii.gz"))) == 1


def random_batch(trainer, samples: int, seed: int = 0) -> dict:
    generator = torch.Generator().manual_seed(seed)
    cases = sorted(set(trainer.annotations.cases) - set(trainer.annotations.fully_annotated_cases))[:samples]
    size = trainer.configuration_manager.patch_size
    target = torch.randint(0, 2, (samples, 2, *size), generator=generator, dtype=torch.int16)
    target[:, -1] = 1
    target[:, -1, :4] = 0
    levels = [target[(..., *[slice(None, None, 2**level)] * len(size))] for level in range(9)]
    count = len(trainer._get_deep_supervision_scales()) if trainer.enable_deep_supervision else 1
    data = torch.randn(samples, 1, *size, generator=generator)
    return {"data": data, "target": levels[:count] if trainer.enable_deep_supervision else target, "keys": cases}


class WeakNetDeepSupervision(nnUNetTrainerWeakNet):
    enable_deep_supervision = True


@pytest.mark.parametrize("base", [nnUNetTrainerWeakNet, nnUNetTrainerWeakNetNoReconstruction, WeakNetDeepSupervision])
@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_terms_of_a_sample_do_not_depend_on_the_batch(trainer_factory, dataset, base, configuration):
    trainer = trainer_factory(base, dataset, configuration)
    torch.manual_seed(0)
    trainer.initialize()
    assert isinstance(trainer.network, CompositeNetwork) == (base is not nnUNetTrainerWeakNetNoReconstruction)
    whole = random_batch(trainer, 2)
    parts = [
        {
            "data": whole["data"][[index]],
            "target": [level[[index]] for level in whole["target"]]
            if isinstance(whole["target"], list)
            else whole["target"][[index]],
            "keys": whole["keys"][index : index + 1],
        }
        for index in range(2)
    ]
    together, *alone = (
        trainer.compute_loss(trainer.prepare_batch(trainer._to_device(batch), training=False))[0]
        for batch in (whole, *parts)
    )
    for name, value in together.items():
        assert value.item() == pytest.approx(sum(terms[name].item() for terms in alone) / 2, rel=1e-4)
    torch.stack(list(together.values())).sum().backward()
    assert all(p.grad is not None for p in trainer.network.parameters() if p.requires_grad), "DDP wants every parameter"


def test_a_threshold_is_no_part_of_a_continued_training(trainer_factory, dataset, tmp_path):
    trainer = trainer_factory(nnUNetTrainerWeakNet, dataset)
    trainer.initialize()
    path = tmp_path / "checkpoint_latest.pth"
    trainer.save_checkpoint(str(path))
    trained = trainer.network.decoder.seg_layers[-1].bias.detach().clone()
    set_threshold(path, 0.3)
    second = trainer_factory(nnUNetTrainerWeakNet, dataset)
    second.load_checkpoint(str(path))
    assert torch.equal(second.network.decoder.seg_layers[-1].bias, trained)
    assert second._loaded_gamma == 0.3
    second.on_train_start()
    assert second._loaded_gamma is None


def test_gamma_of_a_trainer_goes_into_the_finished_checkpoint(trainer_factory, dataset, monkeypatch, tmp_path):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    trainer = trainer_factory(nnUNetTrainerWeakNet, dataset, gamma=0.3)
    trainer.initialize()
    trainer.output_folder = str(tmp_path)
    trainer.on_train_end()
    assert threshold_of(torch.load(tmp_path / "checkpoint_final.pth", weights_only=False)) == 0.3
    bias = trainer.network.decoder.seg_layers[-1].bias
    trained, seen = bias.detach().clone(), []
    monkeypatch.setattr(nnUNetTrainer, "perform_actual_validation", lambda *_: seen.append(bias.detach().clone()))
    trainer.perform_actual_validation()
    assert seen[0][1] > trained[1] and seen[0][0] == trained[0], "validated at the threshold"
    assert torch.equal(bias, trained)
