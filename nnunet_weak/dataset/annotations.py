"""The `"nnunet_weak"` block of `dataset.json`: what is known of each case beside its label map.

nnU-Net copies `dataset.json` untouched from the raw to the preprocessed folder, so the block travels with the data
set. It holds numbers and names only; everything voxel-wise lies in image files. The schema:

```json
"nnunet_weak": {
    "schema_version": 1,
    "method": "score",                                     "score", "refineseg" or "weaknet"
    "channels": {"images": 1, "masks": ["head", "shaft"], "prior": true},
    "mask_sources": {"head": "1", "shaft": "2,3"},         labels or files of the mask behind each region (SCORE)
    "prior": {"kind": "otsu", "upper_percentile": 99.5},   how the prior channel was made (SCORE)
    "left_right_axis": 0,                                  image axis (x, y, z = 0, 1, 2) that runs left-right, or null
    "maps": {"anna": "positive", "anna_not": "negative"},  further annotation maps (RefineSeg)
    "cases": {
        "case_01": {"scores": {"head": {"quality": 3.5, "error": "under"}}},
        "case_02": {"maps": ["anna", "anna_not"]},
        "case_03": {"fully_annotated": true}
    }
}
```

A mask channel belongs to the region of the same name, and region k of the list is label k of the data set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Literal

from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.priors import PriorOptions

BLOCK = "nnunet_weak"
SCHEMA_VERSION = 1
METHODS = ("score", "refineseg", "weaknet")
MAP_KINDS = ("positive", "negative")
BEST_QUALITY = 5.0


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


@dataclass(frozen=True)
class CaseAnnotation:
    """What is known of one case.

    Attributes:
        fully_annotated: The label map in `labelsTr` is ground truth; stock supervision applies.
        scores: Score of each scored region, by region name. A region may be missing.
        maps: Names of the annotation maps that exist for this case.
    """

    fully_annotated: bool = False
    scores: Mapping[str, RegionScore] = field(default_factory=dict)
    maps: tuple[str, ...] = ()


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

    method: Literal["score", "refineseg", "weaknet"]
    channels: ChannelLayout
    cases: Mapping[str, CaseAnnotation] = field(default_factory=dict, repr=False)
    prior: PriorOptions | None = None
    left_right_axis: int | None = None
    maps: Mapping[str, str] = field(default_factory=dict)
    mask_sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def fully_annotated_cases(self) -> tuple[str, ...]:
        """Names of the cases whose label map is ground truth."""
        return tuple(name for name, case in self.cases.items() if case.fully_annotated)

    def to_json(self, with_cases: bool = True) -> dict[str, Any]:
        """The block as it stands in `dataset.json`; without the cases it says nothing about any patient."""
        block: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "method": self.method,
            "channels": {
                "images": self.channels.images,
                "masks": list(self.channels.masks),
                "prior": self.channels.prior,
            },
            "left_right_axis": self.left_right_axis,
        }
        if self.mask_sources:
            block["mask_sources"] = dict(self.mask_sources)
        if self.prior is not None:
            block["prior"] = self.prior.to_json()
        if self.maps:
            block["maps"] = dict(self.maps)
        if with_cases:
            block["cases"] = {name: _case_to_json(case) for name, case in self.cases.items()}
        return block

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
        return _parse(dataset_json[BLOCK], dataset_json.get("labels", {}), source)

    @classmethod
    def read(cls, folder: Path | str) -> WeakAnnotations:
        """Read the block of the `dataset.json` in a raw, preprocessed or model folder."""
        path = Path(folder) / "dataset.json"
        if not path.is_file():
            raise InvalidInputError(f"{path}: no such file (remedy: name a data set or model folder of nnU-Net)")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InvalidInputError(f"{path}: not valid JSON ({error})") from error
        return cls.from_dataset_json(content, str(path))


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
    entry: dict[str, Any] = {}
    if case.fully_annotated:
        entry["fully_annotated"] = True
    if case.scores:
        entry["scores"] = {
            region: {"quality": score.quality, "error": error_name(score.error)}
            for region, score in case.scores.items()
        }
    if case.maps:
        entry["maps"] = list(case.maps)
    return entry


def _parse(block: Any, labels: Mapping[str, Any], source: str) -> WeakAnnotations:
    problems = Problems()
    root = f"{source}: {BLOCK}"
    known = ("schema_version", "method", "channels", "mask_sources", "prior", "left_right_axis", "maps", "cases")
    if not _is_object(block, known, root, problems):
        problems.raise_if_any()
    version = block.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InvalidInputError(
            f"{root}.schema_version: {version!r}, this version of nnunet_weak reads {SCHEMA_VERSION} "
            "(remedy: convert the data set again, or update nnunet_weak)"
        )
    method = block.get("method")
    if method not in METHODS:
        problems.add(f"{root}.method", f"{method!r} is not one of {', '.join(METHODS)}")
    channels = _parse_channels(block.get("channels"), labels, f"{root}.channels", problems)
    sources = block.get("mask_sources", {})
    if not _is_object(sources, channels.masks, f"{root}.mask_sources", problems):
        sources = {}
    for name, source in sources.items():
        if not isinstance(source, str):
            problems.add(f"{root}.mask_sources.{name}", f"{source!r} is not a text such as '3' or 'rib_*'")
    axis = block.get("left_right_axis")
    if axis not in (None, 0, 1, 2) or isinstance(axis, bool):
        problems.add(f"{root}.left_right_axis", f"{axis!r} is not 0, 1, 2 or null")
    prior = None
    if block.get("prior") is not None:
        try:
            prior = PriorOptions.from_json(block["prior"], f"{root}.prior")
        except InvalidInputError as error:
            problems.extend(error)
    maps = block.get("maps", {})
    if _is_object(maps, None, f"{root}.maps", problems):
        for name, kind in maps.items():
            if kind not in MAP_KINDS:
                problems.add(f"{root}.maps.{name}", f"{kind!r} is not one of {', '.join(MAP_KINDS)}")
    else:
        maps = {}
    cases: dict[str, CaseAnnotation] = {}
    entries = block.get("cases", {})
    if _is_object(entries, None, f"{root}.cases", problems):
        for name, entry in entries.items():
            cases[name] = _parse_case(entry, channels.masks, tuple(maps), f"{root}.cases.{name}", problems)
    problems.raise_if_any(source)
    return WeakAnnotations(method, channels, cases, prior, axis, dict(maps), dict(sources))


def _parse_channels(entry: Any, labels: Mapping[str, Any], where: str, problems: Problems) -> ChannelLayout:
    if not _is_object(entry, ("images", "masks", "prior"), where, problems):
        return ChannelLayout(1)
    images, masks, prior = entry.get("images"), entry.get("masks", []), entry.get("prior", False)
    if not isinstance(images, int) or isinstance(images, bool) or images < 1:
        problems.add(f"{where}.images", f"{images!r} is not a number of channels")
        images = 1
    if not isinstance(masks, list) or not all(isinstance(name, str) for name in masks):
        problems.add(f"{where}.masks", f"{masks!r} is not a list of region names")
        masks = []
    for index, name in enumerate(masks, start=1):
        if labels.get(name) != index:
            problems.add(
                f"{where}.masks", f'region {index} is "{name}", but the labels say {name!r}: {labels.get(name)!r}'
            )
    if not isinstance(prior, bool):
        problems.add(f"{where}.prior", f"{prior!r} is not true or false")
    return ChannelLayout(images, tuple(masks), bool(prior))


def _parse_case(
    entry: Any, regions: tuple[str, ...], maps: tuple[str, ...], where: str, problems: Problems
) -> CaseAnnotation:
    if not _is_object(entry, ("fully_annotated", "scores", "maps"), where, problems):
        return CaseAnnotation()
    fully_annotated = entry.get("fully_annotated", False)
    if not isinstance(fully_annotated, bool):
        problems.add(f"{where}.fully_annotated", f"{fully_annotated!r} is not true or false")
    scores: dict[str, RegionScore] = {}
    given = entry.get("scores", {})
    if _is_object(given, regions, f"{where}.scores", problems):
        for region, value in given.items():
            score = _parse_score(value, f"{where}.scores.{region}", problems)
            if score is not None:
                scores[region] = score
    names = entry.get("maps", [])
    if not isinstance(names, list) or any(name not in maps for name in names):
        problems.add(f"{where}.maps", f"{names!r} is not a list of names among {list(maps)}")
        names = []
    return CaseAnnotation(bool(fully_annotated), scores, tuple(names))


def _parse_score(value: Any, where: str, problems: Problems) -> RegionScore | None:
    if not _is_object(value, ("quality", "error"), where, problems):
        return None
    quality, error = value.get("quality"), value.get("error")
    names = [error_name(member) for member in ErrorType]
    if isinstance(quality, bool) or not isinstance(quality, (int, float)) or not 0 <= quality <= BEST_QUALITY:
        problems.add(f"{where}.quality", f"{quality!r} is not a number from 0 to {BEST_QUALITY:g}")
        return None
    if error not in names:
        problems.add(f"{where}.error", f"{error!r} is not one of {', '.join(names)}")
        return None
    return RegionScore(float(quality), ErrorType[error.upper()])


def _is_object(value: Any, known: tuple[str, ...] | None, where: str, problems: Problems) -> bool:
    if not isinstance(value, Mapping):
        problems.add(where, f"{value!r} is not a JSON object")
        return False
    if known is not None:
        for key in value:
            if key not in known:
                problems.add(f"{where}.{key}", f"unknown name; known are {', '.join(known) or 'none'}")
    return True
