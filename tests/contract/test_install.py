"""What `pip install` must do beside copying files: nnU-Net finds the trainers without any variable set by hand.

This rests on behaviour of setuptools that is documented nowhere (`data_files` in editable installs), hence both modes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in ("pip", "setuptools")), reason="needs pip and setuptools"
    ),
]

ROOT = Path(__file__).parents[2]
BUILD_INPUTS = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
PACKAGES = ("nnunet_weak", "trainers", "dataset_conversion")

USERS_TRAINERS = '''
from nnunet_weak.trainers import nnUNetTrainerSCORE


class nnUNetTrainerMine(nnUNetTrainerSCORE):
    num_epochs = 7


class nnUNetTrainerSCOREPlus(nnUNetTrainerSCORE):
    """The user's, under a name that we use too."""
'''

# Asks nnU-Net's own finder; then a process started by spawn, which has to unpickle the class.
FIND = """
import json
import multiprocessing
import sys


def where(trainer):
    return [trainer.__module__, trainer.__name__]


def main(output, spawned, *names):
    import nnunetv2
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find

    found = {"nnunetv2": nnunetv2.__path__[0]}
    for name in names:
        try:
            found[name] = where(find(name))
        except RuntimeError as error:
            found[name] = str(error)
    if spawned:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found["spawned"] = pool.apply(where, (find(spawned),))
    with open(output, "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
"""


@dataclass(frozen=True)
class Environment:
    """A virtual environment and where its packages are."""

    python: Path

    @property
    def packages(self) -> Path:
        folder = str(self.python.parents[1])
        return Path(sysconfig.get_path("purelib", vars={"base": folder, "platbase": folder}))

    def pip(self, *words: str) -> str:
        return _run([sys.executable, "-m", "pip", "--python", str(self.python), "--disable-pip-version-check", *words])

    def install(self, *words: str) -> None:
        # Where the tests themselves run from an editable install, pip sees it from here and would call it enough.
        self.pip("install", "--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed", *words)

    def find(self, folder: Path, *names: str, spawned: str = "", **variables: str) -> dict[str, list[str] | str]:
        script, output = folder / "find.py", folder / "found.json"
        script.write_text(FIND)
        _run([str(self.python), str(script), str(output), spawned, *names], **variables)
        return json.loads(output.read_text())

    def files(self) -> set[Path]:
        return {path.relative_to(self.packages) for path in self.packages.rglob("*") if path.is_file()}


def _run(words: list[str], **variables: str) -> str:
    inherited = {key: value for key, value in os.environ.items() if key not in ("nnUNet_extTrainer", "PYTHONPATH")}
    done = subprocess.run(words, env={**inherited, **variables}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of what is built, as building leaves folders behind."""
    folder = tmp_path_factory.mktemp("source") / "nnunet_weak"
    folder.mkdir()
    for name in BUILD_INPUTS:
        shutil.copyfile(ROOT / name, folder / name)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module", params=["copied", "editable"])
def installed(request, make_bare_python, source) -> Environment:
    environment = Environment(make_bare_python(request.param))
    environment.install(*(["--editable"] if request.param == "editable" else []), str(source))
    return environment


def test_found_without_any_variable_and_behind_the_users_own(installed, tmp_path):
    own = tmp_path / "own_trainers"
    own.mkdir()
    (own / "mine.py").write_text(USERS_TRAINERS)
    names = ["nnUNetTrainerSCORE", "nnUNetTrainerSCOREPlus", "nnUNetTrainer"]

    found = installed.find(tmp_path, *names, spawned="nnUNetTrainerSCORE")
    assert found["nnUNetTrainerSCORE"] == ["nnunet_weak.trainers.score", "nnUNetTrainerSCORE"]
    assert found["nnUNetTrainerSCOREPlus"] == ["nnunet_weak.trainers.score_plus", "nnUNetTrainerSCOREPlus"]
    assert found["nnUNetTrainer"] == ["nnunetv2.training.nnUNetTrainer.nnUNetTrainer", "nnUNetTrainer"]
    assert found["spawned"] == found["nnUNetTrainerSCORE"], "worker processes unpickle the class"

    found = installed.find(tmp_path, *names, "nnUNetTrainerMine", nnUNet_extTrainer=str(own))
    assert found["nnUNetTrainerMine"] == ["mine", "nnUNetTrainerMine"]
    assert found["nnUNetTrainerSCOREPlus"] == ["mine", "nnUNetTrainerSCOREPlus"], "the user's folder comes first"
    assert found["nnUNetTrainerSCORE"] == ["nnunet_weak.trainers.score", "nnUNetTrainerSCORE"]


def test_commands_are_installed(installed):
    command = installed.python.with_name("nnunet_weak_convert_scores" + (".exe" if os.name == "nt" else ""))
    assert "usage: nnunet_weak_convert_scores" in _run([str(command), "--help"])


def test_nnunet_itself_from_a_checkout(make_bare_python, source, tmp_path):
    """An editable nnU-Net lies outside site-packages, and is searched by its folder."""
    import nnunetv2

    environment = Environment(make_bare_python("checkout"))
    checkout = tmp_path / "nnUNet"
    shutil.copytree(nnunetv2.__path__[0], checkout / "nnunetv2", ignore=shutil.ignore_patterns("__pycache__"))
    (environment.packages / "a_checkout.pth").write_text(str(checkout))  # read before others.pth
    environment.install(str(source))
    found = environment.find(tmp_path, "nnUNetTrainerSCORE", "nnUNetTrainer")
    assert found["nnunetv2"] == str(checkout / "nnunetv2")
    assert found["nnUNetTrainerSCORE"] == ["nnunet_weak.trainers.score", "nnUNetTrainerSCORE"]
    assert found["nnUNetTrainer"] == ["nnunetv2.training.nnUNetTrainer.nnUNetTrainer", "nnUNetTrainer"]


@pytest.mark.parametrize("mode", ["copied", "editable"])
def test_uninstalling_leaves_nothing_and_harms_nothing(mode, make_bare_python, source, tmp_path):
    environment = Environment(make_bare_python(f"emptied_{mode}"))
    before = environment.files()
    environment.install(*(["--editable"] if mode == "editable" else []), str(source))
    assert {"nnunet_weak.pth", "nnunet_weak.start"} <= {path.name for path in environment.files() - before}
    variable = _run([str(environment.python), "-c", "import os; print(os.environ['nnUNet_extTrainer'])"]).strip()
    assert Path(variable).is_relative_to(source if mode == "editable" else environment.packages)

    environment.pip("uninstall", "--yes", "nnunet_weak")
    assert environment.files() == before
    assert _run([str(environment.python), "-c", "import os; print('nnUNet_extTrainer' in os.environ)"]) == "False\n"
    if mode == "copied":  # nnU-Net passes over a folder that is gone
        assert not Path(variable).exists()
        return
    # A shell or a parent process may still hold the value.
    found = environment.find(tmp_path, "nnUNetTrainer", "nnUNetTrainerSCORE", nnUNet_extTrainer=variable)
    assert found["nnUNetTrainer"] == ["nnunetv2.training.nnUNetTrainer.nnUNetTrainer", "nnUNetTrainer"]
    assert "Could not find requested nnunet trainer" in found["nnUNetTrainerSCORE"]
