from __future__ import annotations

import json
from multiprocessing.pool import ThreadPool
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from score_study import SHAPE, ScoreStudy

from nnunet_weak.dataset.annotations import ErrorType, RegionScore, WeakAnnotations
from nnunet_weak.dataset.channel_names import channel_names_from
from nnunet_weak.dataset_conversion.scores import main
from nnunet_weak.errors import Problems
from nnunet_weak.scores.cases import CheckedCase
from nnunet_weak.scores.report import common_left_right_axis, memory_report


def test_channels_labels_and_scores(study: ScoreStudy):
    assert study.convert() == 0
    expected = sitk.GetArrayFromImage(study.mask())
    image = (study.folder / "images/case_1.nii.gz").read_bytes()
    assert (study.dataset / "imagesTr/case_1_0000.nii.gz").read_bytes() == image
    np.testing.assert_array_equal(study.voxels("imagesTr/case_1_0001.nii.gz"), expected == 1)
    np.testing.assert_array_equal(study.voxels("imagesTr/case_1_0002.nii.gz"), expected == 2)
    np.testing.assert_array_equal(study.voxels("labelsTr/case_1.nii.gz"), expected)
    prior = study.voxels("imagesTr/case_1_0003.nii.gz")
    assert prior.dtype == np.float32 and prior.min() == 0 and 0.5 < prior.max() <= 1
    assert prior[3, 5, 4] > 0.5 > prior[6, 8, 10]  # bone, water
    np.testing.assert_allclose(prior * 255, np.rint(prior * 255), atol=1e-4)
    block = WeakAnnotations.read(study.dataset)
    assert block.cases["case_1"].scores == {
        "head": RegionScore(3.5, ErrorType.UNDER),
        "shaft": RegionScore(5.0, ErrorType.NONE),
    }
    assert block.left_right_axis == 0
    assert block.mask_sources == {"head": "1", "shaft": "2"}
    content = json.loads((study.dataset / "dataset.json").read_text())
    assert list(content["channel_names"].values()) == ["CT", "noNorm", "noNorm", "noNorm"]
    record = json.loads((study.dataset / "conversion.json").read_text())
    assert record["command"][:3] == ["nnunet_weak_convert_scores", "--images", "images"]
    assert set(record["input_files"]) == {"scores.csv"} | {
        f"{kind}/case_{number}.nii.gz" for kind in ("images", "masks") for number in range(3)
    }


def test_masks_alone_make_a_data_set(study: ScoreStudy):
    arguments = ["--images", "images", "--masks", "masks", "--regions", "head=1", "shaft=2", "--prior", "likelihood"]
    assert main([*arguments, "--largest-component", "shaft", "-d", "511", "-n", "Bones", "-np", "1"]) == 0
    block = WeakAnnotations.read(study.dataset)
    assert {name: dict(case.scores) for name, case in block.cases.items()} == {f"case_{n}": {} for n in range(3)}
    assert block.prior is not None and block.prior.kind == "likelihood" and block.largest_component == ("shaft",)
    np.testing.assert_array_equal(study.voxels("labelsTr/case_1.nii.gz"), sitk.GetArrayFromImage(study.mask()))


def test_a_region_that_is_scored_as_missing(study: ScoreStudy, capsys: pytest.CaptureFixture[str]):
    """Quality 0, under, of a region that is empty in the mask; other scores of such a region are not used."""
    for name in study.scores:
        study.write(f"masks/{name}.nii.gz", sitk.Mask(study.mask(), study.mask() != 2))
    study.write("references/case_2.nii.gz", study.reference())
    study.scores["case_0"]["shaft"] = (0, "missing")
    study.scores["case_1"]["shaft"] = (2, "over")
    study.scores["case_1"]["head"] = (0, "under")  # there, and bad
    study.scores["case_2"]["shaft"] = (0, "under")
    assert study.convert("--references", "references") == 0
    cases = WeakAnnotations.read(study.dataset).cases
    assert {name: case.missing for name, case in cases.items()} == {"case_0": ("shaft",), "case_1": (), "case_2": ()}
    report = capsys.readouterr().out
    assert "shaft is missing from the initial mask of 2 cases (case_0, case_2), as scored" in report
    assert "shaft is empty in the initial mask of case_1, and its score there is not used" in report


