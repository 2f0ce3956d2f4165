"""The ablations of the SCORE paper's Table 2, and the loss exactly as printed."""

from __future__ import annotations

from dataclasses import replace

from nnunet_weak.losses.score import ScoreOptions, dominant_error
from nnunet_weak.trainers.score import nnUNetTrainerSCORE
from nnunet_weak.training.weak_trainer import WeakBatch


class nnUNetTrainerSCOREPaperExact(nnUNetTrainerSCORE):
    """Eqs. 1 to 4 as printed: nothing holds the background, so expect regions far from their masks."""

    score_options = ScoreOptions(paper_exact=True)


class nnUNetTrainerSCORENoBothLabel(nnUNetTrainerSCORE):
    """No label for both errors (l_k in -1, 0, 1): the larger error of the patch counts, see `dominant_error`."""

    def prepare_batch(self, batch: WeakBatch, training: bool) -> WeakBatch:
        """As SCORE, with every "both" decided."""
        prepared = super().prepare_batch(batch, training)
        targets = prepared.annotation
        error = dominant_error(targets, self.score_options.eta)
        return replace(prepared, annotation=replace(targets, error=error))


class nnUNetTrainerSCORENoStability(nnUNetTrainerSCORE):
    """Without L^stab."""

    score_options = ScoreOptions(weight_stability=0.0)


class nnUNetTrainerSCORENoPrior(nnUNetTrainerSCORE):
    """Without P in the loss; convert with `--prior none` to take it from the network's input as well."""

    score_options = ScoreOptions(use_prior=False)


class nnUNetTrainerSCORENoMorphologicalAugmentation(nnUNetTrainerSCORE):
    """Without score-guided morphological augmentation."""

    morphology_probability = 0.0
