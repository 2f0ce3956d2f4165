"""AUC and Dice in the band around the mask's boundary."""

import math

import numpy as np
import pytest
import SimpleITK as sitk
from sklearn.metrics import roc_auc_score

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.priors import assess_in_band
from nnunet_weak.priors.neighbourhood import signed_depth_mm

SPACING_XYZ = (1.0, 0.5, 4.0)


def _image(array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array.astype(np.uint8) if array.dtype == bool else array)
    image.SetSpacing(SPACING_XYZ)
    return image


def _line(text: str) -> sitk.Image:
    """A row along x: `#` foreground."""
    return _image(np.array([[[c == "#" for c in text]]]))


def auc_in_band(*images: sitk.Image, **radius: float) -> float:
    return assess_in_band(*images, **radius).auc


def oracle_dice(mask: sitk.Image, reference: sitk.Image, **radius: float) -> float:
    return assess_in_band(mask, mask, reference, **radius).dice_oracle


def test_by_hand_on_a_line() -> None:
    mask = _line(".....#####.....")
    truth = _line("......#####....")
    #  band of 1:      ----xx---xx----   (positions 4, 5, 9, 10); truth there: 4 no, 5 no, 9 yes, 10 yes
    prior = np.full((1, 1, 15), 0.9, dtype=np.float32)
    prior[0, 0, [4, 5, 9, 10]] = [0.1, 0.6, 0.8, 0.3]
    found = assess_in_band(_image(prior), mask, truth, radius_vox=1)
    # Pairs (true, false): .8 > .1, .8 > .6, .3 > .1, .3 < .6
    assert found.auc == 0.75
    assert found.auc_inside == 1 and found.auc_outside == 1
    assert found.voxels == 4
    assert found.dice_mask == pytest.approx(2 * 4 / 10)
    assert found.dice_prior == pytest.approx(2 * 4 / 10)  # 5 to 9 again: 5 is above a half, 10 is not
    assert found.dice_oracle == 1
    assert auc_in_band(_image(prior), mask, truth, radius_vox=1) == 0.75


def test_oracle_cannot_repair_what_lies_beyond_the_band() -> None:
    mask, truth = _line("..####..........."), _line("..########.......")
    # radius 2: positions 0-7 may change, so 8 and 9 stay missing: 2 * 6 / (6 + 8)
    assert oracle_dice(mask, truth, radius_vox=2) == pytest.approx(12 / 14)
    assert oracle_dice(mask, truth) == pytest.approx(12 / 14)  # 2 voxels is the default
    assert oracle_dice(mask, truth, radius_vox=4) == 1


def test_auc_equals_scikit_learns_in_the_band() -> None:
    mask = np.zeros((7, 16, 14), dtype=bool)
    mask[2:5, 5:11, 4:10] = True
    truth = np.roll(mask, 1, axis=1)
    prior = np.random.default_rng(0).random(mask.shape).astype(np.float32)
    found = assess_in_band(_image(prior), _image(mask), _image(truth))
    band = np.abs(signed_depth_mm(mask, (1.0, 1.0, 1.0))) <= 2  # voxels, whatever the spacing
    assert found.voxels == band.sum()
    assert found.auc == pytest.approx(roc_auc_score(truth[band], prior[band]))


def test_ties_count_half() -> None:
    mask, truth = _line("....####...."), _line(".....####...")
    assert auc_in_band(_image(np.full((1, 1, 12), 0.5, np.float32)), mask, truth) == 0.5


def test_one_class_or_no_band_is_nan() -> None:
    empty, full = _line("......"), _line("..##..")
    prior = _image(np.zeros((1, 1, 6), np.float32))
    assert math.isnan(auc_in_band(prior, empty, full))
    assert math.isnan(auc_in_band(prior, full, empty))
    assert math.isnan(oracle_dice(empty, empty))
    assert oracle_dice(empty, full) == 0
    assert math.isnan(oracle_dice(full, empty, radius_vox=1))  # everything removed, rightly: nothing to compare


def test_all_regions_count_as_one() -> None:
    labels = np.zeros((1, 1, 20), dtype=np.uint8)
    labels[..., 3:7], labels[..., 12:16] = 1, 2
    truth = np.roll(labels, 1, axis=2)
    prior = (truth == 1).astype(np.float32)
    assert 0.5 < assess_in_band(_image(prior), _image(labels), _image(truth)).auc < 1


def test_bad_input() -> None:
    mask = _line("..##..")
    with pytest.raises(InvalidInputError, match="grid"):
        oracle_dice(mask, _line("..##..."))
    with pytest.raises(InvalidInputError, match="prior"):
        auc_in_band(_image(np.zeros((1, 1, 7), np.float32)), mask, mask)
