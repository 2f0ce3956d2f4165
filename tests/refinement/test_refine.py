"""`nnunet_weak_refine` against the two commands that it stands for, with a tiny trained model."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak.cli.refine import main
from nnunet_weak.refinement import cases as pipeline_module
from nnunet_weak.refinement import refine as module

pytestmark = pytest.mark.training
CASES = 3


@pytest.fixture(scope="module")
def two_commands(workplace, trained) -> dict[str, bytes]:
    """Masks by nnunet_weak_prepare_inputs and nnUNetv2_predict."""
    phantoms = workplace.root / "phantoms"
    workplace.run(
        f"nnunet_weak_prepare_inputs -i {phantoms}/images --masks {phantoms}/initial_masks -m {trained} "
        "-o channels_for_refine -np 1"
    )
    workplace.run(
        "nnUNetv2_predict -i channels_for_refine -o by_two_commands -d 511 -c 3d_fullres -tr nnUNetTrainerSCORE_tiny "
        "-f 0 -device cpu -npp 0 -nps 0"
    )
    return dict(list(masks_in(workplace.root / "by_two_commands").items())[:CASES])


def masks_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.nii.gz"))}


@pytest.fixture
def refine(workplace, trained, tmp_path, monkeypatch):
    """Runs the command in this process; images and masks are a copy that may be spoilt."""
    for kind in ("images", "initial_masks"):
        (tmp_path / kind).mkdir()
        for path in sorted((workplace.root / "phantoms" / kind).iterdir())[:CASES]:
            shutil.copyfile(path, tmp_path / kind / path.name)
    monkeypatch.chdir(tmp_path)

    def run(*further: str) -> int:
        arguments = ["-i", "images", "--masks", "initial_masks", "-m", str(trained), "-f", "0", "-o", "refined"]
        return main([*arguments, "-device", "cpu", *further])

    return run


FAST = "--disable_tta"
AS_STOCK = ("--allow-new-regions", "--no-fall-back")


def table(path: str = "refined/refinement.csv") -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_bytes_of_the_two_commands(refine, two_commands):
    assert refine(*AS_STOCK) == 0
    assert len(two_commands) == CASES
    assert masks_in(Path("refined")) == two_commands
    assert {path.name for path in Path("refined").iterdir()} == {
        *two_commands,
        *("refinement", "refinement.csv", "dataset.json", "plans.json"),
    }
    assert not [path for path in Path("refined").rglob(".*")]
    rows = table()
    assert [row["case"] for row in rows] == sorted(row["case"] for row in rows) and len(rows) == 3 * CASES
    labels = {"proximal": 1, "shaft": 2, "distal": 3}
    for row in rows:
        initial, refined = (
            (sitk.GetArrayFromImage(sitk.ReadImage(f"{folder}/{row['case']}.nii.gz")) == labels[row["region"]]).any()
            for folder in ("initial_masks", "refined")
        )
        assert row["outcome"] == ("added" if refined and not initial else "refined")


def test_preparing_ahead_changes_nothing(refine, two_commands, monkeypatch):
    """As on a GPU: with a thread that prepares the next case, and one that writes the last."""
    pipeline = pipeline_module.run_pipeline
    monkeypatch.setattr(pipeline_module, "run_pipeline", lambda *steps, overlapping: pipeline(*steps, overlapping=True))
    assert refine(*AS_STOCK) == 0
    assert masks_in(Path("refined")) == two_commands


def test_parts_interrupted_and_continued_equal_one_run(refine, two_commands, monkeypatch, capsys):
    assert refine(*AS_STOCK, "-num_parts", "2", "-part_id", "1") == 0
    assert refine(*AS_STOCK, "-num_parts", "2", "--merge") == 2
    assert capsys.readouterr().err.count("is not refined yet") == 2
    finish, calls = module._finish, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return finish(*arguments)

    first = (*AS_STOCK, "-num_parts", "2", "-part_id", "0", "--continue_prediction")
    with monkeypatch.context() as patched:
        patched.setattr(module, "_finish", interrupted)
        assert refine(*first) == 130
    assert len(masks_in(Path("refined"))) == 2
    capsys.readouterr()
    assert refine(*first) == 0
    assert "1 cases refined in refined, 0 kept their initial mask, 1 were complete" in capsys.readouterr().out
    assert refine(*AS_STOCK, "-num_parts", "2", "--merge") == 0
    assert masks_in(Path("refined")) == two_commands
    merged = Path("refined/refinement.csv").read_bytes()
    assert refine(*AS_STOCK, "-o", "whole") == 0
    assert Path("whole/refinement.csv").read_bytes() == merged


def test_a_case_is_made_again_only_if_something_has_changed(refine, caplog, capsys):
    assert refine(FAST) == 0
    path = sorted(Path("initial_masks").iterdir())[0]
    mask = sitk.ReadImage(str(path))
    sitk.WriteImage(sitk.BinaryErode(mask, (1, 0, 0), foregroundValue=2), str(path))
    capsys.readouterr()
    assert refine(FAST, "--continue_prediction") == 0
    assert "2 were complete before" in capsys.readouterr().out
    assert f"{path.name} has changed" in caplog.text
    assert refine("--continue_prediction") == 0
    assert "0 were complete before" in capsys.readouterr().out


def test_empty_regions_stay_empty(refine):
    """The tiny network knows no region well: where shaft is taken from the mask, it draws some of it."""
    for path in Path("initial_masks").iterdir():
        mask = sitk.ReadImage(str(path))
        sitk.WriteImage(sitk.Mask(mask, mask != 2), str(path))
    assert refine(FAST, "-o", "new", *AS_STOCK) == 0
    assert refine(FAST, "--no-fall-back") == 0
    rows = {row["case"]: row for row in table() if row["region"] == "shaft"}
    invented = 0
    for name in masks_in(Path("new")):
        accepted, kept = (sitk.GetArrayFromImage(sitk.ReadImage(f"{folder}/{name}")) for folder in ("new", "refined"))
        row = rows[name.removesuffix(".nii.gz")]
        given = sitk.GetArrayFromImage(sitk.ReadImage(f"initial_masks/{name}"))
        new = ~np.isin(accepted, np.unique(given))
        assert not (kept == 2).any()
        assert np.array_equal(kept[~new], accepted[~new]) and np.array_equal(kept[new], given[new])
        invented += (accepted == 2).any()
        assert (row["outcome"] == "kept empty") == (accepted == 2).any()
    assert invented > 0, "nothing was tested"
    first = next(case for case, row in rows.items() if row["outcome"] == "kept empty")
    missing = "".join(f"{first},{region},0,missing\n" for region in ("proximal", "shaft", "distal"))
    Path("scores.csv").write_text(f"case,region,quality,error\n{missing}")
    assert refine(FAST, "--no-fall-back", "--scores", "scores.csv", "--continue_prediction") == 0
    again = {row["case"]: row for row in table() if row["region"] == "shaft"}
    assert (
        again[first]["outcome"] == "added"
        and masks_in(Path("refined"))[f"{first}.nii.gz"] == masks_in(Path("new"))[f"{first}.nii.gz"]
    )
    assert all(again[case] == rows[case] for case in rows if case != first)


def test_an_implausible_refinement_falls_back_to_the_initial_mask(refine, capsys):
    assert refine(FAST, "--moved-share", "0.0001", "--volume-factor", "1e9", "--allow-new-regions") == 0
    assert "the initial mask is kept" in capsys.readouterr().out
    rows = table()
    assert {row["outcome"] for row in rows} <= {"initial mask kept", "refined"}
    kept = {row["case"] for row in rows if row["outcome"] == "initial mask kept"}
    assert kept and all(
        "of its" in row["reason"] or "times its" in row["reason"] for row in rows if row["case"] in kept
    )
    for case in kept:
        written, given = (sitk.ReadImage(f"{folder}/{case}.nii.gz") for folder in ("refined", "initial_masks"))
        assert np.array_equal(sitk.GetArrayFromImage(written), sitk.GetArrayFromImage(given))
        assert written.GetSpacing() == given.GetSpacing() and written.GetOrigin() == given.GetOrigin()


def test_a_bad_case_does_not_stop_the_others(refine, capsys):
    path = sorted(Path("initial_masks").iterdir())[2]
    sitk.WriteImage(sitk.ReadImage(str(path))[1:], str(path))
    assert refine(FAST) == 2
    error = capsys.readouterr().err
    assert path.name in error and "not on the image's grid" in error and "2 cases were written" in error
    assert len(masks_in(Path("refined"))) == CASES - 1


def test_files_of_other_origin_are_not_replaced(refine, capsys):
    Path("refined").mkdir()
    name = sorted(path.name for path in Path("images").iterdir())[0]
    Path("refined", name).write_bytes(b"precious")
    assert refine() == 2
    assert "no record in refinement/ says that this command made it" in capsys.readouterr().err
    assert Path("refined", name).read_bytes() == b"precious"
    assert refine(FAST, "--overwrite", "--continue_prediction") == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-m", "images"), "images/dataset.json: no such file"),
        (("-f", "4"), "fold_4/checkpoint_final.pth: no such file"),
        (("-f", "first"), "-f first: is neither the number of a fold nor 'all'"),
        (("-chk", "checkpoint_nowhere.pth"), "checkpoint_nowhere.pth: no such file"),
        (("-o", "images/refined"), "lies in the input images"),
        (("-num_parts", "2", "-part_id", "2"), "-part_id 2: parts are numbered from 0 to 1"),
        (("-num_parts", "0"), "-num_parts 0: is not a whole number from 1"),
        (("-step_size", "2"), "-step_size 2: is not a number above 0 to 1"),
        (("--volume-factor", "1"), "--volume-factor 1: is not a number above 1"),
        (("--masks", "nowhere"), "nowhere"),
        (("--scores", "nowhere.csv"), "nowhere.csv"),
        (("--columns", "case=Fall"), "--columns: is for --scores"),
    ],
)
def test_bad_options(refine, arguments, expected, capsys):
    assert refine(*arguments) == 2
    assert expected in capsys.readouterr().err
    assert not Path("refined").exists()


def test_a_model_that_nnunet_cannot_load_is_named(trained, tmp_path, refine, capsys):
    model = tmp_path / "model"
    shutil.copytree(trained, model)
    plans = json.loads((model / "plans.json").read_text())
    architecture = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    architecture["features_per_stage"] = [2 * number for number in architecture["features_per_stage"]]
    (model / "plans.json").write_text(json.dumps(plans))
    assert refine("-m", str(model)) == 2
    assert "nnU-Net cannot load it" in capsys.readouterr().err


def test_score_plus_is_fused_on_the_grid_of_the_image(workplace, score_dataset, tmp_path, monkeypatch):
    """The network alone, brought to that grid by nnU-Net, and the prior as it was made."""
    import torch
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape

    from nnunet_weak.networks.prior_fusion import fuse_probabilities
    from nnunet_weak.refinement.network import RefinementNetwork
    from nnunet_weak.scores.cases import ScoreCase
    from nnunet_weak.scores.inference import InferenceInputs, read_network

    trainer = "nnUNetTrainerSCOREPlus_tiny"
    monkeypatch.setenv("nnUNet_extTrainer", workplace.environment["nnUNet_extTrainer"])
    workplace.run(f"nnUNetv2_train 511 3d_fullres 0 -tr {trainer} -device cpu")
    folder, phantoms = workplace.model(score_dataset, trainer), workplace.root / "phantoms"
    name = sorted(path.name for path in (phantoms / "images").iterdir())[0]
    case = ScoreCase(name.removesuffix(".nii.gz"), (phantoms / "images" / name,), phantoms / "initial_masks" / name)
    inputs = InferenceInputs(images=phantoms / "images", masks=phantoms / "initial_masks", model=str(folder))
    network = RefinementNetwork(
        folder, read_network(inputs), folds=["0"], device=torch.device("cpu"), mirroring=False, trust=True
    )
    prepared = network.prepare(case, tmp_path, other_labels="refuse")
    logits = network.predict(prepared)
    labels, probabilities = network.segment_with_probabilities(prepared, logits)
    predictor = network._predictor
    _, alone = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits,
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.label_manager,
        prepared.properties,
        return_probabilities=True,
    )
    assert prepared.prior is not None and not np.allclose(probabilities, alone, atol=0.1)
    np.testing.assert_allclose(probabilities, fuse_probabilities(alone, prepared.prior, 3.0), atol=1e-6)
    np.testing.assert_array_equal(labels, probabilities.argmax(0))
    np.testing.assert_array_equal(network.segment(prepared, logits), labels)
