"""Priors made around the initial mask, and those read from a file."""

import logging
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.priors import PriorOptions, assess_in_band, boundary_prior
from nnunet_weak.priors.neighbourhood import Neighbourhood, prior_by_region, signed_depth_mm
from nnunet_weak.priors.prior import PriorInput, add_log_odds

SPACING_XYZ = (0.8, 1.0, 2.0)
SPACING = SPACING_XYZ[::-1]


def _image(array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array.astype(np.uint8) if array.dtype == bool else array)
    image.SetSpacing(SPACING_XYZ)
    return image


def _prior(array: np.ndarray, mask: np.ndarray, **options: object) -> np.ndarray:
    return sitk.GetArrayFromImage(boundary_prior(_image(array), PriorOptions(**options), mask=_image(mask)))


def _ellipsoid(shape: tuple[int, int, int], centre: tuple[float, ...], radii_mm: tuple[float, ...]) -> np.ndarray:
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    return ((((grid - centre) * SPACING) / radii_mm) ** 2).sum(-1) <= 1


SHAPE = (12, 36, 44)
TRUTH = _ellipsoid(SHAPE, (6, 18, 22), (8, 9, 11))
MASK = np.roll(TRUTH, (1, -2), axis=(1, 2))


def test_depth_equals_scipy_on_both_sides() -> None:
    expected = ndimage.distance_transform_edt(MASK, SPACING) - ndimage.distance_transform_edt(~MASK, SPACING)
    np.testing.assert_allclose(signed_depth_mm(MASK, SPACING), expected, atol=1e-4)
    assert np.isposinf(signed_depth_mm(np.ones((2, 3, 4), bool), SPACING)).all()
    assert np.isneginf(signed_depth_mm(np.zeros((2, 3, 4), bool), SPACING)).all()


@pytest.mark.parametrize("locality_mm", [0.0, 6.0])
def test_posterior_separates_two_gaussians(locality_mm: float) -> None:
    rng = np.random.default_rng(0)
    # The structure is the darker.
    image = np.where(TRUTH, rng.normal(80, 10, SHAPE), rng.normal(120, 10, SHAPE)).astype(np.float32)
    prior = _prior(image, MASK, kind="posterior", locality_mm=locality_mm, mask_weight_per_mm=0)
    near = np.abs(signed_depth_mm(MASK, SPACING)) < 5
    assert prior[TRUTH & near].mean() > 0.85
    assert prior[~TRUTH & near].mean() < 0.2
    # Bayes: half way between two Gaussians of one width both are equally likely.
    half_way = prior[(np.abs(image - 100) < 1.5) & near]
    assert half_way.mean() == pytest.approx(0.5, abs=0.15)


def test_posterior_finds_a_structure_that_is_neither_brightest_nor_darkest() -> None:
    rng = np.random.default_rng(1)
    image = rng.choice([50.0, 150.0], SHAPE) + rng.normal(0, 5, SHAPE)
    image[TRUTH] = rng.normal(100, 5, TRUTH.sum())
    args = (_image(MASK), _image(TRUTH))
    auc = {
        kind: assess_in_band(boundary_prior(_image(image), PriorOptions(kind=kind), mask=args[0]), *args).auc
        for kind in ("otsu", "posterior")
    }
    assert auc["posterior"] > 0.98
    assert auc["otsu"] < 0.7


def test_local_posterior_follows_surroundings_that_change() -> None:
    # Dark surroundings on one side and bright ones on the other, and the structure drifts from one to the other along
    # x.
    rng = np.random.default_rng(2)
    ramp = np.linspace(0, 200, SHAPE[2])
    image = (ramp + np.where(TRUTH, 30, -30) + rng.normal(0, 10, SHAPE)).astype(np.float32)
    args = (_image(MASK), _image(TRUTH))
    auc = {
        mm: assess_in_band(
            boundary_prior(
                _image(image), PriorOptions(kind="posterior", locality_mm=mm, mask_weight_per_mm=0), mask=args[0]
            ),
            *args,
        ).auc
        for mm in (0.0, 4.0)
    }
    assert auc[4.0] > 0.99 > 0.97 > auc[0.0]


