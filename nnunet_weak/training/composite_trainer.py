"""A trainer whose checkpoints are stock: auxiliary networks and our own state are kept beside what nnU-Net knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn
from torch._dynamo import OptimizedModule

from nnunet_weak.errors import InvalidInputError
from nnunet_weak.training.checkpoints import STOCK_TRAINER, read_own_entries, split_checkpoint
from nnunet_weak.training.composite import CompositeNetwork
from nnunet_weak.training.threshold import DEFAULT_GAMMA, ENTRY, restore_bias, set_threshold, shifted_bias


class CompositeTrainer(nnUNetTrainer):
    """Stock training of the stock network, with an auxiliary network around it while training.

    Where `build_auxiliary_network` returns None the network is the stock one, and checkpoints differ in where the
    optimiser's state is.

    Attributes:
        gamma: Probability above which a voxel is foreground, written into the finished checkpoints; see `threshold`.
        predicts_as_stock: Whether the stock trainer predicts with the checkpoints, without this package.
    """

    gamma = DEFAULT_GAMMA
    predicts_as_stock = True
    _loaded_gamma: float | None = None

    network: Any
    optimizer: Any
    build_network_architecture: Any

    def training_state(self) -> dict[str, Any]:
        """What a continued training needs beside network and optimiser: numbers, strings and tensors."""
        return {}

    def load_training_state(self, state: Mapping[str, Any]) -> None:
        """Counterpart of `training_state`."""

    def build_auxiliary_network(self, core: nn.Module, num_input_channels: int, num_classes: int) -> nn.Module | None:
        """The training-only network; None where the method needs none."""
        return None

    def initialize(self) -> None:
        """Stock initialisation, with the composite network in the place of the stock one."""
        build_stock = self.build_network_architecture

        def build(
            plans_manager: Any,
            configuration_manager: Any,
            num_input_channels: int,
            num_output_channels: int,
            enable_deep_supervision: bool = True,
        ) -> nn.Module:
            core = build_stock(
                plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
            )
            if not (hasattr(core, "encoder") and hasattr(getattr(core, "decoder", None), "seg_layers")):
                raise InvalidInputError(
                    f"{type(core).__name__} has no U-Net encoder and decoder, which {type(self).__name__} builds on "
                    "(remedy: plan with the default or a residual-encoder planner)"
                )
            if not enable_deep_supervision:
                core.decoder.seg_layers[:-1].requires_grad_(False)  # unused parameters stop DDP
            auxiliary = self.build_auxiliary_network(core, num_input_channels, num_output_channels)
            return core if auxiliary is None else CompositeNetwork(core, auxiliary)

        # nnU-Net builds, compiles, makes the optimiser and wraps DDP in one body; the instance attribute lasts for its
        # length only.
        self.build_network_architecture = build
        try:
            super().initialize()
        finally:
            del self.build_network_architecture

    @property
    def has_auxiliary_network(self) -> bool:
        """Whether the network is a composite."""
        return isinstance(self._plain_network, CompositeNetwork)

    @property
    def _plain_network(self) -> Any:
        network = self.network.module if self.is_ddp else self.network
        return network._orig_mod if isinstance(network, OptimizedModule) else network

    def save_checkpoint(self, filename: str) -> None:
        """Write the stock checkpoint, split for prediction and continuation; complete or not at all."""
        partial = f"{filename}.partial"
        super().save_checkpoint(partial)
        if self.local_rank == 0 and not self.disable_checkpointing:
            additions = self.training_state()
            if self.has_auxiliary_network:
                additions["auxiliary_weights"] = self._plain_network.auxiliary_state_dict()
            trainer = STOCK_TRAINER if self.predicts_as_stock else type(self).__name__
            split_checkpoint(partial, filename, additions, trainer)

    def load_checkpoint(self, filename_or_checkpoint: str) -> None:  # type: ignore[override]
        """Continue exactly: network, auxiliary network, optimiser, epoch, selection.

        Raises:
            InvalidInputError: The checkpoint is not this trainer's.
        """
        entries = read_own_entries(filename_or_checkpoint, type(self).__name__)
        if not self.was_initialized:
            self.initialize()
        optimizer, self.optimizer = self.optimizer, _NoOptimizer()  # the stock entry is empty, ours follows
        try:
            super().load_checkpoint(filename_or_checkpoint)
        finally:
            self.optimizer = optimizer
        self.optimizer.load_state_dict(entries["optimizer_state"])
        restore_bias(self._plain_network, entries)
        self._loaded_gamma = entries[ENTRY]["gamma"] if ENTRY in entries else None
        self.load_training_state(entries)
        if self.has_auxiliary_network:
            self._plain_network.load_auxiliary_state_dict(entries["auxiliary_weights"])

    def run_training(self) -> None:
        """Stock; where a training fails its data loaders end with it, else the process may wait for them for ever."""
        try:
            super().run_training()
        except BaseException:
            for loader in (self.dataloader_train, self.dataloader_val):
                if isinstance(loader, (MultiThreadedAugmenter, NonDetMultiThreadedAugmenter)):
                    loader._finish()
            raise

    def on_train_start(self) -> None:
        """Stock; a threshold that the checkpoint had ends where training goes on."""
        self._loaded_gamma = None
        super().on_train_start()

    def on_train_end(self) -> None:
        """Stock, and the threshold into the finished checkpoints."""
        super().on_train_end()
        if self.gamma != DEFAULT_GAMMA and self.local_rank == 0:
            for name in ("checkpoint_final.pth", "checkpoint_best.pth"):
                path = Path(self.output_folder) / name
                if path.is_file():
                    set_threshold(path, self.gamma, trust=True)  # written a moment ago

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Stock validation at the threshold; it leaves deep supervision on whatever it was."""
        bias = self._plain_network.decoder.seg_layers[-1].bias
        trained = bias.detach().clone()
        gamma = self.gamma if self._loaded_gamma is None else self._loaded_gamma
        try:
            with torch.no_grad():
                bias.copy_(shifted_bias(trained, gamma))
            super().perform_actual_validation(save_probabilities)
        finally:
            with torch.no_grad():
                bias.copy_(trained)
            self.set_deep_supervision_enabled(self.enable_deep_supervision)


class _NoOptimizer:
    def load_state_dict(self, state: dict) -> None:
        """Take nothing."""
