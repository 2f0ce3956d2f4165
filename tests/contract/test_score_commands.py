"""The real commands from end to end: what a user types, and what a hospital without this package gets."""

from __future__ import annotations

import json
import math
import shutil
import struct
from pathlib import Path

import pytest
import torch

QUALITY = 2.71828  # as in conftest: no other number of a training looks like this one

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def inputs(workplace, trained) -> Path:
    folder = workplace.root / "imagesTs"
    phantoms = workplace.root / "phantoms" / "test"
    workplace.run(
        f"nnunet_weak_prepare_inputs -i {phantoms}/images --masks {phantoms}/initial_masks -m {trained} "
        f"-o {folder} -np 1"
    )
    return folder


@pytest.fixture(scope="module")
def prediction(workplace, inputs) -> dict[str, bytes]:
    return predict(workplace, "with_package", "-d 511 -c 3d_fullres -tr nnUNetTrainerSCORE_tiny")


def predict(workplace, name: str, model: str, python: Path | None = None, **variables: str) -> dict[str, bytes]:
    output = workplace.root / name
    command = f"-i {workplace.root / 'imagesTs'} -o {output} {model} -f 0 -device cpu -npp 0 -nps 0"
    if python is None:
        workplace.run(f"nnUNetv2_predict {command}")
    else:
        code = "from nnunetv2.inference.predict_from_raw_data import predict_entry_point as main; main()"
        script = workplace.root / "predict_stock.py"
        script.write_text(f"if __name__ == '__main__':\n    {code}\n")
        workplace.run(f"{python} {script} {command}", **variables)
    return {path.name: path.read_bytes() for path in sorted(output.glob("*.nii.gz"))}


def test_the_bare_environment_lacks_the_package(workplace, bare_python):
    output = workplace.run(f'{bare_python} -c "import nnunetv2; import nnunet_weak"', expect=1)
    assert "No module named 'nnunet_weak'" in output


def test_prediction_without_the_package_is_byte_equal(workplace, trained, prediction, bare_python):
    """By the path of the model folder, as the folder's name holds our trainer's, which stock does not know."""
    script = workplace.root / "predict_folder.py"
    script.write_text(
        "if __name__ == '__main__':\n"
        "    from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder as main\n    main()\n"
    )
    output = workplace.root / "without_package"
    workplace.run(
        f"{bare_python} {script} -i {workplace.root / 'imagesTs'} -o {output} -m {trained} -f 0 -device cpu "
        "-npp 1 -nps 1",
        nnUNet_extTrainer="",
    )
    assert len(prediction) == 2
    assert {path.name: path.read_bytes() for path in sorted(output.glob("*.nii.gz"))} == prediction


def test_exported_and_installed_elsewhere(workplace, trained, prediction, bare_python, tmp_path):
    archive = tmp_path / "model.zip"
    workplace.run(f"nnUNetv2_export_model_to_zip -d 511 -c 3d_fullres -tr nnUNetTrainerSCORE_tiny -f 0 -o {archive}")
    elsewhere = tmp_path / "results"
    elsewhere.mkdir()
    script = tmp_path / "install.py"
    script.write_text(
        "from nnunetv2.model_sharing.model_import import install_model_from_zip_file as install\n"
        f"install({str(archive)!r})\n"
    )
    workplace.run(f"{bare_python} {script}", nnUNet_results=str(elsewhere), nnUNet_extTrainer="")
    variables = {"nnUNet_results": str(elsewhere), "nnUNet_extTrainer": ""}
    result = predict(
        workplace, "installed", "-d 511 -c 3d_fullres -tr nnUNetTrainerSCORE_tiny", bare_python, **variables
    )
    assert result == prediction

    quality = struct.pack(">d", QUALITY), struct.pack("<d", QUALITY), struct.pack("<f", QUALITY), str(QUALITY).encode()
    files = [path for path in elsewhere.rglob("*") if path.is_file()]
    assert any(path.name == "checkpoint_final.pth" for path in files)
    leaks = [path.name for path in files if any(pattern in path.read_bytes() for pattern in quality)]
    assert leaks == [], "scores of patients in what leaves the hospital"
    source = workplace.preprocessed("Dataset511_Bones") / "dataset.json"
    assert str(QUALITY) in source.read_text(), "the scores were there to leak"


