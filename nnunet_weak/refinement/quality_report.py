"""Quality estimates as a table, worst first, and as a page with a picture of each region."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from nnunet_weak.evaluation.figures import PREDICTION_COLOUR, REFERENCE_COLOUR
from nnunet_weak.evaluation.report import STYLE
from nnunet_weak.refinement.quality_features import FEATURES
from nnunet_weak.tables import csv_text

COLUMNS = ("case", "region", "quality", "error", "certainty", "suspicion", *FEATURES)

NO_SCORES = (
    "No scores were given: this is a ranking by suspicion (0 to 1), the mean rank of what is odd about a mask, and no "
    "estimate of quality"
)


@dataclass(frozen=True)
class QualityRow:
    """Estimate of one region of one case; quality and certainty are None where there is only a ranking."""

    case: str
    region: str
    quality: float | None
    error: str
    certainty: float | None
    suspicion: float
    features: Mapping[str, float]


def sort_rows(rows: Sequence[QualityRow]) -> list[QualityRow]:
    """Worst first: the lowest quality, or the highest suspicion where there are no qualities."""
    return sorted(rows, key=lambda row: (-row.suspicion if row.quality is None else row.quality, row.case, row.region))


def quality_csv(rows: Sequence[QualityRow]) -> str:
    """The table; numbers have four significant digits."""
    return csv_text(
        COLUMNS,
        (
            (
                row.case,
                row.region,
                _text(row.quality),
                row.error,
                _text(row.certainty),
                _text(row.suspicion),
                *(_text(row.features.get(name)) for name in FEATURES),
            )
            for row in rows
        ),
    )


def quality_html(
    rows: Sequence[QualityRow], remark: str, picture: Callable[[QualityRow], bytes | None], most_pictures: int
) -> str:
    """The page, in one file without scripts or links.

    Args:
        rows: Worst first.
        remark: How good the estimates are.
        picture: PNG of a row; None where there is none.
        most_pictures: Rows from the top that get one.
    """
    parts = [
        "<h1>Estimated quality of masks, worst first</h1>",
        f"<p>{escape(remark)}.</p>",
        f'<p>Outlines: <b style="color:{PREDICTION_COLOUR}">mask</b>, '
        f'<b style="color:{REFERENCE_COLOUR}">refinement</b>; the axial slice where they differ most, patient\'s right '
        "on the left.</p>",
    ]
    for row in rows[:most_pictures]:
        png = picture(row)
        text = escape(_caption(row))
        if png is None:
            parts.append(f"<p>{text}</p>")
            continue
        data = base64.b64encode(png).decode("ascii")
        image = f'<img alt="{text}" src="data:image/png;base64,{data}">'
        parts.append(f"<figure>{image}<figcaption>{text}</figcaption></figure>")
    if len(rows) > most_pictures:
        parts.append(f'<p class="note">{len(rows) - most_pictures} more are in the table.</p>')
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head = f"{meta}<title>Estimated quality</title><style>{STYLE}</style>"
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _caption(row: QualityRow) -> str:
    if row.quality is None:
        return f"{row.case}, {row.region}: suspicion {row.suspicion:.2f}, {row.error}"
    return f"{row.case}, {row.region}: quality {row.quality:.1f}, {row.error}, certainty {row.certainty:.0%}"


def _text(value: float | None) -> str | None:
    return None if value is None or value != value else f"{value:.4g}"
