from __future__ import annotations

import csv
import errno
import json
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak import volume_files
from nnunet_weak.annotations import ErrorType, RegionScore, WeakAnnotations
from nnunet_weak.dataset_conversion.channel_names import channel_names_from
from nnunet_weak.dataset_conversion.score_cases import CheckedCase
from nnunet_weak.dataset_conversion.score_report import common_left_right_axis, memory_report
from nnunet_weak.dataset_conversion.scores import main
from nnunet_weak.errors import Problems

SHAPE = (8, 10, 12)  # z, y, x
SCORES = {"head": (3.5, "under"), "shaft": (5, "none")}


class Study:
    """A folder of images, label maps and scores that the converter takes, to be spoilt by each test."""

    def __init__(self, folder: Path, cases: int = 3) -> None:
        self.folder = folder
        self.scores: dict[str, dict[str, tuple[float | str, str]]] = {}
        for number in range(cases):
            self.add(f"case_{number}", seed=number)

    def add(self, name: str, seed: int = 0) -> None:
        self.write(f"images/{name}.nii.gz", self.image(seed))
        self.write(f"masks/{name}.nii.gz", self.mask())
        self.scores[name] = dict(SCORES)

    def image(self, seed: int = 0) -> sitk.Image:
        """Bone of 1000 HU in water in air; the mask misses a layer of the head."""
        array = np.full(SHAPE, -1000, np.int16)
        array[1:7, 1:9, 1:11] = 0
        array[2:6, 3:7, 2:6] = 1000
        array[3:5, 4:6, 6:10] = 1000
        array += np.random.default_rng(seed).integers(-20, 20, SHAPE).astype(np.int16)
        return self.on_grid(array)

    def mask(self, dtype: type = np.uint8) -> sitk.Image:
        array = np.zeros(SHAPE, dtype)
        array[2:6, 3:7, 3:6] = 1
        array[3:5, 4:6, 6:10] = 2
        return self.on_grid(array)

    def reference(self) -> sitk.Image:
        array = sitk.GetArrayFromImage(self.mask())
        array[2:6, 3:7, 2] = 1
        return self.on_grid(array)

    @staticmethod
    def on_grid(array: np.ndarray) -> sitk.Image:
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.6, 0.75, 2.5))
        image.SetOrigin((-12.3, 45.6, 7.8))
        return image

    def write(self, path: str, image: sitk.Image) -> Path:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(target))
        return target

    def write_binary_masks(self) -> None:
        """As TotalSegmentator: a folder for each case."""
        for name in self.scores:
            (self.folder / f"masks/{name}.nii.gz").unlink()
            for label, region in enumerate(SCORES, start=1):
                self.write(f"masks/{name}/segmentations/{region}.nii.gz", sitk.Equal(self.mask(), label))

    def convert(self, *further: str) -> int:
        with (self.folder / "scores.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["case", "region", "quality", "error"])
            for name, regions in self.scores.items():
                for region, (quality, error) in regions.items():
                    writer.writerow([name, region, quality, error])
        arguments = ["--images", "images", "--masks", "masks", "--scores", "scores.csv", "-d", "511", "-n", "Bones"]
        regions = [] if "--regions" in further else ["--regions", "head=1", "shaft=2"]
        return main([*arguments, *regions, "-np", "1", *further])

    @property
    def raw(self) -> Path:
        return self.folder / "nnUNet_raw"

    @property
    def dataset(self) -> Path:
        return self.raw / "Dataset511_Bones"

    def voxels(self, path: str) -> np.ndarray:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(self.dataset / path)))


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.chdir(tmp_path)
    return Study(tmp_path)


# ---------------------------------------------------------------- what is written


def test_channels_labels_and_scores(study: Study):
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


