"""The `"nnunet_weak"` block of `dataset.json`: what is known of each case beside its label map.

nnU-Net copies `dataset.json` untouched from the raw to the preprocessed folder, so the block travels with the data
set. It holds numbers and names only; everything voxel-wise lies in image files. The schema:

```json
"nnunet_weak": {
    "schema_version": 1,
    "method": "score",                                     "score", "refineseg", "weaknet" or "weighted"
    "channels": {"images": 1, "masks": ["head", "shaft"], "prior": true},
    "mask_sources": {"head": "1", "shaft": "2,3"},         labels or files of the mask behind each region (SCORE)
    "largest_component": ["head"],                         regions whose masks are reduced to it (SCORE)
    "prior": {"kind": "otsu", "upper_percentile": 99.5},   how the prior channel was made (SCORE)
    "left_right_axis": 0,                                  image axis (x, y, z = 0, 1, 2) that runs left-right, or null
    "maps": {"anna": "positive", "anna_not": "negative"},  further annotation maps (RefineSeg); or "weights"
    "class_weights": {"shaft": 2.0},                       factor of classes in the cross-entropy (weighted)
    "cases": {
        "case_01": {"scores": {"head": {"quality": 3.5, "error": "under"}}},
        "case_04": {"scores": {"head": {"quality": 0, "error": "under"}}, "missing": ["head"]},
        "case_02": {"maps": ["anna", "anna_not"]},
        "case_03": {"fully_annotated": true}
    }
}
```

A mask channel belongs to the region of the same name, and region k of the list is label k of the data set. `missing`
are regions that are in the image and not in the mask: it is empty, and the score is 0, under.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from nnunet_weak.dataset.find_cases import why_not_a_case_name
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.json_files import load_object
from nnunet_weak.priors import PriorOptions

BLOCK = "nnunet_weak"
SCHEMA_VERSION = 1
_REMEDY = "correct it, or convert the data set again"
MOST_BYTES = 1 << 30  # of dataset.json: scores of every region of a hundred thousand cases

METHODS = ("score", "refineseg", "weaknet", "weighted")
MAP_KINDS = ("positive", "negative")
"""Kinds of drawings; a further map may hold weights."""
_ALL_MAP_KINDS = (*MAP_KINDS, "weights")
BEST_QUALITY = 5.0
_KEYS = (
    "schema_version",
    "method",
    "channels",
    "mask_sources",
    "largest_component",
    "prior",
    "left_right_axis",
    "maps",
    "class_weights",
    "cases",
)


class ErrorType(IntEnum):
    """Error label l_k of a region of an automatic mask (SCORE paper, section 2)."""

    UNDER = -1
    NONE = 0
    OVER = 1
    BOTH = 2


@dataclass(frozen=True)
class RegionScore:
    """The judgement of one region of an automatic mask by one or several raters; `dataset.json` has the first two.

    Attributes:
        quality: q_k, from 0 (unusable) to 5 (excellent); the median over the raters.
        error: l_k; the union over the raters, without those who saw none, and none where the median quality is 5.
        raters: Number of raters.
        disagreement: Highest minus lowest quality among the raters.
        errors_agree: Whether all raters gave the same error type.
    """

    quality: float
    error: ErrorType
    raters: int = 1
    disagreement: float = 0.0
    errors_agree: bool = True

    @property
    def says_missing(self) -> bool:
        """Whether it says of an empty mask that the region is there: quality 0, under."""
        return self.quality == 0 and self.error == ErrorType.UNDER


@dataclass(frozen=True)
class CaseAnnotation:
    """What is known of one case.

    Attributes:
        fully_annotated: The label map in `labelsTr` is ground truth; stock supervision applies.
        scores: Score of each scored region, by region name. A region may be missing.
        maps: Names of the annotation maps that exist for this case.
        missing: Regions that are in the image, and empty in the initial mask.
    """

    fully_annotated: bool = False
    scores: Mapping[str, RegionScore] = field(default_factory=dict)
    maps: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChannelLayout:
    """Order of the network's input channels: images, then one mask for each region, then the boundary prior.

    Attributes:
        images: Number of image channels.
        masks: Region name of each mask channel, in order; region k (from 1) is label k.
        prior: Whether the last channel is the boundary prior.
    """

    images: int
    masks: tuple[str, ...] = ()
    prior: bool = False

    @property
    def count(self) -> int:
        """Number of input channels."""
        return self.images + len(self.masks) + int(self.prior)

    @property
    def mask_channels(self) -> slice:
        """Where the mask channels are."""
        return slice(self.images, self.images + len(self.masks))


@dataclass(frozen=True)
class WeakAnnotations:
    """The parsed block. See the module's docstring for the fields."""

    method: Literal["score", "refineseg", "weaknet", "weighted"]
    channels: ChannelLayout
    cases: Mapping[str, CaseAnnotation] = field(default_factory=dict, repr=False)
    prior: PriorOptions | None = None
    left_right_axis: int | None = None
    maps: Mapping[str, str] = field(default_factory=dict)
    mask_sources: Mapping[str, str] = field(default_factory=dict)
    class_weights: Mapping[str, float] = field(default_factory=dict)
    largest_component: tuple[str, ...] = ()

    @property
    def fully_annotated_cases(self) -> tuple[str, ...]:
        """Names of the cases whose label map is ground truth."""
        return tuple(name for name, case in self.cases.items() if case.fully_annotated)

    @cached_property
    def ever_missing(self) -> tuple[bool, ...]:
        """Of each region, whether it is missing from the mask of any case."""
        found = {region for case in self.cases.values() for region in case.missing}
        return tuple(region in found for region in self.channels.masks)

    def missing_in(self, cases: Sequence[str]) -> list[list[bool]]:
        """Of each of some cases and each region, whether it is missing from the mask."""
        return [[region in self.cases[case].missing for region in self.channels.masks] for case in cases]

    def to_json(self, with_cases: bool = True) -> dict[str, Any]:
        """The block as it stands in `dataset.json`; without the cases it says nothing about any patient."""
        channels = self.channels
        optional = {
            "mask_sources": dict(self.mask_sources),
            "largest_component": list(self.largest_component),
            "prior": self.prior.to_json() if self.prior is not None else {},
            "maps": dict(self.maps),
            "class_weights": dict(self.class_weights),
        }
        return {
            "schema_version": SCHEMA_VERSION,
            "method": self.method,
            "channels": {"images": channels.images, "masks": list(channels.masks), "prior": channels.prior},
            "left_right_axis": self.left_right_axis,
            **{name: value for name, value in optional.items() if value},
            **({"cases": {name: _case_to_json(case) for name, case in self.cases.items()}} if with_cases else {}),
        }

    @classmethod
    def from_dataset_json(cls, dataset_json: Mapping[str, Any], source: str = "dataset.json") -> WeakAnnotations:
        """Parse and check the block.

        Args:
            dataset_json: The whole `dataset.json`.
            source: Where it was read, for messages.

        Raises:
            InvalidInputError: The block is missing, of a newer schema, or wrong; every problem is named with its JSON
            path.
        """
        if BLOCK not in dataset_json:
            raise InvalidInputError(
                f'{source}: no "{BLOCK}" block, so nothing says what the annotation means '
                "(remedy: convert the data set with one of the nnunet_weak_convert_... commands)"
            )
        labels = dataset_json.get("labels")
        return _parse(dataset_json[BLOCK], labels if isinstance(labels, Mapping) else {}, source)

    @classmethod
    def read(cls, folder: Path | str) -> WeakAnnotations:
        """Read the block of the `dataset.json` in a raw, preprocessed or model folder."""
        path = Path(folder) / "dataset.json"
        if not path.is_file():
            raise InvalidInputError(f"{path}: no such file (remedy: name a data set or model folder of nnU-Net)")
        return cls.from_dataset_json(load_object(path, most_bytes=MOST_BYTES), str(path))


