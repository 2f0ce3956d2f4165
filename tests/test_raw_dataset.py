from __future__ import annotations

import errno
import gzip
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_weak import raw_dataset, volume_files
from nnunet_weak.annotations import CaseAnnotation, ChannelLayout, WeakAnnotations
from nnunet_weak.case_files import CaseFiles, label_values
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.parallel import run_tasks
from nnunet_weak.raw_dataset import RawDataset, WrittenCase, shortened, target_folder, write_raw_dataset
from nnunet_weak.splits import make_splits
from nnunet_weak.volume_files import write_volume

SHAPE = (4, 5, 7)  # z, y, x


def grid(seed: int = 0) -> sitk.Image:
    """An oblique, anisotropic grid."""
    rng = np.random.default_rng(seed)
    image = sitk.GetImageFromArray(rng.integers(-1000, 1000, SHAPE).astype(np.int16))
    image.SetSpacing((0.6, 0.75, 2.5))
    image.SetOrigin((-12.3, 45.6, 7.8))
    rotation = sitk.Euler3DTransform()
    rotation.SetRotation(0.1, 0.2, 0.3)
    image.SetDirection(rotation.GetMatrix())
    return image


@pytest.fixture
def nnunet_raw(nnunet_folders: Path) -> Path:
    return nnunet_folders / "nnUNet_raw"


def dataset(cases: int = 2, full: tuple[str, ...] = (), **changes) -> RawDataset:
    names = [f"case_{number}" for number in range(cases)]
    annotations = WeakAnnotations(
        "weaknet", ChannelLayout(1), {name: CaseAnnotation(fully_annotated=name in full) for name in names}
    )
    return RawDataset(7, "Test", ("CT",), {"background": 0, "bone": 1}, annotations, **changes)


def write_one(source: Path, folder: Path, name: str, fail: BaseException | None = None) -> list[Path]:
    """Writes a case; module-level, as worker processes import it."""
    image = sitk.ReadImage(str(source))
    files = CaseFiles(folder, name, ".nii.gz", image)
    files.write_image(0, source, image)
    if fail is not None and name == "case_1":
        raise fail
    files.write_labels(sitk.Cast(image > 0, sitk.sitkUInt8))
    return [source]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "inputs" / "image.nii.gz"
    path.parent.mkdir()
    sitk.WriteImage(grid(), str(path))
    return path


# ---------------------------------------------------------------- volumes


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("seed", [0, 1])
def test_nifti_bytes_are_those_of_simpleitk(tmp_path: Path, dtype: type, seed: int):
    image = sitk.Cast(grid(seed) + 1000, sitk.GetImageFromArray(np.zeros((1, 1, 1), dtype)).GetPixelID())
    sitk.WriteImage(image, str(tmp_path / "theirs.nii"))
    write_volume(sitk.GetArrayViewFromImage(image), image, tmp_path / "ours.nii.gz")
    assert gzip.decompress((tmp_path / "ours.nii.gz").read_bytes()) == (tmp_path / "theirs.nii").read_bytes()


@pytest.mark.parametrize("ending", volume_files.WRITABLE_ENDINGS)
def test_slope_gives_the_same_numbers_in_every_format(tmp_path: Path, ending: str):
    steps = np.arange(140, dtype=np.uint8).reshape(SHAPE) + 116  # up to 255
    path = tmp_path / f"p{ending}"
    write_volume(steps, grid(), path, slope=1 / 255)
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    np.testing.assert_allclose(values, steps / 255, atol=1e-7)
    assert values.max() == 1.0  # not 1.0000001, of which log(1 - P) would make NaN


