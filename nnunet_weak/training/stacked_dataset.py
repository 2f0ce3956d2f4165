"""A data set whose label maps carry further channels.

nnU-Net's spatial transforms move all channels of `seg` together, so whatever is stacked there follows the image.
Arrays are `(channels, z, y, x)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


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
    """An array of ones that needs no memory until it is indexed."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)
        self._ones = np.broadcast_to(np.int16(1), self.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self._ones[index]


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