def error_name(error: ErrorType | int) -> str:
    """`under`, `over`, `both` or `none`."""
    return ErrorType(error).name.lower()


def without_cases(dataset_json: Mapping[str, Any]) -> dict[str, Any]:
    """Copy of a `dataset.json` that says nothing about any single case."""
    copy = dict(dataset_json)
    if isinstance(copy.get(BLOCK), Mapping):
        copy[BLOCK] = {key: value for key, value in copy[BLOCK].items() if key != "cases"}
    return copy


def _case_to_json(case: CaseAnnotation) -> dict[str, Any]:
    scores = {
        region: {"quality": score.quality, "error": error_name(score.error)} for region, score in case.scores.items()
    }
    entry = {
        "fully_annotated": case.fully_annotated,
        "scores": scores,
        "maps": list(case.maps),
        "missing": list(case.missing),
    }
    return {name: value for name, value in entry.items() if value}


def _parse(block: Any, labels: Mapping[str, Any], source: str) -> WeakAnnotations:
    problems = Problems()
    root = f"{source}: {BLOCK}"
    block = _object(block, _KEYS, root, problems)
    if block.get("schema_version") != SCHEMA_VERSION:
        raise InvalidInputError(
            f"{root}.schema_version: {block.get('schema_version')!r}, this version of nnunet_weak reads "
            f"{SCHEMA_VERSION} (remedy: convert the data set again, or update nnunet_weak)"
        )
    method, axis = block.get("method"), block.get("left_right_axis")
    _expect(method in METHODS, method, f"one of {', '.join(METHODS)}", f"{root}.method", problems)
    _expect(
        axis is None or type(axis) is int and 0 <= axis <= 2,
        axis,
        "0, 1, 2 or null",
        f"{root}.left_right_axis",
        problems,
    )
    channels = _parse_channels(block.get("channels"), labels, f"{root}.channels", problems)
    sources = _object(block.get("mask_sources", {}), channels.masks, f"{root}.mask_sources", problems)
    for name, mask in sources.items():
        _expect(isinstance(mask, str), mask, "a text such as '3' or 'rib_*'", f"{root}.mask_sources.{name}", problems)
    reduced = block.get("largest_component", [])
    if not _expect(
        isinstance(reduced, list) and all(name in channels.masks for name in reduced),
        reduced,
        f"a list of names among {list(channels.masks)}",
        f"{root}.largest_component",
        problems,
    ):
        reduced = []
    maps = _object(block.get("maps", {}), None, f"{root}.maps", problems)
    for name, kind in maps.items():
        _expect(kind in _ALL_MAP_KINDS, kind, f"one of {', '.join(_ALL_MAP_KINDS)}", f"{root}.maps.{name}", problems)
    weights = _object(block.get("class_weights", {}), tuple(labels), f"{root}.class_weights", problems)
    for name, weight in weights.items():
        valid = type(weight) in (int, float) and 0 <= weight < math.inf
        _expect(valid, weight, "a number from 0", f"{root}.class_weights.{name}", problems)
    entries = _object(block.get("cases", {}), None, f"{root}.cases", problems)
    for kind, names in (("maps", maps), ("cases", entries)):
        for name in names:
            reason = why_not_a_case_name(name)
            if reason:  # it would name files elsewhere
                problems.add(
                    f"{root}.{kind}, {name!r}", f"not a name for files: {reason}", "convert the data set again"
                )
    prior = block.get("prior")
    if prior is not None:
        prior = problems.attempt(PriorOptions.from_json, prior, f"{root}.prior")
    cases = {
        name: _parse_case(entry, channels.masks, tuple(maps), f"{root}.cases.{name}", problems)
        for name, entry in entries.items()
    }
    problems.raise_if_any(source)
    return WeakAnnotations(
        method,  # type: ignore[arg-type]
        channels,
        cases,
        prior,
        axis,
        dict(maps),
        dict(sources),
        dict(weights),
        tuple(reduced),
    )


