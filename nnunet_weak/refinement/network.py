"""A trained SCORE network behind nnU-Net's own predictor: from the files of a case to its refined label map.

Preprocessing, sliding window, test-time augmentation, resampling and file format are nnU-Net's, so that the result has
the bytes that `nnunet_weak_prepare_inputs` and `nnUNetv2_predict` give. SCOREPlus is the exception: the prior's
evidence is added on the grid of the image, where it is sharp, instead of the network's. Arrays are (z, y, x) as
nnU-Net's reader of images gives them.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_weak.dataset.case_files import CaseFiles
from nnunet_weak.dataset.input_channels import read_first_channel, write_input_channels
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.scores.cases import ScoreCase
from nnunet_weak.scores.inference import OtherLabels, ScoreNetwork
from nnunet_weak.scores.initial_masks import read_initial_mask

if TYPE_CHECKING:
    import torch

FOLDS = ("0", "1", "2", "3", "4")
_FAST_READER = "SimpleITKIO"


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A case, ready for the network.

    Attributes:
        initial: Initial mask, 0 = background, k = region k, uint8 or uint16.
        data: Preprocessed channels, `(C, D, H, W)`, float32.
        properties: nnU-Net's, which lead back to the grid of the image.
        image: First image channel as read; None unless asked for.
        prior: Boundary prior; None unless it is needed or asked for, and where the network has none.
        may_appear: Regions that may be drawn although the mask does not have them.
    """

    initial: np.ndarray
    data: torch.Tensor
    properties: dict[str, Any]
    image: np.ndarray | None = None
    prior: np.ndarray | None = None
    may_appear: tuple[str, ...] = ()


