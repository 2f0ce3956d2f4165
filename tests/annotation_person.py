"""A person at the page of `nnunet_weak_annotate`, and small studies to annotate.

Where things are on the screen is computed here from the image file, without the page's own code: a test clicks
what a person sees there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image

from nnunet_weak.annotate.cases.loader import CaseLoader, worker_pool
from nnunet_weak.annotate.options import AnnotateOptions
from nnunet_weak.annotate.server.http import AnnotationServer
from nnunet_weak.annotate.server.routes import Annotation
from nnunet_weak.annotate.study import find_study

# Where the axes x, y, z of the file point to.
ORIENTATIONS = ("RAS", "LPS", "LAS", "PSR", "SAL", "IPL", "oblique")
SIZE, SPACING = (23, 19, 15), (1.5, 2.0, 3.25)
_LPS = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
_LARGE, _GAP, _MARGIN = 0.64, 2, 0.94
PLANES = {"axial": (2, 0, 1), "coronal": (1, 0, 2), "sagittal": (0, 1, 2)}  # world axis across, to the left, up
_RAS = np.array([-1.0, -1.0, 1.0])


def direction_of(orientation: str) -> np.ndarray:
    """Direction cosines; the columns are the axes of the file."""
    if orientation == "oblique":
        a, b = np.deg2rad(17), np.deg2rad(-11)
        about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        return about_z @ about_x @ direction_of("LAS")
    return np.array([_LPS[letter] for letter in orientation], float).T


def write_image(
    path: Path, array: np.ndarray, orientation: str = "LPS", spacing: Sequence[float] = SPACING
) -> sitk.Image:
    """Write an array, (z, y, x) of the file."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetDirection(direction_of(orientation).ravel())
    image.SetOrigin((-21.5, 34.25, 12.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return image


def make_study(
    folder: Path, orientation: str = "LPS", cases: Sequence[str] = ("case_a",), bright: Sequence[int] | None = None
) -> Path:
    """Images with two boxes of brighter voxels, masks of them, and one voxel that is brighter still."""
    for number, case in enumerate(cases):
        array = np.random.default_rng(number).integers(0, 40, SIZE[::-1]).astype(np.int16)
        mask = np.zeros(array.shape, np.uint8)
        mask[3:8, 4:12, 5:14] = 1
        mask[9:12, 6:15, 8:20] = 2
        array[mask > 0] += 60
        if bright is not None:
            array[tuple(bright[::-1])] = 1000
        write_image(folder / "images" / f"{case}.nii.gz", array, orientation)
        write_image(folder / "masks" / f"{case}.nii.gz", mask, orientation)
    return folder


@cache
def _readers() -> ProcessPoolExecutor:
    """Processes that read cases for all servers of a test run: each takes more than a second to start."""
    return worker_pool(2)


@contextmanager
def served(
    folder: Path, task: str, annotator: str = "anna", *, begin: bool = False, **options: object
) -> Iterator[AnnotationServer]:
    """The server of a study in this process; `begin` begins to read cases and to look at masks, as the command does."""
    study = find_study(AnnotateOptions(folder=folder, task=task, annotator=annotator, **options))  # type: ignore[arg-type]
    loader = CaseLoader(study, _readers())
    annotation = Annotation(study, loader)
    if begin:
        annotation.begin()
    server = AnnotationServer(0, annotation.routes())
    thread = server.serve_in_background()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        loader.close()


def find_chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Grid:
    """Voxels of a file in the order of the screen: right, anterior, superior."""

    def __init__(self, image: sitk.Image) -> None:
        direction = _RAS[:, None] * np.array(image.GetDirection()).reshape(3, 3)
        order = np.argmax(np.abs(direction), axis=1)  # axis of the file for each axis of the world
        assert sorted(order) == [0, 1, 2]
        self.order, self.flipped = order, direction[[0, 1, 2], order] < 0
        self.size = np.array(image.GetSize())[order]
        self.spacing = np.array(image.GetSpacing())[order]
        self._image = image

    def to_screen(self, index: Sequence[float]) -> np.ndarray:
        """Voxel of the screen of a voxel (x, y, z) of the file."""
        moved = np.array(index, float)[self.order]
        return np.where(self.flipped, self.size - 1 - moved, moved)

    def to_file(self, voxel: Sequence[float]) -> np.ndarray:
        """The inverse."""
        moved = np.where(self.flipped, self.size - 1 - np.array(voxel, float), voxel)
        index = np.empty(3)
        index[self.order] = moved
        return index

    def world(self, voxel: Sequence[float]) -> np.ndarray:
        """LPS mm of a voxel of the screen."""
        return np.array(self._image.TransformContinuousIndexToPhysicalPoint(self.to_file(voxel).tolist()))


class Person:
    """Acts on the page by mouse and keys, and notes what a person would complain about."""

    def __init__(self, page, server: AnnotationServer) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda entry: self._note(entry.type, entry.text, ("error", "warning")))
        page.on("pageerror", lambda error: self.complaints.append(f"error {error}"))
        page.on("request", lambda request: self._note_request(request.url, server.server_address[1]))
        self._url = server.url
        self._rows = 3

    def begin(self) -> None:
        """Open the address that the terminal shows."""
        self.page.goto(self._url)
        self.wait_for_screen("queue")

    def open(self, case: str, image: sitk.Image) -> None:
        """Choose a case in the queue; what was done before is saved on the way there."""
        if self.page.locator("body[data-screen='queue']").count() == 0:
            self.page.locator("#nav [data-screen='queue']").click()
            self.wait_for_screen("queue")
        self.page.locator(f"tr[data-case='{case}']").click()
        self.seen(image)

    def seen(self, image: sitk.Image) -> None:
        """Wait until a case is on the screen."""
        self.wait_for_screen("work")
        self.page.locator("#busy").wait_for(state="hidden", timeout=60_000)
        self.grid = Grid(image)
        self._rows = 2 if self.page.locator("#solid").is_hidden() else 3  # with or without the picture in 3D
        self.settle()

    def wait_for_screen(self, name: str) -> None:
        self.page.locator(f"body[data-screen='{name}']").wait_for(timeout=60_000)

    def settle(self) -> None:
        """Two frames: what was asked for is drawn."""
        self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
        )

    @property
    def cursor(self) -> list[int]:
        """Voxel under the cross, once what was asked for before is drawn: its frame comes before this one's end."""
        text = self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame("
            "() => done(document.getElementById('stage').dataset.cursor)))"
        )
        return [int(part) for part in text.split()]

    def pixel(self, plane: str, voxel: Sequence[float]) -> tuple[float, float]:
        """Pixel of the window at which a voxel of the screen lies in a plane, as long as nobody zoomed."""
        left, top, width, height, to_left, up, mm = self._tile(plane)
        centre = (self.grid.size - 1) / 2
        x = left + width / 2 - (voxel[to_left] - centre[to_left]) * self.grid.spacing[to_left] / mm
        y = top + height / 2 - (voxel[up] - centre[up]) * self.grid.spacing[up] / mm
        return x, y

    def place(self, plane: str, x: float, y: float) -> np.ndarray:
        """Voxel of the screen, not rounded, under a pixel of the window."""
        left, top, width, height, to_left, up, mm = self._tile(plane)
        voxel = np.array(self.cursor, float)
        centre = (self.grid.size - 1) / 2
        voxel[to_left] = centre[to_left] - (x - left - width / 2) * mm / self.grid.spacing[to_left]
        voxel[up] = centre[up] - (y - top - height / 2) * mm / self.grid.spacing[up]
        return voxel

    def go_to_slice(self, plane: str, number: int) -> None:
        """By arrow keys, the mouse over the plane."""
        axis = PLANES[plane][0]
        self.page.mouse.move(*self.pixel(plane, (self.grid.size - 1) / 2))
        steps = number - self.cursor[axis]
        for _ in range(abs(steps)):
            self.page.keyboard.press("ArrowUp" if steps > 0 else "ArrowDown")
        assert self.cursor[axis] == number

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def drag(self, plane: str, voxels: Sequence[Sequence[float]]) -> None:
        """Press the button at the first place, move over the others, let go."""
        first, *others = [self.pixel(plane, voxel) for voxel in voxels]
        self.page.mouse.move(*first)
        self.page.mouse.down()
        for place in others:
            self.page.mouse.move(*place)
        self.page.mouse.up()

    def saved(self) -> None:
        """Wait until the page says that everything is saved."""
        self.page.locator("#saved[data-state='saved']:not([data-revision='0'])").wait_for(timeout=20_000)

    def picture(self) -> Image.Image:
        """The screen in grey."""
        return Image.open(BytesIO(self.page.screenshot())).convert("L")

    def brightness(self, plane: str, voxel: Sequence[float], picture: Image.Image | None = None) -> int:
        """Of the pixel at which a voxel is shown, on a picture of the screen."""
        x, y = self.pixel(plane, voxel)
        return (picture or self.picture()).getpixel((int(x), int(y)))

    def _tile(self, plane: str) -> tuple[float, float, float, float, int, int, float]:
        stage = self.page.locator("#stage").bounding_box()
        large = np.floor(stage["width"] * _LARGE)
        small, rows = stage["width"] - large - _GAP, self._rows
        share = (stage["height"] - (rows - 1) * _GAP) / rows
        row = ("axial", "coronal", "sagittal").index(plane)
        left, top, width, height = (
            (0, 0, large, stage["height"]) if row == 0 else (large + _GAP, (row - 1) * (share + _GAP), small, share)
        )
        _, to_left, up = PLANES[plane]
        extent = self.grid.size * self.grid.spacing
        mm = max(extent[to_left] / width, extent[up] / height) / _MARGIN
        return stage["x"] + left, stage["y"] + top, width, height, to_left, up, mm

    def _note(self, kind: str, text: str, kinds: Sequence[str]) -> None:
        if kind in kinds and "GPU stall due to ReadPixels" not in text:
            self.complaints.append(f"{kind} {text}")

    def _note_request(self, url: str, port: int) -> None:
        if not url.startswith((f"http://127.0.0.1:{port}/", "data:")):
            self.complaints.append(f"request to {url}")