def _parse_channels(entry: Any, labels: Mapping[str, Any], where: str, problems: Problems) -> ChannelLayout:
    entry = _object(entry, ("images", "masks", "prior"), where, problems)
    images, masks, prior = entry.get("images"), entry.get("masks", []), entry.get("prior", False)
    _expect(type(images) is int and images > 0, images, "a number of channels", f"{where}.images", problems)
    _expect(isinstance(prior, bool), prior, "true or false", f"{where}.prior", problems)
    named = isinstance(masks, list) and all(isinstance(name, str) for name in masks)
    if not _expect(named, masks, "a list of region names", f"{where}.masks", problems):
        masks = []
    for index, name in enumerate(masks, start=1):
        if labels.get(name) != index:
            problems.add(
                f"{where}.masks",
                f'region {index} is "{name}", but the labels give it {labels.get(name)!r}',
                _REMEDY,
            )
    return ChannelLayout(images, tuple(masks), prior)  # type: ignore[arg-type]


def _parse_case(
    entry: Any, regions: tuple[str, ...], maps: tuple[str, ...], where: str, problems: Problems
) -> CaseAnnotation:
    entry = _object(entry, ("fully_annotated", "scores", "maps", "missing"), where, problems)
    full, names = entry.get("fully_annotated", False), entry.get("maps", [])
    _expect(isinstance(full, bool), full, "true or false", f"{where}.fully_annotated", problems)
    known = isinstance(names, list) and all(name in maps for name in names)
    if not _expect(known, names, f"a list of names among {list(maps)}", f"{where}.maps", problems):
        names = []
    scores = {}
    for region, value in _object(entry.get("scores", {}), regions, f"{where}.scores", problems).items():
        score = _parse_score(value, f"{where}.scores.{region}", problems)
        if score is not None:
            scores[region] = score
    missing = entry.get("missing", [])
    if not _expect(
        isinstance(missing, list)
        and all(isinstance(name, str) and name in scores and scores[name].says_missing for name in missing),
        missing,
        "a list of regions that are scored 0, under",
        f"{where}.missing",
        problems,
    ):
        missing = []
    return CaseAnnotation(bool(full), scores, tuple(names), tuple(missing))