def test_nnunet_accepts_the_data_set(
    study: ScoreStudy, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    from nnunetv2.experiment_planning import verify_dataset_integrity as module

    # Threads do its real work as well; processes take ten seconds to start.
    pools = SimpleNamespace(get_context=lambda _: SimpleNamespace(Pool=ThreadPool))
    monkeypatch.setattr(module, "multiprocessing", pools)
    assert study.convert() == 0
    module.verify_dataset_integrity(str(study.dataset), num_processes=1)
    assert "WARNING" not in capfd.readouterr().out.upper().replace("IF YOU DIDN'T SEE ANY ERROR", "")


def test_several_channels_and_other_formats(study: ScoreStudy):
    for name in study.scores:
        (study.folder / f"images/{name}.nii.gz").unlink()
        study.write(f"images/{name}_T1.nrrd", study.image(1) + 1000)
        study.write(f"images/{name}_T2.mha", sitk.Cast(study.image(2) + 1000, sitk.sitkFloat32))
    assert study.convert("--channel-suffixes", "_T1", "_T2", "--prior", "none") == 0
    t2 = sitk.GetArrayFromImage(study.image(2) + 1000)
    np.testing.assert_array_equal(study.voxels("imagesTr/case_0_0001.nii.gz"), t2)
    names = json.loads((study.dataset / "dataset.json").read_text())["channel_names"]
    assert list(names.values()) == ["MRI", "MRI", "noNorm", "noNorm"]
    assert WeakAnnotations.read(study.dataset).channels.prior is False


def test_a_dry_run_knows_all_channels(study: ScoreStudy, capsys: pytest.CaptureFixture[str]):
    for name in study.scores:
        (study.folder / f"images/{name}.nii.gz").rename(study.folder / f"images/{name}_0000.nii.gz")
        study.write(f"images/{name}_0001.nii.gz", study.image(2) + 2000)
    assert study.convert("--dry-run") == 0
    assert "taken as CT, MRI from their lowest" in capsys.readouterr().out


def test_folders_of_binary_masks_with_an_overlap(study: ScoreStudy, capsys: pytest.CaptureFixture[str]):
    study.write_binary_masks()
    both = sitk.GetArrayFromImage(study.mask()) == 2
    both[2, 3, 3] = True  # a voxel of the head
    study.write("masks/case_0/segmentations/shaft.nii.gz", study.on_grid(both.astype(np.uint8)))
    assert study.convert("--regions", "head", "shaft=sha*") == 0
    assert "shaft and head overlap in case_0: 1 voxels go to head" in capsys.readouterr().out
    np.testing.assert_array_equal(study.voxels("labelsTr/case_0.nii.gz"), sitk.GetArrayFromImage(study.mask()))
    record = json.loads((study.dataset / "conversion.json").read_text())
    assert record["overlaps"] == {"case_0": {"head, shaft": 1}}
    assert "masks/case_0/segmentations/shaft.nii.gz" in record["input_files"]


def test_references_make_cases_fully_annotated_and_tell_the_priors_worth(
    study: ScoreStudy, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    study.write("references/case_2.nii.gz", study.reference())
    assert study.convert("--references", "references", "--prior", "otsu") == 0
    assert WeakAnnotations.read(study.dataset).fully_annotated_cases == ("case_2",)
    np.testing.assert_array_equal(study.voxels("labelsTr/case_2.nii.gz"), sitk.GetArrayFromImage(study.reference()))
    assert study.voxels("imagesTr/case_2_0001.nii.gz")[2, 3, 2] == 0  # the channel still is the initial mask
    splits = json.loads((study.dataset / "splits_final.json").read_text())
    assert splits == [{"train": ["case_0", "case_1"], "val": ["case_2"]}]
    text = capsys.readouterr().out
    assert "Dice 0.889; at best 1.000" in text  # 2 * 64 over the 64 voxels of the mask and 80 of the reference
    assert "AUC 1.00" in text
    assert "hardly tells" not in caplog.text


def test_a_prior_without_information_is_warned_of(study: ScoreStudy, caplog: pytest.LogCaptureFixture):
    study.write("references/case_2.nii.gz", study.reference())
    for name in study.scores:
        study.write(f"priors/{name}.nii.gz", study.on_grid(np.full(SHAPE, 0.5, np.float32)))
    assert study.convert("--references", "references", "--prior", "file", "--prior-folder", "priors", "--dry-run") == 0
    assert "hardly tells right from wrong" in caplog.text and "AUC 0.50" in caplog.text


def test_prior_from_files_is_kept_to_a_255th(study: ScoreStudy):
    prior = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    for name in study.scores:
        study.write(f"priors/{name}.nii.gz", study.on_grid(prior))
        study.write(f"images/{name}.nii.gz", study.image() + 2000)  # nonzero everywhere, where P is not cut to 0
    assert study.convert("--prior", "file", "--prior-folder", "priors") == 0
    assert np.abs(study.voxels("imagesTr/case_0_0003.nii.gz") - prior).max() <= 0.5 / 255 + 1e-6


def test_patients_stay_together(study: ScoreStudy):
    for number in range(3, 7):
        study.add(f"case_{number}")
    rows = [f"Case {number};p{number // 2}" for number in range(7)]  # another spelling, another delimiter
    (study.folder / "patients.csv").write_text("\n".join(["Case;Patient", *rows]))
    assert study.convert("--patients", "patients.csv") == 0
    for fold in json.loads((study.dataset / "splits_final.json").read_text()):
        assert {int(case[-1]) // 2 for case in fold["val"]}.isdisjoint(int(case[-1]) // 2 for case in fold["train"])


def test_dry_run_prints_the_table_and_every_unmatched_name_and_writes_nothing(
    study: ScoreStudy, capsys: pytest.CaptureFixture[str]
):
    study.scores["case_0"]["shafft"] = (2, "over")
    study.scores["caes_9"] = {"head": (2, "over")}
    assert study.convert("--dry-run", "--allow-missing") == 2  # as the run itself would end, for the region
    text, problems = capsys.readouterr()
    assert "3.5 under" in text and "unknown region 'shafft'" in problems
    assert "region 'shafft'" in text and "perhaps shaft" in text
    assert "case 'caes_9'" in text
    assert not list(study.raw.iterdir())


def test_incomplete_cases_can_be_left_out(study: ScoreStudy, capsys: pytest.CaptureFixture[str]):
    (study.folder / "masks/case_0.nii.gz").unlink()
    del study.scores["case_1"]
    assert study.convert("--allow-missing") == 0
    assert "Left out case_0: no initial mask" in capsys.readouterr().out
    block = WeakAnnotations.read(study.dataset)
    assert list(block.cases) == ["case_1", "case_2"]
    assert block.cases["case_1"].scores == {}


def test_many_mask_channels():
    problems = Problems()
    assert memory_report(16, 18, 10**9, False, problems) == []
    lines = memory_report(17, 19, 10**8, False, problems)
    assert "19 input channels of 100 million voxels take about 7.1 GiB" in lines[0] and not len(problems)
    assert memory_report(50, 52, 512 * 512 * 300, False, problems) == []
    assert "about 15 GiB" in next(iter(problems)) and "--allow-many-channels" in next(iter(problems))
    assert memory_report(50, 52, 512 * 512 * 300, True, Problems())


def test_left_right_axis_of_all_cases():
    same = [CheckedCase(name="a", left_right_axis=2), CheckedCase(name="b", left_right_axis=2)]
    assert common_left_right_axis(same) == (2, "")
    axis, remark = common_left_right_axis([*same, CheckedCase(name="c", left_right_axis=None)])
    assert axis is None and "axis z in 2 cases (a, b)" in remark and "oblique in c" in remark


def test_an_oblique_image_has_no_left_right_axis(study: ScoreStudy, capsys: pytest.CaptureFixture[str]):
    rotation = sitk.Euler3DTransform()
    rotation.SetRotation(0, 0, 0.7)
    for kind in ("images", "masks"):
        image = sitk.ReadImage(str(study.folder / f"{kind}/case_1.nii.gz"))
        image.SetDirection(rotation.GetMatrix())
        study.write(f"{kind}/case_1.nii.gz", image)
    assert study.convert() == 0
    assert WeakAnnotations.read(study.dataset).left_right_axis is None
    assert "No left-right flips" in capsys.readouterr().out


def test_channel_names():
    ct, mri = CheckedCase(name="a", minima=(-1024.0,)), CheckedCase(name="b", minima=(0.0,))
    assert channel_names_from([ct, ct], None)[0] == ("CT",)
    assert channel_names_from([ct, mri], None)[0] == ("MRI",)
    assert channel_names_from([ct], ["CT"]) == (("CT",), [])
    assert "is it a CT?" in channel_names_from([mri], ["CT"])[1][0]
    assert "needs the name CT" in channel_names_from([ct], ["T1"])[1][0]