def test_nnunet_accepts_the_data_set(study: Study, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    from nnunetv2.experiment_planning import verify_dataset_integrity as module

    # Threads do its real work as well; processes take ten seconds to start.
    pools = SimpleNamespace(get_context=lambda _: SimpleNamespace(Pool=ThreadPool))
    monkeypatch.setattr(module, "multiprocessing", pools)
    assert study.convert() == 0
    module.verify_dataset_integrity(str(study.dataset), num_processes=1)
    assert "WARNING" not in capfd.readouterr().out.upper().replace("IF YOU DIDN'T SEE ANY ERROR", "")


def test_several_channels_and_other_formats(study: Study):
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


def test_folders_of_binary_masks_with_an_overlap(study: Study, capsys: pytest.CaptureFixture[str]):
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
    study: Study, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
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


def test_a_prior_without_information_is_warned_of(study: Study, caplog: pytest.LogCaptureFixture):
    study.write("references/case_2.nii.gz", study.reference())
    for name in study.scores:
        study.write(f"priors/{name}.nii.gz", study.on_grid(np.full(SHAPE, 0.5, np.float32)))
    assert study.convert("--references", "references", "--prior", "file=priors", "--dry-run") == 0
    assert "hardly tells right from wrong" in caplog.text and "AUC 0.50" in caplog.text


def test_prior_from_files_is_kept_to_a_255th(study: Study):
    prior = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    for name in study.scores:
        study.write(f"priors/{name}.nii.gz", study.on_grid(prior))
        study.write(f"images/{name}.nii.gz", study.image() + 2000)  # nonzero everywhere, where P is not cut to 0
    assert study.convert("--prior", "file=priors") == 0
    assert np.abs(study.voxels("imagesTr/case_0_0003.nii.gz") - prior).max() <= 0.5 / 255 + 1e-6


def test_patients_stay_together(study: Study):
    for number in range(3, 7):
        study.add(f"case_{number}")
    rows = [f"Case {number};p{number // 2}" for number in range(7)]  # another spelling, another delimiter
    (study.folder / "patients.csv").write_text("\n".join(["Case;Patient", *rows]))
    assert study.convert("--patients", "patients.csv") == 0
    for fold in json.loads((study.dataset / "splits_final.json").read_text()):
        assert {int(case[-1]) // 2 for case in fold["val"]}.isdisjoint(int(case[-1]) // 2 for case in fold["train"])


def test_the_same_input_gives_the_same_bytes(study: Study):
    def everything() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(study.dataset.rglob("*")) if path.is_file()}

    assert study.convert() == 0
    first = everything()
    assert study.convert("--overwrite", "-np", "1") == 0
    second = everything()
    record = next(path for path in first if path.endswith("conversion.json"))
    assert json.loads(first.pop(record))["input_files"] == json.loads(second.pop(record))["input_files"]
    assert second == first


def test_dry_run_prints_the_table_and_every_unmatched_name_and_writes_nothing(
    study: Study, capsys: pytest.CaptureFixture[str]
):
    study.scores["case_0"]["shafft"] = (2, "over")
    study.scores["caes_9"] = {"head": (2, "over")}
    assert study.convert("--dry-run", "--allow-missing") == 0
    text = capsys.readouterr().out
    assert "3.5 under" in text
    assert "region 'shafft'" in text and "perhaps shaft" in text
    assert "case 'caes_9'" in text
    assert not list(study.raw.iterdir())


def test_dry_run_lists_the_problems(study: Study, capsys: pytest.CaptureFixture[str]):
    study.write("masks/case_1.nii.gz", study.mask()[:, :, 1:])
    assert study.convert("--dry-run") == 2
    assert "masks/case_1.nii.gz" in capsys.readouterr().err
    assert not list(study.raw.iterdir())


def test_incomplete_cases_can_be_left_out(study: Study, capsys: pytest.CaptureFixture[str]):
    (study.folder / "masks/case_0.nii.gz").unlink()
    del study.scores["case_1"]
    assert study.convert("--allow-missing") == 0
    assert "Left out case_0: no initial mask" in capsys.readouterr().out
    block = WeakAnnotations.read(study.dataset)
    assert list(block.cases) == ["case_1", "case_2"]
    assert block.cases["case_1"].scores == {}


# ---------------------------------------------------------------- what is refused

Spoil = Callable[[Study], object]


def _truncate(study: Study) -> None:
    path = study.folder / "images/case_1.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])


def _nan(study: Study) -> None:
    array = sitk.GetArrayFromImage(study.image()).astype(np.float32)
    array[0, 0, :3] = np.nan
    study.write("images/case_1.nii.gz", study.on_grid(array))


def _soft_mask(study: Study) -> None:
    study.write("masks/case_1.nii.gz", sitk.Cast(study.mask(), sitk.sitkFloat32) * 0.7)


def _shifted_mask(study: Study) -> None:
    mask = study.mask()
    mask.SetOrigin((0, 0, 0))
    study.write("masks/case_1.nii.gz", mask)


def _score(case: str, region: str, quality: float | str, error: str) -> Spoil:
    return lambda study: study.scores[case].update({region: (quality, error)})


BAD_INPUTS: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "mask missing": (lambda study: (study.folder / "masks/case_1.nii.gz").unlink(), ("case_1", "no initial mask")),
    "image missing": (
        lambda study: (study.folder / "images/case_1.nii.gz").unlink(),
        ("case 'case_1'", "no image has this name", "--allow-missing"),
    ),
    "image twice": (
        lambda study: study.write("images/case_1.nrrd", study.image()),
        ("case_1.nii.gz and case_1.nrrd name the same case twice", "keep one"),
    ),
    "score missing": (lambda study: study.scores.pop("case_1"), ("case 'case_1'", "no score", "--allow-missing")),
    "score twice": (_score("case_1", "Head", 3, "under"), ("case_1, head", "scored in", "delete one")),
    "score outside the scale": (_score("case_1", "head", 6, "under"), ("case_1, head", "6 is outside 0 to 5", "scale")),
    "score 5 with an error": (_score("case_1", "head", 5, "over"), ("case_1, head", "'over', but the quality is 5")),
    "score 3 without an error": (_score("case_1", "head", 3, "none"), ("case_1, head", "no error, but")),
    "unknown region": (_score("case_1", "shafft", 3, "over"), ("unknown region 'shafft'", "perhaps shaft")),
    "unknown value in a mask": (
        lambda study: study.write("masks/case_1.nii.gz", study.mask() * 3),
        ("masks/case_1.nii.gz", "3, 6", "head=1"),
    ),
    "mask of another size": (
        lambda study: study.write("masks/case_1.nii.gz", study.mask()[:, 1:]),
        ("masks/case_1.nii.gz", "size (12, 9, 8) instead of (12, 10, 8)", "resample"),
    ),
    "mask shifted": (_shifted_mask, ("masks/case_1.nii.gz", "mm away", "resample")),
    "mask not of whole numbers": (_soft_mask, ("masks/case_1.nii.gz", "holds 0.7", "whole numbers")),
    "NaN in an image": (_nan, ("images/case_1.nii.gz", "3 voxels are NaN", "replace")),
    "4D image": (
        lambda study: study.write("images/case_1.nii.gz", sitk.JoinSeries([study.image(), study.image()])),
        ("images/case_1.nii.gz", "4D", "one file for each time point"),
    ),
    "truncated image": (_truncate, ("images/case_1.nii.gz", "truncated", "copy or export it again")),
    "no image at all": (
        lambda study: (study.folder / "images/case_1.nii.gz").write_bytes(b"hello"),
        ("images/case_1.nii.gz", "unreadable or truncated"),
    ),
    "no folder": (lambda study: (study.folder / "images").rename(study.folder / "other"), ("images", "no such folder")),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input_is_named_with_its_remedy_and_nothing_is_written(
    study: Study, name: str, capsys: pytest.CaptureFixture[str]
):
    spoil, expected = BAD_INPUTS[name]
    spoil(study)
    assert study.convert() == 2
    message = capsys.readouterr().err
    for part in expected:
        assert part in message
    assert not list(study.raw.iterdir())


BAD_OPTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "two channel names for one channel": (("--channel-names", "T1", "T2"), "the images have 1 channels"),
    "unknown prior": (("--prior", "magic"), "--prior magic: choose otsu"),
    "folder with another prior": (("--prior", "otsu=priors"), "file=DIR"),
    "prior from files without files": (("--prior", "file"), "write --prior file=DIR"),
    "prior option out of range": (("--prior-options", "upper_percentile=120"), "120 is outside"),
    "prior option without a number": (("--prior-options", "upper_percentile"), "NAME=NUMBER"),
    "references missing": (("--references", "nowhere"), "nowhere: no such folder"),
    "patients missing": (("--patients", "nowhere.csv"), "nowhere.csv: no such file"),
    "bad name": (("-n", "a b"), "'a b' is no file name"),
    "priors missing": (("--prior", "file=masks2"), "masks2: no such folder"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options(study: Study, name: str, capsys: pytest.CaptureFixture[str]):
    arguments, expected = BAD_OPTIONS[name]
    assert study.convert(*arguments) == 2
    assert expected in capsys.readouterr().err
    assert not list(study.raw.iterdir())


def test_all_problems_are_told_at_once(study: Study, capsys: pytest.CaptureFixture[str]):
    for name, (spoil, _) in BAD_INPUTS.items():
        if name in ("NaN in an image", "score outside the scale"):
            spoil(study)
    study.write("masks/case_0.nii.gz", study.mask()[1:])
    (study.folder / "masks/case_2.nii.gz").unlink()
    study.dataset.mkdir()
    assert study.convert("--channel-names", "T1", "T2") == 2
    message = capsys.readouterr().err
    for part in ("6 problems", "exists already", "NaN", "6 is outside", "case_0", "case 'case_2'"):
        assert part in message
    assert not list(study.dataset.iterdir())


def test_problems_that_show_while_writing_are_all_told(study: Study, capsys: pytest.CaptureFixture[str]):
    for number in (0, 2):
        study.write(f"masks/case_{number}.nii.gz", study.mask()[1:])
    assert study.convert() == 2
    message = capsys.readouterr().err
    assert "masks/case_0.nii.gz" in message and "masks/case_2.nii.gz" in message and "2 problems" in message
    assert not list(study.raw.iterdir())


def test_references_that_do_not_fit(study: Study, capsys: pytest.CaptureFixture[str]):
    study.write_binary_masks()
    study.write("references/case_1.nii.gz", study.reference() * 2)
    study.write("references/case_7.nii.gz", study.reference())
    assert study.convert("--references", "references", "--regions", "head", "shaft") == 2
    message = capsys.readouterr().err
    assert "case_1.nii.gz: holds the label 4, but there are 2 regions" in message
    assert "'case_7': reference labels without an image" in message


def test_patients_that_do_not_fit(study: Study, capsys: pytest.CaptureFixture[str]):
    (study.folder / "p.csv").write_text("case,patient\ncase_0,a\ncase_0,b\ncase_1,\n")
    assert study.convert("--patients", "p.csv") == 2
    message = capsys.readouterr().err
    assert "row 3, case 'case_0': patient b, but a above" in message
    assert "row 4, case 'case_1': no patient" in message
    assert "case 'case_2': is not in the table" in message
    (study.folder / "p.csv").write_text("name,id\ncase_0,a\n")
    assert study.convert("--patients", "p.csv") == 2
    assert "columns 'case' and 'patient'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 1, "The disk is full"),
        (KeyboardInterrupt(), 130, "Interrupted"),
    ],
)
def test_a_full_disk_or_ctrl_c_half_way_leaves_nothing(
    study: Study,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: BaseException,
    code: int,
    message: str,
):
    stream = volume_files._stream
    calls = []

    def fails_later(header, array, target):
        calls.append(1)
        if len(calls) > 6:  # in the second of three cases
            target.write(header)
            raise failure
        stream(header, array, target)

    monkeypatch.setattr(volume_files, "_stream", fails_later)
    assert study.convert() == code
    assert message in capsys.readouterr().err
    assert not list(study.raw.iterdir())


