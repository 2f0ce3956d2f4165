"""How well a boundary prior would guide SCORE, measured with reference labels before anything is trained.

SCORE moves a mask only within a band around its boundary, and the prior P decides the direction. Where P ranks the
voxels of the band no better than chance (AUC 0.5), training can hardly help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pandas as pd
import SimpleITK as sitk

from nnunet_weak.priors import BandAssessment, PriorKind, PriorOptions, assess_in_band, boundary_prior

KINDS: tuple[PriorKind, ...] = ("otsu", "local", "gradient", "posterior", "likelihood")
"""The priors that need nothing but image and mask."""

_COLUMNS = {
    "auc": "AUC",
    "auc_inside": "inside the mask",
    "auc_outside": "outside",
    "dice_prior": "Dice if P alone decided",
}


def assess_priors(image: sitk.Image, mask: sitk.Image, reference: sitk.Image) -> dict[str, BandAssessment]:
    """Compare each kind of prior, with its default options, with the reference in the band of 2 voxels around the mask.

    Args:
        image: First image channel.
        mask: Initial mask on the same grid; regions are numbered from 1.
        reference: Reference labels on the same grid, numbered alike.
    """
    found: dict[str, BandAssessment] = {}
    for kind in KINDS:
        options = PriorOptions(kind)
        prior = boundary_prior(image, options, mask if options.needs_mask else None)
        found[kind] = assess_in_band(prior, mask, reference)
    return found


def prior_summary(cases: Sequence[Mapping[str, BandAssessment]]) -> str:
    """Table of the means over cases, and a sentence on what they mean, as text."""
    rows = pd.DataFrame([{"prior": kind, **asdict(case[kind])} for case in cases for kind in KINDS])
    means = rows.groupby("prior", sort=False).mean(numeric_only=True)
    before, oracle = means.loc[KINDS[0], ["dice_mask", "dice_oracle"]]
    if means.dice_prior.max() > before:
        verdict = f"The {means.dice_prior.idxmax()} prior would better the masks even without a network."
    else:
        verdict = "No prior would better the masks by itself: expect little of SCORE here, and compare."
    table = means[list(_COLUMNS)].rename(columns=_COLUMNS).reset_index()
    return "\n".join(
        [
            table.to_string(index=False, float_format="{:.3f}".format),
            f"Dice of the masks {before:.3f}; with the band as in the references {oracle:.3f}.",
            verdict,
        ]
    )
