"""Fixtures that run the real nnU-Net on tiny phantoms. Everything lies below pytest's temporary folder."""

from __future__ import annotations

import json
import os
import shlex
import signal
import site
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
SHARING = {  # files with tests that take the same data set, which takes half a minute to make
    "score_dataset": (
        "test_score_commands.py",
        "test_refine.py",
        "test_estimate_quality.py",
        "test_arrays.py",
        "test_front_door.py",
        "test_cpu_precision.py",
        "test_score_plus_trainer.py",
        "test_weak_trainer.py",
    ),
    "drawings_dataset": ("test_refineseg_commands.py", "test_refineseg_trainer.py", "test_refineseg_plus_trainer.py"),
}
QUALITY = 2.71828  # no other number of a training looks like this one
TRAINERS = '''
"""Trainers of a user, beside ours."""
import os

import torch
from nnunet_weak.trainers import nnUNetTrainerRefineSeg, nnUNetTrainerSCORE, nnUNetTrainerSCOREPlus
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class Tiny:
    num_epochs = 3
    num_iterations_per_epoch = 2
    num_val_iterations_per_epoch = 1
    save_every = 1
    initial_lr = 1e-3

    def on_epoch_start(self):
        if str(self.current_epoch) == os.environ.get("STOP_BEFORE_EPOCH"):
            raise KeyboardInterrupt
        super().on_epoch_start()


class nnUNetTrainerSCORE_tiny(Tiny, nnUNetTrainerSCORE):
    pass


class nnUNetTrainerSCOREPlus_tiny(Tiny, nnUNetTrainerSCOREPlus):
    pass


class nnUNetTrainerRefineSeg_tiny(Tiny, nnUNetTrainerRefineSeg):
    pass


class nnUNetTrainerStock_tiny(nnUNetTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        for name in ("num_epochs", "num_iterations_per_epoch", "num_val_iterations_per_epoch", "save_every"):
            setattr(self, name, getattr(Tiny, name))
'''


def pytest_configure() -> None:
    """Let the commands under test be interrupted: what a shell runs in the background ignores Ctrl-C, with all that it
    starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def group_of(nodeid: str) -> str:
    """Group of a test; the tests of a group run on one worker of pytest-xdist, which makes their data set."""
    file = nodeid.partition("::")[0].rpartition("/")[2]
    if file == "test_documented_commands.py":
        return nodeid  # each page has data sets of its own
    return next((name for name, files in SHARING.items() if file in files), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Send whole groups to workers, in the order of the collection."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return ByGroup(config, log)


@pytest.hookimpl(tryfirst=True)  # the order stays if slow tests are deselected
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers begin with the groups that take longest: with those that train, then with those that have slow tests."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    first: dict[str, int] = {}
    rank: dict[str, int] = {}
    for place, item in enumerate(items):
        group = group_of(item.nodeid)
        first.setdefault(group, place)
        slow = 0 if item.get_closest_marker("training") else 1 if item.get_closest_marker("slow") else 2
        rank[group] = min(rank.get(group, 2), slow)
    items.sort(key=lambda item: (rank[group_of(item.nodeid)], first[group_of(item.nodeid)]))


@pytest.fixture
def nnunet_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, new, with nnU-Net's three folders in it."""
    for variable in VARIABLES:
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass(frozen=True)
class Workplace:
    """nnU-Net's folders, a folder of phantoms, and a way to run commands among them."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        scripts = str(Path(sys.executable).parent)
        return {
            **{name: value for name, value in os.environ.items() if name not in ("nnUNet_extTrainer", "PYTHONPATH")},
            **{name: str(self.root / name) for name in VARIABLES},
            "nnUNet_extTrainer": str(self.root / "trainers"),
            "nnUNet_n_proc_DA": "1",
            "nnUNet_def_n_proc": "1",
            "OMP_NUM_THREADS": "1",
            "PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")]),
        }

    def run(self, command: str, expect: int | None = 0, python: Path | None = None, **variables: str) -> str:
        """Run a command in a process of its own; returns what it printed.

        Trainings load their data without further processes, which take seconds to start, unless a variable says so.
        """
        words = shlex.split(command)
        if words[0] == "nnUNetv2_train":
            variables = {"nnUNet_n_proc_DA": "0", **variables}
        if python is not None:
            words = [str(python), "-m", *words]
        done = subprocess.run(
            words,
            env={**self.environment, **variables},
            cwd=self.root,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=600,
        )
        output = done.stdout + done.stderr
        assert expect is None or done.returncode == expect, f"{command}\n{output[-4000:]}"
        return output

    def preprocessed(self, dataset: str) -> Path:
        return self.root / "nnUNet_preprocessed" / dataset

    def model(self, dataset: str, trainer: str, configuration: str = "3d_fullres") -> Path:
        return self.root / "nnUNet_results" / dataset / f"{trainer}__nnUNetPlans__{configuration}"


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Folders, a user's own trainers, and eight tiny phantoms with two held out."""
    from nnunet_weak.cli.make_phantoms import main as make_phantoms

    root = tmp_path_factory.mktemp("nnunet")
    for name in (*VARIABLES, "trainers"):
        (root / name).mkdir()
    (root / "trainers" / "tiny_trainers.py").write_text(TRAINERS)
    arguments = ["--cases", "6", "--test-cases", "2", "--size", "22", "20", "28", "--seed", "3", "-np", "1"]
    assert make_phantoms([str(root / "phantoms"), *arguments]) == 0
    return Workplace(root)


