"""Body, Otsu's threshold, and the priors made from the image alone."""

import logging

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.filters import threshold_otsu

from nnunet_weak.priors import PriorOptions, boundary_prior
from nnunet_weak.priors.body import filled_nonzero_region, regular_sample, sample_body
from nnunet_weak.priors.otsu import otsu_threshold

SPACING = (0.5, 1.5, 3.0)


def _image(array: np.ndarray, spacing: tuple[float, float, float] = SPACING) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin((-7.0, 3.0, 11.0))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    return image


def _prior(array: np.ndarray, **options: object) -> np.ndarray:
    return sitk.GetArrayFromImage(boundary_prior(_image(array), PriorOptions(**options)))


def _ct() -> np.ndarray:
    """Air, soft tissue around 40 HU and a bone of 1000 HU, (z, y, x) = (6, 20, 30)."""
    ct = np.full((6, 20, 30), -1000, dtype=np.int16)
    ct[:, 3:17, 4:26] = 40 + np.random.default_rng(0).integers(-20, 20, (6, 14, 22))
    ct[1:5, 8:12, 10:20] = 1000
    return ct


def test_otsu_prior_by_hand() -> None:
    # Body: 60 voxels of 10, 30 of 50 and 10 of 90. Otsu: splitting after 10 separates (0.6 * 0.4 * 50^2 = 600) better
    # than after 50 (0.9 * 0.1 * (90 - 70/3)^2 = 400), so the plateau of thresholds lies between 10 and 50.
    body = np.repeat(np.array([10, 50, 90], dtype=np.float32), [60, 30, 10]).reshape(4, 5, 5)
    low = otsu_threshold(body)
    assert low == pytest.approx(30, abs=0.5)
    prior = _prior(body, upper_percentile=100, air_threshold=0)
    np.testing.assert_allclose(np.unique(prior), [0, (50 - low) / (90 - low), 1], atol=1e-6)


def test_geometry_and_type_are_those_of_the_image() -> None:
    image = _image(_ct())
    for kind in ("otsu", "gradient", "none"):
        prior = boundary_prior(image, PriorOptions(kind=kind))
        assert prior.GetPixelID() == sitk.sitkFloat32
        for of in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(prior, of)() == getattr(image, of)()


def test_bone_is_one_and_soft_tissue_and_air_are_zero() -> None:
    ct = _ct()
    prior = _prior(ct)
    assert (prior[ct == 1000] == 1).all()
    assert (prior[ct < 100] == 0).all()


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_number_types_agree(dtype: type) -> None:
    np.testing.assert_allclose(_prior(_ct().astype(dtype)), _prior(_ct()), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_unsigned_images_do_not_wrap_below_the_threshold(dtype: type) -> None:
    mri = np.zeros((4, 9, 12), dtype=dtype)
    mri[:, 2:8, 2:10], mri[1:3, 4:6, 4:8] = 60, 200
    prior = _prior(mri)
    assert (prior[mri == 60] == 0).all()
    assert (prior[mri == 200] == 1).all()


def test_air_is_no_part_of_the_statistics() -> None:
    # With air counted, Otsu would separate air from the body (near -480) and soft tissue would get a prior above 0.
    body = sample_body(_ct(), _ct(), None)
    assert body.min() > -300
    # Padding outside the scanner's circle, -3024 in some files, must not make air of -1000 a part of the body either.
    padded = _ct()
    padded[:, :, :2] = -3024
    np.testing.assert_array_equal(sample_body(padded, padded, None), body)


def test_air_of_magnetic_resonance_images_is_near_their_minimum() -> None:
    rng = np.random.default_rng(1)
    mri = rng.rayleigh(5, (6, 30, 30)).astype(np.float32)
    mri[:, 8:24, 8:24] = rng.normal(200, 30, (6, 16, 16))
    share = sample_body(mri, mri, None).size / mri.size
    assert share == pytest.approx((16 / 30) ** 2, rel=0.05)


def test_cropped_ct_without_air_is_body_throughout() -> None:
    ct = _ct()[:, 4:16, 6:24]
    ct[:, :, :4] = -110  # fat
    assert sample_body(ct, ct, None).size == ct.size


def test_air_of_normalised_images_is_near_their_minimum() -> None:
    normalised = np.full((4, 10, 10), -0.6, dtype=np.float32)
    normalised[:, 3:8, 3:8] = np.random.default_rng(9).uniform(0.5, 3, (4, 5, 5))
    assert sample_body(normalised, normalised, None).size == 100


def test_given_air_threshold_is_used() -> None:
    assert sample_body(_ct(), _ct(), None, air_threshold=500).min() == 1000


@pytest.mark.parametrize("balance", [0.5, 0.1])
def test_otsu_equals_skimage_within_a_bin(balance: float) -> None:
    rng = np.random.default_rng(2)
    n = 20_000
    values = np.concatenate([rng.normal(0, 10, int(n * (1 - balance))), rng.normal(100, 20, int(n * balance))]).astype(
        np.float32
    )
    clipped = np.clip(values, *np.percentile(values, [0.5, 99.5]))
    assert otsu_threshold(values) == pytest.approx(threshold_otsu(clipped, nbins=256), abs=2 * np.ptp(clipped) / 256)


def test_otsu_is_not_moved_by_one_metal_voxel() -> None:
    values = np.random.default_rng(3).permutation(np.repeat([-50.0, 0.0, 400.0, 420.0], 500))
    with_metal = values.copy()
    with_metal[7] = 30_000
    assert otsu_threshold(with_metal) == pytest.approx(otsu_threshold(values), abs=2)


def test_otsu_where_the_percentiles_coincide() -> None:
    values = np.zeros(1000)
    values[0] = 8.0  # one in a thousand lies outside the percentiles
    assert otsu_threshold(values) == pytest.approx(4, abs=0.1)
    assert otsu_threshold(np.full(10, 3.0)) == 3.0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.2, 0.8))
