"""Definitions of the metrics and tests, for the help of the command, the report, and the record."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """How a metric is called, shown, and read."""

    key: str
    title: str
    higher_is_better: bool
    definition: str


METRICS = (
    Metric("dice", "Dice", True, "2 |P and R| / (|P| + |R|), P prediction, R reference, in voxels"),
    Metric("iou", "IoU", True, "|P and R| / |P or R|"),
    Metric(
        "hd95_mm",
        "HD95 (mm)",
        False,
        "the larger of the two directed 95th percentiles of the surface distances (not pooled), interpolated linearly",
    ),
    Metric("assd_mm", "ASSD (mm)", False, "mean over the surface distances of both directions pooled"),
    Metric(
        "nsd",
        "NSD",
        True,
        "share of the surface voxels of both masks within the tolerance of the other surface; voxels, not areas",
    ),
)
SURFACE_DEFINITION = (
    "A surface voxel is a voxel of the mask with a face neighbour outside it; beyond the image counts as outside. "
    "Distances run between voxel centres, in mm, with the spacing of the reference. Other programs define HD95 and NSD "
    "differently; figures of different programs do not compare."
)
EMPTY_MASK_POLICY = {
    "both empty": "no metric is defined: the row is blank and left out of means and tests, as in nnU-Net.",
    "one empty": "Dice, IoU and NSD are 0; HD95 and ASSD are the distance in mm between opposite corner voxels of the "
    "image, the largest possible, so that missing a structure never improves a mean. Such rows are in means and tests, "
    "and counted.",
    "ignored voxels": "voxels that the reference marks with nnU-Net's ignore label are left out of Dice and IoU; HD95, "
    "ASSD and NSD of such a case are blank, since a surface that ends where the annotation ends is no surface.",
}
COUNTS_DEFINITION = (
    "cases: cases with a value; 'one empty': of these, cases where one mask is empty (penalised); 'both empty': "
    "further cases, left out. +- is the standard deviation over cases."
)
TEST_DEFINITION = (
    "Two-sided Wilcoxon signed-rank test of method minus baseline over the cases (or patients) where both have a "
    "value; pairs without a difference are dropped (Wilcoxon's rule). p_holm is corrected after Holm over the labels, "
    "for each metric and baseline on its own; several baselines or metrics are not corrected for. With fewer than 6 "
    "differing pairs no p below 0.05 is possible. Several cases of one patient are not independent: give --patients."
)


def definitions(nsd_tolerance: str) -> dict[str, str]:
    """Every definition by its title."""
    return {
        **{metric.title: metric.definition for metric in METRICS},
        "NSD tolerance": f"{nsd_tolerance}, inclusive",
        "Surface": SURFACE_DEFINITION,
        **{f"If {condition}": rule for condition, rule in EMPTY_MASK_POLICY.items()},
        "Table": COUNTS_DEFINITION,
        "Test": TEST_DEFINITION,
    }
