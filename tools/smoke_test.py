"""Does an installed wheel work? Run by the Python of an environment that has it, from any folder but a checkout.

    python tools/smoke_test.py [--uninstall]

Every command answers `--help`, every trainer is found by nnU-Net's own lookup and survives pickling, every public name
is there, phantoms are converted; with `--uninstall` the package is removed, and nothing of it must remain.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import distribution
from pathlib import Path

PACKAGE = "nnunet_weak"


def main() -> int:
    """Run all checks; an assertion names what fails."""
    installed = distribution(PACKAGE)
    files = [Path(str(installed.locate_file(file))) for file in installed.files or []]
    commands = [entry.name for entry in installed.entry_points if entry.group == "console_scripts"]
    assert len(commands) > 10, commands
    for command in commands:
        assert f"usage: {command}" in run(executable(command), "--help"), command
    print(f"{len(commands)} commands answer --help")

    import nnunet_weak

    assert Path(nnunet_weak.__file__).is_relative_to(sysconfig.get_path("purelib")), nnunet_weak.__file__
    for name in nnunet_weak.__all__:
        getattr(nnunet_weak, name)
    print(f"{PACKAGE} {nnunet_weak.__version__}: {len(nnunet_weak.__all__)} public names")

    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find

    from nnunet_weak import trainers

    for name in trainers.__all__:
        found = find(name)
        assert found is getattr(trainers, name) and pickle.loads(pickle.dumps(found)) is found, name
    print(f"{len(trainers.__all__)} trainers are found by nnU-Net")

    with tempfile.TemporaryDirectory() as folder:
        phantoms = Path(folder) / "phantoms"
        run(
            executable("nnunet_weak_make_phantoms"),
            str(phantoms),
            "--cases",
            "3",
            "--test-cases",
            "0",
            "--size",
            "22",
            "20",
            "26",
        )
        raw = Path(folder) / "raw"
        raw.mkdir()
        run(
            executable("nnunet_weak_convert_scores"), "--images", str(phantoms / "images"), "--masks",
            str(phantoms / "initial_masks"), "--scores", str(phantoms / "scores.csv"), "--regions", "proximal=1",
            "shaft=2", "distal=3", "-d", "511", "-n", "Bones", nnUNet_raw=str(raw),
        )  # fmt: skip
        assert len(list((raw / "Dataset511_Bones" / "imagesTr").iterdir())) == 3 * 5
    print("phantoms are made and converted, in several processes")

    if "--uninstall" in sys.argv[1:]:
        run(sys.executable, "-m", "pip", "uninstall", "--yes", PACKAGE)
        left = [str(file) for file in files if file.exists()]
        assert not left, left
        assert not (Path(sysconfig.get_path("purelib")) / PACKAGE).exists()
        code = "import os; print(os.environ.get('nnUNet_extTrainer'))"
        assert run(sys.executable, "-c", code).strip() == "None"
        print(f"uninstalled: none of {len(files)} files is left")
    return 0


def executable(command: str) -> str:
    """Path of a console script of this environment."""
    return str(Path(sysconfig.get_path("scripts")) / (command + (".exe" if os.name == "nt" else "")))


def run(*words: str, **variables: str) -> str:
    """Run a command that must succeed; returns what it prints."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("nnUNet_extTrainer", "PYTHONPATH")}
    done = subprocess.run(words, env=inherited | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-4000:])
    return done.stdout


if __name__ == "__main__":
    raise SystemExit(main())
