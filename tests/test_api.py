"""What `import nnunet_weak` gives: complete, typed, lazy, and the same as the commands."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import nnunet_weak
from nnunet_weak.cli.make_phantoms import main as make_phantoms
from nnunet_weak.cli.simulate_drawings import main as simulate_drawings
from nnunet_weak.cli.simulate_points import main as simulate_points
from nnunet_weak.dataset_conversion.scores import main as convert_scores
from nnunet_weak.options import arguments_of
from nnunet_weak.scores.options import ScoreConversion

NAMES = sorted(set(nnunet_weak.__all__) - {"__version__"})
FUNCTIONS = [name for name in NAMES if inspect.isfunction(getattr(nnunet_weak, name))]
STUB = Path(nnunet_weak.__file__).with_suffix(".pyi")
LABELS = {"proximal": 1, "shaft": 2, "distal": 3}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("api") / "phantoms"
    size = ["--size", "22", "20", "26"]
    assert make_phantoms([str(folder), "--cases", "3", "--test-cases", "2", "-np", "1", *size]) == 0
    return folder


@pytest.fixture
def raw(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    monkeypatch.setenv("nnUNet_raw", str(folder))
    return folder


def test_importing_the_package_loads_nothing_and_knows_all_names():
    # In an installed environment a start file has loaded the package before.
    code = """
import json, sys
sys.modules.pop("nnunet_weak", None)
before = set(sys.modules)
import nnunet_weak
print(json.dumps([sorted(set(sys.modules) - before), dir(nnunet_weak)]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, names = json.loads(done.stdout)
    assert loaded == ["nnunet_weak"]
    assert set(NAMES) <= set(names)


def test_the_stub_lists_the_same_names():
    imported = [node for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.ImportFrom)]
    found = {alias.name: node.module for node in imported for alias in node.names}
    assert found == {name: f"nnunet_weak.{module}" for name, module in nnunet_weak._MODULE_OF.items()}
    assert all(alias.asname == alias.name for node in imported for alias in node.names), "else it is not re-exported"
    assert STUB.with_name("py.typed").is_file()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_typed_and_documented(name):
    function = getattr(nnunet_weak, name)
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    untyped = [one.name for one in signature.parameters.values() if one.annotation is inspect.Parameter.empty]
    assert untyped == []
    assert inspect.getdoc(function).splitlines()[0].endswith((".", ".``"))


def test_unknown_names_are_refused_as_of_any_module():
    with pytest.raises(AttributeError, match="no attribute 'convert_dicom'"):
        nnunet_weak.convert_dicom  # noqa: B018
    with pytest.raises(ImportError):
        from nnunet_weak import convert_dicom  # noqa: F401


def test_conversion_is_the_same_as_by_the_command(phantoms, raw):
    given = {
        "images": phantoms / "images",
        "masks": phantoms / "initial_masks",
        "scores": phantoms / "scores.csv",
        "regions": LABELS,
    }
    lines: list[str] = []
    folder = nnunet_weak.convert_scores(
        **given,
        dataset_id=511,
        name="Bones",
        say=lines.append,
        prior="local",
        prior_options={"reach_mm": 15},
        processes=1,
    )
    assert folder == raw / "Dataset511_Bones" and any("Next: nnUNetv2_plan_and_preprocess" in line for line in lines)
    command = json.loads((folder / "conversion.json").read_text())["command"]
    assert command[0] == "nnunet_weak_convert_scores" and {"--prior=local", "reach_mm=15"} <= set(command)

    words = [word for name, value in given.items() if name != "regions" for word in (f"--{name}", str(value))]
    words += ["--regions", "proximal=1", "shaft=2", "distal=3", "--prior", "local", "--prior-options", "reach_mm=15"]
    assert convert_scores([*words, "-d", "512", "-n", "Bones", "-np", "1"]) == 0
    blocks = [json.loads((raw / f"Dataset{n}_Bones" / "dataset.json").read_text()) for n in (511, 512)]
    assert {**blocks[0], "name": ""} == {**blocks[1], "name": ""}

    annotations = nnunet_weak.load_annotations(folder)
    assert annotations.method == "score" and annotations.channels.masks == tuple(LABELS)
    assert annotations.prior.values["reach_mm"] == 15
    assert len(annotations.cases) == 3


def test_other_converters(phantoms, raw, tmp_path):
    images, labels = phantoms / "images", phantoms / "labels"
    classes = [f"{name}={value}" for name, value in LABELS.items()]
    simulate_drawings(["--references", str(labels), "--classes", *classes, "-o", str(tmp_path / "drawn"), "-np", "1"])
    folder = nnunet_weak.convert_drawings(
        images=images, positive={"anna": tmp_path / "drawn" / "positive_anna"}, labels={"background": 0, **LABELS},
        blank=4, dataset_id=521, name="Drawn", previews=False, processes=1, say=lambda line: None,
    )  # fmt: skip
    assert dict(nnunet_weak.load_annotations(folder).maps) == {"anna": "positive"}
    assert not (folder / "previews").exists()

    simulate_points(
        ["--references", str(labels), "--classes", "bone=1,2,3", "-o", str(tmp_path / "points"), "-np", "1"]
    )
    folder = nnunet_weak.convert_points(
        images=images, points=tmp_path / "points", classes=["bone"], dataset_id=531, name="Points", previews=False,
        processes=1, say=lambda line: None,
    )  # fmt: skip
    assert nnunet_weak.load_annotations(folder).method == "weaknet"
    assert nnunet_weak.convert_points(
        images=images, points=tmp_path / "points", dataset_id=532, name="Dry", dry_run=True, processes=1
    ) is None  # fmt: skip
    assert not (raw / "Dataset532_Dry").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"priors": "local"}, r"no such options: priors \(allowed are .*prior,"),
        ({"prior": "loacl"}, "nnunet_weak_convert_scores: argument --prior: invalid choice: 'loacl'"),
        ({"regions": {"shaft": 2, "ends": "two,3"}}, "labels and file names are mixed"),
        ({"dataset_id": "eleven"}, "argument -d/--dataset-id: invalid int value"),
    ],
)
def test_wrong_options_are_errors_and_do_not_end_the_process(options, message, phantoms, raw):
    given = {"images": phantoms / "images", "masks": phantoms, "scores": "scores.csv", "regions": LABELS}
    with pytest.raises(nnunet_weak.InvalidInputError, match=message):
        nnunet_weak.convert_scores(**{**given, "dataset_id": 511, "name": "Bones", **options})


