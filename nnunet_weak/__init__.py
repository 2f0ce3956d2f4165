"""Train nnU-Net from annotation a clinician can afford: quality scores, rough drawings, a few surface points."""

__version__ = "0.1.0"
