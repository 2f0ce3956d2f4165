"""Options of the commands that run a SCORE network, and its loading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_weak.cli.console import Device, choose_device, device_option, trust_option
from nnunet_weak.dataset.annotations import RegionScore
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.options import option, read_number
from nnunet_weak.scores.inference import InferenceInputs, ScoreNetwork
from nnunet_weak.scores.options import ScoreConversion
from nnunet_weak.scores.table import read_scores

if TYPE_CHECKING:
    from nnunet_weak.refinement.network import RefinementNetwork

PREDICTION = "prediction, as for nnUNetv2_predict"


def _read_folds(texts: Sequence[str]) -> tuple[str, ...]:
    for text in texts:
        if text != "all" and not (text.isdecimal() and len(text) < 4):
            raise InvalidInputError(f"-f {text}: is neither the number of a fold nor 'all'")
    return tuple(dict.fromkeys(texts))


@dataclass(frozen=True, kw_only=True)
class ModelOptions(InferenceInputs):
    """Which weights predict, and how."""

    model: str = option("-m", metavar="MODEL", help="model folder, DATASET/TRAINER__PLANS__CONFIGURATION")
    folds: tuple[str, ...] | None = option(
        "-f", default=None, group=PREDICTION, read=_read_folds, metavar="FOLD", help="(default: all that are trained)"
    )
    checkpoint: str = option(
        "-chk", default="checkpoint_final.pth", group=PREDICTION, metavar="NAME", help="(default: %(default)s)"
    )
    disable_tta: bool = option("--disable_tta", default=False, group=PREDICTION, help="no mirroring: faster, and worse")
    step_size: float = option(
        "-step_size",
        "--step_size",
        default=0.5,
        group=PREDICTION,
        read=partial(read_number, "-step_size", most=1, above=True),
        metavar="SHARE",
        help="step of the sliding window (default: %(default)s)",
    )
    device: Device | None = device_option()
    trust: bool = trust_option()

    def read_scores(
        self, network: ScoreNetwork, cases: Sequence[str], path: Path, columns: Mapping[str, str] | None
    ) -> Mapping[str, Mapping[str, RegionScore]]:
        """Scores of some of the cases by region.

        Raises:
            InvalidInputError: Everything that is wrong with the table.
        """
        conversion = ScoreConversion(
            images=self.images,
            masks=self.masks,
            scores=path,
            columns=columns,
            regions=network.regions,
            dataset_id=1,
            name="scores",
        )
        return read_scores(conversion, cases).scores

    def load(self, network: ScoreNetwork, *, independent: bool = False) -> RefinementNetwork:
        """Load the weights; `independent` as of `RefinementNetwork`.

        Raises:
            InvalidInputError: Files that are missing or damaged.
        """
        import torch

        from nnunet_weak.parallel import default_processes
        from nnunet_weak.refinement.network import RefinementNetwork

        device = choose_device(self.device)
        torch.set_num_threads(default_processes() if device.type == "cpu" else 1)  # as nnUNetv2_predict
        return RefinementNetwork(
            Path(self.model),
            network,
            folds=self.folds,
            checkpoint=self.checkpoint,
            device=device,
            mirroring=not self.disable_tta,
            step_size=self.step_size,
            trust=self.trust,
            independent=independent,
        )

    @property
    def prediction_settings(self) -> dict[str, Any]:
        """What decides the prediction beside the weights, for records."""
        return {"mirroring": not self.disable_tta, "step_size": self.step_size}
