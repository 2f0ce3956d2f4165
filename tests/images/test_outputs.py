from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.outputs import check_output_file, check_output_folder

COMMAND, RECORD = "nnunet_weak_example", "example.json"


@pytest.fixture
def references(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "labels"
    folder.mkdir(parents=True)
    (folder / "case.nii.gz").write_bytes(b"voxels")
    return folder


def check(folder: Path, references: Path | None = None, overwrite: bool = True) -> None:
    inputs = (references, None)
    check_output_folder(folder, command=COMMAND, record=RECORD, overwrite=overwrite, inputs=inputs)


def make_result(folder: Path, command: str = COMMAND) -> Path:
    folder.mkdir()
    (folder / RECORD).write_text(f'{{"made_by": "{command} 1.0"}}')
    return folder


def test_new_and_empty_folders_and_own_results_are_allowed(tmp_path: Path, references: Path):
    check(tmp_path / "new", references, overwrite=False)
    (tmp_path / "empty").mkdir()
    check(tmp_path / "empty", references, overwrite=False)
    check(make_result(tmp_path / "own"), references)


def test_an_own_result_needs_overwrite(tmp_path: Path):
    with pytest.raises(InvalidInputError, match="exists already.*--overwrite"):
        check(make_result(tmp_path / "own"), overwrite=False)


def test_the_data_of_others_are_never_replaced(tmp_path: Path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInputError, match="will not delete it"):
        check(precious)
    (precious / RECORD).write_text('{"made_by": "another program"}')
    with pytest.raises(InvalidInputError, match="will not delete it"):
        check(precious)
    with pytest.raises(InvalidInputError, match="will not delete it"):
        check(make_result(tmp_path / "other", "nnunet_weak_other"))


def test_inputs_are_never_replaced_even_with_a_record(references: Path, tmp_path: Path):
    for folder in (references, references.parent):
        (folder / RECORD).write_text(f"made_by: {COMMAND}")
    with pytest.raises(InvalidInputError, match="is the input"):
        check(references, references)
    with pytest.raises(InvalidInputError, match="holds the input"):
        check(references.parent, references)
    with pytest.raises(InvalidInputError, match="lies in the input"):
        check(references / "out", references)
    with pytest.raises(InvalidInputError, match="is the input"):
        check(references / ".." / "labels", references)
    (tmp_path / "alias").symlink_to(references)
    with pytest.raises(InvalidInputError, match="is the input(.|\n)*is a link"):
        check(tmp_path / "alias", references)


def test_files_behind_links_are_inputs_too(tmp_path: Path, references: Path):
    result = make_result(tmp_path / "own")
    (result / "mask.nii.gz").write_bytes(b"voxels")
    (references / "linked.nii.gz").symlink_to(result / "mask.nii.gz")
    with pytest.raises(InvalidInputError, match="holds the input"):
        check(result, references)


def test_a_place_that_cannot_be_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInputError, match="is a file"):
        check(tmp_path / "file")
    with pytest.raises(InvalidInputError, match="file is a file"):
        check(tmp_path / "file" / "below" / "out")
    check(tmp_path / "new" / "below" / "out")
    with pytest.raises(InvalidInputError, match="no such folder"):
        check_output_file(tmp_path / "nowhere" / "t.csv", overwrite=False, inputs=[], begins_with=b"")


def test_files_are_replaced_only_by_their_like(tmp_path: Path, references: Path):
    def check_file(path: Path, overwrite: bool = True) -> None:
        check_output_file(path, overwrite=overwrite, inputs=[references], begins_with=b"case,region")

    table = tmp_path / "scores.csv"
    check_file(table, overwrite=False)
    table.write_text("case,region,quality\n")
    check_file(table)
    with pytest.raises(InvalidInputError, match="exists already"):
        check_file(table, overwrite=False)
    table.write_text("my notes")
    with pytest.raises(InvalidInputError, match="will not replace it"):
        check_file(table)
    with pytest.raises(InvalidInputError, match="is a folder"):
        check_file(tmp_path / "data")
    with pytest.raises(InvalidInputError, match="lies in the input"):
        check_file(references / "scores.csv")


def test_links_that_lead_nowhere_do_no_harm(tmp_path: Path, references: Path):
    (references / "loop").symlink_to("loop")
    (references / "gone").symlink_to("nowhere")
    check(tmp_path / "new", references)
