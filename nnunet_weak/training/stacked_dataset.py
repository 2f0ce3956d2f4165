"""A data set whose label maps carry further channels.

nnU-Net's spatial transforms move all channels of `seg` together, so whatever is stacked there follows the image. It
pads them all with -1, which later becomes 0. Arrays are `(channels, z, y, x)`.
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


class StackedDataset:
    """A stock data set whose `seg` holds the label map, the annotation maps and a padding mask.

    A map that a case does not have is blank, 0. The padding mask is 1 in the image, so after nnU-Net's padding it is 0
    exactly in the padding. The label map cannot tell, as -1 there also marks zero intensity in the image.

    Args:
        dataset: A data set of nnU-Net.
        folder: Folder of the configuration's preprocessed data, see `nnunet_weak.training.annotation_maps`.
        maps: Names of the annotation maps, in the order of the channels.
        maps_of_case: Which of them each case has.
    """

    def __init__(
        self,
        dataset: Any,
        folder: Path | str,
        maps: Sequence[str] = (),
        maps_of_case: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self._dataset = dataset
        self._folder, self._maps, self._maps_of_case = Path(folder), tuple(maps), maps_of_case or {}
        self.identifiers = dataset.identifiers

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict]:
        """As the stock data set, with further channels in `seg`."""
        data, seg, seg_previous, properties = self._dataset.load_case(identifier)
        # Broadcast: they need no memory until they are indexed.
        blank, inside = (np.broadcast_to(np.int16(value), (1, *seg.shape[1:])) for value in (0, 1))
        present = self._maps_of_case.get(identifier, ())
        maps = [open_map(self._folder, name, identifier) if name in present else blank for name in self._maps]
        return data, StackedChannels((seg, *maps, inside)), seg_previous, properties


def drawn_cases(cases: Sequence[str], full: Collection[str], share: float) -> list[str]:
    """The identifiers that nnU-Net's loader draws from, each alike: fully annotated cases as often as it takes.

    Args:
        cases: Training cases.
        full: Those of them that are fully annotated, perhaps among others.
        share: Of the samples that come from fully annotated cases, at least; in (0, 1).

    Returns:
        The cases, fully annotated ones a whole number of times, which comes nearest to the share; once where there are
        as many already, or no others.
    """
    own = [case for case in cases if case in full]
    others = len(cases) - len(own)
    times = max(1, round(share / (1 - share) * others / len(own))) if own and others else 1
    return [case for case in cases for _ in range(times if case in full else 1)]
