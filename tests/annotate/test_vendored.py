"""What is vendored is what was published, and may be; what the page needs is in the package."""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from nnunet_weak import annotate

ROOT = Path(__file__).parents[2]
STATIC = Path(annotate.__file__).parent / "static"
NIIVUE_SHA256 = "d6c2be4feb1ad53b2ac76b4196da8d8fd2263b662b511c55ca0fd127eb6a6532"  # dist/index.js of 0.69.0


def test_niivue_is_unchanged_and_has_its_licence():
    assert hashlib.sha256((STATIC / "vendor" / "niivue.js").read_bytes()).hexdigest() == NIIVUE_SHA256
    assert "BSD 2-Clause License" in (STATIC / "vendor" / "NIIVUE_LICENSE.txt").read_text(encoding="utf-8")


def test_all_that_niivue_bundles_has_its_notice():
    bundle = (STATIC / "vendor" / "niivue.js").read_text(encoding="utf-8")
    notice = (STATIC / "vendor" / "THIRD_PARTY.txt").read_text(encoding="utf-8")
    packages = set(re.findall(r"^// .*node_modules/((?:@[^/]+/)?[^/]+)/", bundle, re.MULTILINE))
    assert len(packages) > 8
    for name in (*packages, "c-blosc", "LZ4", "Zstandard", "FastSurfer"):
        assert name in notice, name


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


needs_pip = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("pip", "setuptools")), reason="needs pip and setuptools"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("nnunet_weak", "trainers", "dataset_conversion"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder]
    subprocess.run([*command, source], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.mark.slow
@needs_pip
def test_the_wheel_holds_the_page(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"nnunet_weak/annotate/static/{path.relative_to(STATIC).as_posix()}" for path in STATIC.rglob("*.*")}
    assert expected <= names
    licences = {name.rpartition("/")[2] for name in names if ".dist-info/" in name and "licenses/" in name}
    assert {"LICENSE", "NIIVUE_LICENSE.txt", "THIRD_PARTY.txt"} <= licences
    assert wheel.stat().st_size < 2_000_000


@pytest.mark.slow
@needs_pip
def test_the_installed_wheel_serves_the_page(wheel, make_bare_python, folder, tmp_path):
    python = make_bare_python("annotating")
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", wheel], check=True, capture_output=True)
    command = [python.parent / "nnunet_weak_annotate", folder, "--task", "scores", "--annotator", "anna"]
    # No network: a request to a proxy that does not exist would fail.
    environment = {**os.environ, **dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")}
    process = subprocess.Popen(
        [*command, "--no-browser"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        address = urlsplit(process.stdout.readline().split()[-1])
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
        connection.request("GET", f"{address.path}?{address.query}")
        answer = connection.getresponse()
        answer.read()
        cookie = {"Cookie": answer.getheader("Set-Cookie").partition(";")[0]}
        for path, found in (
            ("/", b"<title>"),
            ("/app.js", b"import"),
            ("/vendor/niivue.js", b"Niivue"),
            ("/vendor/THIRD_PARTY.txt", b"gl-matrix"),
            ("/api/cases/case_a", b"region_1"),
        ):
            connection.request("GET", path, headers=cookie)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == 200 and found in content, path
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