def test_mask_weight_is_added_to_the_log_odds() -> None:
    image = np.random.default_rng(3).normal(100, 10, SHAPE).astype(np.float32)
    plain, weighted = (
        _prior(image, MASK, kind="posterior", mask_weight_per_mm=w).astype(np.float64) for w in (0.0, 0.7)
    )
    depth = signed_depth_mm(MASK, SPACING)
    at = (np.abs(depth) < 5) & (plain > 0)
    log_odds = np.log(weighted[at] / (1 - weighted[at])) - np.log(plain[at] / (1 - plain[at]))
    np.testing.assert_allclose(log_odds, 0.7 * depth[at], atol=1e-3)


def test_evidence_is_added_to_the_log_odds_and_certainty_can_be_overruled() -> None:
    found = add_log_odds(np.array([0.5, 0.9, 0.0, 1.0], np.float32), np.array([np.log(3), -np.log(9), 30, -30]))
    np.testing.assert_allclose(found, [0.75, 0.5, 1, 0], atol=1e-5)


def test_beyond_the_reach_is_zero() -> None:
    image = np.random.default_rng(4).normal(100, 10, SHAPE).astype(np.float32)
    depth = signed_depth_mm(MASK, SPACING)
    for kind in ("local", "posterior"):
        prior = _prior(image, MASK, kind=kind, reach_mm=4.0, shell_mm=4.0)
        assert (prior[depth < -4.001] == 0).all()
        assert (prior[depth > -3.99] > 0).any()


def _bone() -> tuple[np.ndarray, np.ndarray]:
    """A tube along z with marrow like its surroundings: soft tissue 40, cortex 1000, marrow 30; the mask is the tube,
    eroded.
    """
    rng = np.random.default_rng(5)
    y, x = np.meshgrid(np.arange(36), np.arange(44), indexing="ij")
    radius = np.hypot((y - 18) * SPACING[1], (x - 22) * SPACING[2])
    image = np.broadcast_to(np.where(radius <= 8, np.where(radius <= 5, 30.0, 1000.0), 40.0), SHAPE) + rng.normal(
        0, 10, SHAPE
    )
    return image.astype(np.float32), np.broadcast_to(radius <= 7, SHAPE).copy()


def test_local_prior_fills_marrow() -> None:
    image, mask = _bone()
    bone = np.broadcast_to(
        np.hypot(*np.meshgrid(np.arange(36) - 18.0, (np.arange(44) - 22) * 0.8, indexing="ij")) <= 8, SHAPE
    )
    prior = _prior(image, mask, kind="local")
    assert (prior[bone] > 0.9).all()
    assert prior[~bone].mean() < 0.02
    otsu = _prior(image, mask, kind="otsu")
    marrow = bone & (image < 100)
    assert otsu[marrow].max() < 0.1  # what the filling repairs


def test_local_prior_leaves_holes_that_are_not_in_the_mask() -> None:
    # As a skull: the mask is the shell alone, and the brain must not be filled.
    image, _ = _bone()
    prior = _prior(image, image > 500, kind="local")
    hole = ndimage.binary_erosion((image < 100) & ndimage.binary_fill_holes((image > 500)[0])[None], iterations=2)
    assert hole.any() and prior[hole].max() < 0.1


def test_local_bounds_by_hand() -> None:
    # Shell of 2 mm around a box; outside 9 voxels in 10 hold 10 and the others 20, inside all hold 100: median 10, MAD
    # 0, so lo = 10. Otsu's plateau lies between 20 and 100, middle 60 (in steps of the histogram), hi = 2 * 60 - 10 =
    # 110: P(100) = 0.9, P(20) = 0.1.
    image = np.full((6, 20, 30), 10, dtype=np.float32)
    image[:, ::3, ::3] = 20
    mask = np.zeros(image.shape, dtype=bool)
    mask[1:5, 6:14, 8:22] = True
    image[mask] = 100
    prior = _prior(image, mask, kind="local", shell_mm=2.0)
    assert prior[3, 10, 15] == pytest.approx(0.9, abs=0.01)
    assert prior[0, 0, 0] == pytest.approx(0.1, abs=0.01)
    assert prior[0, 1, 1] == 0


