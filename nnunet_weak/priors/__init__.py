"""Boundary prior P of SCORE: how plausible it is, per voxel, that the structure is there (torch-free, SimpleITK
images).
"""

from nnunet_weak.priors.assessment import BandAssessment, assess_in_band
from nnunet_weak.priors.boundary import boundary_prior
from nnunet_weak.priors.options import PRIOR_KINDS, PriorKind, PriorOptions

__all__ = [
    "PRIOR_KINDS",
    "BandAssessment",
    "PriorKind",
    "PriorOptions",
    "assess_in_band",
    "boundary_prior",
]
