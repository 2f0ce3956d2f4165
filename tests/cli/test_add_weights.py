"""Weights for an ordinary data set: what is written, and what is refused with the data set as it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak.cli.add_weights import main
from nnunet_weak.dataset.annotations import WeakAnnotations

SHAPE = (3, 4, 5)


def write(path: Path, array: np.ndarray, spacing: tuple[float, float, float] = (1.0, 2.0, 3.0)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def dataset(nnunet_folders) -> Path:
    """An ordinary data set of three cases, and weights of two of them."""
    folder = nnunet_folders / "nnUNet_raw" / "Dataset007_Ear"
    for name in ("a", "b", "c"):
        write(folder / "labelsTr" / f"{name}.nii.gz", np.zeros(SHAPE, np.uint8))
    for name, weight in (("a", 0.5), ("b", 2.0)):
        write(nnunet_folders / "weights" / f"{name}.nii.gz", np.full(SHAPE, weight, np.float32))
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "cochlea": 1, "ignore": 2},
        "numTraining": 3,
        "file_ending": ".nii.gz",
        "licence": "kept as it is",
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def test_voxel_and_class_weights(dataset, capsys):
    assert main(["-d", "7", "--voxel-weights", "weights", "--class-weights", "cochlea=8", "-np", "1"]) == 0
    assert "2 cases have voxel weights; class weights: cochlea=8" in capsys.readouterr().out
    content = json.loads((dataset / "dataset.json").read_text())
    assert content["licence"] == "kept as it is" and list(content)[-1] == "nnunet_weak"
    annotations = WeakAnnotations.read(dataset)
    assert annotations.method == "weighted" and annotations.class_weights == {"cochlea": 8.0}
    assert {name: case.maps for name, case in annotations.cases.items()} == {
        "a": ("weights",),
        "b": ("weights",),
        "c": (),
    }
    assert annotations.fully_annotated_cases == ("a", "b", "c")
    codes = [sitk.ReadImage(str(dataset / "annotationsTr" / "weights" / f"{name}.nii.gz")) for name in ("a", "b")]
    assert [sitk.GetArrayViewFromImage(image).max() for image in codes] == [6, 21]
    assert codes[0].GetSpacing() == (1.0, 2.0, 3.0)

    assert main(["-d", "7", "--class-weights", "cochlea=4", "-np", "1"]) == 2, "there are weights already"
    assert main(["-d", "7", "--class-weights", "cochlea=4", "--overwrite"]) == 0
    assert WeakAnnotations.read(dataset).class_weights == {"cochlea": 4.0}
    assert WeakAnnotations.read(dataset).maps == {} and not (dataset / "annotationsTr" / "weights").exists()


@pytest.mark.parametrize(
    "spoil, arguments, message",
    [
        (lambda d: None, ["--class-weights", "vestibule=2"], "no such class (remedy:"),
        (lambda d: None, ["--class-weights", "ignore=2"], "no such class"),
        (lambda d: None, ["--class-weights", "cochlea=-2"], "is not a number from 0"),
        (lambda d: None, [], "give at least one"),
        (lambda d: write(d / "weights" / "z.nii.gz", np.ones(SHAPE)), ["--voxel-weights", "weights"], "no case 'z'"),
        (lambda d: write(d / "weights" / "a.nii.gz", np.full(SHAPE, 26.0)), ["--voxel-weights", "weights"], "to 26"),
        (lambda d: write(d / "weights" / "a.nii.gz", -np.ones(SHAPE)), ["--voxel-weights", "weights"], "from -1"),
        (
            lambda d: write(d / "weights" / "a.nii.gz", np.ones(SHAPE), (1, 1, 1)),
            ["--voxel-weights", "weights"],
            "not on the grid",
        ),
        (lambda d: (d / "empty").mkdir(), ["--voxel-weights", "empty"], "holds no images"),
    ],
)
def test_refusals_leave_the_data_set_alone(spoil, arguments, message, dataset, nnunet_folders, capsys):
    spoil(nnunet_folders)
    before = (dataset / "dataset.json").read_bytes()
    assert main(["-d", "7", "-np", "1", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert (dataset / "dataset.json").read_bytes() == before
    assert not (dataset / "annotationsTr" / "weights").exists()


def test_other_annotation_is_never_replaced(dataset, capsys):
    content = json.loads((dataset / "dataset.json").read_text())
    content["nnunet_weak"] = {"schema_version": 1, "method": "weaknet"}
    (dataset / "dataset.json").write_text(json.dumps(content))
    assert main(["-d", "7", "--class-weights", "cochlea=4", "--overwrite"]) == 2
    assert "('weaknet') already" in capsys.readouterr().err