def _parse_score(value: Any, where: str, problems: Problems) -> RegionScore | None:
    value = _object(value, ("quality", "error"), where, problems)
    quality, error = value.get("quality"), value.get("error")
    names = [error_name(member) for member in ErrorType]
    in_range = type(quality) in (int, float) and 0 <= quality <= BEST_QUALITY
    understood = (
        _expect(in_range, quality, f"a number from 0 to {BEST_QUALITY:g}", f"{where}.quality", problems),
        _expect(error in names, error, f"one of {', '.join(names)}", f"{where}.error", problems),
    )
    return RegionScore(float(quality), ErrorType[error.upper()]) if all(understood) else None


def _expect(valid: bool, value: Any, expected: str, where: str, problems: Problems) -> bool:
    if not valid:
        problems.add(where, f"{reprlib.repr(value)} is not {expected}", _REMEDY)
    return valid


def _object(value: Any, known: tuple[str, ...] | None, where: str, problems: Problems) -> Mapping[str, Any]:
    """A JSON object, checked for unknown names; an empty one, with a problem, where it is something else."""
    if not _expect(isinstance(value, Mapping), value, "a JSON object", where, problems):
        return {}
    for key in value if known is not None else ():
        if key not in known:  # type: ignore[operator]
            problems.add(f"{where}.{key}", f"unknown name; known are {', '.join(known) or 'none'}", _REMEDY)  # type: ignore[arg-type]
    return value
