"""How weights of voxels are stored in an annotation map: 0 where nothing was said, which is weight 1, else 1 + 10 w.

Annotation maps hold whole numbers, and are resampled as label maps are, one value after the other. A step of 0.1 keeps
them to 8 bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEPS_PER_UNIT = 10
LARGEST_WEIGHT = 25.4
"""The largest weight that fits into 8 bits."""


def weight_codes(weights: NDArray[np.number]) -> NDArray[np.uint8]:
    """Codes of weights from 0 to `LARGEST_WEIGHT`, of any shape."""
    return (np.rint(weights.astype(np.float32) * STEPS_PER_UNIT) + 1).astype(np.uint8)