@pytest.fixture(scope="session")
def score_dataset(workplace: Workplace) -> str:
    """A SCORE data set, converted, planned and preprocessed by the real commands, with a thin network."""
    phantoms = workplace.root / "phantoms"
    table = phantoms / "distinctive_scores.csv"
    lines = (phantoms / "scores.csv").read_text().splitlines()
    first = lines[1].split(",")
    table.write_text("\n".join([lines[0], ",".join([*first[:2], str(QUALITY), "under"]), *lines[2:]]) + "\n")
    workplace.run(
        f"nnunet_weak_convert_scores --images {phantoms}/images --masks {phantoms}/initial_masks --scores {table} "
        "--regions proximal=1 shaft=2 distal=3 --prior local -d 511 -n Bones -np 1"
    )
    return plan(workplace, "Dataset511_Bones", "2d 3d_fullres")


@pytest.fixture(scope="session")
def mixed_dataset(workplace: Workplace) -> str:
    """The same with two cases fully annotated."""
    phantoms = workplace.root / "phantoms"
    references = phantoms / "two_references"
    references.mkdir()
    for path in sorted((phantoms / "labels").iterdir())[:2]:
        (references / path.name).write_bytes(path.read_bytes())
    workplace.run(
        f"nnunet_weak_convert_scores --images {phantoms}/images --masks {phantoms}/initial_masks "
        f"--scores {phantoms}/scores.csv --references {references} --regions proximal=1 shaft=2 distal=3 "
        "--prior local -d 512 -n MixedBones -np 1"
    )
    return plan(workplace, "Dataset512_MixedBones", "3d_fullres")


@pytest.fixture(scope="session")
def drawings_dataset(workplace: Workplace) -> str:
    """A RefineSeg data set: anna draws what is and is not there, ben every other slice, a random walker carries
    on; two cases are full."""
    from nnunet_weak.cli.simulate_drawings import main as simulate_drawings

    phantoms = workplace.root / "phantoms"
    drawn = workplace.root / "drawings"
    arguments = [
        "--references",
        str(phantoms / "labels"),
        "--classes",
        "proximal=1",
        "shaft=2",
        "distal=3",
        "--negative",
    ]
    assert (
        simulate_drawings([*arguments, "-o", str(drawn), "--annotators", "anna=typical", "ben=hasty", "-np", "1"]) == 0
    )
    names = sorted(path.name for path in (phantoms / "labels").iterdir())
    references = phantoms / "last_references"
    references.mkdir()
    for name in names[-2:]:
        (references / name).write_bytes((phantoms / "labels" / name).read_bytes())
    (drawn / "positive_ben" / names[0]).unlink()
    workplace.run(
        f"nnunet_weak_convert_drawings --images {phantoms}/images --positive anna={drawn}/positive_anna "
        f"--positive ben={drawn}/positive_ben --negative anna={drawn}/negative_anna --references {references} "
        "--labels background=0 proximal=1 shaft=2 distal=3 --blank 4 --random-walker --channel-names zscore -d 521 "
        "-n Drawings -np 1"
    )
    dataset = plan(workplace, "Dataset521_Drawings", "2d 3d_fullres")
    workplace.run("nnunet_weak_preprocess_annotations -d 521 -np 1")
    return dataset


