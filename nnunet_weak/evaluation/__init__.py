"""Overlap and surface metrics of segmentations, and paired comparison of methods."""

from nnunet_weak.evaluation.folders import evaluate_folders
from nnunet_weak.evaluation.metrics import LabelMetrics, SurfaceDistances, evaluate_case, surface_distances
from nnunet_weak.evaluation.paired_tests import compare, holm
from nnunet_weak.evaluation.summary import summarise

__all__ = [
    "LabelMetrics",
    "SurfaceDistances",
    "compare",
    "evaluate_case",
    "evaluate_folders",
    "holm",
    "summarise",
    "surface_distances",
]