def test_filled_region_equals_binary_fill_holes(seed: int, share: float) -> None:
    array = (np.random.default_rng(seed).random((5, 6, 7)) < share).astype(np.int16)
    region = filled_nonzero_region(array)
    expected = ndimage.binary_fill_holes(array != 0)
    np.testing.assert_array_equal(np.ones_like(expected) if region is None else region, expected)


def test_zero_inside_the_body_is_not_outside_but_air_is() -> None:
    mri = np.zeros((5, 8, 10), dtype=np.float32)
    mri[1:4, 1:7, 1:9] = 100
    mri[2, 3, 4] = 0  # enclosed
    mri[2, 4, 6] = 300
    for kind in ("otsu", "gradient"):
        prior = _prior(mri, kind=kind, upper_percentile=100, sigma_mm=0.5)
        assert (prior[0] == 0).all() and (prior[:, 0] == 0).all()
    region = filled_nonzero_region(mri)
    assert region is not None
    assert region[2, 3, 4] and region.sum() == 3 * 6 * 8


def test_prior_does_not_enlarge_the_crop_to_nonzero() -> None:
    mri = np.zeros((6, 9, 11), dtype=np.float32)
    mri[2:5, 3:7, 2:8] = np.random.default_rng(4).uniform(50, 100, (3, 4, 6))
    for kind in ("otsu", "gradient"):
        prior = _prior(mri, kind=kind)
        assert (prior > 0).any()
        assert not (prior[mri == 0] != 0).any()


def test_constant_image_gives_an_uninformative_prior_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    for kind in ("otsu", "gradient"):
        with caplog.at_level(logging.WARNING):
            prior = _prior(np.full((4, 5, 6), 7, dtype=np.int16), kind=kind)
        assert (prior == 0.5).all()
        assert "one intensity" in caplog.text
        caplog.clear()


def test_empty_image_is_outside_everywhere() -> None:
    assert (_prior(np.zeros((4, 5, 6), dtype=np.int16)) == 0).all()


def test_two_valued_body_with_rare_bright_voxels_reaches_one() -> None:
    # The 99.5th percentile coincides with the threshold's class here; hi falls back to the maximum.
    mri = np.full((10, 20, 20), 50, dtype=np.float32)
    mri[5, 10, 10] = 200
    assert _prior(mri, air_threshold=0)[5, 10, 10] == 1


def test_none_is_half_everywhere() -> None:
    assert (_prior(np.zeros((4, 5, 6), dtype=np.float32), kind="none") == 0.5).all()


def test_gradient_is_per_mm_and_highest_on_the_edge() -> None:
    # A step along z (3 mm) and one along x (0.5 mm), far from each other: the same step over fewer mm is steeper.
    array = np.full((16, 8, 60), 100, dtype=np.float32)
    array[8:, :, :20], array[:, :, 45:] = 200, 200
    prior = _prior(array, kind="gradient", sigma_mm=0.3, upper_percentile=100, air_threshold=0)
    assert prior[3, 4, 44] > 0.95
    assert prior[3, 4, 10] == pytest.approx(0, abs=1e-6)
    assert 0.1 < prior[8, 4, 10] < 0.3


def test_gradient_does_not_depend_on_the_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.random.default_rng(5).normal(100, 10, (30, 12, 9)).astype(np.float32)
    whole = _prior(array, kind="gradient", sigma_mm=1.2)
    monkeypatch.setattr("nnunet_weak.priors.gradient._SLAB_VOXELS", 4 * 12 * 9)
    np.testing.assert_allclose(_prior(array, kind="gradient", sigma_mm=1.2), whole, atol=1e-5)


def test_gradient_of_a_single_slice() -> None:
    array = np.full((1, 12, 20), 10, dtype=np.float32)
    array[:, :, 10:] = 90
    prior = _prior(array, kind="gradient", air_threshold=0)
    assert prior[0, 6, 9] > 0.9 > 0.1 > prior[0, 6, 2]


def test_regular_sample_thins_long_axes_and_keeps_short_ones() -> None:
    assert regular_sample(np.empty((4, 5, 6))) == (slice(0, None, 1),) * 3
    big = np.broadcast_to(np.int16(0), (10, 1024, 1024))
    thinned = big[regular_sample(big)]
    assert thinned.shape[0] == 10 and 1_000_000 < thinned.size <= 2_000_000


def test_vector_and_2d_images_are_refused() -> None:
    with pytest.raises(ValueError, match="3D image"):
        boundary_prior(sitk.Image([4, 4], sitk.sitkFloat32), PriorOptions())
    with pytest.raises(ValueError, match="one value per voxel"):
        boundary_prior(sitk.Image([4, 4, 4], sitk.sitkVectorFloat32, 3), PriorOptions())
