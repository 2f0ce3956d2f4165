"""Every command in README and docs runs as it is printed, on phantoms; every Python block runs too.

A ```bash block is run unless a comment above it says `<!-- skip: REASON -->`; `<!-- setup: COMMAND -->` runs a command
before it. Pages of a group continue each other in one folder. What is shortened, as a real training takes hours: the
trainers' schedules (classes of the same names, which come first as they are the user's) and their final validation, the
phantoms, the width of networks, and the device, which is the CPU.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
GROUPS = (
    ("README.md",),
    ("docs/install.md",),
    ("docs/howto/scores.md", "docs/score.md"),
    ("docs/howto/drawings.md", "docs/refineseg.md"),
    ("docs/howto/points.md", "docs/weaknet.md"),
)
LANGUAGES = {"bash", "python", "text", "json"}
FENCE = re.compile(
    r"(?:^<!-- (?P<kind>skip|setup): (?P<text>[^\n]*) -->\n)?^```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

TRAINERS = '''
"""Trainers under the package's own names, with schedules of seconds."""

from nnunet_weak import trainers


class Short:
    num_epochs = 2
    num_iterations_per_epoch = 2
    num_val_iterations_per_epoch = 1

    def perform_actual_validation(self, save_probabilities=False):
        pass


for name in trainers.__all__:
    globals()[name] = type(name, (Short, getattr(trainers, name)), {})
'''
WRAPPERS = {
    "nnUNetv2_train": 'nnUNet_n_proc_DA=0 {python} {real} "$@" -device cpu',
    "nnUNetv2_predict": '{python} {real} "$@" -device cpu -npp 0 -nps 0',
    "nnUNetv2_apply_postprocessing": '{python} {real} "$@" -np 1',
    "nnUNetv2_plan_and_preprocess": """{python} {quick_plan} "$@" -npfp 1 -np 1
for plans in "$nnUNet_preprocessed"/*/nnUNetPlans.json; do
    {python} {thin} "$(basename "$(dirname "$plans")")" --features 4 --most 8 --batch 2
done""",
    "nnunet_weak_make_phantoms": '{python} {real} "$@" --size 40 36 56',
    "nnunet_weak_report_annotators": '{python} {real} "$@" -device cpu',
}


class Block(NamedTuple):
    """A fenced block, and what its comment says."""

    language: str
    code: str
    kind: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    found = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [Block(one["language"], one["code"], one["kind"] or "", one["text"] or "") for one in found]


def to_run(page: Path) -> list[Block]:
    return [block for block in blocks_of(page) if block.language == "bash" and block.kind != "skip"]


def test_every_command_is_in_a_block_that_is_run_or_says_why_not():
    grouped = {ROOT / name for group in GROUPS for name in group}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = blocks_of(page)
        assert text.count("```") == 2 * len(blocks), f"{page}: a fence that is indented or not closed"
        for block in blocks:
            assert block.language in LANGUAGES, f"{page}: a block without a language:\n{block.code}"
            if block.language == "text":
                assert not re.search(r"^(nnunet_weak|nnUNetv2)_\w+ -", block.code, re.MULTILINE), (
                    f"{page}: {block.code}"
                )
            if block.kind == "skip":
                assert len(block.text) > 5, f"{page}: why is it skipped?\n{block.code}"
        assert not to_run(page) or page in grouped, f"{page}: add it to GROUPS"
    assert sum(len(to_run(page)) for page in PAGES) > 15, "the pattern has lost the blocks"


@pytest.mark.slow
def test_blocks_hold_commands_and_options_that_exist():
    """Also those that are not run: every option of ours is one of the command's."""
    helps: dict[str, str] = {}
    for page in PAGES:
        for block in blocks_of(page):
            lines = block.code.replace("\\\n", " ").splitlines() if block.language == "bash" else []
            for command, *words in (line.split("#")[0].split() for line in lines if line.startswith("nnunet_weak_")):
                helps.setdefault(command, help_text(command))
                for option in (word for word in words if re.match(r"--?[A-Za-z]", word)):
                    assert re.search(rf"(?<![\w-]){option}(?![\w-])", helps[command]), f"{page}: {command} {option}"
    assert len(helps) > 8


def help_text(command: str) -> str:
    code = "import sys; from nnunet_weak import entry_points; sys.argv = sys.argv[1:]; "
    code += f"entry_points.{command.removeprefix('nnunet_weak_')}()"
    words = [sys.executable, "-c", code, command, "--help"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("page", [page for page in PAGES if any(b.language == "python" for b in blocks_of(page))])
def test_python_blocks_run(page):
    names: dict[str, object] = {"__name__": "documentation"}
    for block in blocks_of(page):
        if block.language == "python":
            exec(compile(block.code, str(page), "exec"), names)


@pytest.mark.training
@pytest.mark.skipif(shutil.which("bash") is None, reason="the commands are written for a POSIX shell")
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: Path(group[0]).stem)
def test_commands_run_as_printed(group, tmp_path):
    environment = prepare(tmp_path)
    for name in group:
        for block in to_run(ROOT / name):
            if block.kind == "setup":
                run(block.text, tmp_path, environment, name)
            run(block.code, tmp_path, environment, name)
    for model in (tmp_path / "nnUNet_results").glob("*/*"):
        assert (model / "fold_0" / "checkpoint_final.pth").is_file()


def prepare(folder: Path) -> dict[str, str]:
    """nnU-Net's folders, the short trainers and the wrappers; returns the environment."""
    trainers, wrappers = folder / ".trainers", folder / ".bin"
    for made in (
        trainers,
        wrappers,
        *(folder / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")),
    ):
        made.mkdir()
    (trainers / "short_trainers.py").write_text(TRAINERS)
    scripts = Path(sys.executable).parent
    for name, text in WRAPPERS.items():
        thin, quick_plan = ROOT / "examples" / "thin_plan.py", Path(__file__).parents[1] / "quick_plan.py"
        command = text.format(python=sys.executable, real=scripts / name, thin=thin, quick_plan=quick_plan)
        (wrappers / name).write_text(f"#!/bin/bash\nset -e\n{command}\n")
        (wrappers / name).chmod(0o755)
    return {
        **os.environ,
        **{name: str(folder / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")},
        "nnUNet_extTrainer": str(trainers),
        "nnUNet_n_proc_DA": "1",
        "nnUNet_def_n_proc": "1",
        "nnUNet_compile": "f",
        "PATH": os.pathsep.join([str(wrappers), str(scripts), os.environ["PATH"]]),
    }


def run(code: str, folder: Path, environment: dict[str, str], page: str) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{page}:\n{code}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