def test_volume_of_another_shape_or_format_is_refused(tmp_path: Path):
    with pytest.raises(InvalidInputError, match="shape"):
        write_volume(np.zeros((4, 5, 6), np.uint8), grid(), tmp_path / "x.nii.gz")
    with pytest.raises(InvalidInputError, match=r"\.nrrd"):
        write_volume(np.zeros(SHAPE, np.uint8), grid(), tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_a_volume_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(header, array, stream):
        stream.write(header)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(volume_files, "_stream", full)
    with pytest.raises(OSError, match="No space"):
        write_volume(np.zeros(SHAPE, np.uint8), grid(), tmp_path / "x.nii.gz")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- files of a case


def test_an_image_of_the_right_format_is_copied_byte_for_byte(tmp_path: Path, source: Path):
    image = sitk.ReadImage(str(source))
    CaseFiles(tmp_path, "a", ".nii.gz", image).write_image(0, source, image)
    assert (tmp_path / "imagesTr" / "a_0000.nii.gz").read_bytes() == source.read_bytes()


def test_an_image_of_another_format_keeps_voxels_and_type(tmp_path: Path):
    path = tmp_path / "image.nrrd"
    sitk.WriteImage(grid(), str(path))
    CaseFiles(tmp_path, "a", ".nii.gz", grid()).write_image(0, path, sitk.ReadImage(str(path)))
    written = sitk.ReadImage(str(tmp_path / "imagesTr" / "a_0000.nii.gz"))
    assert written.GetPixelID() == sitk.sitkInt16
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), sitk.GetArrayFromImage(grid()))


def test_a_header_that_is_off_by_rounding_is_replaced_by_the_first_channels(tmp_path: Path):
    """nnU-Net compares spacings to 1e-5 and stops; programs differ by more than that."""
    second = grid(1)
    second.SetSpacing((0.6001, 0.75, 2.5))
    path = tmp_path / "second.nii.gz"
    sitk.WriteImage(second, str(path))
    CaseFiles(tmp_path, "a", ".nii.gz", grid()).write_image(1, path, sitk.ReadImage(str(path)))
    written = sitk.ReadImage(str(tmp_path / "imagesTr" / "a_0001.nii.gz"))
    np.testing.assert_allclose(written.GetSpacing(), grid().GetSpacing(), rtol=1e-6)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), sitk.GetArrayFromImage(second))


def test_a_4d_file_of_one_volume_is_not_copied_as_it_is(tmp_path: Path):
    """nnU-Net would read it as an image with four axes."""
    path = tmp_path / "image.nii.gz"
    sitk.WriteImage(sitk.JoinSeries([grid()]), str(path))
    CaseFiles(tmp_path, "a", ".nii.gz", grid()).write_image(0, path, grid())
    assert sitk.ReadImage(str(tmp_path / "imagesTr" / "a_0000.nii.gz")).GetDimension() == 3


def test_labels_stay_whole_numbers_on_the_images_grid(tmp_path: Path):
    files = CaseFiles(tmp_path, "a", ".nii.gz", grid())
    labels = sitk.Cast(grid() > 0, sitk.sitkUInt16) * 300
    files.write_labels(labels)
    written = sitk.ReadImage(str(tmp_path / "labelsTr" / "a.nii.gz"))
    assert written.GetPixelID() == sitk.sitkUInt16
    assert label_values(written) == (0, 300)
    files.write_annotation_map("anna", sitk.Cast(grid() > 0, sitk.sitkInt64))
    assert sitk.ReadImage(str(tmp_path / "annotationsTr" / "anna" / "a.nii.gz")).GetPixelID() == sitk.sitkUInt8
    with pytest.raises(InvalidInputError, match="whole numbers"):
        files.write_labels(sitk.Cast(labels, sitk.sitkFloat32))
    with pytest.raises(InvalidInputError, match="range from -1000"):
        files.write_labels(sitk.Threshold(grid(), -1000, -1000, -1000))
    labels.SetOrigin((0, 0, 0))
    with pytest.raises(InvalidInputError, match="a.nii.gz: not on the grid of a's image"):
        files.write_labels(labels)


# ---------------------------------------------------------------- folds


def test_nnunet_makes_its_own_folds_where_they_are_as_good():
    cases = [f"c{number}" for number in range(7)]
    assert make_splits(cases) is None
    assert make_splits(cases, fully_annotated=cases) is None
    assert make_splits(cases, patients=dict(zip(cases, cases, strict=True))) is None
    assert make_splits(["a", "b"], patients={"a": "p", "b": "p"}) is None  # one patient: no fold is possible


