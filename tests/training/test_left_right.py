"""The left-right axis of the network's input, by hand."""

import pytest

from nnunet_weak.trainers.score import left_right_axis


@pytest.mark.parametrize(
    ("image_axis", "transpose_forward", "dims", "expected"),
    [
        (0, (0, 1, 2), 3, 2),  # x is the last array axis
        (2, (0, 1, 2), 3, 0),
        (0, (2, 0, 1), 3, 0),  # x was moved to the front
        (0, (0, 1, 2), 2, 1),
        (2, (0, 1, 2), 2, None),  # out of plane
        (None, (0, 1, 2), 3, None),
    ],
)
def test_left_right_axis(image_axis, transpose_forward, dims, expected):
    assert left_right_axis(image_axis, transpose_forward, dims) == expected
