"""`nnunet_weak_report_annotators`: what a RefineSeg training has learned about each annotator."""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_weak.cli.console import console_command
from nnunet_weak.dataset.folders import dataset_folder
from nnunet_weak.errors import InvalidInputError

_EPILOG = """\
example
  nnunet_weak_report_annotators nnUNet_results/Dataset521_Heart/nnUNetTrainerRefineSeg__nnUNetPlans__2d -f 0

three matrices for each annotation map, p(drawn m | class k); a row for each m, a column for each k
  learned    the annotation head's, averaged over the voxels that the network predicts as k
  drawn      what is drawn where the network predicts k; of negative maps: what is excluded there
  agreement  STAPLE's estimate from the positive drawings of several annotators alone, without the network
A head is trained on drawn voxels only and pulled towards the identity: read its matrix as a tendency, beside the
others.

written into the fold's folder (or --output): annotators.json, annotators.png, annotators_where.png
The last shows for each map, in one slice of a case, where its matrices are far from the identity.
Needs the preprocessed data set with its annotation maps, and a checkpoint as this package saved it.
"""


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = _parser().parse_args(argv)
    if not (arguments.model / "plans.json").is_file():
        raise InvalidInputError(f"{arguments.model}: no model folder, it holds no plans.json")

    import numpy as np
    import pandas as pd
    import torch

    from nnunet_weak.dataset.annotations import WeakAnnotations
    from nnunet_weak.evaluation.annotator_figures import save_deviations, save_matrices
    from nnunet_weak.training.annotator_matrices import load_model, measure_annotators

    plans = json.loads((arguments.model / "plans.json").read_text(encoding="utf-8"))
    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model = load_model(arguments.model, arguments.f, arguments.chk, device)
    preprocessed = dataset_folder(plans["dataset_name"], "nnUNet_preprocessed")
    annotations = WeakAnnotations.read(preprocessed)
    cases = _training_cases(preprocessed, arguments.f, sorted(annotations.cases))
    maps_of_case = {case: annotations.cases[case].maps for case in cases}
    matrices, deviations = measure_annotators(model, preprocessed, cases, maps_of_case)

    labels = list(model.labels)
    for name, found in matrices.items():
        print(f"\n{name} ({found.kind}), {found.cases} cases")
        views = {"learned": found.learned, "drawn": found.observed, "agreement": found.agreement}
        blocks = {view: pd.DataFrame(m, labels, labels) for view, m in views.items() if m is not None}
        table = pd.concat(blocks, axis=1)
        table.index.name = "drawn"
        print(table.to_string(float_format=lambda value: f"{value:.3f}", na_rep="-"))
    output = arguments.output or arguments.model / f"fold_{arguments.f}"
    output.mkdir(parents=True, exist_ok=True)
    record = {
        name: {
            "kind": found.kind,
            "cases": found.cases,
            "learned": _plain(found.learned),
            "drawn": _plain(found.observed),
            "agreement": None if found.agreement is None else _plain(found.agreement),
        }
        for name, found in matrices.items()
    }
    partial = output / ".annotators.json.partial"
    partial.write_text(
        json.dumps({"labels": labels, "axes": ["drawn", "class"], "maps": record}, indent=2) + "\n", encoding="utf-8"
    )
    os.replace(partial, output / "annotators.json")
    views_of = {name: (found.learned, found.observed, found.agreement) for name, found in matrices.items()}
    save_matrices(output / "annotators.png", views_of, labels)
    if deviations:
        slices = {
            f"{name}: {found.case}": (found.image, found.drawing, found.prediction, np.clip(found.deviation, 0, 1))
            for name, found in deviations.items()
        }
        save_deviations(output / "annotators_where.png", slices, len(labels))
    print(f"\nWritten to {output}")
    return 0


def _training_cases(preprocessed: Path, fold: str, cases: list[str]) -> list[str]:
    if fold == "all":
        return cases
    path = preprocessed / "splits_final.json"
    if not path.is_file() or not fold.isdecimal():
        raise InvalidInputError(f"{path}: says nothing of fold {fold} (remedy: choose a fold that was trained)")
    splits = json.loads(path.read_text(encoding="utf-8"))
    if int(fold) >= len(splits):
        raise InvalidInputError(f"{path}: has {len(splits)} folds, there is no fold {fold}")
    return sorted(splits[int(fold)]["train"])


def _plain(matrix: Any) -> list[list[float | None]]:
    return [[None if math.isnan(value) else round(float(value), 6) for value in row] for row in matrix]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnunet_weak_report_annotators",
        description="Print and draw each annotator's mean transition matrix, measured over the training cases.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="model folder of a RefineSeg training")
    parser.add_argument("-f", default="0", metavar="FOLD", help="fold, or all (default: %(default)s)")
    parser.add_argument("-chk", default="checkpoint_final.pth", metavar="FILE", help="(default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="where to write (default: the fold's folder)")
    parser.add_argument("-device", metavar="DEVICE", help="cuda, cpu or mps (default: cuda if there is one)")
    return parser
