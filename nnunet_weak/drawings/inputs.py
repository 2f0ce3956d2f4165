"""Input files of a data set, matched by case: images, drawings of each annotator, reference labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_weak.dataset.find_cases import discover_cases
from nnunet_weak.dataset.names import suggest
from nnunet_weak.drawings.files import find_drawings
from nnunet_weak.drawings.legend import IGNORE
from nnunet_weak.drawings.options import DrawingsConversion
from nnunet_weak.errors import Problems
from nnunet_weak.images.json_files import load_json
from nnunet_weak.images.read import list_images

_PREDICT = "nnUNetv2_predict -i imagesTr -o DIR ..."


@dataclass(frozen=True)
class DrawingsCase:
    """Files of a case.

    Attributes:
        name: The case.
        images: Its image channels.
        drawings: Its drawings by annotation map.
        reference: Its reference labels, if it is fully annotated.
        prediction: What a model of a first round predicted for it, in a second one.
    """

    name: str
    images: tuple[Path, ...]
    drawings: Mapping[str, Path]
    reference: Path | None
    prediction: Path | None = None


def find_inputs(options: DrawingsConversion, problems: Problems) -> tuple[dict[str, DrawingsCase], dict[str, str]]:
    """Find all files and match them by case; adds to `problems`.

    Returns:
        The cases by name; and what was left out, with the reason.
    """
    images = problems.attempt(
        discover_cases, options.images, channel_suffixes=options.channel_suffixes, layout=options.case_layout
    )
    left_out: dict[str, str] = {}

    def matched(files: Mapping[str, Path], description: str) -> Mapping[str, Path]:
        for name in [name for name in files if images and name not in images]:
            if options.allow_missing:
                left_out[f"{description} {name}"] = "no image of this name"
                continue
            similar = " or ".join(suggest(name, list(images or {})))
            problems.add(
                str(files[name]),
                f"{description} without an image of this name in {options.images}",
                f"perhaps it belongs to {similar}; names must be those of the images"
                if similar
                else "rename or remove it, or leave it out with --allow-missing",
            )
        return files

    drawings: dict[str, Mapping[str, Path]] = {}
    for name, folder in options.folders.items():
        files = problems.attempt(find_drawings, folder)
        if files == {}:
            problems.add(str(folder), f"holds no drawing for the map {name}", "give the folder of its files")
        drawings[name] = matched(files or {}, f"{options.map_kinds[name]} drawing {name}")
    references: Mapping[str, Path] = {}
    if options.references is not None:
        references = matched(problems.attempt(list_images, options.references) or {}, "reference")
    predictions = _find_predictions(options, problems)
    cases = [
        DrawingsCase(
            name,
            tuple(channels),
            {key: drawings[key][name] for key in options.map_kinds if name in drawings.get(key, ())},
            references.get(name),
            predictions.get(name),
        )
        for name, channels in (images or {}).items()
    ]
    annotated = {case.name: case for case in cases if case.drawings or case.reference}
    for name in [case.name for case in cases if annotated and case.name not in annotated]:
        if options.allow_missing:
            left_out[name] = "nobody drew in it"
        else:
            problems.add(
                f"{options.images}, case '{name}'",
                "nobody drew in it, and it has no reference labels",
                "add a drawing, or leave out incomplete cases with --allow-missing",
            )
    missing = [name for name, case in annotated.items() if not (case.reference or case.prediction)]
    if predictions and missing:
        problems.add(
            f"--follow-prediction {options.follow_prediction}",
            f"no prediction of {len(missing)} of {len(annotated)} cases: {', '.join(missing[:10])}",
            f"predict all training images, {_PREDICT}",
        )
    if not annotated and not problems:
        problems.add(str(options.images), "no case has both images and a drawing", "compare the names")
    return annotated, left_out


def _find_predictions(options: DrawingsConversion, problems: Problems) -> Mapping[str, Path]:
    """Label maps of a model of these classes by case, none without a folder."""
    folder = options.follow_prediction
    if folder is None:
        return {}
    predictions = problems.attempt(list_images, folder)
    if predictions is None:
        return {}
    content = Problems().attempt(load_json, folder / "dataset.json")
    labels = content.get("labels") if isinstance(content, dict) else None
    if not predictions or not isinstance(labels, dict):
        what = "holds no label maps, or no dataset.json, as a folder of predictions does"
        problems.add(f"--follow-prediction {folder}", what, _PREDICT)
        return {}
    own, others = ({k: v for k, v in one.items() if k != IGNORE} for one in (options.code.labels, labels))
    if own != others:
        problems.add(
            f"--follow-prediction {folder}",
            f"was predicted by a model of {', '.join(map(str, others))}, but --labels gives {', '.join(own)}",
            "predict with a model that was trained on these drawings",
        )
    return predictions