@pytest.fixture(scope="session")
def trained(workplace: Workplace, score_dataset: str) -> Path:
    """Model folder of a SCORE training by the real command."""
    workplace.run("nnUNetv2_train 511 3d_fullres 0 -tr nnUNetTrainerSCORE_tiny -device cpu", nnUNet_n_proc_DA="1")
    return workplace.model(score_dataset, "nnUNetTrainerSCORE_tiny")


@pytest.fixture(scope="session")
def make_bare_python(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes an environment that has nnU-Net and all else, but not this package; returns its Python."""

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        venv.create(folder, with_pip=False, symlinks=os.name != "nt")
        packages = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
        # A path line in a .pth file makes its packages importable, but runs none of its .pth files: ours, and
        # editable installs.
        others = sorted({sysconfig.get_path("purelib"), *site.getsitepackages()})
        (Path(packages) / "others.pth").write_text("\n".join(others))
        return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    return make


@pytest.fixture(scope="session")
def bare_python(make_bare_python: Callable[[str], Path]) -> Path:
    """Python of an environment that has nnU-Net and all else, but not this package."""
    return make_bare_python("bare")


@pytest.fixture
def replace_dataset_json(workplace: Workplace) -> Iterator[Callable[[str, dict], None]]:
    """Gives a raw data set another `dataset.json` until the test ends."""
    originals: dict[Path, str] = {}

    def replace(dataset: str, content: dict) -> None:
        path = workplace.root / "nnUNet_raw" / dataset / "dataset.json"
        originals.setdefault(path, path.read_text())
        path.write_text(json.dumps(content))

    yield replace
    for path, text in originals.items():
        path.write_text(text)


@pytest.fixture
def trainer_factory(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Builds a trainer in this process as `nnUNetv2_train` does, with class attributes replaced."""

    def make(
        base: type, dataset: str, configuration: str = "3d_fullres", dataset_json: dict | None = None, **attributes
    ):
        import torch

        for name in VARIABLES:
            monkeypatch.setenv(name, workplace.environment[name])
        monkeypatch.setenv("nnUNet_n_proc_DA", "0")
        folder = workplace.preprocessed(dataset)
        plans = json.loads((folder / "nnUNetPlans.json").read_text())
        plans["continue_training"] = False
        content = dataset_json or json.loads((folder / "dataset.json").read_text())
        short = {"num_epochs": 2, "num_iterations_per_epoch": 1, "num_val_iterations_per_epoch": 1}
        trainer = type(base.__name__, (base,), {**short, **attributes})(
            plans, configuration, 0, content, torch.device("cpu")
        )
        return trainer

    return make


def plan(workplace: Workplace, dataset: str, configurations: str) -> str:
    """Plan and preprocess as nnU-Net does, for a thin network."""
    number = dataset[7:10]
    processes = " ".join("1" for _ in configurations.split())
    here = Path(__file__).parent
    workplace.run(
        f"{sys.executable} {here}/quick_plan.py -d {number} -c {configurations} -npfp 1 -np {processes} "
        "--verify_dataset_integrity"
    )
    workplace.run(f"{sys.executable} {here.parent}/examples/thin_plan.py {dataset} --features 4 --most 8")
    return dataset
