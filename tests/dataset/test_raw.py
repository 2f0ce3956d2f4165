from __future__ import annotations

import errno
import json
import platform
from functools import partial
from pathlib import Path

import pytest
import SimpleITK as sitk
from oblique_grid import write_grid

from nnunet_weak.dataset.annotations import CaseAnnotation, ChannelLayout, WeakAnnotations
from nnunet_weak.dataset.case_files import CaseFiles
from nnunet_weak.dataset.convert import ConvertedCase, write_raw_dataset
from nnunet_weak.dataset.folders import dataset_folder, new_dataset_folder
from nnunet_weak.dataset.raw import RawDataset
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.parallel import run_cases, run_tasks


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
    return write_grid(tmp_path / "inputs" / "image.nii.gz")


def write(data: RawDataset, source: Path, *, fail: BaseException | None = None, overwrite=False, processes=1) -> Path:
    return write_raw_dataset(
        new_dataset_folder(7, "Test", overwrite=overwrite),
        {name: name for name in data.annotations.cases},
        partial(_convert, source, fail),
        lambda _: data,
        Problems(),
        processes=processes,
        input_roots={"images": source.parent},
        progress=False,
    )  # type: ignore[return-value]


def _convert(source: Path, fail: BaseException | None, name: str, folder: Path | None) -> ConvertedCase:
    if folder is not None:
        write_one(source, folder, name, fail)
    return ConvertedCase(name=name, inputs=(source,))


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
    (nnunet_raw / f".partial-999999999@{platform.node()}-{folder.name}").mkdir()
    write(dataset(3), source, overwrite=True)
    assert len(WeakAnnotations.read(folder).cases) == 3
    assert "nnUNetv2_plan_and_preprocess again" in caplog.text
    assert "was left by a run that was killed" in caplog.text
    assert list(nnunet_raw.iterdir()) == [folder]


@pytest.mark.parametrize("variable", ["nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"])
def test_number_that_has_another_name(nnunet_raw: Path, variable: str):
    (nnunet_raw.parent / variable / "Dataset007_Other").mkdir()
    with pytest.raises(InvalidInputError, match=f"{variable} has it as Dataset007_Other"):
        new_dataset_folder(7, "Test", overwrite=True)


def test_missing_variable_and_bad_names(nnunet_raw: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InvalidInputError) as raised:
        new_dataset_folder(1000, "a/b", overwrite=False)
    assert len(raised.value.problems) == 2
    monkeypatch.delenv("nnUNet_raw")
    with pytest.raises(InvalidInputError, match="nnUNet_raw is not set"):
        new_dataset_folder(7, "Test", overwrite=False)


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


def _square(value: float) -> float:
    if value < 0:
        raise InvalidInputError([f"{value} is negative", f"{value} of b is negative"])
    return value**2


@pytest.mark.parametrize("processes", [1, 2])
def test_problems_of_cases_name_them_and_the_others_have_results(processes: int):
    problems = Problems()
    results = run_cases(
        _square, {"a": 2, "b": -1, "c": 3}, problems, processes=processes, description="", progress=False
    )
    assert results == {"a": 4, "c": 9}
    assert list(problems) == ["b: -1 is negative", "-1 of b is negative"]


@pytest.mark.parametrize("processes", [1, 2])
def test_all_problems_are_raised_and_nothing_is_written(nnunet_raw: Path, source: Path, processes: int):
    with pytest.raises(InvalidInputError, match="case_1: no label"):
        write(dataset(3), source, fail=InvalidInputError("no label"), processes=processes)
    assert not list(nnunet_raw.iterdir())


def test_data_sets_are_found_by_number_and_name(nnunet_folders: Path, monkeypatch: pytest.MonkeyPatch):
    raw, preprocessed = nnunet_folders / "nnUNet_raw", nnunet_folders / "nnUNet_preprocessed"
    for folder in (raw / "Dataset007_A", preprocessed / "Dataset007_A", preprocessed / "Dataset008_B"):
        folder.mkdir()
    both = ("nnUNet_raw", "nnUNet_preprocessed")
    assert dataset_folder("7", *both) == dataset_folder("Dataset007_A", "nnUNet_raw") == raw / "Dataset007_A"
    assert dataset_folder("008", *both) == preprocessed / "Dataset008_B"
    with pytest.raises(InvalidInputError, match="-m 8: no data set of this number or name in nnUNet_raw="):
        dataset_folder("8", "nnUNet_raw", option="-m")
    (raw / "Dataset007_C").mkdir()
    with pytest.raises(InvalidInputError, match="2 data sets .Dataset007_A, Dataset007_C."):
        dataset_folder("7", *both)
    monkeypatch.delenv("nnUNet_raw")
    with pytest.raises(InvalidInputError, match="nnUNet_raw is not set"):
        dataset_folder("7", "nnUNet_raw")
