"""The trainers, by the names that `nnUNetv2_train -tr` knows them by."""

from nnunet_weak.trainers.refineseg import nnUNetTrainerRefineSeg
from nnunet_weak.trainers.refineseg_ablations import (
    nnUNetTrainerRefineSegBalanced,
    nnUNetTrainerRefineSegDeepSupervision,
    nnUNetTrainerRefineSegHeadLR20,
    nnUNetTrainerRefineSegLearnedComplementary,
    nnUNetTrainerRefineSegNoNegatives,
    nnUNetTrainerRefineSegNoRegulariser,
    nnUNetTrainerRefineSegNoTransitionMatrices,
    nnUNetTrainerRefineSegNoWarmup,
    nnUNetTrainerRefineSegSGD,
)
from nnunet_weak.trainers.refineseg_plus import nnUNetTrainerRefineSegPlus
from nnunet_weak.trainers.score import nnUNetTrainerSCORE
from nnunet_weak.trainers.score_ablations import (
    nnUNetTrainerSCORENoBothLabel,
    nnUNetTrainerSCORENoMorphologicalAugmentation,
    nnUNetTrainerSCORENoPrior,
    nnUNetTrainerSCORENoStability,
    nnUNetTrainerSCOREPaperExact,
)
from nnunet_weak.trainers.score_plus import nnUNetTrainerSCOREPlus
from nnunet_weak.trainers.weaknet import nnUNetTrainerWeakNet, nnUNetTrainerWeakNetNoReconstruction
from nnunet_weak.trainers.weighted import nnUNetTrainerWeighted

__all__ = [
    "nnUNetTrainerRefineSeg",
    "nnUNetTrainerRefineSegBalanced",
    "nnUNetTrainerRefineSegDeepSupervision",
    "nnUNetTrainerRefineSegHeadLR20",
    "nnUNetTrainerRefineSegNoTransitionMatrices",
    "nnUNetTrainerRefineSegLearnedComplementary",
    "nnUNetTrainerRefineSegNoNegatives",
    "nnUNetTrainerRefineSegNoRegulariser",
    "nnUNetTrainerRefineSegNoWarmup",
    "nnUNetTrainerRefineSegSGD",
    "nnUNetTrainerRefineSegPlus",
    "nnUNetTrainerSCORE",
    "nnUNetTrainerSCORENoBothLabel",
    "nnUNetTrainerSCORENoMorphologicalAugmentation",
    "nnUNetTrainerSCORENoPrior",
    "nnUNetTrainerSCORENoStability",
    "nnUNetTrainerSCOREPaperExact",
    "nnUNetTrainerSCOREPlus",
    "nnUNetTrainerWeakNet",
    "nnUNetTrainerWeakNetNoReconstruction",
    "nnUNetTrainerWeighted",
]
