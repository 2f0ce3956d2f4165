"""A data set whose label maps carry further channels.

nnU-Net's spatial transforms move all channels of `seg` together, so whatever is stacked there follows the image.
Arrays are `(channels, z, y, x)`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_weak.training.annotation_maps import open_map


class StackedChannels:
    """Channel-wise concatenation of arrays, read only where it is indexed.

    Args:
        arrays: Arrays `(c_i, z, y, x)`, in memory or compressed on disk (blosc2).
    """

    def __init__(self, arrays: Sequence[Any]) -> None:
        self._arrays = tuple(arrays)
        self.shape = (sum(array.shape[0] for array in self._arrays), *self._arrays[0].shape[1:])
        self.ndim = len(self.shape)
        self.dtype = np.dtype(np.int16)

    def __getitem__(self, index: Any) -> np.ndarray:
        index = index if isinstance(index, tuple) else (index,)
        stacked = np.concatenate(
            [np.asarray(array[(slice(None), *index[1:])], dtype=self.dtype) for array in self._arrays]
        )
        return stacked[index[0]]


class ConstantArray:
    """An array of one value that needs no memory until it is indexed."""

    def __init__(self, shape: Sequence[int], value: int = 1) -> None:
        self.shape = tuple(shape)
        self._values = np.broadcast_to(np.int16(value), self.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self._values[index]


class AnnotationMapDataset:
    """A stock data set with annotation maps behind the label map, one channel for each.

    nnU-Net pads them with -1, which later becomes 0, blank. A map that a case does not have is blank.

    Args:
        dataset: A data set of nnU-Net.
        folder: Folder of the configuration's preprocessed data, see `nnunet_weak.training.annotation_maps`.
        maps: Names of the maps, in the order of the channels.
        maps_of_case: Which of them each case has.
    """

    def __init__(
        self, dataset: Any, folder: Path | str, maps: Sequence[str], maps_of_case: Mapping[str, Collection[str]]
    ) -> None:
        self._dataset = dataset
        self._folder, self._maps, self._maps_of_case = Path(folder), tuple(maps), maps_of_case
        self.identifiers = dataset.identifiers

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict]:
        """As the stock data set, with further channels in `seg`."""
        data, seg, seg_previous, properties = self._dataset.load_case(identifier)
        blank = ConstantArray((1, *seg.shape[1:]), 0)
        present = self._maps_of_case[identifier]
        channels = [open_map(self._folder, name, identifier) if name in present else blank for name in self._maps]
        return data, StackedChannels((seg, *channels)), seg_previous, properties


class InsideChannelDataset:
    """A stock data set with a channel of ones behind the label map.

    nnU-Net pads it like the labels, with -1, which later becomes 0: so the channel is 0 exactly in the padding. The
    label map itself can not tell, as -1 there also marks zero intensity inside the image.

    Args:
        dataset: A data set of nnU-Net.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self.identifiers = dataset.identifiers

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict]:
        """As the stock data set, with one more channel in `seg`."""
        data, seg, seg_previous, properties = self._dataset.load_case(identifier)
        return data, StackedChannels((seg, ConstantArray((1, *seg.shape[1:])))), seg_previous, properties
