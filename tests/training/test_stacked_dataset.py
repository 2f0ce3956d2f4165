"""The padding mask behind the label map is 0 exactly in the padding."""

from collections import Counter

import numpy as np
from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd

from nnunet_weak.training.stacked_dataset import StackedChannels, StackedDataset, drawn_cases


class OneCase:
    identifiers = ["a"]

    def __init__(self, seg):
        self.seg = seg

    def load_case(self, identifier):
        return np.zeros((2, *self.seg.shape[1:]), np.float32), self.seg, None, {"case": identifier}


def test_padding_is_told_from_zero_intensity_inside():
    seg = np.ones((1, 4, 5, 6), np.int16)
    seg[0, 0] = -1  # zero intensity inside of the image, which nnU-Net marks like padding
    dataset = StackedDataset(OneCase(seg), "")
    _, stacked, previous, properties = dataset.load_case("a")
    patch = crop_and_pad_nd(stacked, [[-1, 3], [2, 8], [0, 6]], -1, cast_cropped_to=np.int16)
    assert previous is None and properties == {"case": "a"} and dataset.identifiers == ["a"]
    assert patch.shape == (2, 4, 6, 6)
    inside = np.zeros((4, 6, 6), bool)
    inside[1:, :3] = True
    assert np.array_equal(patch[1] == 1, inside)
    assert np.array_equal(patch[1] == -1, ~inside)
    assert (patch[0, 1] == -1).all(), "the label map itself can not tell the two apart"


def test_reads_only_what_is_asked_for():
    reads = []

    class Recorder:
        shape = (1, 4, 5, 6)

        def __getitem__(self, index):
            reads.append(index)
            return np.zeros(self.shape, np.int8)[index]

    stacked = StackedChannels([Recorder(), Recorder()])
    assert stacked[(slice(None), slice(1, 2), slice(0, 5), slice(2, 4))].shape == (2, 1, 5, 2)
    assert all(index[1:] == (slice(1, 2), slice(0, 5), slice(2, 4)) for index in reads)
    assert stacked[1].shape == (4, 5, 6)


def test_fully_annotated_cases_are_drawn_for_their_share():
    cases = [f"case{number}" for number in range(12)]
    drawn = drawn_cases(cases, {"case3", "case7", "elsewhere"}, 0.5)
    assert Counter(drawn) == {case: 5 if case in ("case3", "case7") else 1 for case in cases}
    assert drawn_cases(cases, {"case3", "case7"}, 0.1) == cases, "they have more than that already"
    assert drawn_cases(cases, set(cases), 0.5) == cases and drawn_cases(cases, set(), 0.5) == cases
