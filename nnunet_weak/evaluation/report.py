"""The report's HTML: tables, plots and the worst cases in one file without scripts or links."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

import pandas as pd

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.evaluation.definitions import METRICS
from nnunet_weak.evaluation.figures import PREDICTION_COLOUR, REFERENCE_COLOUR, distribution_png, slice_png
from nnunet_weak.evaluation.paired_tests import comparison_table
from nnunet_weak.evaluation.record import Evaluation
from nnunet_weak.evaluation.summary import summary_table
from nnunet_weak.images.read import list_images, read_image, read_label_map

WORST_CASES = 6
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: .7rem 0; display: block; overflow-x: auto; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
img { max-width: 100%; } figure { display: inline-block; margin: .5rem 1rem .5rem 0; vertical-align: top; }
figcaption { font-size: .85rem; max-width: 24rem; } dt { font-weight: 600; } dd { margin: 0 0 .4rem 1.2rem; }
.note { color: #666; }
"""


def report_html(evaluation: Evaluation, images: Path | None = None) -> str:
    """The whole report as one HTML document; every name is escaped.

    Args:
        evaluation: Results and settings.
        images: Folder of images, named as the cases or with nnU-Net's channel number, to draw the worst cases on.

    Raises:
        InvalidInputError: `images` is no folder of images.
    """
    cases, settings = evaluation.cases, evaluation.settings
    method = settings["method"]
    title = f"Evaluation of {method}"
    methods = "; ".join(f"{name} = {folder}" for name, folder in settings["methods"].items())
    parts = [
        f"<h1>{escape(title)}</h1>",
        _paragraph(f"{cases['case'].nunique()} cases. Reference: {settings['reference']}. Methods: {methods}."),
        "<h2>Summary</h2>",
        _table(summary_table(evaluation.summary)),
    ]
    if len(evaluation.comparisons):
        parts += [f"<h2>{escape(method)} against baselines</h2>", _table(comparison_table(evaluation.comparisons))]
    parts.append("<h2>Cases</h2>")
    for metric in METRICS:
        if cases[metric.key].notna().any():
            parts.append(_figure(distribution_png(cases, metric), f"{metric.title} of every case, by label and method"))
    parts += ["<h2>Worst cases</h2>", *_worst_cases(evaluation, images), "<h2>Definitions</h2>", "<dl>"]
    parts += [f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in evaluation.definitions.items()]
    parts += ["</dl>", _note(f"nnunet_weak {settings['version']}")]
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head = f"{meta}<title>{escape(title)}</title><style>{STYLE}</style>"
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _worst_cases(evaluation: Evaluation, images: Path | None) -> list[str]:
    settings = evaluation.settings
    rows = evaluation.cases[evaluation.cases["method"] == settings["method"]]
    worst = rows.dropna(subset=["dice"]).sort_values(["dice", "case"], kind="stable").head(WORST_CASES)
    shown = worst[["case", "label", "status", *(metric.key for metric in METRICS)]]
    shown = shown.rename(columns={metric.key: metric.title for metric in METRICS})
    parts = [_paragraph(f"The {len(worst)} lowest Dice values of {settings['method']}."), _table(shown)]
    if images is None:
        return [*parts, _note("With --images FOLDER, each is drawn here on a slice of its image.")]
    available = list_images(images)
    references = list_images(Path(settings["reference"]))
    predictions = list_images(Path(settings["methods"][settings["method"]]))
    parts.append(
        f'<p>Outlines: <b style="color:{REFERENCE_COLOUR}">reference</b>, '
        f'<b style="color:{PREDICTION_COLOUR}">prediction</b>; '
        "the axial slice where they differ most, patient's right on the left.</p>"
    )
    for row in worst.itertuples():
        name = f"{row.case}, {row.label}: Dice {row.dice:.3f}"
        path = available.get(f"{row.case}_0000", available.get(row.case))
        if path is None:
            parts.append(_note(f"{name}: no image in {images}"))
            continue
        try:
            reference, prediction = read_label_map(references[row.case]), read_label_map(predictions[row.case])
            picture = slice_png(read_image(path), reference, prediction, settings["labels"][row.label])
        except InvalidInputError as error:
            parts.append(_note(f"{name}: {error}"))
            continue
        parts.append(_figure(picture, name))
    return parts


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _table(table: pd.DataFrame) -> str:
    return table.to_html(index=False, border=0, float_format="{:.3f}".format, na_rep="-")


def _figure(png: bytes, caption: str) -> str:
    data = base64.b64encode(png).decode("ascii")
    text = escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'
