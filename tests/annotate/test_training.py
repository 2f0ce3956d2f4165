"""A data set of each task: annotated wholly in the browser, converted by the command that the page shows, trained."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from annotation_person import Person, served
from conftest import plan

pytestmark = [pytest.mark.browser, pytest.mark.training]

CLASSES = {"proximal": 1, "shaft": 2, "distal": 3}
NUMBERS = {"scores": 611, "drawings": 621, "points": 631}
TRAINERS = {"scores": "SCORE", "drawings": "RefineSeg", "points": "WeakNet"}
TINY = '''
"""Short trainings of what was annotated in the browser."""
from nnunet_weak.trainers import nnUNetTrainerRefineSeg, nnUNetTrainerSCORE, nnUNetTrainerWeakNet
from tiny_trainers import Tiny


class Shorter(Tiny):
    def perform_actual_validation(self, save_probabilities=False):
        pass


class nnUNetTrainerSCORE_annotated(Shorter, nnUNetTrainerSCORE):
    pass


class nnUNetTrainerRefineSeg_annotated(Shorter, nnUNetTrainerRefineSeg):
    pass


class nnUNetTrainerWeakNet_annotated(Shorter, nnUNetTrainerWeakNet):
    pass
'''


@pytest.fixture(scope="module")
def study(workplace) -> Path:
    """Images and masks of six phantoms."""
    (workplace.root / "trainers" / "annotated_trainers.py").write_text(TINY, encoding="utf-8")
    folder = workplace.root / "Größe und Lage"
    for name in ("images", "initial_masks"):
        shutil.copytree(workplace.root / "phantoms" / name, folder / name)
    shutil.copyfile(workplace.root / "phantoms" / "phantoms.json", folder / "phantoms.json")
    return folder


@pytest.mark.parametrize("task", ["scores", "drawings", "points"])
def test_from_the_browser_to_a_model(workplace, study, page, task):
    annotate: Callable[[Person, np.ndarray], None] = globals()[f"annotate_{task}"]
    cases = sorted(path.name.removesuffix(".nii.gz") for path in (study / "images").iterdir())
    classes = {"drawings": tuple(CLASSES), "points": ("shaft",)}.get(task)
    with served(study, task, **({} if classes is None else {"classes": classes})) as server:
        person = Person(page, server)
        person.begin()
        page.locator("[data-action='continue']").click()
        for number in range(len(cases)):
            page.locator("#title", has_text="train").wait_for()
            page.locator("#busy").wait_for(state="hidden", timeout=60_000)
            case = page.locator("#title").inner_text()
            person.seen(sitk.ReadImage(str(study / "images" / f"{case}.nii.gz")))
            labels = sitk.GetArrayFromImage(
                sitk.ReadImage(str(workplace.root / "phantoms" / "labels" / f"{case}.nii.gz"))
            )
            annotate(person, true_voxels(labels, person))
            person.press("Enter")
            if number < len(cases) - 1:
                page.locator(f"#title:not(:has-text('{case}')):not(:empty)").wait_for(timeout=30_000)
        person.wait_for_screen("queue")
        assert page.locator("#queue h1").inner_text() == "All cases are done"
        page.locator("#nav [data-screen='export']").click()
        command = page.locator("#command").inner_text()
        assert person.complaints == []
    page.close()  # a browser that draws in software takes a share of a core

    words = shlex.split(command)
    place = words.index("-d")
    words[place + 1], words[place + 3] = str(NUMBERS[task]), "Annotated"
    assert words[:3] == ["cd", str(study), "&&"]
    converted = shlex.join(words[3:])
    workplace.run(f"bash -c {shlex.quote(f'cd {shlex.quote(str(study))} && {converted} -np 1')}")
    number, dataset = NUMBERS[task], f"Dataset{NUMBERS[task]}_Annotated"
    block = json.loads((workplace.root / "nnUNet_raw" / dataset / "dataset.json").read_text(encoding="utf-8"))
    assert block["numTraining"] == len(cases) and set(block["nnunet_weak"]["cases"]) == set(cases)

    plan(workplace, dataset, "3d_fullres")
    if task == "drawings":
        workplace.run(f"nnunet_weak_preprocess_annotations -d {number} -np 1")
    trainer = f"nnUNetTrainer{TRAINERS[task]}_annotated"
    workplace.run(f"nnUNetv2_train {number} 3d_fullres 0 -tr {trainer} -device cpu")
    final = workplace.model(dataset, trainer) / "fold_0" / "checkpoint_final.pth"
    losses = torch.load(final, weights_only=False)["logging"]["train_losses"]
    assert len(losses) == 3 and np.isfinite(losses).all()


def true_voxels(labels: np.ndarray, person: Person) -> np.ndarray:
    """Positions on the screen and true class of all voxels of a phantom's bone, shape (N, 4)."""
    return np.array(
        [[*person.grid.to_screen(index[::-1]), labels[tuple(index)]] for index in np.argwhere(labels)]
    ).astype(int)


def annotate_scores(person: Person, bone: np.ndarray) -> None:
    """A quality for each region, and the error where it is not 5."""
    for row in range(person.page.locator(".row").count()):
        person.press(*(["5"] if row % 3 == 2 else [str(2 + row), "u" if row else "o"]))
    person.saved()


def annotate_drawings(person: Person, bone: np.ndarray) -> None:
    """In some axial slices, each class along the middle of where it is, and background beside the bone."""
    person.press("b", *["["] * 12)
    for code in CLASSES.values():
        of_class = bone[bone[:, 3] == code]
        for level in np.unique(np.percentile(of_class[:, 2], (20, 50, 80)).astype(int)) if len(of_class) else ():
            here = of_class[of_class[:, 2] == level][:, :2]
            if len(here):
                person.go_to_slice("axial", int(level))
                person.press(str(code))
                middle = here[np.argmin(((here - here.mean(0)) ** 2).sum(1))]
                row = here[here[:, 1] == middle[1]]
                person.drag("axial", [(x, middle[1], level) for x in (row[:, 0].min(), row[:, 0].max())])
                person.press("0")
                person.drag("axial", [(1, 1, level), (1, person.grid.size[1] - 2, level)])
    person.saved()


def annotate_points(person: Person, bone: np.ndarray) -> None:
    """The shaft's surface, four points in every third axial slice."""
    shaft = bone[bone[:, 3] == CLASSES["shaft"]]
    low, high = (int(value) for value in np.percentile(shaft[:, 2], (5, 95)))
    for turn, level in enumerate(range(low, high + 1, 3)):  # a click within two slices of a point takes hold of it
        person.go_to_slice("axial", int(level))
        outline = shaft[shaft[:, 2] == level][:, :2]
        for angle in np.arange(4) * np.pi / 2 + turn * np.pi / 4:
            away = (outline - outline.mean(0)) @ [np.cos(angle), np.sin(angle)]
            person.page.mouse.click(*person.pixel("axial", [*outline[away.argmax()], level]))
    # in a small outline one voxel may be the outermost in two directions, and is one point
    points = person.page.locator("[data-object='shaft#1'] .value").inner_text().split()[0]
    assert int(points) >= 8
    person.page.locator(f"#stage[data-fit^='shaft#1 {points} ']").wait_for(timeout=20_000)
    person.saved()
