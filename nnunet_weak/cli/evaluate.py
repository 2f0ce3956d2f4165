"""`nnunet_weak_evaluate`: metrics of predicted segmentations, compared with baselines on the same cases."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_weak.cli.console import console_command
from nnunet_weak.errors import InvalidInputError, Problems

if TYPE_CHECKING:
    from nnunet_weak.evaluation.labels import LabelScheme

EPILOG = """\
example
  nnunet_weak_evaluate predictions nnUNet_raw/Dataset007_Liver/labelsTs \\
      --baseline initial=initial_masks --baseline stock=predictions_stock \\
      --output evaluation --report --images nnUNet_raw/Dataset007_Liver/imagesTs

  prints mean +- SD for each label, tests the predictions against both baselines, and writes
  evaluation/evaluation.csv (one row for each case, label and method), evaluation.json (settings,
  definitions, summary, tests, cases) and evaluation.html; earlier files of these names are replaced.

metrics
  Dice, IoU   overlap of voxels
  HD95        the larger of the two directed 95th percentiles of the surface distances, mm
  ASSD        mean over the surface distances of both directions pooled, mm
  NSD         share of both masks' surface voxels within --nsd-tolerance-mm of the other surface
  A surface voxel has a face neighbour outside its mask (beyond the image is outside). Other programs
  define HD95 and NSD differently; figures of different programs do not compare.

empty masks
  both empty  no metric is defined: blank, left out of means and tests, counted in the table
  one empty   Dice = IoU = NSD = 0; HD95 = ASSD = distance between opposite corner voxels of the image,
              so that missing a structure never improves a mean; counted in the table
  ignored     voxels with nnU-Net's ignore label in the reference are left out of Dice and IoU;
              HD95, ASSD and NSD of that case are blank

tests
  Wilcoxon's signed-rank test over cases, two-sided, p corrected after Holm over the labels, for each
  metric and baseline. With fewer than 6 differing pairs no p below 0.05 is possible. Several cases of
  one patient are not independent: give --patients.
