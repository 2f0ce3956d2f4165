"""The trainers, by the names that `nnUNetv2_train -tr` knows them by."""

from nnunet_weak.trainers.refineseg import nnUNetTrainerRefineSeg
from nnunet_weak.trainers.refineseg_ablations import (
    nnUNetTrainerRefineSegBalanced,
    nnUNetTrainerRefineSegDeepSupervision,
    nnUNetTrainerRefineSegFastHeads,
    nnUNetTrainerRefineSegIdentity,
    nnUNetTrainerRefineSegLearnedComplementary,
    nnUNetTrainerRefineSegNoNegatives,
    nnUNetTrainerRefineSegNoRegulariser,
    nnUNetTrainerRefineSegNoWarmup,
    nnUNetTrainerRefineSegSGD,
)
from nnunet_weak.trainers.score import nnUNetTrainerSCORE
from nnunet_weak.trainers.score_ablations import (
    nnUNetTrainerSCORENoBothLabel,
    nnUNetTrainerSCORENoMorphologicalAugmentation,
    nnUNetTrainerSCORENoPrior,
    nnUNetTrainerSCORENoStability,
    nnUNetTrainerSCOREPaperExact,
)
from nnunet_weak.trainers.score_plus import nnUNetTrainerSCOREPlus
from nnunet_weak.trainers.weaknet import nnUNetTrainerWeakNet
from nnunet_weak.trainers.weaknet_ablations import nnUNetTrainerWeakNetNoReconstruction
from nnunet_weak.trainers.weaknet_trust import nnUNetTrainerWeakNetTrust

__all__ = [
    "nnUNetTrainerRefineSeg",
    "nnUNetTrainerRefineSegBalanced",
    "nnUNetTrainerRefineSegDeepSupervision",
    "nnUNetTrainerRefineSegFastHeads",
    "nnUNetTrainerRefineSegIdentity",
    "nnUNetTrainerRefineSegLearnedComplementary",
    "nnUNetTrainerRefineSegNoNegatives",
    "nnUNetTrainerRefineSegNoRegulariser",
    "nnUNetTrainerRefineSegNoWarmup",
    "nnUNetTrainerRefineSegSGD",
    "nnUNetTrainerSCORE",
    "nnUNetTrainerSCORENoBothLabel",
    "nnUNetTrainerSCORENoMorphologicalAugmentation",
    "nnUNetTrainerSCORENoPrior",
    "nnUNetTrainerSCORENoStability",
    "nnUNetTrainerSCOREPaperExact",
    "nnUNetTrainerSCOREPlus",
    "nnUNetTrainerWeakNet",
    "nnUNetTrainerWeakNetNoReconstruction",
    "nnUNetTrainerWeakNetTrust",
]
