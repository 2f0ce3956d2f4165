"""Whatever a file holds: a command ends with exit code 2 and a list that names the file and a remedy, without taking
much memory and without leaving anything behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import hostile_files as hostile
import pytest
from hostile_study import CASES, DRAWINGS, MODEL, arguments_of, main_of

from .conftest import enter

RAW, PREPROCESSED = f"nnUNet_raw/{DRAWINGS}", f"nnUNet_preprocessed/{DRAWINGS}"
ENDING = ".nii.gz"
IMAGES = {
    "convert_scores": "images",
    "convert_drawings": "images",
    "convert_points": "images",
    "prepare_inputs": "images",
    "fuse": f"{RAW}/imagesTr",
}
MAPS_OF_IMAGES = {
    "convert_scores": "masks",
    "convert_scores --references": "labels",
    "convert_drawings": "drawings",
    "convert_drawings --references": "labels",
    "convert_drawings --follow-prediction": "labels",
    "convert_points --references": "labels",
    "prepare_inputs": "masks",
    "evaluate": "masks",
    "simulate_scores": "masks",
    "fuse": f"{RAW}/annotationsTr/anna",
    "preprocess_annotations": f"{RAW}/annotationsTr/anna",
}
MAPS_ALONE = ("evaluate", "simulate_scores", "simulate_drawings", "simulate_points", "simulate_slices")
VOLUMES = {
    **{f"{command}: images": (command, folder, hostile.ANY_VOLUME) for command, folder in IMAGES.items()},
    **{
        f"{command}: label maps of images": (
            command,
            folder,
            hostile.ANY_VOLUME | hostile.LABEL_MAPS | hostile.OTHER_GRIDS,
        )
        for command, folder in MAPS_OF_IMAGES.items()
    },
    **{f"{command}: label maps": (command, "labels", hostile.ANY_VOLUME) for command in MAPS_ALONE},
    # Without a dataset.json, values are compared with those of the references, when all of these could be read.
    "evaluate: label maps of images": (
        "evaluate",
        "masks",
        {
            what: file
            for what, file in (hostile.ANY_VOLUME | hostile.LABEL_MAPS | hostile.OTHER_GRIDS).items()
            if what != "a value of no label"
        },
    ),
    "convert_drawings: segmentations": ("convert_drawings", "drawings", hostile.SEGMENTATIONS),
    "convert_points: point files": ("convert_points", "points", hostile.POINT_FILES),
}


@pytest.fixture
def crowd(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the study, the current folder, for more cases."""
    shutil.copytree(template, tmp_path / "study")
    enter(tmp_path / "study", monkeypatch)
    return tmp_path / "study"


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("kind", VOLUMES)
def test_a_case_for_each_hostile_file(crowd: Path, kind: str, capsys: pytest.CaptureFixture[str]):
    """One run of a command tells all of them."""
    command, folder, files = VOLUMES[kind]
    name, _, option = command.partition(" ")
    if name in ("fuse", "preprocess_annotations"):  # the files of a data set have one ending
        files = {what: file for what, file in files.items() if file[0] == ENDING}
    cases = {f"h{number:02d}": what for number, what in enumerate(files)}
    add_cases(crowd, list(cases))
    for case, what in cases.items():
        ending, write = files[what]
        (valid,) = [path for path in (crowd / folder).iterdir() if path.name.startswith((f"{case}.", f"{case}_0000."))]
        target = valid if ending == ENDING else valid.with_name(case + ending)
        if target != valid:
            valid.unlink()
        write(target)
    if option == "--follow-prediction":
        labels = {"background": 0, "one": 1, "two": 2}
        (crowd / folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    before = set(crowd.rglob("*"))
    changed = {}
    if "segmentations" in kind:
        changed = {"9": "0", "background=0": "background=rest"}
        for case in CASES:
            (crowd / folder / f"{case}{ENDING}").unlink()
            (crowd / folder / f"{case}.seg.nrrd").write_bytes(hostile.segmentation())
    code = main_of(name)([*arguments_of(name, **changed), *([option, "labels"] if option else [])])
    told = capsys.readouterr().err
    assert code == 2, told
    problems = [line for line in told.splitlines() if line.startswith("  - ")]
    silent = {
        what: [line for line in problems if case in line]
        for case, what in cases.items()
        if not any(case in line and "remedy:" in line for line in problems)
    }
    assert not silent, "\n".join(map(str, silent.items()))
    assert not any(case in line for line in problems for case in CASES), told
    assert "root:" not in told and "\x1b" not in told and len(told) < 100_000
    kept = ("Ts", "prepared", "annotation_maps", "anna") if name in ("prepare_inputs", "preprocess_annotations") else ()
    assert not [path for path in crowd.rglob("*") if path not in before and not path.name.startswith((*CASES, *kept))]


def add_cases(root: Path, names: list[str]) -> None:
    """Cases like c1, of which every folder has the files."""
    for folder in ("images", "masks", "labels", "drawings", "points", f"{RAW}/imagesTr", f"{RAW}/labelsTr",
                   f"{RAW}/annotationsTr/anna", f"{PREPROCESSED}/nnUNetPlans_2d"):  # fmt: skip
        for path in (root / folder).glob("c1*"):
            for name in names:
                shutil.copy(path, path.with_name(name + path.name[2:]))
    rows = "".join(f"{name},{region},3,under\n" for name in names for region in ("one", "two"))
    with (root / "scores.csv").open("a") as file:
        file.write(rows)
    for folder in (RAW, PREPROCESSED):
        content = json.loads((root / folder / "dataset.json").read_text())
        entries = content["nnunet_weak"]["cases"]
        entries.update(dict.fromkeys(names, entries["c1"]))
        (root / folder / "dataset.json").write_text(json.dumps(content))


@contextmanager
def spoilt(valid: Path, target: Path, write: hostile.Writer) -> Iterator[None]:
    """A hostile file in place of a valid one, which may not exist."""
    aside = valid.with_name("aside")
    if valid.exists():
        valid.rename(aside)
        shutil.copy(aside, target)
    try:
        write(target)
        yield
    finally:
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        if aside.exists():
            aside.rename(valid)


def refused(study: Path, command: str, arguments: list[str], file: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = set(study.rglob("*"))
    code = main_of(command)(arguments)
    told = capsys.readouterr().err
    assert code == 2, f"exit code {code}\n{told[-2000:]}"
    assert file in told and "remedy:" in told, told[-2000:]
    assert "\x1b" not in told and len(told) < 100_000
    assert set(study.rglob("*")) == before


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", hostile.SCORE_TABLES)
def test_score_tables(study: Path, name: str, capsys: pytest.CaptureFixture[str]):
    ending, write = hostile.SCORE_TABLES[name]
    target = study / f"table{ending}"
    with spoilt(target, target, write):
        arguments = arguments_of("convert_scores", **{"scores.csv": target.name})
        refused(study, "convert_scores", arguments, target.name, capsys)


@pytest.mark.parametrize("command", ["convert_scores", "convert_points", "evaluate"])
def test_patient_tables(study: Path, command: str, capsys: pytest.CaptureFixture[str]):
    target = study / "patients.csv"
    more = ["--baseline", "b=labels"] if command == "evaluate" else []
    for _, write in hostile.PATIENT_TABLES.values():
        with spoilt(target, target, write):
            arguments = [*arguments_of(command), "--patients", target.name, *more]
            refused(study, command, arguments, target.name, capsys)


JSON_FILES: Mapping[str, tuple[str, str]] = {
    "scores": ("convert_scores", "scores.json"),
    "points": ("convert_points", "points/c1.json"),
    "markups": ("convert_points", "points/c1.mrk.json"),
    "labels of evaluate": ("evaluate", "labels.json"),
    "labels of simulate_scores": ("simulate_scores", "labels.json"),
    "data set of prepare_inputs": ("prepare_inputs", "nnUNet_raw/Dataset511_T/dataset.json"),
    "data set of fuse": ("fuse", f"{RAW}/dataset.json"),
    "folds of fuse": ("fuse", f"{RAW}/splits_final.json"),
    "data set of preprocess_annotations": ("preprocess_annotations", f"{RAW}/dataset.json"),
    "plans of preprocess_annotations": ("preprocess_annotations", f"{PREPROCESSED}/nnUNetPlans.json"),
    "data set of add_input_channels": ("add_input_channels", f"{PREPROCESSED}/dataset.json"),
    "plans of add_input_channels": ("add_input_channels", f"{PREPROCESSED}/nnUNetPlans.json"),
    "plans of report_annotators": ("report_annotators", f"{MODEL}/plans.json"),
    "plans of set_threshold": ("calibrate", f"{MODEL}/plans.json"),
    "data set of set_threshold": ("calibrate", f"{PREPROCESSED}/dataset.json"),
}
_JSON_OPTIONS = {
    "scores": {"scores.csv": "scores.json"},
    "labels of evaluate": {"one=1": "labels.json", "two=2": "labels.json"},
    "labels of simulate_scores": {"--classes": "--dataset-json", "one=1": "labels.json", "two=2": "labels.json"},
}


@pytest.mark.parametrize("place", JSON_FILES)
def test_json(study: Path, place: str, capsys: pytest.CaptureFixture[str]):
    command, file = JSON_FILES[place]
    arguments = arguments_of(command, **_JSON_OPTIONS.get(place, {}))
    if place.startswith("labels"):  # one argument in place of two
        arguments.remove("labels.json")
    target = study / file
    valid = study / "points/c1.csv" if command == "convert_points" else target
    for name, write in hostile.JSON_FILES.items():
        if name == "a folder" and place in ("points", "markups", "folds of fuse"):
            continue  # as if there were none
        if name == "cut" and not target.exists():
            continue
        with spoilt(valid, target, write):
            # A folder in place of a file is no such file; the message may name the folder that should have it.
            refused(study, command, arguments, "" if name == "a folder" else target.name, capsys)


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("set_threshold", f"{MODEL}/fold_0/checkpoint_final.pth"),
        ("report_annotators", f"{MODEL}/fold_0/checkpoint_final.pth"),
        ("add_input_channels", "model.pth"),
    ],
)
def test_checkpoints(study: Path, command: str, file: str, capsys: pytest.CaptureFixture[str]):
    for write in hostile.CHECKPOINTS.values():
        with spoilt(study / file, study / file, write):
            refused(study, command, arguments_of(command), Path(file).name, capsys)
            assert not (study / "pwned").exists()
