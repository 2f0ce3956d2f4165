from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from annotation_client import Client
from annotation_person import find_chromium, make_study, served

FLAGS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]


@pytest.hookimpl(tryfirst=True)  # before slow tests are deselected
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # A browser that draws in software on a busy machine answers late now and then.
    for item in items:
        if "page" in getattr(item, "fixturenames", ()):
            if item.get_closest_marker("training") is None:  # too long, and its data sets would exist already
                item.add_marker(pytest.mark.flaky(reruns=2))
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def browser() -> Iterator:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed: pip install playwright"
    )
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium, or name one in the variable CHROMIUM")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser) -> Iterator:
    context = browser.new_context(viewport={"width": 800, "height": 500})  # few pixels, which are drawn in software
    yield context.new_page()
    context.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_study(tmp_path / "study", cases=("case_a", "case_b"))


@pytest.fixture
def client(folder: Path) -> Iterator[Client]:
    with served(folder, "scores") as server:
        yield Client(server)
