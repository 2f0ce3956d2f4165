"""The page when things go wrong, large cases, undo, and what every screen looks like."""

from __future__ import annotations

import errno
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from annotation_client import SCORE, Client
from annotation_person import SIZE, Grid, Person, make_study, served, write_image
from PIL import Image

from nnunet_weak.annotate.cases import views
from nnunet_weak.annotate.records import files

pytestmark = pytest.mark.browser


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_study(tmp_path / "study", cases=("case_a", "case_b"))


@pytest.fixture
def image(folder):
    return sitk.ReadImage(str(folder / "images" / "case_a.nii.gz"))


def scores_of(folder: Path, case: str = "case_a") -> dict:
    state = json.loads(
        (folder / "annotation" / "state" / "scores" / "anna" / f"{case}.json").read_text(encoding="utf-8")
    )
    return {name: (score["quality"], score["error"]) for name, score in state["content"]["regions"].items()}


def test_without_webgl2_the_page_says_what_to_do(folder, page):
    page.add_init_script(
        "const own = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
        " return kind === 'webgl2' ? null : own.call(this, kind, ...rest); };"
    )
    with served(folder, "scores") as server:
        page.goto(server.url)
        page.locator("body[data-screen='message']").wait_for()
        text = page.locator("#message").inner_text()
        assert "WebGL2" in text and "Firefox" in text and "ssh -L" in text


