"""What `import nnunet_weak` gives for notebooks and scripts beside the functions of other modules.

The converters and the simulation of a data set take the options of the commands of the same names as keyword
arguments, are checked by the same code, and leave the same record: the command line that would have done the same.

Paths are text or `Path`. Mappings stand for `NAME=VALUE` texts of the command line, so `regions={"shaft": 2, "ends":
(1, 3)}` is `--regions shaft=2 ends=1,3`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from nnunet_weak.dataset.annotations import WeakAnnotations
from nnunet_weak.options import options_from

if TYPE_CHECKING:
    import pandas as pd

PathLike: TypeAlias = str | os.PathLike[str]
Values: TypeAlias = Mapping[str, Any] | Sequence[str]
"""Names with values, or texts as on the command line: `{"shaft": 2}` or `["shaft=2"]`."""


def convert_scores(
    *,
    images: PathLike,
    masks: PathLike,
    scores: PathLike | None,
    regions: Values,
    dataset_id: int,
    name: str,
    say: Callable[[str], None] = print,
    **options: Any,
) -> Path | None:
    """Make an nnU-Net data set for SCORE of images, automatic masks and quality scores.

    Args:
        images: Folder of images, a file for each case, `CASE_0000` for channels, or a folder for each case.
        masks: Folder of initial masks: label maps, or folders of binary files.
        scores: CSV, TSV, XLSX or JSON of qualities from 0 (unusable) to 5 (excellent) and error types; None without
            scores, for SCOREPlus.
        regions: Regions in the order of their labels, each with its labels or files in the masks.
        dataset_id: Number of the data set.
        name: Name of the data set.
        say: Takes the lines of the report.
        **options: Further options of `nnunet_weak_convert_scores` with underscores, such as `prior="local"`,
            `references="labels"` or `dry_run=True`.

    Returns:
        The folder of the data set below `nnUNet_raw`; None after a dry run.

    Raises:
        InvalidInputError: Everything that is wrong with options and inputs, in one list; nothing was written.
        OSError: The disk is full, for example; nothing was written.

    Reference:
        de Langlais et al., "Resource-efficient automatic refinement of segmentations via weak supervision from light
        feedback" (SCORE).
    """
    from nnunet_weak.dataset_conversion.scores import convert
    from nnunet_weak.scores.options import ScoreConversion

    given = {
        "images": images, "masks": masks, "scores": scores, "regions": regions, "dataset_id": dataset_id, "name": name,
    }  # fmt: skip
    return convert(*_conversion(ScoreConversion, "nnunet_weak_convert_scores", given | options, say))


def convert_drawings(
    *,
    images: PathLike,
    labels: Values,
    blank: int,
    dataset_id: int,
    name: str,
    positive: Mapping[str, PathLike] | None = None,
    negative: Mapping[str, PathLike] | None = None,
    say: Callable[[str], None] = print,
    **options: Any,
) -> Path | None:
    """Make an nnU-Net data set for RefineSeg of images and rough drawings.

    Args:
        images: Folder of images.
        labels: Targets in the order of their labels, and `background` where that is drawn, with their values or
            segments in the drawings.
        blank: Value of everything that nobody painted.
        dataset_id: Number of the data set.
        name: Name of the data set.
        positive: Folder of each annotator's drawings of what is the target; the first makes `labelsTr`.
        negative: Folder of each annotator's drawings of what is not the target.
        say: Takes the lines of the report.
        **options: Further options of `nnunet_weak_convert_drawings`, such as `random_walker=True`.

    Returns:
        The folder of the data set below `nnUNet_raw`; None after a dry run.

    Raises:
        InvalidInputError: Everything that is wrong with options and inputs, in one list; nothing was written.
        OSError: The disk is full, for example; nothing was written.

    Reference:
        Du et al., "RefineSeg: Dual Coarse-to-Fine Learning for Medical Image Segmentation", MICCAI 2025.
    """
    from nnunet_weak.dataset_conversion.drawings import convert
    from nnunet_weak.drawings.options import DrawingsConversion

    given = {
        "images": images, "positive": positive, "negative": negative, "labels": labels, "blank": blank,
        "dataset_id": dataset_id, "name": name,
    }  # fmt: skip
    return convert(*_conversion(DrawingsConversion, "nnunet_weak_convert_drawings", given | options, say))


def convert_points(
    *,
    images: PathLike,
    points: PathLike,
    dataset_id: int,
    name: str,
    classes: Values = (),
    say: Callable[[str], None] = print,
    **options: Any,
) -> Path | None:
    """Make an nnU-Net data set for Weak-Net of images and a few points on the surface of each object.

    Args:
        images: Folder of images.
        points: Folder of point files, positions in mm; see `read_points` for the formats.
        dataset_id: Number of the data set.
        name: Name of the data set.
        classes: Classes in the order of their labels, perhaps with their values in reference labels; by default the one
            class that the point files name.
        say: Takes the lines of the report.
        **options: Further options of `nnunet_weak_convert_points`, such as `noise_mm=0.5`.

    Returns:
        The folder of the data set below `nnUNet_raw`; None after a dry run.

    Raises:
        InvalidInputError: Everything that is wrong with options and inputs, in one list; nothing was written.
        OSError: The disk is full, for example; nothing was written.

    Reference:
        Wickramasinghe et al., "Weakly Supervised Volumetric Image Segmentation with Deformed Templates" (Weak-Net),
        MICCAI 2022.
    """
    from nnunet_weak.dataset_conversion.points import convert
    from nnunet_weak.points.options import PointConversion

    given = {"images": images, "points": points, "classes": classes, "dataset_id": dataset_id, "name": name}
    return convert(*_conversion(PointConversion, "nnunet_weak_convert_points", given | options, say))


def evaluate(
    prediction: PathLike,
    reference: PathLike,
    *,
    labels: Values = (),
    baselines: Mapping[str, PathLike] | None = None,
    nsd_tolerance_mm: float = 2.0,
    allow_missing: bool = False,
    processes: int | None = 1,
) -> pd.DataFrame:
    """Measure a folder of predicted label maps, and perhaps others of the same cases.

    Args:
        prediction: Folder of label maps, one for each case; the method `prediction` of the table.
        reference: Folder of reference label maps; same names, file endings may differ.
        labels: Labels with their values, as in `{"bone": (1, 2, 3)}`; by default those of the `dataset.json` beside
            the references, or else all values in them.
        baselines: Name to folder of other predictions.
        nsd_tolerance_mm: Tolerance of the normalised surface distance, in mm.
        allow_missing: Measure the cases that are there instead of refusing folders that differ.
        processes: Number of processes; None takes all cores, and needs a script that is guarded by
            `if __name__ == "__main__"` where processes are spawned.

    Returns:
        One row for each case, label and method: volumes in mm3, Dice, IoU, HD95 and ASSD in mm, NSD. A metric that is
        not defined for an empty mask is NaN.

    Raises:
        InvalidInputError: Everything that is wrong with the inputs, in one list.
    """
    from nnunet_weak.evaluation.folders import evaluate_folders
    from nnunet_weak.evaluation.labels import choose_labels, find_dataset_json, read_dataset_json
    from nnunet_weak.options import texts_of

    path = find_dataset_json(Path(reference), Path(prediction))
    found = read_dataset_json(path) if path else None
    return evaluate_folders(
        {"prediction": Path(prediction)} | {key: Path(folder) for key, folder in (baselines or {}).items()},
        Path(reference),
        choose_labels(texts_of(labels), found) if labels else found,
        nsd_tolerance_mm=nsd_tolerance_mm,
        allow_missing=allow_missing,
        processes=processes,
    )


def load_annotations(folder: PathLike) -> WeakAnnotations:
    """Read what a data set or a trained model knows of its weak annotation.

    Args:
        folder: Raw, preprocessed or model folder of nnU-Net, with a `dataset.json`.

    Returns:
        Method, input channels, boundary prior, annotation maps and, but for model folders, each case's scores.

    Raises:
        InvalidInputError: No `dataset.json`, or one whose `nnunet_weak` block is missing or wrong; every problem is
            named with its JSON path.
    """
    return WeakAnnotations.read(Path(folder))


def _conversion(
    kind: type[Any], command: str, values: Mapping[str, Any], say: Callable[[str], None]
) -> tuple[Any, Callable[[str], None], list[str]]:
    """The arguments of a converter's `convert`."""
    options, command_line = options_from(kind, command, values)
    return options, say, command_line