class RefinementNetwork:
    """Weights of one or several folds of a SCORE model, on a device.

    Args:
        folder: Model folder, `TRAINER__PLANS__CONFIGURATION`.
        network: What it takes.
        folds: Folds whose predictions are averaged; None takes those of 0 to 4 that were trained, else `all`.
        checkpoint: File name in the folder of a fold.
        device: A `torch.device`.
        mirroring: Test-time augmentation by the flips that the training allowed.
        step_size: Step of the sliding window, as a share of its width.
        trust: Read checkpoints that hold more than numbers.
        independent: Leave out a prior that holds the mask's own evidence (kind `posterior`), where the prediction is to
            judge the mask: it agrees with any mask.

    Raises:
        InvalidInputError: Files that are missing or damaged, all in one list.
    """

    def __init__(
        self,
        folder: Path,
        network: ScoreNetwork,
        *,
        folds: Sequence[str] | None = None,
        checkpoint: str = "checkpoint_final.pth",
        device: torch.device,
        mirroring: bool = True,
        step_size: float = 0.5,
        trust: bool = False,
        independent: bool = False,
    ) -> None:
        self.folder, self.network, self.device = folder, network, device
        self.checkpoints = find_checkpoints(folder, folds, checkpoint)
        if not trust:
            _check_checkpoints(self.checkpoints)
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        from nnunet_weak.networks.prior_fusion import PriorFusedNetwork

        with contextlib.redirect_stdout(io.StringIO()):  # it tells what it does for want of a GPU
            self._predictor = nnUNetPredictor(
                tile_step_size=step_size, use_mirroring=mirroring, device=device, allow_tqdm=False
            )
            names = [path.parent.name.removeprefix("fold_") for path in self.checkpoints]
            try:
                self._predictor.initialize_from_trained_model_folder(str(folder), names, checkpoint)
            except RuntimeError as error:  # a trainer that is not there, or weights of another network
                raise InvalidInputError(
                    f"-m {folder}: nnU-Net cannot load it: {str(error).strip().splitlines()[0]} (remedy: take "
                    "plans.json and checkpoint of one training; nnUNet_extTrainer must name the folder of its trainer)"
                ) from error
        if self._predictor.configuration_manager.previous_stage_name is not None:
            raise InvalidInputError(f"{folder}: a cascade, which SCORE does not support (remedy: name another model)")
        self._reader = self._predictor.plans_manager.image_reader_writer_class()
        self._prior_weight = 0.0
        if isinstance(self._predictor.network, PriorFusedNetwork):  # fused on the grid of the image instead
            self._prior_weight, self._predictor.network.weight = self._predictor.network.weight, 0.0
            prior = network.annotations.prior
            if independent and prior is not None and prior.kind == "posterior":
                self._prior_weight = 0.0

    def prepare(
        self, case: ScoreCase, scratch: Path, *, other_labels: OtherLabels, keep_image: bool = False
    ) -> PreparedCase:
        """Make the input channels of a case and preprocess them.

        Args:
            case: Its files.
            scratch: Folder for the channels until they are read.
            other_labels: "refuse" or "background", as for the converter.
            keep_image: Whether image and prior are wanted beside the preprocessed channels.

        Raises:
            InvalidInputError: All problems of its files.
        """
        import torch

        layout, prior = self.network.annotations.channels, self.network.annotations.prior
        image = read_first_channel(case.images)
        mask = read_initial_mask(case.mask, self.network.regions, image, other_labels=other_labels).label_map
        ending = self.network.file_ending
        files = CaseFiles(scratch, case.name, ending, image, images="", made_ending=self._made_ending)
        write_input_channels(files, case.images, mask, layout, prior if layout.prior else None, case.prior_file)
        del image, mask
        names = [files.channel_path(number, made=number >= layout.images) for number in range(layout.count)]
        channels, properties = self._reader.read_images([str(path) for path in names])
        for path in names:
            path.unlink()
        initial = np.zeros(channels.shape[1:], np.min_scalar_type(len(layout.masks)))
        for number in range(1, len(layout.masks) + 1):
            initial[channels[layout.images + number - 1] > 0.5] = number
        predictor = self._predictor
        preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
        data, _, properties = preprocessor.run_case_npy(
            channels, None, properties, predictor.plans_manager, predictor.configuration_manager, predictor.dataset_json
        )
        return PreparedCase(
            initial,
            torch.from_numpy(data).to(dtype=torch.float32, memory_format=torch.contiguous_format),
            properties,
            channels[0].copy() if keep_image else None,
            channels[-1].copy() if layout.prior and (keep_image or self._prior_weight) else None,
            case.may_appear,
        )

    def predict(self, case: PreparedCase) -> torch.Tensor:
        """Logits `(K + 1, D, H, W)` on the preprocessed grid, mean over folds and flips, in the CPU's memory."""
        with contextlib.redirect_stdout(io.StringIO()):
            return self._predictor.predict_logits_from_preprocessed_data(case.data).cpu()

    def segment(self, case: PreparedCase, logits: torch.Tensor) -> np.ndarray:
        """Label map on the grid of the image."""
        return self._on_image_grid(case, logits, probabilities=False)

    def segment_with_probabilities(self, case: PreparedCase, logits: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Label map, and softmax `(K + 1, D, H, W)`, float32, on the grid of the image."""
        return self._on_image_grid(case, logits, probabilities=True)

    def write(self, labels: np.ndarray, case: PreparedCase, path: Path) -> None:
        """Write a label map as nnU-Net does; the ending of `path` is the model's."""
        self._reader.write_seg(labels, str(path), case.properties)

    def write_description(self, folder: Path) -> None:
        """Write `dataset.json` and `plans.json` beside predictions, which nnU-Net's evaluation needs."""
        from batchgenerators.utilities.file_and_folder_operations import save_json

        save_json(self._predictor.dataset_json, str(folder / "dataset.json"), sort_keys=False)
        save_json(self._predictor.plans_manager.plans, str(folder / "plans.json"), sort_keys=False)

    @property
    def _made_ending(self) -> str:
        """Masks and prior are read once, so they are not compressed where the reader knows both endings."""
        ending = self.network.file_ending
        return ".nii" if ending == ".nii.gz" and type(self._reader).__name__ == _FAST_READER else ending

    def _on_image_grid(self, case: PreparedCase, logits: torch.Tensor, *, probabilities: bool) -> Any:
        from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape

        from nnunet_weak.networks.prior_fusion import fuse_probabilities

        predictor = self._predictor
        result = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits,
            predictor.plans_manager,
            predictor.configuration_manager,
            predictor.label_manager,
            case.properties,
            return_probabilities=probabilities or self._prior_weight > 0,
        )
        if not self._prior_weight:
            return result
        labels, softmax = result
        assert case.prior is not None
        regions = enumerate(self.network.annotations.channels.masks, start=1)
        new = [number for number, name in regions if name in case.may_appear and not (case.initial == number).any()]
        softmax = fuse_probabilities(softmax, case.prior, self._prior_weight, new)
        labels = softmax.argmax(0).astype(labels.dtype)
        return (labels, softmax) if probabilities else labels


def find_checkpoints(folder: Path, folds: Sequence[str] | None, checkpoint: str) -> tuple[Path, ...]:
    """The checkpoints of a model folder.

    Raises:
        InvalidInputError: It is no model folder, or a fold has no such checkpoint.
    """
    problems = Problems()
    for name in ("plans.json", "dataset.json"):
        if not (folder / name).is_file():
            problems.add(
                f"-m {folder}",
                f"no model folder, it has no {name}",
                "name nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION",
            )
    if folds is None:
        trained = [fold for fold in (*FOLDS, "all") if (folder / f"fold_{fold}" / checkpoint).is_file()]
        folds = [fold for fold in trained if fold != "all"] or trained
        if not folds:
            problems.add(f"-m {folder}", f"no fold has a {checkpoint}", "train one, or name its checkpoint with -chk")
    paths = tuple(folder / f"fold_{fold}" / checkpoint for fold in folds)
    for path in paths:
        if not path.is_file():
            problems.add(f"-f, -chk: {path}", "no such file", "name trained folds and their checkpoint")
    problems.raise_if_any()
    return paths


def _check_checkpoints(paths: Sequence[Path]) -> None:
    """nnU-Net would run what a pickle tells Python to run."""
    from nnunet_weak.training.checkpoints import read_checkpoint

    problems = Problems()
    for path in paths:
        problems.attempt(read_checkpoint, path)
    problems.raise_if_any()
