"""`nnunet_weak_evaluate`: metrics of predicted segmentations, compared with baselines on the same cases."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_weak.cli.console import console_command
from nnunet_weak.errors import InvalidInputError, Problems, printable
from nnunet_weak.evaluation.definitions import METRICS, definitions
from nnunet_weak.images.outputs import check_output_file, check_place, real_path
from nnunet_weak.options import option, parse, processes_option, read_assignments, read_number

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

definitions
""" + "\n".join(
    textwrap.fill(f"{term}: {text}", 105, initial_indent="  ", subsequent_indent="      ")
    for term, text in definitions("--nsd-tolerance-mm").items()
)

_BEGINS_WITH = {
    "evaluation.csv": b"case,label,method",
    "evaluation.json": b'{\n  "settings"',
    "evaluation.html": b"<!DOCTYPE html>",
}


def _read_baselines(texts: Sequence[str]) -> dict[str, Path]:
    form = "of the form NAME=FOLDER"
    folders = read_assignments("--baseline", texts, form)
    if "" in folders.values():
        raise InvalidInputError([f"--baseline {name}: is not {form}" for name, folder in folders.items() if not folder])
    return {name: Path(folder) for name, folder in folders.items()}


@dataclass(frozen=True)
class Options:
    """Options of `nnunet_weak_evaluate`."""

    prediction: Path = option(positional=True, metavar="PRED", help="folder of predicted label maps, one for each case")
    reference: Path = option(
        positional=True, metavar="REF", help="folder of reference label maps; same names, file endings may differ"
    )
    name: str | None = option(default=None, help="name of PRED in the output (default: the folder's name)")
    baselines: Mapping[str, Path] = option(
        "--baseline",
        default=dict,
        action="append",
        read=_read_baselines,
        metavar="NAME=FOLDER",
        help="other predictions of the same cases to test against; repeatable",
    )
    labels: tuple[str, ...] = option(
        default=(),
        metavar="LABEL",
        help="a dataset.json, or labels as NAME (of the dataset.json), VALUE, NAME=VALUE, or NAME=VALUE,VALUE for a "
        "region (default: nnU-Net's dataset.json beside REF, in REF or in PRED; without one, all values in REF)",
    )
    nsd_tolerance_mm: float = option(
        default=2.0,
        read=partial(read_number, "--nsd-tolerance-mm"),
        metavar="MM",
        help="tolerance of NSD in mm (default: %(default)s)",
    )
    patients: Path | None = option(
        default=None, metavar="CSV", help="table with the columns case,patient: average over patients before testing"
    )
    allow_missing: bool = option(
        default=False, help="evaluate the cases that are there instead of refusing folders that differ"
    )
    output: Path | None = option(
        default=None, metavar="FOLDER", help="write evaluation.csv and evaluation.json here (default: terminal only)"
    )
    report: bool = option(default=False, help="also write evaluation.html, a report in one file")
    images: Path | None = option(
        default=None,
        metavar="FOLDER",
        help="images of the cases (CASE or CASE_0000): the report draws the worst cases",
    )
    processes: int | None = processes_option()

    def __post_init__(self) -> None:
        """Refuse options that contradict each other."""
        problems = Problems()
        if self.method in self.baselines:
            problems.add(
                f"--baseline {self.method}={self.baselines[self.method]}",
                f"the name {self.method} is taken",
                "give another one, or name the predictions with --name",
            )
        if self.patients is not None and not self.baselines:
            problems.add("--patients", "is for the paired test, and there is no --baseline")
        if self.report and self.output is None:
            problems.add("--report", "needs --output FOLDER")
        if self.output is not None:
            self._check_output(self.output, problems)
        if self.images is not None and not self.report:
            problems.add("--images", "needs --report")
        if self.images is not None and not self.images.is_dir():
            problems.add(f"--images {self.images}", "no such folder", "check path and name")
        problems.raise_if_any()

    def _check_output(self, output: Path, problems: Problems) -> None:
        """Refuse an output among the inputs, and to replace files that are no evaluation."""
        inputs = (self.prediction, self.reference, *self.baselines.values(), self.images)
        check_place(output, inputs, f"--output {output}", problems)
        if output.exists() and not output.is_dir():
            problems.add(f"--output {output}", "is a file", "name a folder")
        for name, start in _BEGINS_WITH.items():
            if (output / name).exists():
                check = partial(check_output_file, overwrite=True, inputs=(self.patients,), begins_with=start)
                problems.attempt(check, output / name)

    @property
    def method(self) -> str:
        """Name of the predictions in the output."""
        return self.name or real_path(self.prediction).name

    @property
    def methods(self) -> dict[str, Path]:
        """Folder of the predictions and of each baseline."""
        return {self.method: self.prediction, **self.baselines}


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    description = "Measure predicted segmentations against references, and compare them with baselines."
    options = parse(Options, argv, prog="nnunet_weak_evaluate", description=description, epilog=EPILOG)

    import pandas as pd

    from nnunet_weak import __version__
    from nnunet_weak.evaluation.folders import evaluate_folders
    from nnunet_weak.evaluation.paired_tests import compare, comparison_table
    from nnunet_weak.evaluation.record import Evaluation, write_texts
    from nnunet_weak.evaluation.summary import summarise, summary_table

    patients = _read_patients(options) if options.patients else None
    scheme = _label_scheme(options)
    cases = evaluate_folders(
        options.methods,
        options.reference,
        scheme,
        nsd_tolerance_mm=options.nsd_tolerance_mm,
        allow_missing=options.allow_missing,
        processes=options.processes,
        progress=True,
    )
    tests = [
        compare(cases, options.method, baseline, metric.key, patients)
        for baseline in options.baselines
        for metric in METRICS
    ]
    settings = {
        "version": __version__,
        "method": options.method,
        "methods": {name: str(folder) for name, folder in options.methods.items()},
        "reference": str(options.reference),
        "labels": dict(scheme.labels) if scheme else {str(label): (int(label),) for label in cases["label"].unique()},
        "labels_from": scheme.source if scheme else "the values of the references",
        "ignore_label": scheme.ignore_label if scheme else None,
        "nsd_tolerance_mm": options.nsd_tolerance_mm,
        "allow_missing": options.allow_missing,
        "patients": str(options.patients) if options.patients else None,
    }
    comparisons = pd.concat(tests, ignore_index=True) if tests else pd.DataFrame()
    found = Evaluation(cases, summarise(cases), comparisons, settings)

    print(f"\n{cases['case'].nunique()} cases, NSD tolerance {options.nsd_tolerance_mm:g} mm\n")
    print(printable(summary_table(found.summary).to_string(index=False)))
    if tests:
        print(f"\n{options.method} minus baseline, {'patients' if patients else 'cases'} as pairs\n")
        print(printable(comparison_table(comparisons).to_string(index=False)))
    if options.output is not None:
        contents = {"evaluation.csv": found.csv(), "evaluation.json": found.json()}
        if options.report:
            from nnunet_weak.evaluation.report import report_html

            contents["evaluation.html"] = report_html(found, options.images)
        write_texts(options.output, contents)
        print(f"\nWritten to {options.output}")
    return 0


def _label_scheme(options: Options) -> LabelScheme | None:
    from nnunet_weak.evaluation.labels import choose_labels, find_dataset_json, read_dataset_json

    if len(options.labels) == 1 and options.labels[0].endswith(".json"):
        return read_dataset_json(Path(options.labels[0]))
    path = find_dataset_json(options.reference, options.prediction)
    found = read_dataset_json(path) if path else None
    return choose_labels(options.labels, found) if options.labels else found


def _read_patients(options: Options) -> dict[str, str]:
    from nnunet_weak.dataset.patients import read_patients
    from nnunet_weak.images.read import list_images

    assert options.patients is not None
    folders = [options.reference, *options.methods.values()]
    cases = set.intersection(*(set(list_images(folder)) for folder in folders))
    return read_patients(options.patients, sorted(cases))