"""


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.report and arguments.output is None:
        parser.error("--report needs --output FOLDER")
    if arguments.images is not None and not arguments.report:
        parser.error("--images needs --report")
    methods = _methods(arguments)
    _check_arguments(arguments)

    import pandas as pd

    from nnunet_weak import __version__
    from nnunet_weak.evaluation import compare, evaluate_folders, summarise
    from nnunet_weak.evaluation.metrics import METRICS
    from nnunet_weak.evaluation.record import comparison_table, summary_table, write_csv, write_in_place, write_json
    from nnunet_weak.parallel import default_processes

    patients = _read_patients(arguments.patients, methods, arguments.reference) if arguments.patients else None
    scheme = _scheme(arguments)
    frame = evaluate_folders(
        methods,
        arguments.reference,
        scheme,
        nsd_tolerance_mm=arguments.nsd_tolerance_mm,
        allow_missing=arguments.allow_missing,
        processes=arguments.np or default_processes(),
        progress=True,
    )
    summary = summarise(frame)
    method, *baselines = methods
    tests = [compare(frame, method, baseline, metric.key, patients) for baseline in baselines for metric in METRICS]
    comparisons = pd.concat(tests, ignore_index=True) if tests else pd.DataFrame()

    print(f"\n{frame['case'].nunique()} cases, NSD tolerance {arguments.nsd_tolerance_mm:g} mm\n")
    print(summary_table(summary).to_string(index=False))
    if baselines:
        print(f"\n{method} minus baseline, {'patients' if patients else 'cases'} as pairs\n")
        print(comparison_table(comparisons).to_string(index=False))
    if arguments.output is None:
        return 0
    settings = {
        "version": __version__,
        "method": method,
        "methods": {name: str(folder) for name, folder in methods.items()},
        "reference": str(arguments.reference),
        "labels": {str(name): list(values) for name, values in scheme.labels.items()}
        if scheme
        else "values of the references",
        "labels_from": scheme.source if scheme else "the values of the references",
        "ignore_label": scheme.ignore_label if scheme else None,
        "nsd_tolerance_mm": arguments.nsd_tolerance_mm,
        "allow_missing": arguments.allow_missing,
        "patients": str(arguments.patients) if arguments.patients else None,
    }
    if arguments.report:
        from nnunet_weak.evaluation.report import report_html

        labels = dict(scheme.labels) if scheme else {str(label): (int(label),) for label in frame["label"].unique()}
        page = report_html(frame, summary, comparisons, settings, labels=labels, images=arguments.images)
        write_in_place(arguments.output / "evaluation.html", page)
    write_csv(arguments.output / "evaluation.csv", frame)
    write_json(arguments.output / "evaluation.json", frame, summary, comparisons, settings)
    print(f"\nWritten to {arguments.output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnunet_weak_evaluate",
        description="Measure predicted segmentations against references, and compare them with baselines.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "prediction", type=Path, metavar="PRED", help="folder of predicted label maps, one for each case"
    )
    parser.add_argument(
        "reference",
        type=Path,
        metavar="REF",
        help="folder of reference label maps; same names, file endings may differ",
    )
    parser.add_argument("--name", help="name of PRED in the output (default: the folder's name)")
    parser.add_argument(
        "--baseline",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="other predictions of the same cases to test against; repeatable",
    )
    parser.add_argument(
        "--labels",
        nargs="+",
        metavar="LABEL",
        help="a dataset.json, or labels as NAME (of the dataset.json), VALUE, NAME=VALUE, or NAME=VALUE,VALUE for a "
        "region (default: nnU-Net's dataset.json beside REF, in REF or in PRED; without one, all values in REF)",
    )
    parser.add_argument(
        "--nsd-tolerance-mm",
        type=float,
        default=2.0,
        metavar="MM",
        help="tolerance of NSD in mm (default: %(default)g)",
    )
    parser.add_argument(
        "--patients",
        type=Path,
        metavar="CSV",
        help="table with the columns case,patient: average over patients before testing",
    )
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="evaluate the cases that are there instead of refusing folders that differ",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="write evaluation.csv and evaluation.json here (default: terminal only)",
    )
    parser.add_argument("--report", action="store_true", help="also write evaluation.html, a report in one file")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="images of the cases (CASE or CASE_0000): the report draws the worst cases",
    )
    parser.add_argument("-np", type=int, default=None, metavar="N", help="number of processes (default: all cores)")
    return parser


def _methods(arguments: argparse.Namespace) -> dict[str, Path]:
    problems = Problems()
    methods = {arguments.name or arguments.prediction.resolve().name: arguments.prediction}
    for text in arguments.baseline:
        name, separator, folder = text.partition("=")
        if not (separator and name and folder):
            problems.add(f"--baseline {text}", "not of the form NAME=FOLDER")
        elif name in methods:
            problems.add(
                f"--baseline {text}",
                f"the name {name} is taken",
                "give another one, or name the predictions with --name",
            )
        else:
            methods[name] = Path(folder)
    problems.raise_if_any()
    return methods


def _check_arguments(arguments: argparse.Namespace) -> None:
    problems = Problems()
    if not (math.isfinite(arguments.nsd_tolerance_mm) and arguments.nsd_tolerance_mm >= 0):
        problems.add(f"--nsd-tolerance-mm {arguments.nsd_tolerance_mm}", "a tolerance is a number of mm from 0 up")
    if arguments.np is not None and arguments.np < 1:
        problems.add(f"-np {arguments.np}", "at least one process is needed")
    if arguments.patients is not None and not arguments.baseline:
        problems.add("--patients", "is for the paired test, and there is no --baseline")
    if arguments.images is not None and not arguments.images.is_dir():
        problems.add(f"--images {arguments.images}", "no such folder")
    problems.raise_if_any()


def _scheme(arguments: argparse.Namespace) -> LabelScheme | None:
    from nnunet_weak.evaluation.labels import choose_labels, find_dataset_json, read_dataset_json

    requested = arguments.labels or []
    if len(requested) == 1 and requested[0].endswith(".json"):
        return read_dataset_json(Path(requested[0]))
    path = find_dataset_json(arguments.reference, arguments.prediction)
    found = read_dataset_json(path) if path else None
    return choose_labels(requested, found) if requested else found


def _read_patients(path: Path, methods: dict[str, Path], reference: Path) -> dict[str, str]:
    import csv

    from nnunet_weak.images.read import list_images

    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file")
    problems = Problems()
    patients: dict[str, str] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        if not {"case", "patient"} <= set(reader.fieldnames or ()):
            given = ", ".join(reader.fieldnames or ()) or "none"
            raise InvalidInputError(f"{path}: columns are {given}; the header has to name case and patient")
        for row in reader:
            case, patient = (row["case"] or "").strip(), (row["patient"] or "").strip()
            if not case or not patient:
                problems.add(f"{path}, line {reader.line_num}", "case or patient is blank")
            elif patients.setdefault(case, patient) != patient:
                problems.add(
                    f"{path}, line {reader.line_num}", f"case {case} already belongs to patient {patients[case]}"
                )
    # Told now rather than after the evaluation, when the tests would find out.
    cases = set(list_images(reference)).intersection(*(list_images(folder) for folder in methods.values()))
    without = sorted(cases - set(patients))
    if without:
        problems.add(
            str(path), f"no patient for {len(without)} cases: {', '.join(without)}", "add a line case,patient for each"
        )
    problems.raise_if_any()
    return patients
