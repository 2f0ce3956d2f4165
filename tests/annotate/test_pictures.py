"""A case of each task on a phantom, as the documentation shows it.

`NNUNET_WEAK_PICTURES=docs/images pytest tests/annotate/test_pictures.py` writes the pictures of docs/annotate.md anew.
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from annotation_person import Person, served
from PIL import Image

from nnunet_weak.cli.make_phantoms import main as make_phantoms

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CASE = "train_001"
FRAME_WIDTH, COLOURS = 800, 192
# few pixels to draw in software, where no picture is kept
WINDOW = {"width": 1280, "height": 800} if "NNUNET_WEAK_PICTURES" in os.environ else {"width": 800, "height": 500}
# pictures shall not show where pytest keeps its files
_HIDE_TEMPORARY_FOLDER = """() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    text.data = text.data.replace(/\\S*\\/phantoms/, "/data/phantoms");
  }
}"""


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("annotate") / "phantoms"
    assert make_phantoms([str(folder), "--cases", "3", "--test-cases", "0", "-np", "1"]) == 0
    return folder


class Camera:
    """Takes pictures of the screen; writes them only where a folder for pictures is named."""

    frames: list[Image.Image] = []
    durations: list[int] = []

    def __init__(self, person: Person) -> None:
        self._person = person
        named = os.environ.get("NNUNET_WEAK_PICTURES")
        self._folder = Path(named) if named else None

    def frame(self, milliseconds: int = 450) -> None:
        self._person.settle()
        self._person.page.evaluate(_HIDE_TEMPORARY_FOLDER)
        picture = Image.open(BytesIO(self._person.page.screenshot())).convert("RGB")
        height = round(picture.height * FRAME_WIDTH / picture.width)
        self.frames.append(picture.resize((FRAME_WIDTH, height), Image.Resampling.LANCZOS))
        self.durations.append(milliseconds)

    def picture(self, name: str) -> None:
        self.frame(1600)
        if self._folder is not None:
            picture = Image.open(BytesIO(self._person.page.screenshot())).convert("RGB")
            picture.save(self._folder / f"annotate_{name}.png", optimize=True)

    def develop(self) -> int:
        """Write the moving picture; its size in bytes."""
        small = [frame.resize((200, 125), Image.Resampling.NEAREST) for frame in self.frames]
        together = Image.new("RGB", (200, 125 * len(small)))
        for number, frame in enumerate(small):
            together.paste(frame, (0, 125 * number))
        palette = together.quantize(COLOURS, Image.Quantize.FASTOCTREE)  # keeps the few pixels that have colour
        first, *others = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in self.frames]
        content = BytesIO()
        first.save(content, "GIF", save_all=True, append_images=others, duration=self.durations, loop=0, optimize=True)
        if self._folder is not None:
            (self._folder / "annotate.gif").write_bytes(content.getvalue())
        return len(content.getvalue())


def image_of(folder: Path) -> sitk.Image:
    return sitk.ReadImage(str(folder / "images" / f"{CASE}.nii.gz"))


def shaft_of(folder: Path, person: Person) -> np.ndarray:
    """Voxels of the true shaft, in the order of the screen."""
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labels" / f"{CASE}.nii.gz")))
    return np.array([person.grid.to_screen(index[::-1]) for index in np.argwhere(labels == 2)])


def test_scores(phantoms, page):
    page.set_viewport_size(WINDOW)
    with served(phantoms, "scores") as server:
        person = Person(page, server)
        camera = Camera(person)
        person.begin()
        camera.frame(1600)
        person.open(CASE, image_of(phantoms))
        camera.frame(900)
        for keys in (["3"], ["u"], ["4"], ["o"]):
            person.press(*keys)
            page.wait_for_timeout(250)
            camera.frame(600)
        person.saved()
        camera.picture("scores")
        person.press("5")
        person.saved()
        page.locator("#nav [data-screen='export']").click()
        page.locator("[data-action='dry-run']").click()
        page.locator("#verdict[data-status='0']").wait_for(timeout=120_000)
        camera.frame(1600)
        assert (
            "nnunet_weak_convert_scores --images images --masks initial_masks" in page.locator("#command").inner_text()
        )
        assert person.complaints == []


def test_points(phantoms, page):
    page.set_viewport_size(WINDOW)
    with served(phantoms, "points", classes=("shaft",)) as server:
        person = Person(page, server)
        camera = Camera(person)
        person.begin()
        person.open(CASE, image_of(phantoms))
        shaft = shaft_of(phantoms, person)
        low, high = (int(value) for value in np.percentile(shaft[:, 2], (4, 96)))
        for number, level in enumerate(np.linspace(low, high, 5).astype(int)):
            person.go_to_slice("axial", int(level))
            outline = shaft[shaft[:, 2] == level][:, :2]
            centre = outline.mean(0)
            for angle in np.arange(4) * np.pi / 2 + number * np.pi / 4:
                away = (outline - centre) @ [np.cos(angle), np.sin(angle)]
                page.mouse.click(*person.pixel("axial", [*outline[away.argmax()], level]))
            page.locator(f"#stage[data-fit^='shaft#1 {4 * number + 4} ']").wait_for(timeout=20_000)
            camera.frame(700)
        surface = surface_of(shaft)
        for clicked in range(5 * 4 + 1, 60):
            if "Enough points" in page.locator("#panel").inner_text():
                break
            person.press("g")
            nearest = surface[np.argmin((((surface - person.cursor) * person.grid.spacing) ** 2).sum(1))]
            person.go_to_slice("axial", int(nearest[2]))
            page.mouse.click(*person.pixel("axial", nearest))
            page.locator(f"#stage[data-fit^='shaft#1 {clicked} ']").wait_for(timeout=20_000)
        assert "Enough points" in page.locator("#panel").inner_text()
        person.saved()
        camera.picture("points")
        assert person.complaints == []


def surface_of(voxels: np.ndarray) -> np.ndarray:
    """Those voxels that have a neighbour outside."""
    inside = {tuple(voxel) for voxel in voxels.astype(int)}
    steps = np.vstack([np.eye(3, dtype=int), -np.eye(3, dtype=int)])
    return np.array([voxel for voxel in inside if any(tuple(voxel + step) not in inside for step in steps)])


def test_drawings(phantoms, page):
    page.set_viewport_size(WINDOW)
    with served(phantoms, "drawings", classes=("proximal", "shaft", "distal")) as server:
        person = Person(page, server)
        camera = Camera(person)
        person.begin()
        person.open(CASE, image_of(phantoms))
        shaft = shaft_of(phantoms, person)
        level = int(np.median(shaft[:, 2]))
        outline = shaft[shaft[:, 2] == level]
        centre, reach = outline.mean(0), np.ptp(outline[:, :2], axis=0).max() / 2
        person.press("g", "2")
        for number, at in enumerate((level - 6, level + 6)):
            person.go_to_slice("axial", at)
            line = [centre + 0.8 * reach * np.array([np.cos(a), np.sin(a), 0]) for a in np.linspace(0, 2 * np.pi, 14)]
            person.drag("axial", line)
            if number == 0:
                camera.frame(700)
        person.press("b", "]", "0")
        person.drag("axial", [centre + [-2.2 * reach, y, 0] for y in (-4, 0, 4)])
        camera.frame(700)
        person.press("-", "2")
        person.drag("axial", [centre + [x, 2.6 * reach, 0] for x in (-5, 0, 5)])
        camera.frame(700)
        person.press("-", "2", "i")
        page.locator("[data-action='accept']").wait_for(timeout=20_000)
        camera.frame(900)
        person.press("Enter")
        person.go_to_slice("axial", level)
        person.saved()
        camera.frame(900)
        person.go_to_slice("axial", level + 6)
        person.press("r")
        page.locator("[data-action='accept']").wait_for(timeout=20_000)
        camera.picture("drawings")
        person.press("Escape")
        assert person.complaints == []
    drawn = sitk.GetArrayFromImage(
        sitk.ReadImage(str(phantoms / "annotation" / "drawings" / "anna" / f"{CASE}.nii.gz"))
    )
    assert {1, 3} == set(np.unique(drawn)) - {0}, "a suggestion that was dropped left nothing"
    assert all((drawn[z] == 3).any() for z in range(level - 6, level + 7)), "a suggestion that was taken is drawn"


def test_the_moving_picture_is_small(phantoms):
    if not Camera.frames:
        pytest.skip("the other tests of this file took no pictures")
    assert Camera(None).develop() < 2_000_000  # type: ignore[arg-type]
