"""A small study with one of everything that a command reads, and the commands that read it: what the tests of hostile
input and the fuzz run share."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

SIZE = (24, 20, 9)  # x, y, z
SPACING = (1.0, 1.25, 2.5)
ORIGIN = (30.0, -12.0, 60.0)
CASES = ("c0", "c1")
SCORES, DRAWINGS = "Dataset511_T", "Dataset521_T"
MODEL = f"nnUNet_results/{DRAWINGS}/nnUNetTrainer__nnUNetPlans__2d"

_RESAMPLING = {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None}
_ARCHITECTURE = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 2,
        "features_per_stage": [4, 6],
        "conv_op": "torch.nn.modules.conv.Conv2d",
        "kernel_sizes": [[3, 3], [3, 3]],
        "strides": [[1, 1], [2, 2]],
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}
PLANS: dict[str, Any] = {
    "dataset_name": DRAWINGS,
    "plans_name": "nnUNetPlans",
    "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "label_manager": "LabelManager",
    "foreground_intensity_properties_per_channel": {},
    "configurations": {
        "2d": {
            "data_identifier": "nnUNetPlans_2d",
            "preprocessor_name": "DefaultPreprocessor",
            "batch_size": 2,
            "patch_size": [16, 16],
            "spacing": [1.25, 1.0],
            "normalization_schemes": ["ZScoreNormalization"],
            "use_mask_for_norm": [False],
            "resampling_fn_data": "resample_data_or_seg_to_shape",
            "resampling_fn_seg": "resample_data_or_seg_to_shape",
            "resampling_fn_data_kwargs": {**_RESAMPLING, "is_seg": False, "order": 3},
            "resampling_fn_seg_kwargs": _RESAMPLING,
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
            "resampling_fn_probabilities_kwargs": {**_RESAMPLING, "is_seg": False},
            "architecture": _ARCHITECTURE,
            "batch_dice": True,
        }
    },
}

_FOLDERS = {"--images": "images", "-d": "7", "-n": "New", "-np": "1"}
_SOURCE = [word for pair in _FOLDERS.items() for word in pair]
COMMANDS: dict[str, tuple[str, Sequence[str]]] = {
    "convert_scores": (
        "dataset_conversion.scores",
        [*_SOURCE, "--masks", "masks", "--scores", "scores.csv", "--regions", "one=1", "two=2", "--prior", "none"],
    ),
    "convert_drawings": (
        "dataset_conversion.drawings",
        [*_SOURCE, "--positive", "anna=drawings", "--labels", "background=0", "one=1", "two=2", "--blank", "9",
         "--no-previews"],
    ),
    "convert_points": (
        "dataset_conversion.points",
        [*_SOURCE, "--points", "points", "--classes", "one=1,2", "--coordinate-system", "LPS", "--no-previews"],
    ),
    "prepare_inputs": ("cli.prepare_inputs", "-i images --masks masks -m 511 -o out/Ts -np 1".split()),
    "evaluate": ("cli.evaluate", "masks labels --labels one=1 two=2 --output out/e -np 1".split()),
    "simulate_scores": (
        "cli.simulate_scores",
        "--references labels --masks masks --classes one=1 two=2 -o out/s.csv -np 1".split(),
    ),
    "simulate_drawings": ("cli.simulate_drawings", "--references labels --classes one=1 two=2 -o out/d -np 1".split()),
    "simulate_points": ("cli.simulate_points", "--references labels --classes one=1 two=2 -o out/p -np 1".split()),
    "simulate_slices": (
        "cli.simulate_slices",
        "--references labels --classes one=1 two=2 --slices 2 -o out/l -np 1".split(),
    ),
    "fuse": ("cli.fuse", "-d 521 -o 7 -n New -np 1".split()),
    "preprocess_annotations": ("cli.preprocess_annotations", "-d 521 -np 1".split()),
    "set_threshold": ("cli.set_threshold", ["-m", MODEL, "--gamma", "0.4"]),
    "calibrate": ("cli.set_threshold", ["-m", MODEL, "--calibrate", "-device", "cpu"]),
    "report_annotators": ("cli.report_annotators", ["-m", MODEL, "-device", "cpu"]),
    "add_input_channels": ("cli.add_input_channels", "-chk model.pth -d 521 -c 2d -o out/wide.pth".split()),
}  # fmt: skip
"""Module and arguments by name; with these all but `report_annotators` and `calibrate` succeed."""


def main_of(command: str) -> Callable[[Sequence[str]], int]:
    return importlib.import_module(f"nnunet_weak.{COMMANDS[command][0]}").main


def arguments_of(command: str, **changed: str) -> list[str]:
    """Arguments of a command, with paths replaced: `arguments_of("evaluate", masks="elsewhere")`."""
    return [changed.get(word, word) for word in COMMANDS[command][1]]


def on_grid(array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    return image


def labels(shrunk: float = 0.0) -> np.ndarray:
    """An ellipsoid of the two labels, (z, y, x)."""
    z, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SIZE[::-1]), indexing="ij")
    inside = (z * 2.5) ** 2 + (y * 1.25) ** 2 + x**2 <= (8.5 - shrunk) ** 2
    return np.where(inside, np.where(x < 0, 1, 2), 0).astype(np.uint8)


def points() -> np.ndarray:
    """Points on the ellipsoid, LPS mm."""
    k = np.arange(30) + 0.5
    polar, azimuth = np.arccos(1 - 2 * k / 30), np.pi * (1 + 5**0.5) * k
    unit = np.stack([np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)], 1)
    centre = np.array(ORIGIN) + (np.array(SIZE) - 1) / 2 * np.array(SPACING)
    return centre + 8 * unit


def make_study(root: Path) -> None:
    """Write everything below `root`; nnU-Net's variables must name its folders."""
    for name in ("images", "masks", "labels", "drawings", "points", "out"):
        (root / name).mkdir()
    rng = np.random.default_rng(0)
    for case in CASES:
        full, mask = labels(), labels(1.5)
        noise = rng.normal(0, 20, full.shape).astype(np.int16)
        for folder, array in (("images", full.astype(np.int16) * 200 + noise), ("masks", mask), ("labels", full)):
            sitk.WriteImage(on_grid(array), str(root / folder / f"{case}.nii.gz"), True)
        drawn = np.full(full.shape, 9, np.uint8)
        drawn[2::3] = full[2::3]
        sitk.WriteImage(on_grid(drawn), str(root / "drawings" / f"{case}.nii.gz"), True)
        rows = "".join(f"{x:.3f},{y:.3f},{z:.3f},one\n" for x, y, z in points())
        (root / "points" / f"{case}.csv").write_text("l,p,s,class\n" + rows)
    rows = "".join(f"{case},{region},3,under\n" for case in CASES for region in ("one", "two"))
    (root / "scores.csv").write_text("case,region,quality,error\n" + rows)
    for command, number in (("convert_scores", "511"), ("convert_drawings", "521")):
        assert main_of(command)([*arguments_of(command, **{"7": number, "New": "T"})]) == 0
    _make_preprocessed(root)
    _make_model(root)


