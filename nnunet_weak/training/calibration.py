"""Find the threshold gamma that is best on fully annotated validation cases.

A fold's network predicts the preprocessed images of the fold's own validation cases, with nnU-Net's sliding window and
mirroring, and the Dice of every threshold is computed on that grid: nothing is resampled. Cases of several folds are
pooled, for prediction averages the folds.

Arrays are (classes, z, y, x).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nnunet_weak.dataset.annotations import WeakAnnotations
from nnunet_weak.dataset.splits import read_splits
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.training.checkpoints import KEY, read_checkpoint
from nnunet_weak.training.threshold import DEFAULT_GAMMA, ENTRY, final_bias_names, logit_shift

GAMMAS = tuple(round(0.05 * step, 2) for step in range(1, 20))


@dataclass(frozen=True)
class Calibration:
    """Dice by threshold.

    Attributes:
        cases: Names of the cases.
        dice: Mean Dice over cases and classes, for each of `GAMMAS`.
    """

    cases: tuple[str, ...]
    dice: Mapping[float, float]

    @property
    def gamma(self) -> float:
        """The best threshold; of equally good ones the nearest to 0.5."""
        return max(self.dice, key=lambda gamma: (round(self.dice[gamma], 6), -abs(gamma - DEFAULT_GAMMA)))


def calibrate(
    model: Path,
    folds: Sequence[str],
    preprocessed: Path,
    device: torch.device,
    checkpoint: str = "checkpoint_final.pth",
    *,
    trust: bool = False,
) -> Calibration:
    """Calibrate a model folder on the fully annotated cases of the validation parts of its folds.

    A threshold that a checkpoint has already is set aside.

    Args:
        model: Model folder of nnU-Net.
        folds: Names of its folds, `0` to `4`.
        preprocessed: The data set in nnUNet_preprocessed.
        device: Where to predict.
        checkpoint: Which checkpoint.
        trust: As for `read_checkpoint`.

    Raises:
        InvalidInputError: Folds or cases are missing, or a checkpoint cannot be read.
    """
    cases_of = validation_cases(preprocessed, folds)
    scores: dict[str, NDArray[np.float64]] = {}
    for fold, cases in cases_of.items():
        predictor = _predictor(model, fold, checkpoint, device, trust)
        dataset = _dataset(predictor, preprocessed, cases)
        for case in cases:
            data, seg, _, _ = dataset.load_case(case)
            logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(np.asarray(data[:])))
            reference = np.maximum(np.asarray(seg[:])[0], 0)  # nnU-Net marks voxels outside the nonzero region by -1
            ignore = predictor.label_manager.ignore_label
            scores[case] = dice_by_threshold(logits.float().cpu().numpy(), reference, GAMMAS, ignore)
    table = np.stack(list(scores.values()))
    mean = [float(np.nanmean(column)) if np.isfinite(column).any() else 0.0 for column in table.T]
    return Calibration(tuple(scores), dict(zip(GAMMAS, mean, strict=True)))


def validation_cases(preprocessed: Path, folds: Sequence[str]) -> dict[str, list[str]]:
    """Fully annotated cases of the validation part of each fold.

    Raises:
        InvalidInputError: No splits, no such fold, or no fully annotated case in any of them.
    """
    full = set(WeakAnnotations.read(preprocessed).fully_annotated_cases)
    path = preprocessed / "splits_final.json"
    if not path.is_file():
        raise InvalidInputError(
            f"{path}: no such file; it is made when training begins (remedy: train the model first)"
        )
    splits = read_splits(path)
    problems = Problems()
    found: dict[str, list[str]] = {}
    for fold in folds:
        if not re.fullmatch("[0-9]{1,4}", fold) or int(fold) >= len(splits):
            problems.add(f"fold {fold}", f"has no validation part in {path}", "choose folds with -f, or give --gamma")
        else:
            found[fold] = [case for case in splits[int(fold)]["val"] if case in full]
    problems.raise_if_any("Calibration")
    if not any(found.values()):
        raise InvalidInputError(
            f"{preprocessed.name}: no fully annotated case in the validation part of fold {', '.join(folds)}, and "
            "templates cannot tell a good threshold (remedy: annotate a few cases fully and convert with --references, "
            "or give --gamma)"
        )
    return {fold: cases for fold, cases in found.items() if cases}


def dice_by_threshold(
    logits: NDArray[np.floating],
    reference: NDArray[np.integer],
    gammas: Sequence[float],
    ignore_label: int | None = None,
) -> NDArray[np.float64]:
    """Mean Dice over the classes at each threshold; NaN where neither image shows any.

    Args:
        logits: Logits, background first; at a threshold of 0.5.
        reference: Class of each voxel.
        gammas: Thresholds.
        ignore_label: Value of voxels that do not count.

    Shape:
        - logits: ``(L, *spatial)``
        - reference: ``(*spatial,)``
        - Output: ``(len(gammas),)``
    """
    counted = np.ones(reference.shape, bool) if ignore_label is None else reference != ignore_label
    scores, true = logits[:, counted], reference[counted]
    best = scores[1:].argmax(0) + 1
    margin = scores[1:].max(0) - scores[0]
    result = []
    for gamma in gammas:
        predicted = np.where(margin > logit_shift(gamma), best, 0)
        dice = []
        for number in range(1, len(logits)):
            ours, theirs = predicted == number, true == number
            both = int(ours.sum()) + int(theirs.sum())
            dice.append(2 * int((ours & theirs).sum()) / both if both else np.nan)
        result.append(np.nanmean(dice) if np.isfinite(dice).any() else np.nan)
    return np.array(result, dtype=np.float64)


def _predictor(model: Path, fold: str, checkpoint: str, device: torch.device, trust: bool) -> Any:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    # Before nnU-Net reads it, which trusts every file.
    own = read_checkpoint(model / f"fold_{fold}" / checkpoint, trust=trust).get(KEY, {})
    predictor = nnUNetPredictor(
        use_mirroring=True, perform_everything_on_device=device.type == "cuda", device=device, allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(model), (int(fold),), checkpoint)
    if ENTRY in own:
        for weights in predictor.list_of_parameters:
            for name in final_bias_names(weights):
                weights[name] = own[ENTRY]["original_bias"].clone()
    return predictor


def _dataset(predictor: Any, preprocessed: Path, cases: Sequence[str]) -> Any:
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

    folder = preprocessed / predictor.configuration_manager.data_identifier
    if not folder.is_dir():
        raise InvalidInputError(f"{folder}: no such folder (remedy: run nnUNetv2_plan_and_preprocess again)")
    return infer_dataset_class(str(folder))(str(folder), list(cases))
