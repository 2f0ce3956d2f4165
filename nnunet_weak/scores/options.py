"""Options of `nnunet_weak_convert_scores`, on its command line and from Python."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from nnunet_weak.dataset.annotations import ChannelLayout
from nnunet_weak.dataset.options import IMAGES, WHAT, ConversionOptions
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.options import RUN, option, read_assignments
from nnunet_weak.priors import PriorKind, PriorOptions
from nnunet_weak.scores.cells import STANDARD_SCALE, Scale
from nnunet_weak.scores.headers import FIELDS
from nnunet_weak.scores.regions import RegionSource, keep_largest_components, parse_regions

PRIOR = "boundary prior"
TABLE = "table of scores"

TableLayout = Literal["auto", "long", "wide"]


def parse_columns(text: str) -> dict[str, str]:
    """Read column names: `quality=Note,case=Patient`, for wide tables also `quality:shaft=Q3,error:shaft=Q4`.

    A comma belongs to the name where no `FIELD=` follows.

    Raises:
        InvalidInputError: An unknown field, one without a column, or one given twice.
    """
    pieces = re.split(rf",(?=\s*(?:{'|'.join(FIELDS)})\s*(?::[^,=]*)?=)", text)
    form = f"FIELD=HEADER (fields: {', '.join(FIELDS)}, quality:REGION, error:REGION)"
    found = read_assignments("--columns", pieces, form)
    for key, header in found.items():
        field, _, region = key.partition(":")
        if not header or field not in FIELDS or (region and field not in ("quality", "error")):
            raise InvalidInputError(f"--columns {key}={header}: is not {form}")
    return found


def _read_prior_options(texts: Sequence[str]) -> dict[str, float]:
    values = read_assignments("--prior-options", texts, "NAME=NUMBER, for example upper_percentile=99")
    try:
        return {name: float(value) for name, value in values.items()}
    except ValueError as error:
        raise InvalidInputError(
            f"--prior-options {' '.join(texts)}: write NAME=NUMBER, for example upper_percentile=99"
        ) from error


@dataclass(frozen=True, kw_only=True)
class ScoreConversion(ConversionOptions):
    """What to convert, and how."""

    masks: Path = option(
        group=WHAT,
        metavar="DIR",
        help="initial masks: a label map CASE.nii.gz, or a folder CASE with a binary file for each structure "
        "(TotalSegmentator)",
    )
    scores: Path | None = option(
        default=None,
        group=WHAT,
        metavar="FILE",
        help="CSV, TSV, XLSX or JSON, one row for each case and region or one for each case (default: no scores, for "
        "nnUNetTrainerSCOREPlus, which needs none)",
    )
    regions: tuple[RegionSource, ...] = option(
        group=WHAT,
        metavar="NAME=SOURCE",
        read=parse_regions,
        help="regions in the order of their labels: NAME=3,7-9 (labels of a label map), NAME='rib_*' (files), or "
        "NAME alone (the file of that name); where files overlap the first-named region wins",
    )
    references: Path | None = option(
        default=None,
        group=IMAGES,
        metavar="DIR",
        help="reference labels of some or all cases, as the masks are or as label maps 1, 2, ...; these cases count as "
        "fully annotated",
    )
    other_labels: Literal["refuse", "background"] = option(
        default="refuse", group=IMAGES, help="values of a mask that belong to no region (default: %(default)s)"
    )
    largest_component: tuple[str, ...] = option(
        default=(),
        group=IMAGES,
        metavar="REGION",
        help="regions whose initial masks are reduced to their largest connected component, here and at inference",
    )
    prior: PriorKind = option(
        default="otsu", group=PRIOR, help="how it is made; none leaves the channel out (default: %(default)s)"
    )
    prior_options: Mapping[str, float] = option(
        default=dict,
        group=PRIOR,
        nargs="+",
        metavar="NAME=NUMBER",
        read=_read_prior_options,
        help="for example upper_percentile=99 reach_mm=15",
    )
    prior_folder: Path | None = option(
        default=None, group=PRIOR, metavar="DIR", help="priors DIR/CASE.nii.gz for --prior file"
    )
    columns: Mapping[str, str] | None = option(
        default=None,
        group=TABLE,
        metavar="FIELD=HEADER,...",
        read=parse_columns,
        help="headers that are not recognised by themselves, for example quality=Note,case=Patient",
    )
    scale: Scale = option(
        default=STANDARD_SCALE,
        group=TABLE,
        metavar="BEST:WORST",
        read=Scale.parse,
        help="the scale of the scores, for example 1:4 (default: 5:0)",
    )
    table_layout: TableLayout = option(
        default="auto",
        group=TABLE,
        help="rows are cases and regions (long), or cases (wide) (default: %(default)s)",
    )
    sheet: str | None = option(default=None, group=TABLE, metavar="NAME", help="sheet of a workbook")
    dry_run: bool = option(
        default=False,
        group=RUN,
        recorded=False,
        help="check everything, print the matched table and every name that does not match, write nothing",
    )
    allow_missing: bool = option(
        default=False,
        group=RUN,
        help="leave out cases without mask or prior and scores without a case; take cases without scores",
    )
    allow_many_channels: bool = option(
        default=False, group=RUN, recorded=False, help="accept a high estimate of memory"
    )

    def __post_init__(self) -> None:
        """Refuse priors that cannot be made."""
        if (self.prior_settings.kind == "file") != (self.prior_folder is not None):
            raise InvalidInputError("--prior file and --prior-folder DIR need each other")
        _ = self.mask_regions

    @cached_property
    def prior_settings(self) -> PriorOptions:
        """Kind and options of the boundary prior."""
        return PriorOptions.from_json({"kind": self.prior, **self.prior_options}, "--prior-options")

    @cached_property
    def mask_regions(self) -> tuple[RegionSource, ...]:
        """The regions as initial masks are read."""
        return keep_largest_components(self.regions, self.largest_component)

    @property
    def region_names(self) -> tuple[str, ...]:
        """Names of the regions."""
        return tuple(region.name for region in self.regions)

    def channel_layout(self, image_channels: int) -> ChannelLayout:
        """Order of the input channels."""
        return ChannelLayout(image_channels, self.region_names, self.prior != "none")