def test_local_prior_of_a_dark_structure_mirrors_that_of_a_bright_one() -> None:
    image, mask = _bone()
    np.testing.assert_allclose(_prior(-image, mask, kind="local"), _prior(image, mask, kind="local"), atol=0.02)


def test_each_region_is_compared_with_its_own_surroundings() -> None:
    rng = np.random.default_rng(6)
    image = np.full((10, 30, 80), 100.0)
    first, second = (_ellipsoid(image.shape, (5, 15, x), (7, 8, 9)) for x in (18, 60))
    image[first], image[second] = 150, 50
    image = (image + rng.normal(0, 5, image.shape)).astype(np.float32)
    mask = (first + 2 * second).astype(np.uint8)
    for kind in ("local", "posterior"):
        prior = _prior(image, mask, kind=kind)
        assert prior[mask > 0].mean() > 0.9
        assert prior[(mask == 0)].mean() < 0.1


def test_voxels_belong_to_the_nearest_region() -> None:
    labels = np.zeros((1, 1, 12), dtype=np.uint8)
    labels[..., 1], labels[..., 9] = 1, 5

    def model(around: Neighbourhood, reach_mm: float) -> np.ndarray:
        return np.full(around.inside.shape, around.label / 10, dtype=np.float32)

    case = PriorInput(np.ones(labels.shape), (1.0, 1.0, 2.0), labels=labels)
    prior = prior_by_region(model, case, reach_mm=6.0)
    # Distances to label 1 at x = 1 and to label 5 at x = 9, in steps of 2 mm, reach 6 mm; x = 5 is 8 mm away from both.
    np.testing.assert_allclose(prior[0, 0], [0.1, 0.1, 0.1, 0.1, 0.1, 0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])


def test_touching_regions_keep_their_own_voxels() -> None:
    labels = np.zeros((2, 4, 9), dtype=np.uint8)
    labels[:, :, 2:5], labels[:, :, 5:8] = 2, 1
    prior = prior_by_region(
        lambda around, reach_mm: np.full(around.inside.shape, around.label, dtype=np.float32),
        PriorInput(np.ones(labels.shape), SPACING, labels=labels),
        reach_mm=10.0,
    )
    np.testing.assert_array_equal(prior[labels > 0], labels[labels > 0])


def test_outside_the_nonzero_region_nothing_is_learned_and_the_prior_is_0() -> None:
    rng = np.random.default_rng(7)
    image = np.where(TRUTH, 100, 60) + rng.normal(0, 5, SHAPE)
    image[:, :, :8] = 0
    for kind in ("local", "posterior"):
        prior = _prior(image.astype(np.float32), MASK, kind=kind)
        assert (prior[:, :, :8] == 0).all()
        assert prior[TRUTH].mean() > 0.7