def _make_preprocessed(root: Path) -> None:
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    folder = root / "nnUNet_preprocessed" / DRAWINGS
    (folder / "nnUNetPlans_2d").mkdir(parents=True)
    (folder / "nnUNetPlans.json").write_text(json.dumps(PLANS))
    shutil.copy(root / "nnUNet_raw" / DRAWINGS / "dataset.json", folder)
    (folder / "splits_final.json").write_text(json.dumps([{"train": ["c0"], "val": ["c1"]}]))
    shape = SIZE[::-1]
    for case in CASES:
        properties = {
            "sitk_stuff": {"spacing": SPACING, "origin": ORIGIN, "direction": tuple(np.eye(3).ravel())},
            "spacing": list(SPACING[::-1]),
            "bbox_used_for_cropping": [[0, length] for length in shape],
            "shape_before_cropping": shape,
            "shape_after_cropping_and_before_resampling": shape,
            "class_locations": {},
        }
        data, seg = np.zeros((1, *shape), np.float32), np.zeros((1, *shape), np.int16)
        nnUNetDatasetBlosc2.save_case(data, seg, properties, str(folder / "nnUNetPlans_2d" / case))


def _make_model(root: Path) -> None:
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(PLANS)
    network = nnUNetTrainer.build_network_architecture(
        plans, plans.get_configuration("2d"), 1, 3, enable_deep_supervision=True
    )
    checkpoint = {
        "network_weights": network.state_dict(),
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": "2d"},
    }
    (root / MODEL / "fold_0").mkdir(parents=True)
    torch.save(checkpoint, root / MODEL / "fold_0" / "checkpoint_final.pth")
    torch.save(checkpoint, root / "model.pth")
    (root / MODEL / "plans.json").write_text(json.dumps(PLANS))
    shutil.copy(root / "nnUNet_raw" / DRAWINGS / "dataset.json", root / MODEL)
