"""What is vendored is what was published, and may be; what the page needs is in the package."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nnunet_weak import annotate

ROOT = Path(__file__).parents[2]
STATIC = Path(annotate.__file__).parent / "static"
NIIVUE_SHA256 = "d6c2be4feb1ad53b2ac76b4196da8d8fd2263b662b511c55ca0fd127eb6a6532"  # dist/index.js of 0.69.0


def test_niivue_is_unchanged_and_has_its_licence():
    assert hashlib.sha256((STATIC / "vendor" / "niivue.js").read_bytes()).hexdigest() == NIIVUE_SHA256
    assert "BSD 2-Clause License" in (STATIC / "vendor" / "NIIVUE_LICENSE.txt").read_text(encoding="utf-8")


def test_one_file_knows_niivue():
    users = [path.name for path in STATIC.rglob("*.js") if "/vendor/niivue.js" in path.read_text(encoding="utf-8")]
    assert users == ["niivue_adapter.js"]


def test_every_file_that_the_page_names_is_there():
    for path in [*STATIC.rglob("*.js"), STATIC / "index.html"]:
        if path.parent.name == "vendor":
            continue
        for name in re.findall(r'(?:from|src=|href=) ?"([./]+[\w./]+)"', path.read_text(encoding="utf-8")):
            file = STATIC / name[1:] if name.startswith("/") else path.parent / name
            assert file.is_file(), f"{path.name} names {name}"


@pytest.mark.slow
@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("pip", "setuptools")), reason="needs pip and setuptools"
)
def test_the_wheel_holds_the_page(tmp_path):
    source = tmp_path / "source"
    for name in ("nnunet_weak", "trainers", "dataset_conversion"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path]
    subprocess.run([*command, source], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"nnunet_weak/annotate/static/{path.relative_to(STATIC).as_posix()}" for path in STATIC.rglob("*.*")}
    assert expected <= names
    assert wheel.stat().st_size < 2_000_000
