"""Annotation maps go the way of nnU-Net's labels, voxel by voxel; they are made again when they are stale."""

from __future__ import annotations

import os

import blosc2
import numpy as np
import pytest
import SimpleITK as sitk
from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd
from nnunetv2.preprocessing.cropping.cropping import create_nonzero_mask
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_weak.dataset.annotations import CaseAnnotation, ChannelLayout, WeakAnnotations
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.training.annotation_maps import maps_of, open_map, preprocess_array, preprocess_maps
from nnunet_weak.training.stacked_dataset import StackedDataset

RESAMPLING = "resample_data_or_seg_to_shape"
DATASET_JSON = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}}
SHAPE, SPACING = (9, 20, 26), (5.0, 1.2, 0.8)


def plans_for(spacing, transpose=(0, 1, 2), dims=3):
    def resampling(is_seg):
        order = 1 if is_seg else 3
        return {"is_seg": is_seg, "order": order, "order_z": 0, "force_separate_z": None}

    configuration = {
        "data_identifier": f"nnUNetPlans_{dims}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [8, 8, 8][:dims],
        "spacing": list(spacing),
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "architecture": {"network_class_name": "none", "arch_kwargs": {}, "_kw_requires_import": []},
        "resampling_fn_data": RESAMPLING,
        "resampling_fn_data_kwargs": resampling(False),
        "resampling_fn_seg": RESAMPLING,
        "resampling_fn_seg_kwargs": resampling(True),
    }
    return {
        "dataset_name": "Dataset001_X",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(transpose),
        "transpose_backward": list(np.argsort(transpose)),
        "foreground_intensity_properties_per_channel": {"0": {}},
        "label_manager": "LabelManager",
        "configurations": {"c": configuration},
    }


def image_and_labels(seed=0):
    """Blobs of classes with blank between them, in an image that is zero at its rim and in a corner inside."""
    rng = np.random.default_rng(seed)
    smooth = sitk.GetArrayFromImage(sitk.DiscreteGaussian(sitk.GetImageFromArray(rng.normal(size=SHAPE)), 2.0))
    labels = np.digitize(smooth, np.quantile(smooth, [0.3, 0.55, 0.8])).astype(np.float32)
    data = rng.uniform(1, 2, SHAPE).astype(np.float32)
    data[:2], data[:, :3], data[:, :, -4:], data[2:5, 3:6, :5] = 0, 0, 0, 0
    return data[None], labels[None]


@pytest.mark.parametrize(
    ("spacing", "transpose", "dims"),
    [
        pytest.param((1.1, 0.7), (0, 1, 2), 2, id="2d"),
        pytest.param((3.0, 1.0, 1.0), (0, 1, 2), 3, id="anisotropic"),
        pytest.param((1.6, 1.6, 1.6), (0, 1, 2), 3, id="to isotropic"),
        pytest.param((0.9, 4.0, 1.3), (2, 0, 1), 3, id="transposed"),
        pytest.param((0.9, 1.3), (1, 2, 0), 2, id="2d transposed"),
        pytest.param(SPACING, (0, 1, 2), 3, id="crop alone"),
    ],
)
def test_a_label_map_sent_both_ways_is_the_same(spacing, transpose, dims):
    plans = PlansManager(plans_for(spacing, transpose, dims))
    configuration = plans.get_configuration("c")
    data, labels = image_and_labels()
    properties = {"spacing": list(SPACING)}
    _, expected, properties = DefaultPreprocessor(verbose=False).run_case_npy(
        data, labels, properties, plans, configuration, DATASET_JSON
    )
    encoded = labels + 1
    # nnU-Net calls background outside the nonzero region -1, which would be 0 encoded; the maps themselves do not.
    encoded[0][(labels[0] == 0) & ~create_nonzero_mask(data)] = 0
    result = preprocess_array(encoded, properties, plans, configuration)
    assert (expected == -1).any() and (expected > 0).any()
    assert tuple(expected.shape[1:]) != SHAPE, "something was cropped or resampled"
    np.testing.assert_array_equal(result.astype(int) - 1, expected)


@pytest.fixture
def preprocessed(tmp_path):
    """A case preprocessed by nnU-Net, with two raw annotation maps of which one is a negative one."""
    plans = plans_for((3.0, 1.0, 1.0))
    manager = PlansManager(plans)
    configuration = manager.get_configuration("c")
    folder, raw = tmp_path / "nnUNetPlans_3", tmp_path / "raw"
    folder.mkdir()
    data, labels = image_and_labels()
    image, seg, properties = DefaultPreprocessor(verbose=False).run_case_npy(
        data, labels, {"spacing": list(SPACING)}, manager, configuration, DATASET_JSON
    )
    nnUNetDatasetBlosc2.save_case(
        image, seg.astype(np.int16), properties, str(folder / "one"), (1, 4, 8, 8), (1, 4, 8, 8)
    )
    annotations = WeakAnnotations(
        "refineseg",
        ChannelLayout(1),
        {"one": CaseAnnotation(maps=("anna", "anna_not"))},
        maps={"anna": "positive", "ben": "positive", "anna_not": "negative"},
    )
    for name, shift in (("anna", 1), ("anna_not", 0)):
        drawn = sitk.GetImageFromArray((labels[0] + shift).astype(np.uint8))
        drawn.SetSpacing(SPACING[::-1])
        (raw / "annotationsTr" / name).mkdir(parents=True)
        sitk.WriteImage(drawn, str(raw / "annotationsTr" / name / "one.nii.gz"))
    return plans, folder, raw, annotations


