"""A trainer that logs and draws every term of its loss, and may select its best checkpoint by their sum."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.utilities.collate_outputs import collate_outputs
from torch import distributed as dist

from nnunet_weak.training.composite_trainer import CompositeTrainer

_TERM = "term/"


def step_result(terms: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What a training or validation step returns: the loss, the sum of the terms, and each of them."""
    names = list(terms)
    values = torch.stack([terms[name] for name in names]).detach().float().cpu().numpy()  # one transfer for all
    return {"loss": values.sum(), **{f"{_TERM}{name}": value for name, value in zip(names, values, strict=True)}}


class LossTermsTrainer(CompositeTrainer):
    """Steps return `step_result`; its terms get curves of their own.

    Attributes:
        selects_by_loss: The best checkpoint is the one with the lowest moving average of the validation loss, instead
            of the highest pseudo Dice.
    """

    selects_by_loss = True
    _best_ema: float | None
    _loss_average = math.nan
    _best_loss = math.inf

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Log every term's mean over the epoch."""
        super().on_train_epoch_end(train_outputs)
        self._log_terms("train", train_outputs)

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        """Log every term's mean; keep the pseudo Dice's moving average finite."""
        super().on_validation_epoch_end(val_outputs)
        self._log_terms("val", val_outputs)
        # An epoch whose validation patches hold no fully annotated foreground has no Dice, and one NaN would stay in
        # the average for ever.
        curves = self.logger.local_logger.my_fantastic_logging
        for key in ("mean_fg_dice", "ema_fg_dice"):
            if math.isnan(curves[key][-1]):
                curves[key][-1] = curves[key][-2] if len(curves[key]) > 1 else 0.0
        loss = float(self.logger.get_value("val_losses", step=-1))
        average = self._loss_average
        self._loss_average = loss if math.isnan(average) else 0.9 * average + 0.1 * loss

    def on_epoch_end(self) -> None:
        """Stock end of an epoch, but for the selection of the best checkpoint."""
        if not self.selects_by_loss:
            super().on_epoch_end()
        else:
            # Keeps stock from selecting by the pseudo Dice.
            best_dice, self._best_ema = self._best_ema, math.inf
            try:
                super().on_epoch_end()
            finally:
                self._best_ema = best_dice
            if self._loss_average < self._best_loss:
                self._best_loss = self._loss_average
                self.print_to_log_file(f"New best weak loss (moving average): {self._best_loss:.4f}")
                self.current_epoch -= 1  # the stock method has counted on already
                self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_best.pth"))
                self.current_epoch += 1
        if self.local_rank == 0:
            curves = self.logger.local_logger.my_fantastic_logging
            terms = {key: values for key, values in curves.items() if key.startswith(("train/", "val/"))}
            plot_loss_curves(terms, Path(self.output_folder) / "progress_loss_terms.png")
            last = (f"{key} {values[-1]:.4f}" for key, values in terms.items())
            self.print_to_log_file("Loss terms:", ", ".join(last))

    def training_state(self) -> dict[str, Any]:
        """Selection by the loss."""
        return {"weak_loss_average": self._loss_average, "best_weak_loss": self._best_loss}

    def load_training_state(self, state: Mapping[str, Any]) -> None:
        """Selection by the loss."""
        self._loss_average, self._best_loss = state["weak_loss_average"], state["best_weak_loss"]

    def _log_terms(self, part: str, outputs: list[dict]) -> None:
        collated = collate_outputs(outputs)
        for name in [key for key in collated if key.startswith(_TERM)]:
            mean = float(np.mean(collated[name]))
            if self.is_ddp:
                means: list[Any] = [None] * dist.get_world_size()
                dist.all_gather_object(means, mean)
                mean = float(np.mean(means))
            key = f"{part}/{name.removeprefix(_TERM)}"
            self.logger.local_logger.my_fantastic_logging.setdefault(key, [math.nan] * self.current_epoch)
            self.logger.log(key, mean, self.current_epoch)


def plot_loss_curves(curves: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw one curve for each term over the epochs, next to nnU-Net's `progress.png`.

    Args:
        curves: Values of each epoch by term; the shortest list counts.
        path: PNG file to write.
    """
    from matplotlib.figure import Figure

    epochs = min((len(values) for values in curves.values()), default=0)
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    for name, values in curves.items():
        training = name.startswith("train/")
        label = name.removeprefix("train/").removeprefix("val/") + ("" if training else " (validation)")
        axes.plot(range(epochs), values[:epochs], label=label, linestyle="-" if training else "--")
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss term, weighted")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.savefig(path, dpi=110)
