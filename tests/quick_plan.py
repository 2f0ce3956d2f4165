"""nnUNetv2_plan_and_preprocess with fewer samples of the intensities.

nnU-Net draws 10^8 voxels of the foreground, with replacement where there are fewer, and sends them from process to
process: on tiny images most of the time.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import plan_and_preprocess_entry

SAMPLES = 10**6
construct = DatasetFingerprintExtractor.__init__


@wraps(construct)
def construct_quick(self: DatasetFingerprintExtractor, *args: Any, **options: Any) -> None:
    construct(self, *args, **options)
    assert self.num_foreground_voxels_for_intensitystats > SAMPLES
    self.num_foreground_voxels_for_intensitystats = SAMPLES


if __name__ == "__main__":
    DatasetFingerprintExtractor.__init__ = construct_quick
    plan_and_preprocess_entry()
