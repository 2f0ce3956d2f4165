"""Can a boundary prior tell SCORE where to correct? Told from reference labels, before anything is trained.

SCORE moves a mask only within a band around its boundary, and the prior P decides which way. Where P ranks the voxels
of that band no better than chance (AUC 0.5), training can hardly help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import SimpleITK as sitk

from nnunet_weak.images.read import with_geometry_of
from nnunet_weak.priors import BandAssessment, PriorKind, PriorOptions, assess_in_band, boundary_prior
from nnunet_weak.simulation.scores import Labels

#: The priors that need nothing but image and mask.
KINDS: tuple[PriorKind, ...] = ("otsu", "local", "gradient", "posterior")


def assess_priors(
    image: sitk.Image, mask: sitk.Image, reference: sitk.Image, labels: Labels
) -> dict[str, BandAssessment]:
    """Compare each kind of prior, with its default options, with the reference in the band of 2 voxels around the mask.

    Args:
        image: First image channel.
        mask: Initial mask, on the same grid.
        reference: Reference labels, on the same grid.
        labels: Label values of each region by name, as in `simulate_scores`; other values count as background.

    Raises:
        InvalidInputError: The grids differ.
    """
    numbered, truth = (_regions_numbered(part, labels) for part in (mask, reference))
    return {
        kind: assess_in_band(boundary_prior(image, PriorOptions(kind), _mask_for(kind, numbered)), numbered, truth)
        for kind in KINDS
    }


def prior_summary(cases: Sequence[Mapping[str, BandAssessment]]) -> str:
    """Table of the means over cases, and a sentence on what they mean, as text."""
    rows = []
    for kind in KINDS:
        found = [case[kind] for case in cases]
        rows.append(
            {
                "prior": kind,
                "AUC": _mean(found, "auc"),
                "inside the mask": _mean(found, "auc_inside"),
                "outside": _mean(found, "auc_outside"),
                "Dice if P alone decided": _mean(found, "dice_prior"),
            }
        )
    table = pd.DataFrame(rows)
    first = [case[KINDS[0]] for case in cases]
    before = _mean(first, "dice_mask")
    alone = table["Dice if P alone decided"]
    if alone.max() > before:
        verdict = f"The {table.prior[alone.idxmax()]} prior would better the masks even without a network."
    else:
        verdict = "No prior would better the masks by itself: expect little of SCORE here, and compare."
    return "\n".join(
        [
            table.to_string(index=False, float_format="{:.3f}".format),
            f"Dice of the masks {before:.3f}; with the band as in the references {_mean(first, 'dice_oracle'):.3f}.",
            verdict,
        ]
    )


def _mask_for(kind: PriorKind, mask: sitk.Image) -> sitk.Image | None:
    return mask if PriorOptions(kind).needs_mask else None


def _regions_numbered(image: sitk.Image, labels: Labels) -> sitk.Image:
    array = sitk.GetArrayViewFromImage(image)
    numbered = np.zeros(array.shape, dtype=np.uint8)
    for number, values in enumerate(labels.values(), start=1):
        numbered[np.isin(array, values)] = number
    return with_geometry_of(numbered, image)


def _mean(found: Sequence[BandAssessment], name: str) -> float:
    values = np.array([getattr(assessment, name) for assessment in found], dtype=float)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
