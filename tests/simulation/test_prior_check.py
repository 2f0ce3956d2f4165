from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from nnunet_weak.simulation.phantoms import make_phantom
from nnunet_weak.simulation.prior_check import KINDS, assess_priors, prior_summary


def test_the_bones_edge_is_told_by_the_local_prior():
    cases = []
    for seed in range(3):
        phantom = make_phantom(seed)
        cases.append(assess_priors(phantom.image, phantom.initial_mask, phantom.labels))
    assert set(cases[0]) == set(KINDS)
    assert np.mean([case["local"].auc for case in cases]) > 0.8
    assert all(case["local"].dice_oracle > case["local"].dice_mask for case in cases)
    text = prior_summary(cases)
    assert "local prior would better the masks" in text and "nan" not in text


def test_an_image_of_noise_is_called_useless():
    phantom = make_phantom(1, (30, 28, 36))
    rng = np.random.default_rng(0)
    noise = sitk.GetImageFromArray(rng.normal(500, 100, size=phantom.image.GetSize()[::-1]).astype(np.float32))
    noise.CopyInformation(phantom.image)
    text = prior_summary([assess_priors(noise, phantom.initial_mask, phantom.labels)])
    assert "expect little of SCORE" in text