def test_patients_are_on_one_side():
    cases = [f"p{patient}_{visit}" for patient in range(6) for visit in range(1 + patient % 3)]
    patients = {case: case.split("_")[0] for case in cases}
    splits = make_splits(cases, patients=patients)
    assert splits is not None and len(splits) == 5
    for fold in splits:
        assert not {patients[case] for case in fold["train"]} & {patients[case] for case in fold["val"]}
        assert sorted(fold["train"] + fold["val"]) == cases
    assert sorted(case for fold in splits for case in fold["val"]) == cases
    assert splits == make_splits(cases[::-1], patients=patients)  # no matter in which order
    assert len({json.dumps(make_splits(cases, patients=patients, seed=seed)) for seed in range(10)}) > 1


def test_validation_is_fully_annotated_as_soon_as_one_case_is():
    cases = [f"p{patient}_{visit}" for patient in range(8) for visit in range(2)]
    patients = {case: case.split("_")[0] for case in cases}
    full = {"p0_0", "p1_0", "p1_1", "p2_1"}
    splits = make_splits(cases, patients=patients, fully_annotated=full)
    assert splits is not None and len(splits) == 3
    assert sorted(case for fold in splits for case in fold["val"]) == sorted(full)
    for fold in splits:
        held_out = {patients[case] for case in fold["val"]}
        # p0_1 is weakly annotated: it may not be trained on where p0_0 is validated on, nor be validated on.
        assert fold["train"] == sorted(case for case in cases if patients[case] not in held_out)


def test_fewer_cases_than_folds():
    """nnU-Net's own split stops with an error below five cases."""
    splits = make_splits(["a", "b", "c"])
    assert splits is not None and [fold["val"] for fold in splits] != []
    assert sorted(case for fold in splits for case in fold["val"]) == ["a", "b", "c"]


# ---------------------------------------------------------------- the folder


def write(data: RawDataset, source: Path, *, fail: BaseException | None = None, overwrite=False, processes=1) -> Path:
    return write_raw_dataset(
        target_folder(7, "Test", overwrite=overwrite),
        list(data.annotations.cases),
        partial(_write_task, source, fail),
        lambda _: data,
        processes=processes,
        input_roots={"images": source.parent},
        progress=False,
    )


def _write_task(source: Path, fail: BaseException | None, folder: Path, name: str) -> WrittenCase[None]:
    return WrittenCase(None, tuple(write_one(source, folder, name, fail)))


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_content_of_the_folder(nnunet_raw: Path, source: Path):
    folder = write(dataset(full=("case_1",)), source)
    assert folder == nnunet_raw / "Dataset007_Test"
    assert sorted(everything_in(folder)) == [
        "conversion.json",
        "dataset.json",
        "imagesTr/case_0_0000.nii.gz",
        "imagesTr/case_1_0000.nii.gz",
        "labelsTr/case_0.nii.gz",
        "labelsTr/case_1.nii.gz",
        "splits_final.json",
    ]
    assert WeakAnnotations.read(folder).fully_annotated_cases == ("case_1",)
    assert json.loads((folder / "splits_final.json").read_text()) == [{"train": ["case_0"], "val": ["case_1"]}]
    assert list(nnunet_raw.iterdir()) == [folder]  # no temporary sibling


def test_the_record_names_inputs_by_root_and_no_folder_of_this_machine(nnunet_raw: Path, source: Path):
    text = (write(dataset(provenance={"left_out": {}}), source) / "conversion.json").read_text()
    record = json.loads(text)
    assert list(record["input_files"]) == ["images/image.nii.gz"]
    assert record["input_files"]["images/image.nii.gz"]["size_bytes"] == source.stat().st_size
    assert record["left_out"] == {} and record["split_seed"] == 12345
    assert str(source.parent) not in text


def test_shortened_arguments():
    assert shortened("/data/anna/images") == "images"
    assert shortened("relative/images") == "relative/images"
    assert shortened("--prior=file=/data/p") == "--prior=file=p"
    assert shortened("file=/data/p") == "file=p"