# ---------------------------------------------------------------- what is told


def test_many_mask_channels():
    problems = Problems()
    assert memory_report(16, 18, 10**9, False, problems) == []
    lines = memory_report(17, 19, 10**8, False, problems)
    assert "19 input channels of 100 million voxels take about 7.1 GiB" in lines[0] and not len(problems)
    assert memory_report(50, 52, 512 * 512 * 300, False, problems) == []
    assert "about 15 GiB" in next(iter(problems)) and "--allow-many-channels" in next(iter(problems))
    assert memory_report(50, 52, 512 * 512 * 300, True, Problems())


def test_left_right_axis_of_all_cases():
    same = [CheckedCase("a", left_right_axis=2), CheckedCase("b", left_right_axis=2)]
    assert common_left_right_axis(same) == (2, "")
    axis, remark = common_left_right_axis([*same, CheckedCase("c", left_right_axis=None)])
    assert axis is None and "axis z in 2 cases (a, b)" in remark and "oblique in c" in remark


def test_an_oblique_image_has_no_left_right_axis(study: Study, capsys: pytest.CaptureFixture[str]):
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
    ct, mri = CheckedCase("a", minima=(-1024.0,)), CheckedCase("b", minima=(0.0,))
    assert channel_names_from([ct, ct], None)[0] == ("CT",)
    assert channel_names_from([ct, mri], None)[0] == ("MRI",)
    assert channel_names_from([ct], ["CT"]) == (("CT",), [])
    assert "is it a CT?" in channel_names_from([mri], ["CT"])[1][0]
    assert "needs the name CT" in channel_names_from([ct], ["T1"])[1][0]


def test_help_teaches(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as raised:
        main(["--help"])
    assert raised.value.code == 0
    assert "example:" in capsys.readouterr().out