def test_checkpoint_is_stock_outside_and_ours_inside(trained):
    checkpoint = torch.load(trained / "fold_0" / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["trainer_name"] == "nnUNetTrainer"
    assert checkpoint["nnunet_weak"]["trainer"] == "nnUNetTrainerSCORE_tiny"
    assert "cases" not in checkpoint["init_args"]["dataset_json"]["nnunet_weak"]
    assert plain(checkpoint["nnunet_weak"]), (
        "a class of ours in the checkpoint would break prediction without the package"
    )


def plain(value) -> bool:
    if isinstance(value, dict):
        return all(plain(key) and plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(plain(item) for item in value)
    return value is None or isinstance(value, (str, int, float, torch.Tensor))


def test_loss_terms_are_logged_and_drawn(trained):
    fold = trained / "fold_0"
    assert (fold / "progress_loss_terms.png").stat().st_size > 5000
    curves = torch.load(fold / "checkpoint_final.pth", weights_only=False)["logging"]
    terms = {key for key in curves if "/" in key}
    assert terms == {
        f"{part}/{name}" for part in ("train", "val") for name in ("stability", "expansion", "subtraction")
    }
    for epoch in range(3):
        total = sum(curves[f"train/{name}"][epoch] for name in ("stability", "expansion", "subtraction"))
        assert math.isclose(total, curves["train_losses"][epoch], rel_tol=1e-4)
    log = "".join(path.read_text() for path in fold.glob("training_log*"))
    assert "New best weak loss" in log and "lowest weak loss" in log
    assert "Yayy" not in log, "agreement with the weak labels must not select"


def test_interrupted_training_in_2d_continues_and_predicts(workplace, score_dataset, inputs):
    trainer = "nnUNetTrainerSCOREPlus_tiny"
    command = f"nnUNetv2_train 511 2d 1 -tr {trainer} -device cpu"
    workplace.run(command, expect=None, STOP_BEFORE_EPOCH="2")
    fold = workplace.model(score_dataset, trainer, "2d") / "fold_1"
    before = torch.load(fold / "checkpoint_latest.pth", weights_only=False)
    assert not [path for path in fold.iterdir() if "partial" in path.name]
    workplace.run(f"{command} --c")
    after = torch.load(fold / "checkpoint_final.pth", weights_only=False)
    assert (before["current_epoch"], after["current_epoch"]) == (2, 3)
    for key in ("train_losses", "val_losses", "train/stock loss"):
        assert after["logging"][key][:2] == before["logging"][key][:2]
        assert len(after["logging"][key]) == 3
    output = workplace.root / "predicted_2d"
    workplace.run(f"nnUNetv2_predict -i {inputs} -o {output} -d 511 -c 2d -f 1 -tr {trainer} -device cpu -npp 0 -nps 0")
    assert len(list(output.glob("*.nii.gz"))) == 2


def test_stock_continuation_of_our_checkpoint_is_refused_and_the_other_way_round(workplace, score_dataset, trained):
    stock = workplace.model(score_dataset, "nnUNetTrainerStock_tiny") / "fold_0"
    stock.mkdir(parents=True)
    shutil.copyfile(trained / "fold_0" / "checkpoint_final.pth", stock / "checkpoint_latest.pth")
    output = workplace.run("nnUNetv2_train 511 3d_fullres 0 -tr nnUNetTrainerStock_tiny -device cpu --c", expect=1)
    assert "different number of parameter groups" in output

    ours = workplace.model(score_dataset, "nnUNetTrainerSCORE_tiny") / "fold_2"
    ours.mkdir(parents=True)
    checkpoint = torch.load(trained / "fold_0" / "checkpoint_final.pth", weights_only=False)
    del checkpoint["nnunet_weak"]
    torch.save(checkpoint, ours / "checkpoint_latest.pth")
    output = workplace.run("nnUNetv2_train 511 3d_fullres 2 -tr nnUNetTrainerSCORE_tiny -device cpu --c", expect=1)
    assert "written by nnUNetTrainer, not by nnUNetTrainerSCORE_tiny" in output and "-pretrained_weights" in output


def test_pretrained_weights_of_a_stock_checkpoint(workplace, score_dataset, trained):
    """From a network with one input channel to one with five."""
    checkpoint = torch.load(trained / "fold_0" / "checkpoint_final.pth", weights_only=False)
    narrow = {
        key: value[:, :1] if value.ndim == 5 and value.shape[1] == 5 else value
        for key, value in checkpoint["network_weights"].items()
    }
    torch.save({**checkpoint, "network_weights": narrow}, workplace.root / "narrow.pth")
    command = "nnUNetv2_train 511 3d_fullres 3 -tr nnUNetTrainerSCORE_tiny -device cpu -pretrained_weights"
    assert "shape" in workplace.run(f"{command} narrow.pth", expect=1)
    workplace.run("nnunet_weak_add_input_channels -chk narrow.pth -d 511 -c 3d_fullres -o wide.pth")
    output = workplace.run(f"{command} wide.pth")
    assert "Loading pretrained weights" in output and "Training done" in output


def test_evaluation_of_the_prediction(workplace, score_dataset, prediction):
    phantoms = workplace.root / "phantoms" / "test"
    output = workplace.root / "evaluation"
    labels = workplace.root / "nnUNet_raw" / score_dataset / "dataset.json"
    printed = workplace.run(
        f"nnunet_weak_evaluate {workplace.root / 'with_package'} {phantoms}/labels "
        f"--baseline initial={phantoms}/initial_masks --labels {labels} --output {output} -np 1"
    )
    assert "proximal" in printed and "initial" in printed
    assert json.loads((output / "evaluation.json").read_text())
