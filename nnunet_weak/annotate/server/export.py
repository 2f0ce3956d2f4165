"""The command that converts what was annotated, and its dry run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from nnunet_weak.annotate.records.states import StateFolder
from nnunet_weak.annotate.study import Study

_NUMBERS = {"scores": 511, "drawings": 521, "points": 531}
_LONGEST_DRY_RUN_S = 1800


def convert_arguments(study: Study, states: StateFolder) -> list[str]:
    """Arguments of the task's converter, with everything that was annotated so far.

    Paths lie below the study's folder wherever that is possible, in which the command is run.
    """
    arguments = [f"nnunet_weak_convert_{study.task}", "--images", _shown(study.image_folder, study)]
    if study.task == "scores":
        assert study.mask_folder is not None
        sources = [f"{region.name}={','.join(map(str, region.labels or region.patterns))}" for region in study.regions]
        arguments += [
            "--masks",
            _shown(study.mask_folder, study),
            "--scores",
            _shown(study.output / "scores.csv", study),
        ]
        arguments += ["--regions", *sources, "--other-labels", "background"]
    elif study.task == "drawings":
        for folder in sorted((study.output / "drawings").glob("*")):
            if any(folder.glob("[!.]*")):
                kind, name = (
                    ("negative", folder.name[:-4]) if folder.name.endswith("_not") else ("positive", folder.name)
                )
                arguments += [f"--{kind}", f"{name}={_shown(folder, study)}"]
        labels = [f"{name}={number}" for number, name in enumerate(study.classes, start=2)]
        arguments += ["--blank", "0", "--labels", "background=1", *labels]
    else:
        arguments += ["--points", _shown(study.output / "points" / states.annotator, study)]
        arguments += ["--classes", *study.classes]
    name = re.sub(r"[^A-Za-z0-9]+", "", study.folder.name.title()) or "Annotated"
    return [*arguments, "--allow-missing", "-d", str(_NUMBERS[study.task]), "-n", name]


def shown_command(study: Study, states: StateFolder) -> str:
    """The command to type, from the study's folder."""
    return f"cd {shlex.quote(str(study.folder))} && {shlex.join(convert_arguments(study, states))}"


def dry_run(study: Study, states: StateFolder) -> tuple[int, str, str]:
    """Run the command with `--dry-run` in a process of its own; nothing is written.

    Returns:
        Exit status, output, and what was written to standard error: the reasons, if it was refused.
    """
    command, *arguments = convert_arguments(study, states)
    module = f"nnunet_weak.dataset_conversion.{command.removeprefix('nnunet_weak_convert_')}"
    with tempfile.TemporaryDirectory() as folder:
        places = {
            name: os.environ.get(name, folder) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
        }
        try:
            done = subprocess.run(
                [sys.executable, "-m", module, *arguments, "--dry-run", "-np", "1"],
                cwd=study.folder,
                env={**os.environ, **places},
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                timeout=_LONGEST_DRY_RUN_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 124, "", f"The dry run took more than {_LONGEST_DRY_RUN_S} s. Run the command in a terminal."
    errors = _without_progress(done.stderr).strip()
    if done.returncode:
        return done.returncode, done.stdout.strip(), errors
    return 0, f"{done.stdout}\n{errors}".strip(), ""


def _without_progress(text: str) -> str:
    return "\n".join(
        line
        for line in text.replace("\r", "\n").splitlines()
        if "it/s]" not in line and "case/s]" not in line and "case]" not in line
    )


def _shown(path: Path, study: Study) -> str:
    try:
        return str(path.relative_to(study.folder))
    except ValueError:
        return str(path)