def made(preprocessed, raw=None):
    plans, folder, here, annotations = preprocessed
    maps = maps_of(annotations, raw or here, folder, ".nii.gz", ["one"], int(image_and_labels()[1].max()) + 1)
    return preprocess_maps(maps, plans, "c", folder, progress=False)


def test_only_what_is_missing_or_stale_is_made(preprocessed, tmp_path):
    plans, folder, raw, _ = preprocessed
    assert (made(preprocessed), made(preprocessed)) == (2, 0)
    source = raw / "annotationsTr" / "anna" / "one.nii.gz"
    before = np.asarray(open_map(folder, "anna", "one")[:])
    redrawn = sitk.ReadImage(str(source))
    redrawn[10, 10, 4] = 0 if redrawn[10, 10, 4] else 2
    sitk.WriteImage(redrawn, str(source))
    assert made(preprocessed) == 1, "the drawing changed"
    assert (np.asarray(open_map(folder, "anna", "one")[:]) != before).any()
    assert made(preprocessed, raw=tmp_path / "elsewhere") == 0, "without the raw data, what fits is taken"
    plans["configurations"]["c"]["resampling_fn_seg_kwargs"]["order"] = 0
    assert made(preprocessed) == 2, "the resampling changed"
    (folder / "annotation_maps" / "anna_not" / "one.b2nd").write_bytes(b"half a file")
    assert made(preprocessed) == 1
    left = sorted(path.name for path in (folder / "annotation_maps").rglob("*") if path.is_file())
    assert left == ["one.b2nd", "one.b2nd"], "nothing half-written stays"
    assert nnUNetDatasetBlosc2.get_identifiers(str(folder)) == ["one"], "nnU-Net does not take maps for cases"


def test_what_cannot_be_made_says_so(preprocessed, tmp_path):
    plans, folder, raw, _ = preprocessed
    with pytest.raises(InvalidInputError, match="2 problems(.|\n)*'anna' of case 'one' has not been preprocessed"):
        made(preprocessed, raw=tmp_path / "elsewhere")
    source = raw / "annotationsTr" / "anna" / "one.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(source))[:, :, 1:], str(source))
    with pytest.raises(InvalidInputError, match="does not fit.*nnUNetv2_plan_and_preprocess"):
        made(preprocessed)
    assert made_names(folder) == ["anna_not"], "the other map was made"


@pytest.mark.parametrize(
    "spoil, message", [("value", "holds the value 9, .* 0, blank, to"), ("spacing", "spacing .* its image has")]
)
def test_maps_of_other_classes_or_images_are_refused(preprocessed, spoil, message):
    _, folder, raw, _ = preprocessed
    source = raw / "annotationsTr" / "anna" / "one.nii.gz"
    drawn = sitk.ReadImage(str(source))
    if spoil == "value":
        drawn[0, 0, 0] = 9
    else:
        drawn.SetSpacing((SPACING[2], SPACING[1] * 1.1, SPACING[0]))
    sitk.WriteImage(drawn, str(source))
    with pytest.raises(InvalidInputError, match=f"one.nii.gz, case 'one': {message}.*remedy"):
        made(preprocessed)
    assert made_names(folder) == ["anna_not"]


def made_names(folder):
    return sorted(path.parent.name for path in folder.rglob("annotation_maps/*/*.b2nd"))


def test_an_interrupted_write_leaves_the_old_map(preprocessed, monkeypatch):
    plans, folder, raw, _ = preprocessed
    made(preprocessed)
    source = raw / "annotationsTr" / "anna" / "one.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(source)) * 0, str(source))

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made(preprocessed)
    assert np.asarray(open_map(folder, "anna", "one")[:]).any()
    assert sorted(path.name for path in (folder / "annotation_maps" / "anna").iterdir()) == ["one.b2nd"]


def test_maps_are_stacked_behind_the_labels_and_the_padding_mask_is_last(preprocessed):
    plans, folder, raw, annotations = preprocessed
    made(preprocessed)
    stock = nnUNetDatasetBlosc2(str(folder), ["one"])
    maps_of_case = {"one": annotations.cases["one"].maps}
    dataset = StackedDataset(stock, folder, tuple(annotations.maps), maps_of_case)
    _, seg, _, _ = dataset.load_case("one")
    assert seg.shape[0] == 5, "labels, three maps, inside"
    z, y, x = seg.shape[1:]
    patch = crop_and_pad_nd(seg, [[-2, z], [1, y + 3], [0, x]], -1, cast_cropped_to=np.int16)
    inside = patch[4] == 1
    assert inside.sum() == z * (y - 1) * x
    assert (patch[:, ~inside] == -1).all(), "padding is -1 in each channel, which nnU-Net turns into 0, blank"
    labels = patch[0][inside]
    np.testing.assert_array_equal(patch[1][inside][labels >= 0], labels[labels >= 0] + 1)
    assert (patch[2][inside] == 0).all(), "ben drew nothing in this case"
    np.testing.assert_array_equal(patch[3][inside][labels >= 0], labels[labels >= 0])


def test_maps_are_small_and_read_by_part(preprocessed):
    made(preprocessed)
    stored = open_map(preprocessed[1], "anna", "one")
    assert isinstance(stored, blosc2.NDArray) and stored.dtype == np.uint8