@pytest.mark.parametrize("kind", ["local", "posterior"])
class TestDegenerateMasks:
    def test_missing_mask(self, kind: str) -> None:
        with pytest.raises(InvalidInputError, match="none was given.*remedy"):
            boundary_prior(_image(np.ones(SHAPE, np.float32)), PriorOptions(kind=kind))

    def test_mask_on_another_grid(self, kind: str) -> None:
        mask = _image(MASK)
        mask.SetOrigin((5, 0, 0))
        with pytest.raises(InvalidInputError, match="not on the image.s grid"):
            boundary_prior(_image(np.ones(SHAPE, np.float32)), PriorOptions(kind=kind), mask=mask)

    def test_mask_of_fractions(self, kind: str) -> None:
        with pytest.raises(InvalidInputError, match="whole numbers from 0"):
            boundary_prior(
                _image(np.ones(SHAPE, np.float32)), PriorOptions(kind=kind), mask=_image(MASK.astype(np.float32))
            )

    def test_empty_mask_falls_back_to_otsu(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        image, _ = _bone()
        with caplog.at_level(logging.WARNING):
            prior = _prior(image, np.zeros(SHAPE, dtype=bool), kind=kind)
        assert "empty" in caplog.text
        np.testing.assert_array_equal(prior, _prior(image, MASK, kind="otsu"))

    def test_mask_of_everything(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        prior = _prior(_bone()[0], np.ones(SHAPE, dtype=bool), kind=kind)
        assert (prior == 0.5).all()
        assert "0.5 everywhere" in caplog.text

    def test_constant_image(self, kind: str) -> None:
        prior = _prior(np.full(SHAPE, 9, np.int16), MASK, kind=kind, reach_mm=100, mask_weight_per_mm=0)
        np.testing.assert_allclose(prior, 0.5)

    def test_mask_of_one_voxel(self, kind: str) -> None:
        mask = np.zeros(SHAPE, dtype=bool)
        mask[6, 18, 22] = True
        prior = _prior(_bone()[0], mask, kind=kind)
        assert np.isfinite(prior).all() and 0 <= prior.min() <= prior.max() <= 1

    def test_image_types(self, kind: str) -> None:
        image, mask = _bone()
        image = np.rint(image)
        for dtype in (np.int16, np.int32, np.float64):
            np.testing.assert_allclose(
                _prior(image.astype(dtype), mask, kind=kind), _prior(image, mask, kind=kind), atol=1e-5
            )


class TestFile:
    def test_is_read_and_cut_to_the_nonzero_region(self, tmp_path: Path) -> None:
        image = np.zeros((4, 6, 8), dtype=np.float32)
        image[1:3, 1:5, 1:7] = 100
        given = np.random.default_rng(8).uniform(0.1, 1, image.shape).astype(np.float32)
        sitk.WriteImage(_image(given), tmp_path / "p.nii.gz")
        prior = sitk.GetArrayFromImage(
            boundary_prior(_image(image), PriorOptions(kind="file"), prior_file=tmp_path / "p.nii.gz")
        )
        np.testing.assert_allclose(prior, np.where(image > 0, given, 0))

    def test_out_of_range(self, tmp_path: Path) -> None:
        sitk.WriteImage(_image(np.full((4, 6, 8), 255, np.uint8)), tmp_path / "p.nii.gz")
        with pytest.raises(InvalidInputError, match=r"p\.nii\.gz.*\[0, 1\].*255"):
            boundary_prior(_image(np.ones((4, 6, 8))), PriorOptions(kind="file"), prior_file=tmp_path / "p.nii.gz")

    def test_other_grid(self, tmp_path: Path) -> None:
        sitk.WriteImage(_image(np.ones((4, 6, 9), np.uint8)), tmp_path / "p.nii.gz")
        with pytest.raises(InvalidInputError, match="grid"):
            boundary_prior(_image(np.ones((4, 6, 8))), PriorOptions(kind="file"), prior_file=tmp_path / "p.nii.gz")

    def test_none_given_or_not_wanted(self) -> None:
        with pytest.raises(InvalidInputError, match="needs a file"):
            boundary_prior(_image(np.ones((4, 6, 8))), PriorOptions(kind="file"))
        with pytest.raises(InvalidInputError, match="boundary prior .otsu."):
            boundary_prior(_image(np.ones((4, 6, 8))), PriorOptions(), prior_file=Path("p.nii.gz"))


def test_the_likelihood_is_the_posterior_without_the_mask() -> None:
    image = np.random.default_rng(4).normal(MASK * 1.0, 1).astype(np.float32)
    alone = _prior(image, MASK, kind="posterior", mask_weight_per_mm=0)
    np.testing.assert_array_equal(_prior(image, MASK, kind="likelihood"), alone)
    assert not np.array_equal(_prior(image, MASK, kind="posterior"), alone)
