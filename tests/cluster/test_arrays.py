"""The SLURM scripts of examples/cluster, run by a stand-in for the scheduler: a process for each task of the array."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from score_study import ScoreStudy

SCRIPTS = Path(__file__).parents[2] / "examples" / "cluster"


def submit(script: str, *words: str, tasks: int, folder: Path, **variables: str) -> None:
    """As `sbatch --array`: all tasks at the same time, each with its number."""
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    environment |= {"OMP_NUM_THREADS": "1", "SLURM_CPUS_PER_TASK": "1", **variables}
    running = [
        subprocess.Popen(
            ["bash", str(SCRIPTS / script), *words],
            cwd=folder,
            env={**environment, "SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": str(tasks)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for task in range(tasks)
    ]
    for task, process in enumerate(running):
        output, _ = process.communicate(timeout=400)
        assert process.returncode == 0, f"task {task}\n{output[-3000:]}"


def merge(script: str, *words: str, parts: int, folder: Path) -> None:
    submit(script, *words, tasks=1, folder=folder, MERGE="1", NUM_PARTS=str(parts))


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
def test_a_conversion_in_an_array_equals_a_single_run(nnunet_folders: Path):
    study = ScoreStudy(nnunet_folders, 5)
    assert study.convert() == 0
    single = files_in(study.dataset)
    single.pop("conversion.json")  # its command was called from Python
    words = ["nnunet_weak_convert_scores", "--images", "images", "--masks", "masks", "--scores", "scores.csv"]
    words += ["--regions", "head=1", "shaft=2", "-d", "511", "-n", "Bones", "--overwrite"]
    submit("convert_array.sh", *words, tasks=2, folder=nnunet_folders)
    merge("convert_array.sh", *words, parts=2, folder=nnunet_folders)
    merged = files_in(study.dataset)
    assert "-num_parts" not in merged.pop("conversion.json").decode()
    assert merged == single


def test_outside_an_array_the_scripts_say_what_is_missing(tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    for script in sorted(SCRIPTS.glob("*.sh")):
        words = ["bash", str(script), "images", "masks", "model", "refined"]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode != 0 and "start it with sbatch --array" in done.stderr


@pytest.mark.training
def test_a_refinement_in_an_array_equals_a_single_run(workplace, trained, tmp_path: Path):
    phantoms = workplace.root / "phantoms" / "test"
    words = [str(phantoms / "images"), str(phantoms / "initial_masks"), str(trained), "in_parts"]
    further = ["-f", "0", "-device", "cpu", "--disable_tta"]
    submit("refine_array.sh", *words, *further, tasks=2, folder=tmp_path)
    merge("refine_array.sh", *words, *further, parts=2, folder=tmp_path)
    submit("refine_array.sh", *words[:3], "whole", *further, tasks=1, folder=tmp_path)
    parts, whole = files_in(tmp_path / "in_parts"), files_in(tmp_path / "whole")
    assert parts == whole and {"refinement.csv", "dataset.json", "plans.json"} < set(parts)