def test_values_as_arguments():
    assert arguments_of(
        ScoreConversion,
        {
            "images": Path("a b"),
            "regions": {"hip": (3, "7-9"), "ribs": "rib_*", "skull": ""},
            "columns": {"quality": "Note", "case": "Patient"},
            "channel_names": ("T1", "T2"),
            "dry_run": True,
            "overwrite": False,
            "references": None,
        },
    ) == [
        "--images=a b", "--regions", "hip=3,7-9", "ribs=rib_*", "skull", "--columns=quality=Note,case=Patient",
        "--channel-names", "T1", "T2", "--dry-run",
    ]  # fmt: skip


def test_evaluation_of_folders(phantoms):
    test = phantoms / "test"
    table = nnunet_weak.evaluate(
        test / "labels", test / "labels", labels={"bone": (1, 2, 3)}, baselines={"initial": test / "initial_masks"}
    )
    assert set(table["method"]) == {"prediction", "initial"} and set(table["label"]) == {"bone"}
    assert (table.loc[table["method"] == "prediction", "dice"] == 1).all()
    assert (table.loc[table["method"] == "initial", "dice"] < 0.95).all()
    assert nnunet_weak.evaluate(test / "labels", test / "labels")["case"].nunique() == 2


def test_a_case_in_memory_from_annotation_to_measurement():
    phantom = nnunet_weak.make_phantom(3, (22, 20, 26))
    bone = sitk.Cast(phantom.labels > 0, sitk.sitkUInt8)
    points = nnunet_weak.simulate_points(bone, 40, seed=1)
    fit = nnunet_weak.fit_surface(points)
    template = nnunet_weak.rasterise(fit.vertices_mm, fit.faces, phantom.image)
    arrays = [sitk.GetArrayFromImage(image) for image in (template, bone)]
    (metrics,) = nnunet_weak.evaluate_case(*arrays, {"bone": 1}, phantom.image.GetSpacing()[::-1])
    assert 0.6 < metrics.dice < 1

    prior = nnunet_weak.boundary_prior(phantom.image, nnunet_weak.PriorOptions("local"), phantom.initial_mask)
    assert prior.GetSize() == phantom.image.GetSize()
    drawing = nnunet_weak.draw_positive(
        arrays[1], phantom.image.GetSpacing()[::-1], nnunet_weak.ANNOTATORS["typical"], num_classes=2, seed=0
    )
    assert set(np.unique(drawing.annotation)) == {0, 1, 2}
