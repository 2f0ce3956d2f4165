"""A checkpoint is read without running what it may hold; what cannot be read says why."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from nnunet_weak.cli.add_input_channels import main as add_input_channels
from nnunet_weak.cli.report_annotators import main as report_annotators
from nnunet_weak.cli.set_threshold import main as set_threshold_command
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.training.calibration import calibrate
from nnunet_weak.training.checkpoints import KEY, read_checkpoint, read_own_entries, write_checkpoint
from nnunet_weak.training.threshold import set_threshold

STOCK = {
    "network_weights": {"decoder.seg_layers.0.bias": torch.tensor([0.5, -0.5])},
    "optimizer_state": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
    "logging": {"train_losses": [np.float32(1.5), np.float64(2.5)], "dice": [[np.float16(0.5), np.int64(1)]]},
    "_best_ema": np.float32(0.25),
    "current_epoch": 3,
    "init_args": {"plans": {"dataset_name": "Dataset001_X"}, "device": torch.device("cpu")},
    "trainer_name": "nnUNetTrainer",
    "inference_allowed_mirroring_axes": (0, 1),
}


class Payload:
    """Makes a folder when it is unpickled: in its place could be any program."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def malicious(folder: Path, name: str = "checkpoint_final.pth", legacy: bool = False) -> tuple[Path, Path]:
    """A checkpoint with a program in it, and the folder that shows that it ran."""
    ran = folder / "it_ran"
    folder.mkdir(parents=True, exist_ok=True)
    content = {**STOCK, "logging": Payload(ran)}
    torch.save(content, folder / name, _use_new_zipfile_serialization=not legacy)
    return folder / name, ran


def test_what_nnunet_writes_is_read_as_it_is(tmp_path):
    write_checkpoint(STOCK, tmp_path / "a.pth")
    read = read_checkpoint(tmp_path / "a.pth")
    assert (
        read.keys() == STOCK.keys() and read["logging"] == STOCK["logging"] and read["init_args"] == STOCK["init_args"]
    )
    assert type(read["logging"]["train_losses"][0]) is np.float32 and read["_best_ema"] == np.float32(0.25)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_numbers_as_numpy_1_named_them(tmp_path):
    write_checkpoint(STOCK, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as old, zipfile.ZipFile(tmp_path / "b.pth", "w") as new:
        for entry in old.namelist():
            content = old.read(entry)
            new.writestr(entry, content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    assert b"cnumpy.core.multiarray" in (tmp_path / "b.pth").read_bytes()
    assert read_checkpoint(tmp_path / "b.pth")["logging"] == STOCK["logging"]


@pytest.mark.parametrize("legacy", [False, True])
def test_a_program_in_a_checkpoint_does_not_run(tmp_path, legacy):
    path, ran = malicious(tmp_path, legacy=legacy)
    before = path.read_bytes()
    for read in (read_checkpoint, lambda path: set_threshold(path, 0.4)):
        with pytest.raises(InvalidInputError, match=r"checkpoint_final.pth: holds \w+\.mkdir, which could.*--trust"):
            read(path)
    assert not ran.exists() and path.read_bytes() == before
    assert read_checkpoint(path, trust=True)["current_epoch"] == 3 and ran.exists()


def model_folder(folder: Path) -> Path:
    """A model folder of nnU-Net and its preprocessed data, as far as they are read before a checkpoint is."""
    cases = {"a": {"fully_annotated": True}}
    block = {"schema_version": 1, "method": "refineseg", "channels": {"images": 1}, "cases": cases}
    content = {"labels": {"background": 0, "a": 1}, "channel_names": {"0": "MRI"}, KEY: block}
    for place in (folder / "model", folder / "nnUNet_preprocessed" / "Dataset001_X"):
        place.mkdir(parents=True)
        (place / "dataset.json").write_text(json.dumps(content))
    (folder / "model" / "plans.json").write_text(json.dumps({"dataset_name": "Dataset001_X"}))
    splits = [{"train": ["a"], "val": ["a"]}]
    (folder / "nnUNet_preprocessed" / "Dataset001_X" / "splits_final.json").write_text(json.dumps(splits))
    return folder / "model"


@pytest.mark.parametrize(
    "command",
    [
        lambda model: set_threshold_command(["-m", str(model), "--gamma", "0.4"]),
        lambda model: set_threshold_command(["-m", str(model), "--calibrate", "-device", "cpu"]),
        lambda model: report_annotators(["-m", str(model), "-device", "cpu"]),
        lambda model: add_input_channels(
            ["-chk", f"{model}/fold_0/checkpoint_final.pth", "-d", "1", "-c", "2d", "-o", f"{model}/wide.pth"]
        ),
    ],
    ids=["set_threshold", "calibrate", "report_annotators", "add_input_channels"],
)
def test_no_command_runs_it(nnunet_folders, capsys, command):
    model = model_folder(nnunet_folders)
    path, ran = malicious(model / "fold_0")
    before = path.read_bytes()
    assert command(model) == 2
    assert "--trust" in capsys.readouterr().err
    assert not ran.exists() and path.read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name]


@pytest.mark.parametrize("options", [[], ["--undo", "--calibrate"], ["--gamma", "0.5", "--undo"]])
def test_one_thing_is_done_to_a_threshold(capsys, options):
    assert set_threshold_command(["-m", "model", *options]) == 2
    assert "one of --gamma, --calibrate and --undo" in capsys.readouterr().err


def test_calibration_reads_before_nnunet_does(nnunet_folders):
    model = model_folder(nnunet_folders)
    _, ran = malicious(model / "fold_0")
    with pytest.raises(InvalidInputError, match="--trust"):
        calibrate(model, ["0"], nnunet_folders / "nnUNet_preprocessed" / "Dataset001_X", torch.device("cpu"))
    assert not ran.exists()


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged"),
        (b"half a file", "damaged"),
        (None, "no such file"),
        ("cut off", "damaged"),
        ({"state_dict": {}}, "no checkpoint of nnU-Net v2"),
        ([1, 2], "no checkpoint of nnU-Net v2"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path, content, message, trust):
    path = tmp_path / "a.pth"
    if content == "cut off":
        torch.save(STOCK, path)
        path.write_bytes(path.read_bytes()[:-200])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InvalidInputError, match=f"a.pth: .*{message}.*remedy"):
        read_checkpoint(path, trust=trust)


def test_only_its_own_trainer_continues_a_checkpoint(tmp_path):
    path = tmp_path / "a.pth"
    write_checkpoint({**STOCK, KEY: {"threshold": {"gamma": 0.4}}}, path)
    with pytest.raises(InvalidInputError, match="written by nnUNetTrainer, not by Ours(.|\n)*without --c"):
        read_own_entries(path, "Ours")
    write_checkpoint({**STOCK, KEY: {"trainer": "Theirs"}}, path)
    with pytest.raises(InvalidInputError, match="written by Theirs, not by Ours"):
        read_own_entries(path, "Ours")
    assert read_own_entries(path, "Theirs") == {"trainer": "Theirs"}
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InvalidInputError, match="damaged"):
        read_own_entries(path, "Theirs")


def test_an_interrupted_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    write_checkpoint(STOCK, path)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint({**STOCK, "current_epoch": 4}, path)
    assert read_checkpoint(path)["current_epoch"] == 3
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]
