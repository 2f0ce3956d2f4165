"""How long a person waits at the page of `nnunet_weak_annotate`, and what memory it takes.

    python benchmarks/annotate_page.py            phantoms: first image, click to fitted surface, a case scored
    python benchmarks/annotate_page.py --large    a CT of 512 x 512 x 500 voxels with 20 regions, and the memory

Needs Playwright and a Chromium. Where there is no graphics card Chromium draws in software, as it does in CI.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from annotation_person import find_chromium

FLAGS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
LARGE, REGIONS = (512, 512, 500), 20


@contextmanager
def started(folder: Path, task: str) -> Iterator[tuple[int, str]]:
    """The command as a user starts it; its process id and the address it prints."""
    command = "import sys; from nnunet_weak.cli.annotate import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", command, str(folder), "--task", task, "--annotator", f"timed_{task}", "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.pid, process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait()


def wait_for_image(page: Page) -> None:
    page.locator("#stage[data-drawn]").wait_for()
    page.locator("#busy").wait_for(state="hidden", timeout=180_000)


def memory_mb(pid: int, field: str) -> float:
    """Of a process, from /proc: VmRSS now, VmHWM at most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def children(pid: int) -> list[int]:
    """Of all threads of a process: most of ours are started by others than the first."""
    lists = (task / "children" for task in Path(f"/proc/{pid}/task").iterdir())
    return sorted(int(child) for one in lists for child in one.read_text().split())


def time_phantoms(page: Page, folder: Path) -> None:
    code = "import sys; from nnunet_weak.cli.make_phantoms import main; sys.exit(main())"
    subprocess.run(
        [sys.executable, "-c", code, str(folder), "--cases", "6", "--test-cases", "0", "-np", "1"],
        check=True,
        capture_output=True,
    )
    for task, measure in (("scores", time_scores), ("points", time_points)):
        begun = time.perf_counter()
        with started(folder, task) as (_, address):
            page.goto(address)
            page.locator("[data-action='continue']").click()
            wait_for_image(page)
            print(f"{task}: command to first image {1000 * (time.perf_counter() - begun):.0f} ms")
            measure(page)


def time_scores(page: Page) -> None:
    begun, keys = time.perf_counter(), ["3", "u", "4", "o", "5", "Enter"]
    title = page.locator("#title").inner_text()
    for key in keys:
        page.keyboard.press(key)
    page.locator("#title").filter(has_not_text=title).wait_for()
    wait_for_image(page)
    print(f"3 regions scored: {len(keys)} keys, {1000 * (time.perf_counter() - begun):.0f} ms to the next case")


def time_points(page: Page) -> None:
    box = page.locator("#stage").bounding_box()
    assert box is not None
    waits = []
    for number in range(1, 41):  # far enough from each other: a click near a point would take hold of it
        across, down = 0.5 + 0.2 * np.cos(2.4 * number), 0.5 + 0.2 * np.sin(2.4 * number)
        page.mouse.move(box["x"] + 0.64 * box["width"] * across, box["y"] + box["height"] * down)
        page.keyboard.press("ArrowUp")
        begun = time.perf_counter()
        page.mouse.down()
        page.mouse.up()
        if number >= 8:
            page.locator(f"#stage[data-fit*=' {number} ']").wait_for()
        else:
            page.wait_for_timeout(300)
        waits.append(1000 * (time.perf_counter() - begun))
    for n in (8, 20, 40):
        print(f"click to fitted surface, {n} points: {waits[n - 1]:.0f} ms, of which 60 ms wait for a next click")


def make_large(folder: Path) -> None:
    """Noise with 20 balls, under three names."""
    array = np.random.default_rng(0).integers(-1000, 1000, LARGE[::-1], np.int16)
    labels = np.zeros(array.shape, np.uint8)
    ball = (np.indices((41, 41, 41)) - 20) ** 2
    for label in range(1, REGIONS + 1):
        z, y, x = 20 + 22 * label, 80 + 17 * label, 440 - 17 * label
        labels[z - 20 : z + 21, y - 20 : y + 21, x - 20 : x + 21][ball.sum(0) <= 400] = label
    for name, content in (("images", array), ("masks", labels)):
        (folder / name).mkdir(parents=True)
        image = sitk.GetImageFromArray(content)
        image.SetSpacing((0.7, 0.7, 1.0))
        sitk.WriteImage(image, str(folder / name / "ct_1.nii.gz"), useCompression=True)
        for number in (2, 3):
            os.link(folder / name / "ct_1.nii.gz", folder / name / f"ct_{number}.nii.gz")


def time_large(page: Page, folder: Path) -> None:
    make_large(folder)
    begun = time.perf_counter()
    with started(folder, "scores") as (server, address):
        page.goto(address)
        page.locator("[data-action='continue']").click()
        wait_for_image(page)
        print(
            f"{LARGE} voxels, {REGIONS} regions: command to first image {1000 * (time.perf_counter() - begun):.0f} ms"
        )
        waits = []
        for label in range(2, REGIONS + 1):
            begun = time.perf_counter()
            page.keyboard.press("Tab")
            page.locator(f"#stage[data-view='region-{label}']").wait_for()
            waits.append(1000 * (time.perf_counter() - begun))
        print(f"next region: {np.median(waits):.0f} ms in the median, at most {max(waits):.0f} ms")
        time.sleep(20)  # the masks are measured for the queue meanwhile
        print(f"server at most {memory_mb(server, 'VmHWM'):.0f} MB resident, mapped files included")
        workers = [memory_mb(child, "VmHWM") for child in children(server)]
        print(f"its processes at most {', '.join(f'{value:.0f}' for value in workers)} MB while they read and measured")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true")
    large = parser.parse_args().large
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        (time_large if large else time_phantoms)(page, Path(folder) / "study")
        browser.close()


if __name__ == "__main__":
    main()
