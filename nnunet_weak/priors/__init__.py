"""Boundary prior P of SCORE: the probability of each voxel to belong to the structure, from the image and the initial
mask.

Each kind of prior is a module with one `Prior` object, listed in `boundary.PRIORS`. No torch here; images are
SimpleITK's.
"""

from nnunet_weak.priors.assessment import BandAssessment, assess_in_band
from nnunet_weak.priors.boundary import PRIOR_KINDS, PriorKind, PriorOptions, boundary_prior

__all__ = [
    "PRIOR_KINDS",
    "BandAssessment",
    "PriorKind",
    "PriorOptions",
    "assess_in_band",
    "boundary_prior",
]
