"""RefineSeg's commands from end to end: interrupted and continued training, prediction with and without the package."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.training
TRAINER = "nnUNetTrainerRefineSeg_tiny"
DRAWINGS = {"positive anna", "negative anna_not", "positive ben", "positive random_walker"}
TERMS = DRAWINGS | {"regulariser", "full supervision"}


@pytest.fixture(scope="module")
def interrupted(workplace, drawings_dataset) -> tuple[Path, dict]:
    """Fold of a 2d training that was stopped after two epochs and continued, and its checkpoint in between."""
    command = f"nnUNetv2_train 521 2d 0 -tr {TRAINER} -device cpu"
    printed = workplace.run(command, expect=None, STOP_BEFORE_EPOCH="2", nnUNet_n_proc_DA="1")
    traceback = printed.partition("Traceback")[2]
    assert "KeyboardInterrupt" in traceback and "batchgenerators" not in traceback, "the data loaders end in silence"
    fold = workplace.model(drawings_dataset, TRAINER, "2d") / "fold_0"
    between = torch.load(fold / "checkpoint_latest.pth", weights_only=False)
    workplace.run(f"{command} --c", nnUNet_n_proc_DA="1")
    return fold, between


def test_continued_training_goes_on_where_it_stopped(interrupted):
    fold, before = interrupted
    after = torch.load(fold / "checkpoint_final.pth", weights_only=False)
    assert (before["current_epoch"], after["current_epoch"]) == (2, 3)
    assert {f"{part}/{name}" for part in ("train", "val") for name in TERMS} <= set(after["logging"])
    for key in ("train_losses", "val_losses", "train/positive ben"):
        assert after["logging"][key][:2] == before["logging"][key][:2] and len(after["logging"][key]) == 3
    # Two epochs of warm-up (half of three, rounded up), then the transition matrices are learned.
    *warmup, learned = after["logging"]["train/regulariser"]
    assert warmup == [0, 0] and learned > 0
    assert not [path for path in fold.iterdir() if "partial" in path.name]


def test_checkpoint_is_stock_outside_and_ours_inside(interrupted):
    checkpoint = torch.load(interrupted[0] / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["trainer_name"] == "nnUNetTrainer" and checkpoint["nnunet_weak"]["trainer"] == TRAINER
    assert not any("auxiliary" in key or "heads" in key for key in checkpoint["network_weights"])
    assert any("heads" in key for key in checkpoint["nnunet_weak"]["auxiliary_weights"])
    assert checkpoint["nnunet_weak"]["annotation_heads"] == {
        "strategies": ["anna", "anna_not", "ben", "random_walker"],
        "per_image": False,
    }


def test_prediction_without_the_package_is_byte_equal(workplace, interrupted, bare_python):
    inputs = workplace.root / "imagesTs_drawings"
    inputs.mkdir()
    for path in (workplace.root / "phantoms" / "test" / "images").glob("*.nii.gz"):
        shutil.copyfile(path, inputs / path.name.replace(".nii.gz", "_0000.nii.gz"))
    rest = "-f 0 -device cpu"
    ours, bare = workplace.root / "drawings_ours", workplace.root / "drawings_bare"
    workplace.run(f"nnUNetv2_predict -i {inputs} -o {ours} -d 521 -c 2d -tr {TRAINER} {rest} -npp 0 -nps 0")
    script = workplace.root / "predict_model_folder.py"
    script.write_text(
        "if __name__ == '__main__':\n"
        "    from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder as main\n    main()\n"
    )
    model = interrupted[0].parent
    workplace.run(f"{bare_python} {script} -i {inputs} -o {bare} -m {model} {rest} -npp 1 -nps 1", nnUNet_extTrainer="")
    predictions = sorted(ours.glob("*.nii.gz"))
    assert len(predictions) == 2
    for path in predictions:
        assert path.read_bytes() == (bare / path.name).read_bytes()


def test_annotators_are_reported(workplace, interrupted):
    fold = interrupted[0]
    printed = workplace.run(f"nnunet_weak_report_annotators -m {fold.parent} -f 0 -device cpu")
    assert "anna_not (negative)" in printed and "agreement" in printed
    record = json.loads((fold / "annotators.json").read_text())
    assert record["labels"] == ["background", "proximal", "shaft", "distal"]
    for name, found in record["maps"].items():
        learned = np.array(found["learned"], float)
        np.testing.assert_allclose(np.nansum(learned, 0)[~np.isnan(learned).any(0)], 1, atol=1e-4)
        assert (found["agreement"] is None) == (name in ("anna_not", "random_walker"))
    # Heads start at a diagonal of 0.9 and have learned for a few steps only.
    background = np.array(record["maps"]["anna"]["learned"], float)[:, 0]
    assert 0.8 < background[0] < 1
    agreement = np.array(record["maps"]["anna"]["agreement"], float)
    assert (np.diag(agreement) > 0.9).all(), "simulated annotators are mostly right"
    assert (fold / "annotators.png").stat().st_size > 5000


def test_the_stock_trainer_learns_from_the_same_data(workplace, drawings_dataset):
    output = workplace.run("nnUNetv2_train 521 2d 1 -tr nnUNetTrainerStock_tiny -device cpu")
    assert "Training done" in output