def test_the_same_input_gives_the_same_bytes_in_any_number_of_processes(nnunet_raw: Path, source: Path):
    first = everything_in(write(dataset(3), source))
    assert everything_in(write(dataset(3), source, overwrite=True, processes=2)) == first


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_half_way_leaves_nothing_new_and_keeps_the_old(
    nnunet_raw: Path, source: Path, failure: BaseException
):
    with pytest.raises(type(failure)):
        write(dataset(), source, fail=failure)
    assert not list(nnunet_raw.iterdir())
    folder = write(dataset(), source)
    before = everything_in(folder)
    with pytest.raises(type(failure)):
        write(dataset(5), source, fail=failure, overwrite=True)
    assert everything_in(folder) == before
    assert list(nnunet_raw.iterdir()) == [folder]


def test_the_old_folder_comes_back_if_the_new_one_cannot_take_its_place(
    nnunet_raw: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = write(dataset(), source)
    before = everything_in(folder)
    rename = Path.rename

    def fails_for_the_new_one(self: Path, target: Path) -> Path:
        if ".partial-" in self.name:
            raise OSError(errno.EACCES, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new_one)
    with pytest.raises(OSError, match="Permission"):
        write(dataset(3), source, overwrite=True)
    assert everything_in(folder) == before
    assert list(nnunet_raw.iterdir()) == [folder]


def test_a_failure_in_a_worker_process_ends_all_of_them(nnunet_raw: Path, source: Path):
    with pytest.raises(OSError, match="No space"):
        write(dataset(6), source, fail=OSError(errno.ENOSPC, "No space left on device"), processes=2)
    assert not list(nnunet_raw.iterdir())


def test_existing_folder(nnunet_raw: Path, source: Path, caplog: pytest.LogCaptureFixture):
    folder = write(dataset(), source)
    with pytest.raises(InvalidInputError, match="exists already.*--overwrite"):
        write(dataset(), source)
    (nnunet_raw.parent / "nnUNet_preprocessed" / folder.name).mkdir()
    (nnunet_raw / f".{folder.name}.partial-1-abc").mkdir()
    write(dataset(3), source, overwrite=True)
    assert len(WeakAnnotations.read(folder).cases) == 3
    assert "nnUNetv2_plan_and_preprocess again" in caplog.text
    assert "partial-1-abc was left" in caplog.text


@pytest.mark.parametrize("variable", ["nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"])
def test_number_that_has_another_name(nnunet_raw: Path, variable: str):
    (nnunet_raw.parent / variable / "Dataset007_Other").mkdir()
    with pytest.raises(InvalidInputError, match=f"{variable} has it as Dataset007_Other"):
        target_folder(7, "Test", overwrite=True)


def test_missing_variable_and_bad_names(nnunet_raw: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InvalidInputError) as raised:
        target_folder(1000, "a/b", overwrite=False)
    assert len(raised.value.problems) == 2
    monkeypatch.delenv("nnUNet_raw")
    with pytest.raises(InvalidInputError, match="nnUNet_raw is not set"):
        target_folder(7, "Test", overwrite=False)


def test_contradictions_are_all_named():
    with pytest.raises(InvalidInputError) as raised:
        dataset(2, patients={"case_0": "p"}, file_ending=".png")
    text = str(raised.value)
    assert "'.png' is not one of" in text and "case_1: the table of patients" in text
    with pytest.raises(InvalidInputError, match="2 are given for 1 image channels"):
        RawDataset(7, "Test", ("T1", "T2"), {"background": 0}, dataset().annotations)


def test_mask_and_prior_channels_are_not_normalised():
    annotations = WeakAnnotations("score", ChannelLayout(2, ("head", "shaft"), True), {"a": CaseAnnotation()})
    data = RawDataset(7, "Test", ("CT", "MRI"), {"background": 0, "head": 1, "shaft": 2}, annotations)
    names = data.dataset_json()["channel_names"]
    assert names == {"0": "CT", "1": "MRI", "2": "noNorm", "3": "noNorm", "4": "noNorm"}


def test_results_come_in_the_order_of_the_tasks():
    assert run_tasks(abs, [-3, 2, -1], processes=1, description="", progress=False) == [3, 2, 1]
    assert raw_dataset.NO_NORMALISATION.casefold() == "nonorm"