def test_what_cannot_be_saved_shows_a_red_bar_and_is_not_lost(folder, image, page, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with served(folder, "scores") as server:
        person = Person(page, server)
        person.begin()
        person.open("case_a", image)
        with monkeypatch.context() as patched:
            patched.setattr(files.os, "fsync", full)
            person.press("3", "u")
            page.locator("#alarm:not([hidden])").wait_for(timeout=20_000)
            assert "The disk is full" in page.locator("#alarm").inner_text()
            page.on("dialog", lambda dialog: dialog.accept())
            page.reload()  # even a closed window loses nothing
            person.seen(image)
            assert "3 under" in page.locator("[data-region='region_1']").inner_text()
        person.saved()
        assert page.locator("#alarm").is_hidden()
        assert scores_of(folder)["region_1"] == (3, "under")
        assert all("507" in text for text in person.complaints)

        page.context.set_offline(True)  # as if the server had gone
        person.press("2", "o")
        page.locator("#alarm:not([hidden])").wait_for(timeout=20_000)
        assert "does not answer" in page.locator("#alarm").inner_text()
        page.context.set_offline(False)
        person.saved()
        assert scores_of(folder) == {"region_1": (3, "under"), "region_2": (2, "over")}


def test_the_same_case_in_two_windows(folder, image, page):
    with served(folder, "scores") as server:
        first, second = Person(page, server), Person(page.context.new_page(), server)
        for person in (first, second):
            person.begin()
            person.open("case_a", image)
        copies = folder / "annotation" / "state" / "scores" / "anna" / "copies"
        for answer, mine, theirs in (("reload", "3u", "1o"), ("copy", "2", "0")):
            # the error stays when another quality is given
            first.press(*mine)
            first.saved()
            first.press("Shift+Tab")
            second.press(*theirs)
            with second.page.expect_event("load"):
                second.page.locator(f"[data-answer='{answer}']").click(timeout=20_000)
            second.seen(image)
            second.press("Shift+Tab")
            assert f"{mine[0]} under" in second.page.locator("[data-region='region_1']").inner_text()
            assert scores_of(folder)["region_1"] == (int(mine[0]), "under")
            assert copies.exists() == (answer == "copy")
        (copy,) = copies.glob("*.json")
        kept = json.loads(copy.read_text(encoding="utf-8"))["content"]["regions"]["region_1"]
        assert (kept["quality"], kept["error"]) == (0, "under")


def test_an_image_that_cannot_be_read_is_skipped_with_the_reason(folder, image, page):
    path = folder / "images" / "case_a.nii.gz"
    path.write_bytes(path.read_bytes()[:300])
    with served(folder, "scores", order="name") as server:
        person = Person(page, server)
        person.begin()
        page.locator("[data-action='continue']").click()
        page.locator("#title", has_text="case_b").wait_for(timeout=30_000)
        assert "case_a was skipped" in page.locator("#hint").inner_text()
        page.locator("#nav [data-screen='queue']").click()
        page.locator("tr[data-case='case_a']", has_text="case_a.nii.gz").wait_for()


def test_sixty_strokes_are_taken_back_and_brought_again(folder, image, page):
    with served(folder, "drawings", classes=("liver",)) as server:
        person = Person(page, server)
        person.begin()
        person.open("case_a", image)
        person.press(*["["] * 12)
        person.go_to_slice("axial", 7)
        places = [(x, y, 7) for y in range(2, 8) for x in range(2, 12)]
        for place in places:
            page.mouse.click(*person.pixel("axial", place))
        path = folder / "annotation" / "drawings" / "anna" / "case_a.nii.gz"

        def drawn() -> int:
            person.saved()
            return int((sitk.GetArrayFromImage(sitk.ReadImage(str(path))) > 0).sum()) if path.is_file() else 0

        assert drawn() == 60
        person.press(*["Control+z"] * 55)
        assert drawn() == 5
        person.press(*["Control+z"] * 9)
        assert drawn() == 0
        person.press(*["Control+y"] * 60)
        assert drawn() == 60
        assert person.complaints == []


def test_a_large_case_is_drawn_in_parts_at_full_resolution(folder, image, page, monkeypatch):
    monkeypatch.setattr(views, "MOST_VOXELS", 2000)
    with served(folder, "drawings", classes=("liver",)) as server:
        person = Person(page, server)
        person.begin()
        person.open("case_a", image)
        assert page.locator("#stage").get_attribute("data-view") == "at-11-9-7"
        shape, low = page_view(image, (11, 9, 7))
        person.press(*["["] * 12)
        draw_cursor_voxel(person, shape)
        person.saved()
        person.press(*["ArrowUp"] * 40, "z")
        page.locator("#stage:not([data-view='at-11-9-7'])").wait_for(timeout=20_000)
        page.wait_for_timeout(500)
        x, y, z = (int(part) for part in page.locator("#stage").get_attribute("data-view").split("-")[1:])
        assert (x, y) == tuple(low[:2] + shape[:2] // 2) and z == low[2] + shape[2] - 1
        shape_2, low_2 = page_view(image, (x, y, z))
        draw_cursor_voxel(person, shape_2)
        person.saved()
        assert person.complaints == []
    grid = Grid(image)
    drawn = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "annotation" / "drawings" / "anna" / "case_a.nii.gz")))
    found = {tuple(int(v) for v in grid.to_screen(index[::-1])) for index in np.argwhere(drawn)}
    assert found == {tuple(int(v) for v in low + shape // 2), tuple(int(v) for v in low_2 + shape_2 // 2)}


def page_view(image: sitk.Image, centre: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Size and first voxel of the largest box of at most 2000 voxels around a voxel."""
    whole = np.array(SIZE)
    side = max(n for n in range(1, 30) if np.minimum(whole, n).prod() <= 2000)
    shape = np.minimum(whole, side)
    return shape, np.clip(np.array(centre) - shape // 2, 0, whole - shape)


def draw_cursor_voxel(person: Person, shape: np.ndarray) -> None:
    """The cursor is in the middle of a new view, and so is the middle of the large tile, or half a voxel beside it."""
    grid = person.grid
    grid.size = shape
    person.page.mouse.click(*person.pixel("axial", shape // 2))


def test_a_large_case_is_scored_region_by_region(folder, image, page, monkeypatch):
    monkeypatch.setattr(views, "MOST_VOXELS", 4000)
    monkeypatch.setattr(views, "MARGIN_MM", 2.0)
    with served(folder, "scores") as server:
        person = Person(page, server)
        person.begin()
        person.open("case_a", image)
        assert page.locator("#stage").get_attribute("data-view") == "region-1"
        person.press("3", "u")
        page.locator("#stage[data-view='region-2']").wait_for(timeout=20_000)
        person.press("2", "o")
        person.saved()
        assert scores_of(folder) == {"region_1": (3, "under"), "region_2": (2, "over")}
        assert person.complaints == []


def test_keys_of_the_score_page(folder, image, page):
    with served(folder, "scores") as server:
        person = Person(page, server)
        person.begin()
        person.open("case_a", image)
        person.press("Enter")
        assert "Not scored yet: region_1, region_2" in page.locator("#hint").inner_text()
        person.press("5", "x")
        assert "All regions are scored" in page.locator("#hint").inner_text()
        person.press("Control+z")
        person.saved()
        assert scores_of(folder) == {"region_1": (5, "none"), "region_2": (None, None)}
        person.press("Control+y", "Enter")
        page.locator("#title", has_text="case_b").wait_for(timeout=30_000)
        person.seen(image)
        person.press("p")
        page.locator("#title", has_text="case_a (done)").wait_for(timeout=30_000)
        person.press("?")
        assert page.locator("#help").is_visible()
        person.press("Escape")
        assert page.locator("#help").is_hidden()
        assert person.complaints == []


def test_agreement_of_two_raters(folder, image, page):
    with served(folder, "scores") as server, served(folder, "scores", "ben") as other:
        person = Person(page, server)
        person.begin()
        person.open("case_a", image)
        person.press("3", "u", "5")
        person.saved()
        page.locator("#nav [data-screen='agreement']").click()
        person.wait_for_screen("agreement")
        assert "needs two raters" in page.locator("#agreement").inner_text()
        ben = Client(other)
        sha = {region["name"]: region["sha256"] for region in ben.get("/api/cases/case_a")["regions"]}
        given = {"region_1": {"quality": 2, "error": "under"}, "region_2": {"quality": 5, "error": "none"}}
        regions = {name: {**SCORE, **score, "mask_sha256": sha[name]} for name, score in given.items()}
        assert ben.save("case_a", 0, {"regions": regions})[0] == 200
        page.locator("#nav [data-screen='queue']").click()
        person.wait_for_screen("queue")
        page.locator("#nav [data-screen='agreement']").click()
        page.locator("#agreement tbody tr").first.wait_for()
    first = page.locator("#agreement tbody tr").first.inner_text().split("\t")
    assert first[:3] == ["anna, ben", "all regions", "2"]
    # qualities 3, 5 and 2, 5: squared differences 1/2 on average, by chance (1 + 4 + 9 + 0) / 4
    assert first[3] == f"{1 - 0.5 / 3.5:.2f}" and first[4] == "50 %" and first[5].startswith("0.50 (")


@pytest.mark.parametrize("task", ["scores", "points", "drawings"])
def test_no_screen_has_scroll_bars_or_cut_buttons(folder, image, page, task):
    options = {} if task == "scores" else {"classes": tuple(f"class_{number}" for number in range(1, 9))}
    with served(folder, task, **options) as server:
        person = Person(page, server)
        person.begin()
        for width, height in ((1280, 800), (2560, 1440)):
            page.set_viewport_size({"width": width, "height": height})
            for screen in ("export",) + (("agreement",) if task == "scores" else ()) + ("queue",):
                page.locator(f"#nav [data-screen='{screen}']").click()
                person.wait_for_screen(screen)
                assert page.evaluate(_OVERFLOWING) == [], (screen, width)
            person.open("case_a", image)
            assert page.evaluate(_OVERFLOWING) == [], width
        assert person.complaints == []


# Elements that reach out of the window or of what holds them, and buttons that overlap.
_OVERFLOWING = """() => {
  const found = [];
  const root = document.documentElement;
  if (root.scrollHeight > root.clientHeight || root.scrollWidth > root.clientWidth) found.push("the page scrolls");
  const all = document.querySelectorAll("button, textarea, .row, h1, td, pre, span");
  const shown = [...all].filter((one) => one.offsetParent);
  for (const one of shown) {
    const box = one.getBoundingClientRect();
    const [right, bottom] = [innerWidth + 0.5, innerHeight + 0.5];
    if (box.left < 0 || box.right > right || box.top < 0 || box.bottom > bottom) found.push(one.outerHTML);
    if (one.tagName === "BUTTON" && one.scrollWidth > one.clientWidth + 1) found.push(`cut: ${one.outerHTML}`);
  }
  const buttons = shown.filter((one) => one.tagName === "BUTTON").map((one) => one.getBoundingClientRect());
  const over = (a, b, from, to) => a[from] < b[to] - 0.5 && b[from] < a[to] - 0.5;
  buttons.forEach((a, i) => buttons.slice(i + 1).forEach((b) => {
    if (over(a, b, "left", "right") && over(a, b, "top", "bottom")) found.push("buttons overlap");
  }));
  return found;
}"""


def test_every_image_channel_can_be_looked_at(tmp_path, page):
    page.set_viewport_size({"width": 1280, "height": 800})  # the bar has room for the title beside the channel
    folder = make_study(tmp_path / "study", cases=("case_a", "case_b"))
    images = folder / "imagesTr"
    images.mkdir()
    for case in ("case_a", "case_b"):
        first = folder / "images" / f"{case}.nii.gz"
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(first)))
        write_image(images / f"{case}_0001.nii.gz", (array.max() - array).astype(np.float32))
        first.rename(images / f"{case}_0000.nii.gz")
    (folder / "images").rmdir()
    names = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "bone": 1, "disc": 2}}
    (folder / "dataset.json").write_text(json.dumps(names), encoding="utf-8")
    image = sitk.ReadImage(str(images / "case_a_0000.nii.gz"))
    with served(folder, "scores") as server:
        person = Person(page, server)
        person.begin()
        person.open("case_a", image)
        inside, outside = person.grid.to_screen((9, 8, 5)), person.grid.to_screen((2, 2, 5))
        page.mouse.move(5, 5)
        page.keyboard.down(" ")
        cursor = person.cursor
        assert page.locator("#channel").inner_text() == "T1 (1 of 2)C"
        assert person.brightness("axial", inside) > person.brightness("axial", outside) + 60
        person.press("c")
        page.locator("#channel[data-channel='1']").wait_for()
        person.settle()
        assert person.cursor == cursor
        assert person.brightness("axial", inside) < person.brightness("axial", outside) - 60
        page.keyboard.up(" ")
        person.press("n")  # the same channel of the next case, without another key
        page.locator("#title", has_text="case_b").wait_for()
        person.seen(image)
        assert page.locator("#channel").get_attribute("data-channel") == "1"
        page.locator("#channel").click()
        page.locator("#channel[data-channel='0']").wait_for()
        assert person.complaints == []


def test_the_surface_stays_in_the_middle_from_case_to_case(folder, image, page):
    with served(folder, "scores") as server:
        person = Person(page, server)
        person.begin()
        for case in ("case_a", "case_b"):
            person.open(case, image)
            for _ in range(2):
                page.wait_for_timeout(300)  # the surface comes after the slices
                person.settle()
                picture = Image.open(BytesIO(page.locator("#solid").screenshot())).convert("L")
                shown = np.argwhere(np.array(picture)[10:-10, 10:-10] > 40) + 10
                assert len(shown) > 500
                middle = shown.mean(0) / picture.size[::-1]
                assert np.abs(middle - 0.5).max() < 0.15, middle
                person.press("Tab")
            page.locator("#nav [data-screen='queue']").click()
            person.wait_for_screen("queue")
