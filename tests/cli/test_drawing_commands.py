"""nnunet_weak_simulate_drawings, nnunet_weak_fuse and nnunet_weak_preprocess_annotations, in this process."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak.cli.fuse import main as fuse
from nnunet_weak.cli.preprocess_annotations import main as preprocess
from nnunet_weak.cli.report_annotators import main as annotators
from nnunet_weak.cli.simulate_drawings import main as simulate
from nnunet_weak.dataset.annotations import WeakAnnotations
from nnunet_weak.dataset_conversion.drawings import main as convert

SHAPE = (4, 30, 36)  # z, y, x
CLASSES = ["--classes", "liver=2", "spleen=5,6"]


def write(path: Path, array: np.ndarray) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.2, 5.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def voxels(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.fixture
def study(nnunet_folders) -> Path:
    for number in range(2):
        labels = np.zeros(SHAPE, np.uint8)
        labels[:, 4:14, 4 + number : 18] = 2
        labels[:, 18:28, 8:20], labels[:, 18:28, 20:32] = 5, 6
        write(nnunet_folders / f"labels/case_{number}.nii.gz", labels)
        write(nnunet_folders / f"images/case_{number}.nii.gz", labels.astype(np.int16) * 10)
    return nnunet_folders


def simulated(*further: str, output: str = "drawn") -> int:
    return simulate(["--references", "labels", *CLASSES, "-o", output, "-np", "1", *further])


def test_simulated_drawings_are_rough_seeded_and_reported(study, capsys):
    assert simulated("--annotators", "anna=careful", "ben=hasty", "--negative") == 0
    truth = voxels(study / "labels/case_0.nii.gz")
    truth = np.select([truth == 2, truth >= 5], [1, 2], 0)
    anna = voxels(study / "drawn/positive_anna/case_0.nii.gz")
    drawn = anna != 3
    assert set(np.unique(anna)) == {0, 1, 2, 3} and (anna == truth)[drawn].mean() > 0.95 and drawn.mean() > 0.5
    excluded = voxels(study / "drawn/negative_anna/case_0.nii.gz")
    assert (excluded != truth)[excluded != 3].mean() > 0.95
    rows = list(csv.DictReader((study / "drawn/effort.csv").open()))
    assert len(rows) == 8 and {row["annotator"] for row in rows} == {"anna", "ben"}
    anna_row = next(
        row for row in rows if (row["case"], row["annotator"], row["kind"]) == ("case_0", "anna", "positive")
    )
    assert float(anna_row["drawn_liver"]) == pytest.approx((drawn & (truth == 1)).sum() / (truth == 1).sum(), rel=1e-3)
    assert float(anna_row["outline_mm"]) > 100 and float(anna_row["clicks"]) > 10
    assert json.loads((study / "drawn/simulation.json").read_text())["blank"] == 3
    printed = capsys.readouterr().out
    assert "--labels background=0 liver=1 spleen=2 --blank 3" in printed

    assert simulated("--annotators", "anna=careful", output="again") == 0
    assert (study / "again/positive_anna/case_0.nii.gz").read_bytes() == (
        study / "drawn/positive_anna/case_0.nii.gz"
    ).read_bytes(), "neither the other annotator nor the negative drawing changes anna's"
    assert simulated("--annotators", "anna=careful", "--seed", "1", output="other") == 0
    assert (voxels(study / "other/positive_anna/case_0.nii.gz") != anna).any()


def test_what_the_simulation_refuses(study, capsys):
    assert simulated("--annotators", "anna=drunk", "an na=hasty", "--seed", "-1", "--margin-mm", "nan") == 2
    told = capsys.readouterr().err
    assert "4 problems" in told and "careful, typical, hasty" in told
    assert "--seed -1" in told and "--margin-mm nan: is not a number from 0" in told
    assert simulate(["--references", "labels", "--classes", "liver=2", "-o", "drawn", "-np", "1"]) == 2
    assert "holds the values [5, 6]" in capsys.readouterr().err and not (study / "drawn").exists()
    assert simulated("--classes", "liver=2", "--other-labels", "background") == 0
    assert set(np.unique(voxels(study / "drawn/positive_anna/case_0.nii.gz"))) == {0, 1, 2}


@pytest.fixture
def organs(study) -> Path:
    """Raw data set of two annotators who disagree in case_0; case_1 is fully annotated."""
    blank = 3
    for name, liver, spleen in (("anna", 4, 20), ("ben", 6, 20), ("cleo", 6, 18)):
        array = np.full(SHAPE, blank, np.uint8)
        array[:, 2, :], array[:, liver : liver + 6, 5:15], array[:, spleen : spleen + 4, 9:30] = 0, 1, 2
        write(study / f"{name}/case_0.nii.gz", array)
    arguments = ["--images", "images", "--references", "labels3", "--blank", str(blank), "-d", "521", "-n", "Organs"]
    write(study / "labels3/case_1.nii.gz", np.clip(voxels(study / "labels/case_1.nii.gz"), 0, 2))
    positive = [word for name in ("anna", "ben", "cleo") for word in ("--positive", f"{name}={name}")]
    assert convert([*arguments, *positive, "--labels", "background=0", "liver=1", "spleen=2", "-np", "1"]) == 0
    return study / "nnUNet_raw"


@pytest.mark.parametrize("method", ["majority", "staple"])
def test_fused_drawings(organs, method, capsys):
    assert fuse(["-d", "521", "--method", method, "-o", "531", "-np", "1"]) == 0
    source, target = organs / "Dataset521_Organs", organs / f"Dataset531_Organs{method.capitalize()}"
    fused = voxels(target / "labelsTr/case_0.nii.gz")
    assert (fused[:, 6:10, 5:15] == 1).all() and (fused[:, 20:22, 9:30] == 2).all() and (fused[:, 2] == 0).all()
    assert (fused[:, 10:12, 5:15] == 1).all(), "two of three, the third says nothing"
    assert (fused[:, 14:18, :] == 3).all(), "where nobody drew: ignore"
    for name in ("imagesTr/case_0_0000.nii.gz", "labelsTr/case_1.nii.gz"):
        assert (target / name).read_bytes() == (source / name).read_bytes()
    block = WeakAnnotations.read(target)
    assert block.maps == {} and block.fully_annotated_cases == ("case_1",)
    labels = json.loads((target / "dataset.json").read_text())["labels"]
    assert labels == {"background": 0, "liver": 1, "spleen": 2, "ignore": 3}
    assert json.loads((target / "conversion.json").read_text())["fused"]["maps"] == ["anna", "ben", "cleo"]
    assert (target / "splits_final.json").exists() == (source / "splits_final.json").exists()
    assert fuse(["-d", "521", "--method", method, "-o", "531", "-np", "1"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_propagated_drawings_for_the_stock_trainer(organs):
    assert fuse(["-d", "521", "--method", "random_walker", "-o", "531", "-np", "1"]) == 0
    source, target = organs / "Dataset521_Organs", organs / "Dataset531_OrgansRandomWalker"
    filled, one = voxels(target / "labelsTr/case_0.nii.gz"), voxels(source / "labelsTr/case_0.nii.gz")
    assert (filled < 3).all() and (one == 3).any(), "every slice is drawn in, so no blank remains"
    assert np.array_equal(filled[:, 6:10, 5:15], one[:, 6:10, 5:15])
    assert (target / "labelsTr/case_1.nii.gz").read_bytes() == (source / "labelsTr/case_1.nii.gz").read_bytes()
    assert json.loads((target / "conversion.json").read_text())["fused"]["method"] == "random_walker"


def test_nobody_drew_the_map_of_the_random_walker(study):
    """STAPLE and the vote take the annotators' maps alone."""
    array = np.full(SHAPE, 3, np.uint8)
    array[:, 2, :], array[:, 4:8, 5:15] = 0, 1
    for case in ("case_0", "case_1"):
        write(study / f"anna/{case}.nii.gz", array)
    arguments = ["--images", "images", "--positive", "anna=anna", "--labels", "background=0", "liver=1", "--blank", "3"]
    assert convert([*arguments, "--random-walker", "-d", "521", "-n", "Organs", "-np", "1"]) == 0
    assert fuse(["-d", "521", "-o", "531", "-np", "1"]) == 0
    target = study / "nnUNet_raw" / "Dataset531_OrgansStaple"
    assert json.loads((target / "conversion.json").read_text())["fused"]["maps"] == ["anna"]
    assert (voxels(target / "labelsTr/case_0.nii.gz") == 2).any(), "what is blank stays so"


def test_preprocessing_comes_after_nnunets(organs, capsys):
    assert preprocess(["-d", "521"]) == 2
    assert "no data set of this number" in capsys.readouterr().err
    (organs.parent / "nnUNet_preprocessed" / "Dataset521_Organs").mkdir()
    assert preprocess(["-d", "Dataset521_Organs"]) == 2
    assert "run nnUNetv2_plan_and_preprocess first" in capsys.readouterr().err
    assert preprocess(["-d", "521", "--num-parts", "2", "--part-id", "2"]) == 2
    assert "numbered from 0 to 1" in capsys.readouterr().err
    assert fuse(["-d", "521", "-o", "532", "-np", "1"]) == 0
    assert preprocess(["-d", "532"]) == 2


def test_annotators_need_a_model(study, capsys):
    assert annotators(["-m", str(study)]) == 2
    assert "no model folder" in capsys.readouterr().err
