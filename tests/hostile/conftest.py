from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import VARIABLES
from hostile_study import make_study


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile") / "study"
    with pytest.MonkeyPatch.context() as patch:
        enter(root, patch)
        make_study(root)
    return root


@pytest.fixture
def study(template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study of all tests, which is the current folder; what is spoilt in it must be restored."""
    enter(template, monkeypatch)
    return template


@pytest.fixture
def little_memory() -> Iterator[None]:
    """A gigabyte more than this process has, so that what takes memory for a false claim fails."""
    resource = pytest.importorskip("resource")
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + (1 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def enter(root: Path, patch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        (root / variable).mkdir(parents=True, exist_ok=True)
        patch.setenv(variable, str(root / variable))
    patch.chdir(root)
