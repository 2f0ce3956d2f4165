"""`nnunet_weak_report_annotators`: what a RefineSeg training has learned about each annotator."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_weak.cli.console import Device, choose_device, console_command, device_option, trust_option
from nnunet_weak.dataset.folders import dataset_folder
from nnunet_weak.dataset.splits import read_splits
from nnunet_weak.errors import InvalidInputError, printable
from nnunet_weak.images.atomic import atomic_file
from nnunet_weak.images.json_files import load_object
from nnunet_weak.options import option, parse

_EPILOG = """\
example
  nnunet_weak_report_annotators -m nnUNet_results/Dataset521_Heart/nnUNetTrainerRefineSeg__nnUNetPlans__2d -f 0

three matrices for each annotation map, p(drawn m | class k); a row for each m, a column for each k
  learned    the annotation head's, averaged over the voxels that the network predicts as k
  drawn      what is drawn where the network predicts k; of negative maps: what is excluded there
  agreement  STAPLE's estimate from the positive drawings of several annotators alone, without the network
A head is trained on drawn voxels only and pulled towards the identity: read its matrix as a tendency, beside the
others.

written into the fold's folder (or --output): annotators.json, annotators.png
Needs the preprocessed data set with its annotation maps, and a checkpoint as this package saved it.
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the command."""

    model: Path = option("-m", metavar="MODEL", help="model folder of a RefineSeg training")
    fold: str = option("-f", default="0", metavar="FOLD", help="fold, or all (default: %(default)s)")
    checkpoint: str = option("-chk", default="checkpoint_final.pth", metavar="FILE", help="(default: %(default)s)")
    output: Path | None = option(
        "-o", default=None, metavar="DIR", help="folder to write to (default: the fold's folder)"
    )
    device: Device | None = device_option()
    trust: bool = trust_option()


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(
        Options,
        argv,
        prog="nnunet_weak_report_annotators",
        description="Print and draw each annotator's mean transition matrix, measured over the training cases.",
        epilog=_EPILOG,
    )
    if not (options.model / "plans.json").is_file():
        raise InvalidInputError(
            f"{options.model}: no model folder, it holds no plans.json (remedy: name the folder "
            "TRAINER__PLANS__CONFIGURATION)"
        )

    from nnunet_weak.dataset.annotations import WeakAnnotations
    from nnunet_weak.evaluation.annotator_figures import save_matrices
    from nnunet_weak.training.annotator_matrices import load_model, measure_annotators

    plans = load_object(options.model / "plans.json", dataset_name=str)
    device = choose_device(options.device)
    model = load_model(options.model, options.fold, options.checkpoint, device, trust=options.trust)
    preprocessed = dataset_folder(plans["dataset_name"], "nnUNet_preprocessed", option="-m")
    annotations = WeakAnnotations.read(preprocessed)
    cases = _training_cases(preprocessed, options.fold, sorted(annotations.cases))
    maps_of_case = {case: annotations.cases[case].maps for case in cases}
    matrices = measure_annotators(model, preprocessed, cases, maps_of_case)

    labels = list(model.labels)
    views = {
        name: {"learned": found.learned, "drawn": found.observed, "agreement": found.agreement}
        for name, found in matrices.items()
    }
    for name, found in matrices.items():
        print(printable(f"\n{name} ({found.kind}), {found.cases} cases\n{_table(views[name], labels)}"))
    output = options.output or options.model / f"fold_{options.fold}"
    output.mkdir(parents=True, exist_ok=True)
    maps = {
        name: {"kind": found.kind, "cases": found.cases, **{view: _as_json(m) for view, m in views[name].items()}}
        for name, found in matrices.items()
    }
    content = {"labels": labels, "axes": ["drawn", "class"], "maps": maps}
    with atomic_file(output / "annotators.json") as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    save_matrices(output / "annotators.png", {name: list(view.values()) for name, view in views.items()}, labels)
    print(f"\nWritten to {output}")
    return 0


def _training_cases(preprocessed: Path, fold: str, cases: list[str]) -> list[str]:
    if fold == "all":
        return cases
    path = preprocessed / "splits_final.json"
    splits = read_splits(path) if path.is_file() else []
    if not re.fullmatch("[0-9]{1,4}", fold) or int(fold) >= len(splits):
        raise InvalidInputError(f"{path}: has {len(splits)} folds, no fold {fold} (remedy: choose a trained fold, -f)")
    return sorted(splits[int(fold)]["train"])


def _table(views: dict[str, Any], labels: list[str]) -> str:
    import pandas as pd

    blocks = {view: pd.DataFrame(matrix, labels, labels) for view, matrix in views.items() if matrix is not None}
    table = pd.concat(blocks, axis=1)
    table.index.name = "drawn"
    return table.to_string(float_format=lambda value: f"{value:.3f}", na_rep="-")


def _as_json(matrix: Any) -> list[list[float | None]] | None:
    if matrix is None:
        return None
    return [[None if math.isnan(value) else round(float(value), 6) for value in row] for row in matrix]
