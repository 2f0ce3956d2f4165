"""nnU-Net's own entries of `dataset.json`, checked before they are used as names and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_weak.dataset.annotations import MOST_BYTES
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.json_files import load_json
from nnunet_weak.images.write import WRITABLE_ENDINGS

_REMEDY = "take dataset.json from the data set or model again, or convert the data set again"


@dataclass(frozen=True)
class StockEntries:
    """What nnU-Net itself reads.

    Attributes:
        file_ending: Ending of all image files, one of `WRITABLE_ENDINGS`.
        labels: Value of each label, with `background` and perhaps `ignore`.
        channel_names: Names of the input channels, in their order.
    """

    file_ending: str
    labels: Mapping[str, int]
    channel_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """Number of classes with the background, without `ignore`."""
        return len(set(self.labels) - {"ignore"})


def read_stock_entries(folder: Path) -> StockEntries:
    """Read nnU-Net's entries of the `dataset.json` in a raw, preprocessed or model folder.

    Raises:
        InvalidInputError: The file cannot be read; or all entries that are missing or wrong.
    """
    path = folder / "dataset.json"
    return stock_entries_of(load_json(path, MOST_BYTES), path)


def stock_entries_of(content: Any, path: Path) -> StockEntries:
    """nnU-Net's entries in the content of a `dataset.json`.

    Args:
        content: The whole file.
        path: Where it was read, for messages.

    Raises:
        InvalidInputError: All entries that are missing or wrong.
    """
    if not isinstance(content, dict):
        raise InvalidInputError(f"{path}: {type(content).__name__} instead of an object (remedy: {_REMEDY})")
    problems = Problems()

    def entry(name: str, fits: Callable[[Any], bool], wanted: str) -> Any:
        if name not in content:
            problems.add(str(path), f"has no {name}", _REMEDY)
        elif not fits(content[name]):
            problems.add(f"{path}: {name}", f"{str(content[name])[:80]} is not {wanted}", _REMEDY)
        return content.get(name)

    ending = entry("file_ending", lambda value: value in WRITABLE_ENDINGS, f"one of {', '.join(WRITABLE_ENDINGS)}")
    labels = entry("labels", _are_labels, "an object of names and values from background = 0")
    channels = entry("channel_names", _are_channels, "an object of the names of channels 0, 1, ...")
    problems.raise_if_any()
    return StockEntries(ending, labels, tuple(channels[str(number)] for number in range(len(channels))))


def _are_labels(value: Any) -> bool:
    return isinstance(value, dict) and value.get("background") == 0 and all(type(v) is int for v in value.values())


def _are_channels(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) > 0
        and set(value) == {str(number) for number in range(len(value))}
        and all(isinstance(name, str) for name in value.values())
    )
