"""What is annotated: images, masks, regions and classes of a folder, and where the annotation goes."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_weak.annotate.options import ORDERS, AnnotateOptions, Task
from nnunet_weak.annotate.queue import read_order
from nnunet_weak.dataset.find_cases import discover_cases
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.json_files import load_object
from nnunet_weak.images.read import list_images, read_label_map
from nnunet_weak.scores.initial_masks import SUBFOLDER, find_initial_masks
from nnunet_weak.scores.regions import RegionSource, parse_regions

ANNOTATION = "annotation"
ONLY_CLASS = "object"
_MASK_FOLDERS = ("masks", "initial_masks", "segmentations", "labelsTr")
_MOST_MASKS_READ = 20
_NO_REGION = ("background", "ignore")


@dataclass(frozen=True)
class Study:
    """What is annotated by whom.

    Attributes:
        task: The task.
        annotator: Name of the annotator.
        folder: The folder that was named on the command line.
        image_folder: Where the images are.
        mask_folder: Where the masks are; None where there are none.
        output: Where annotations are written.
        images: Image channels by case.
        masks: Mask by case: a label map or a folder of binary masks.
        second_masks: The same of another prediction.
        regions: Regions of the masks, in the order of their labels.
        classes: Classes to draw or to click.
        order: `worst`, `random`, or the names of cases in the order wanted.
        gap_mm: Distance at which no further point is asked for; None for a share of the object's size.
        channels: Names of the image channels, as far as the data set names them.
    """

    task: Task
    annotator: str
    folder: Path
    image_folder: Path
    mask_folder: Path | None
    output: Path
    images: Mapping[str, tuple[Path, ...]]
    masks: Mapping[str, Path] = field(default_factory=dict)
    second_masks: Mapping[str, Path] = field(default_factory=dict)
    regions: tuple[RegionSource, ...] = ()
    classes: tuple[str, ...] = (ONLY_CLASS,)
    order: str | tuple[str, ...] = "name"
    gap_mm: float | None = None
    channels: tuple[str, ...] = ()

    def channel_name(self, number: int) -> str:
        """Name of a channel."""
        return self.channels[number] if number < len(self.channels) else f"channel {number}"

    @property
    def region_names(self) -> tuple[str, ...]:
        """Names of the regions, in the order of their labels."""
        return tuple(region.name for region in self.regions)


def find_study(options: AnnotateOptions) -> Study:
    """Find everything that a command line names.

    Raises:
        InvalidInputError: No images, or what the task needs is missing, in one list.
    """
    folder = options.folder.absolute()
    if not folder.is_dir():
        raise InvalidInputError(f"{folder}: no such folder (remedy: check path and name)")
    image_folder = (options.images or _first_folder(folder, ("imagesTr", "images")) or folder).absolute()
    images = {case: tuple(files) for case, files in discover_cases(image_folder).items()}
    if options.cases is not None:
        images = _chosen(images, options.cases)
    problems = Problems()
    mask_folder = options.masks or _first_folder(folder, _MASK_FOLDERS)
    mask_folder = None if mask_folder is None else mask_folder.absolute()
    regions: tuple[RegionSource, ...] = ()
    masks: dict[str, Path] = {}
    second: dict[str, Path] = {}
    if mask_folder is not None:
        regions = problems.attempt(_regions, options, folder, mask_folder, list(images)) or ()
        if regions:
            masks = problems.attempt(_masks_that_exist, mask_folder, list(images), regions) or {}
            if options.second_masks is not None:
                folder_2 = options.second_masks.absolute()
                second = problems.attempt(_masks_that_exist, folder_2, list(images), regions) or {}
    if options.task == "scores" and not masks and not len(problems):
        problems.add(
            str(folder), "no masks of these images were found", "give the folder of masks with --masks, and --regions"
        )
    problems.raise_if_any()
    classes = options.classes or tuple(region.name for region in regions) or (ONLY_CLASS,)
    output = (options.output or folder / ANNOTATION).absolute()
    return Study(
        options.task,
        options.annotator,
        folder,
        image_folder,
        mask_folder,
        output,
        images,
        masks,
        second,
        regions,
        classes,
        _order(options, images, bool(masks)),
        options.gap_mm,
        _channel_names(folder),
    )


def _first_folder(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _chosen(images: Mapping[str, tuple[Path, ...]], patterns: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    problems = Problems()
    for pattern in patterns:
        if not fnmatch.filter(images, pattern):
            problems.add(f"--cases {pattern}", f"no such case among {', '.join(list(images)[:5])} ...")
    problems.raise_if_any()
    return {
        case: files for case, files in images.items() if any(fnmatch.fnmatchcase(case, pattern) for pattern in patterns)
    }


def _regions(
    options: AnnotateOptions, folder: Path, mask_folder: Path, cases: Sequence[str]
) -> tuple[RegionSource, ...]:
    """The regions named, else the labels of the data set, else files of the first folder, else labels of some masks."""
    if options.regions is not None:
        return parse_regions(options.regions)
    for name in ("dataset.json", "phantoms.json"):
        labels = _json(folder / name).get("labels", {})
        found = [
            f"{label}={value}"
            for label, value in labels.items()
            if isinstance(value, int) and value > 0 and label not in _NO_REGION
        ]
        if found:
            return parse_regions(found)
    for case in cases:
        inside = next((path for path in (mask_folder / case / SUBFOLDER, mask_folder / case) if path.is_dir()), None)
        if inside is not None:
            return parse_regions(list(list_images(inside)))
    files = [path for case, path in list_images(mask_folder).items() if case in cases]
    if not files:
        return ()
    import SimpleITK as sitk

    statistics = sitk.LabelShapeStatisticsImageFilter()
    present: set[int] = set()
    for path in files[:_MOST_MASKS_READ]:
        statistics.Execute(read_label_map(path))
        present |= set(statistics.GetLabels())
    return parse_regions([f"region_{label}={label}" for label in sorted(present)] or ["region_1=1"])


def _channel_names(folder: Path) -> tuple[str, ...]:
    names = _json(folder / "dataset.json").get("channel_names", {})
    if not isinstance(names, dict):
        return ()
    numbered = (names.get(str(number)) for number in range(len(names)))
    return tuple(str(name) if name else f"channel {number}" for number, name in enumerate(numbered))


def _masks_that_exist(folder: Path, cases: Sequence[str], regions: Sequence[RegionSource]) -> dict[str, Path]:
    return find_initial_masks(folder, cases, regions, Problems())  # a case without a mask is told in the queue


def _order(options: AnnotateOptions, images: Mapping[str, Any], with_masks: bool) -> str | tuple[str, ...]:
    if options.order in ORDERS:
        return "name" if options.order == "worst" and not with_masks else options.order
    path = Path(options.order)
    if not path.is_file():
        raise InvalidInputError(f"--order {options.order}: is none of {', '.join(ORDERS)}, and no file")
    return read_order(path, list(images))


def _json(path: Path) -> dict[str, Any]:
    return load_object(path) if path.is_file() else {}
