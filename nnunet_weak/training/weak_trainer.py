"""The trainer base: stock nnU-Net plus a weak objective that exists while training only.

A method's trainer names its block in `dataset.json`, its weak loss and, where it has one, its auxiliary network;
everything else is here or in its bases: mixed supervision, the split checkpoint, selection, logging. See
`docs/design.md`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nnunetv2.paths import nnUNet_raw
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss, get_tp_fp_fn_tn
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from torch import autocast, nn
from torch import distributed as dist

from nnunet_weak.dataset.annotations import BLOCK, WeakAnnotations, without_cases
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.losses.deep_supervision import deep_supervision_weights
from nnunet_weak.training.annotation_maps import maps_of, preprocess_maps
from nnunet_weak.training.loss_terms import LossTermsTrainer, step_result
from nnunet_weak.training.stacked_dataset import StackedDataset, drawn_cases

FULL_TERM = "full supervision"
GRADIENT_NORM = 12  # nnU-Net's


@dataclass(frozen=True)
class WeakBatch:
    """A batch on the training device.

    Attributes:
        data: Network input `(B, C, *spatial)`.
        seg: Label map `(B, 1, *spatial)`, a list of them by resolution under deep supervision. Padding is 0.
        maps: Annotation maps `(B, M, *spatial)`, in the order of the block; 0 is blank.
        inside: Boolean `(B, 1, *spatial)`, False in padding.
        keys: Case of each sample.
        fully_annotated: `(B,)`, True where the label map is ground truth.
        annotation: What the method's `prepare_batch` adds for its loss.
    """

    data: torch.Tensor
    seg: torch.Tensor | list[torch.Tensor]
    maps: torch.Tensor
    inside: torch.Tensor
    keys: tuple[str, ...]
    fully_annotated: torch.Tensor
    annotation: Any = None


class nnUNetTrainerWeak(LossTermsTrainer):
    """Base of all trainers of this package.

    A class attribute of a subclass wins over what nnU-Net's constructor sets, so a variant is a subclass of a few
    lines:

        class nnUNetTrainerSCORE_100epochs(nnUNetTrainerSCORE):
            num_epochs = 100

    Attributes:
        method: Method of the data sets that the trainer takes.
        reads_annotation_maps: Whether it learns from annotation maps, see `WeakBatch.maps`.
        full_case_share: Of the training samples that come from fully annotated cases, at least, however few these are
            beside the weakly annotated ones; None: all cases are drawn alike, as by the stock trainer.

    Raises:
        InvalidInputError: The data set lacks our block or is of another method, its block is older than the raw one,
            or the configuration is one that weak supervision does not work with (cascade, region-based training, a
            network without a U-Net's encoder and decoder).
    """

    method: str
    reads_annotation_maps = False
    full_case_share: float | None = None

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008
    ) -> None:
        annotations = self._read_annotations(plans, configuration, dataset_json)
        # Without the cases, as nnU-Net writes this dictionary into checkpoints, the model folder and external loggers.
        super().__init__(plans, configuration, fold, without_cases(dataset_json), device)
        for name in [name for name in vars(self) if hasattr(type(self), name)]:
            delattr(self, name)
        self.annotations = annotations
        if self.label_manager.has_regions:
            raise InvalidInputError(
                f"{type(self).__name__} trains with plain labels; the dataset.json of "
                f"{self.plans_manager.dataset_name} declares overlapping regions "
                "(remedy: declare one whole number for each label)"
            )

    # What a method provides

    def weak_loss(self, batch: WeakBatch, output: Any, auxiliary_output: Any) -> dict[str, torch.Tensor]:
        """Weighted terms of the weak loss, by name.

        Args:
            batch: The batch that `prepare_batch` returned.
            output: The network's logits, a list by resolution under deep supervision.
            auxiliary_output: What the auxiliary network returned; None without one.

        Returns:
            Each term of each sample, `(B,)`; finite, 0 where a sample has nothing to say. They are summed.
        """
        raise TypeError(f"{type(self).__name__} does not define weak_loss")

    def prepare_batch(self, batch: WeakBatch, training: bool) -> WeakBatch:
        """Add the method's annotation to a batch and, when training, augment it on the device; nothing by default."""
        return batch

    def auxiliary_arguments(self, batch: WeakBatch) -> tuple[Any, ...]:
        """What the auxiliary network's `forward` gets beside logits and features."""
        return ()

    # Data, losses

    def _build_loss(self) -> nn.Module:
        """The stock loss for fully annotated samples, one sample at a time: no batch Dice, no gathering."""
        loss: nn.Module = DC_and_CE_loss(
            {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False},
            {},
            weight_ce=1,
            weight_dice=1,
            ignore_label=self.label_manager.ignore_label,
            dice_class=MemoryEfficientSoftDiceLoss,
        )
        return DeepSupervisionWrapper(loss, self.output_weights) if self.enable_deep_supervision else loss

    @property
    def output_weights(self) -> list[float]:
        """Weight of the loss of each of the network's outputs, full resolution first; 1 without deep supervision."""
        scales = self._get_deep_supervision_scales()
        every_output = self.is_ddp and not self._do_i_compile()
        return deep_supervision_weights(len(scales) if scales else 1, every_output=every_output)

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """The stock data sets, with channels stacked onto the label maps; every case must be in the block."""
        training, validation = super().get_tr_and_val_datasets()
        unknown = sorted({*training.identifiers, *validation.identifiers} - set(self.annotations.cases))
        if unknown:
            raise InvalidInputError(
                f"{self.preprocessed_dataset_folder}: {len(unknown)} cases are not in the {BLOCK} block of "
                f"dataset.json: {', '.join(unknown[:10])} "
                "(remedy: convert and preprocess the data set again, into an empty folder)"
            )
        full = set(self.annotations.fully_annotated_cases)
        self.selects_by_loss = not full.intersection(validation.identifiers)
        self._announce(training.identifiers, validation.identifiers)
        if self.full_case_share is not None:
            training.identifiers = drawn_cases(training.identifiers, full, self.full_case_share)
        return self._stacked(training), self._stacked(validation)

    def _stacked(self, dataset: Any) -> StackedDataset:
        folder = self.preprocessed_dataset_folder
        if not self.reads_annotation_maps:
            return StackedDataset(dataset, folder)
        self._preprocess_annotation_maps(dataset.identifiers)
        maps_of_case = {case: self.annotations.cases[case].maps for case in dataset.identifiers}
        return StackedDataset(dataset, folder, tuple(self.annotations.maps), maps_of_case)

    def _preprocess_annotation_maps(self, cases: list[str]) -> None:
        """Make the maps that are missing or stale; one process does it, the others wait."""
        if self.local_rank == 0:
            name = self.plans_manager.dataset_name
            folder = Path(self.preprocessed_dataset_folder)
            raw = Path(str(nnUNet_raw) if nnUNet_raw.is_set() else "nnUNet_raw") / name
            classes = self.label_manager.num_segmentation_heads
            maps = maps_of(self.annotations, raw, folder, self.dataset_json["file_ending"], cases, classes)
            processes = max(1, get_allowed_n_proc_DA())
            plans, configuration = self.plans_manager.plans, self.configuration_name
            written = preprocess_maps(maps, plans, configuration, folder, processes=processes, progress=False)
            if written:
                self.print_to_log_file(f"Preprocessed {written} annotation maps that were missing or stale.")
        if self.is_ddp:
            dist.barrier()

    def _announce(self, training: list[str], validation: list[str]) -> None:
        full = set(self.annotations.fully_annotated_cases)
        self.print_to_log_file(
            f"Weak supervision ({self.method}): {len(training)} training cases, "
            f"{len(full.intersection(training))} of them fully annotated; "
            f"{len(validation)} validation cases, {len(full.intersection(validation))} of them fully annotated."
        )
        self.print_to_log_file(
            "No validation case is fully annotated: the best checkpoint is the one with the lowest weak loss. "
            "The pseudo Dice compares with the weak labels and says little."
            if self.selects_by_loss
            else "Pseudo Dice and the best checkpoint are computed on the fully annotated validation cases."
        )

    # Steps

    def train_step(self, batch: dict) -> dict:
        """One step on the sum of the weak terms and, for fully annotated samples, the stock loss."""
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            terms, _ = self.compute_loss(self.prepare_batch(self._to_device(batch), training=True))
            loss = torch.stack(list(terms.values())).sum()
        if self.grad_scaler is not None:
            self.grad_scaler.scale(loss).backward()
            self.grad_scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM)
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()
        else:
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM)
            self.optimizer.step()
        return step_result(terms)

    def validation_step(self, batch: dict) -> dict:
        """The loss without augmentation, and counts for the pseudo Dice (of full samples where the fold has some)."""
        moved = self.prepare_batch(self._to_device(batch), training=False)
        with self._autocast():
            terms, output = self.compute_loss(moved)
        logits = output[0] if self.enable_deep_supervision else output
        seg = moved.seg[0] if isinstance(moved.seg, list) else moved.seg
        counted = torch.ones_like(moved.fully_annotated) if self.selects_by_loss else moved.fully_annotated
        mask = torch.ones_like(seg, dtype=torch.float32) * per_sample(counted, seg)
        if self.label_manager.has_ignore_label:
            mask = mask * (seg != self.label_manager.ignore_label)
            seg = torch.where(seg == self.label_manager.ignore_label, 0, seg)
        one_hot = torch.zeros(logits.shape, device=logits.device, dtype=torch.float32)
        one_hot.scatter_(1, logits.argmax(1, keepdim=True), 1)
        tp, fp, fn, _ = get_tp_fp_fn_tn(one_hot, seg, axes=[0, *range(2, logits.ndim)], mask=mask)
        counts = {name: value[1:].cpu().numpy() for name, value in (("tp_hard", tp), ("fp_hard", fp), ("fn_hard", fn))}
        return {**step_result(terms), **counts}

    def compute_loss(self, batch: WeakBatch) -> tuple[dict[str, torch.Tensor], Any]:
        """Named terms (scalars, means over the batch, their sum is the loss) and the network's output.

        Each sample has one kind of supervision and contributes the same whatever else is in the batch. The auxiliary
        network runs for all of them: a parameter that takes part in one process only stops DDP.
        """
        if self.has_auxiliary_network:
            output, auxiliary_output = self.network(batch.data, self.auxiliary_arguments(batch))
        else:
            output, auxiliary_output = self.network(batch.data), None
        samples = len(batch.keys)
        terms = {
            name: torch.where(batch.fully_annotated, 0.0, value).sum() / samples
            for name, value in self.weak_loss(batch, output, auxiliary_output).items()
        }
        full = [
            self.loss(_sample(output, index), _sample(batch.seg, index))
            for index in torch.nonzero(batch.fully_annotated).flatten().tolist()
        ]
        if self.annotations.fully_annotated_cases:
            terms[FULL_TERM] = torch.stack(full).sum() / samples if full else torch.zeros((), device=batch.data.device)
        return terms, output

    def _to_device(self, batch: dict) -> WeakBatch:
        # Stock losses and metrics silently misread a target of several channels, so channel 0 is sliced off here.
        target = batch["target"]
        resolutions = [
            part.to(self.device, non_blocking=True) for part in (target if isinstance(target, list) else [target])
        ]
        keys = tuple(str(key) for key in batch["keys"])
        full = [self.annotations.cases[key].fully_annotated for key in keys]
        return WeakBatch(
            data=batch["data"].to(self.device, non_blocking=True),
            seg=[part[:, :1] for part in resolutions] if isinstance(target, list) else resolutions[0][:, :1],
            maps=resolutions[0][:, 1:-1],
            inside=resolutions[0][:, -1:] > 0,
            keys=keys,
            fully_annotated=torch.tensor(full, device=self.device),
        )

    def _autocast(self) -> contextlib.AbstractContextManager:
        # As stock: on the CPU autocast is slow, on MPS it is not there.
        return autocast("cuda", enabled=True) if self.device.type == "cuda" else contextlib.nullcontext()

    def _read_annotations(self, plans: dict, configuration: str, dataset_json: dict) -> WeakAnnotations:
        name = plans["dataset_name"]
        annotations = WeakAnnotations.from_dataset_json(dataset_json, f"dataset.json of the preprocessed {name}")
        if annotations.method != self.method:
            raise InvalidInputError(
                f"{name} was converted for the method {annotations.method!r}, {type(self).__name__} trains "
                f"{self.method!r} "
                "(remedy: choose the trainer of that method, or convert the data for this one)"
            )
        if plans["configurations"].get(configuration, {}).get("previous_stage"):
            raise InvalidInputError(
                f"{configuration}: the cascade uses the label map's second channel itself and does not work with "
                f"{type(self).__name__} "
                "(remedy: train 2d, 3d_lowres or 3d_fullres)"
            )
        if nnUNet_raw.is_set():
            raw = Path(str(nnUNet_raw)) / name
            if (raw / "dataset.json").is_file() and WeakAnnotations.read(raw) != annotations:
                raise InvalidInputError(
                    f"{name}: the {BLOCK} block in {raw / 'dataset.json'} differs from the one made "
                    "at planning, so the training would use stale annotation "
                    "(remedy: run nnUNetv2_plan_and_preprocess again)"
                )
        return annotations


def per_sample(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Values `(B,)` in a shape that broadcasts over `like`, `(B, ...)`."""
    return values.view(-1, *[1] * (like.ndim - 1))


def _sample(tensors: Any, index: int) -> Any:
    if isinstance(tensors, (list, tuple)):
        return [tensor[index : index + 1] for tensor in tensors]
    return tensors[index : index + 1]
