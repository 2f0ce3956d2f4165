"""Make a plan lighter, so that it trains on a CPU in minutes: `thin_plan.py DATASET --features 8`.

Plans are JSON and may be edited between planning and training. A coarser spacing needs preprocessing afterwards
(`nnUNetv2_plan_and_preprocess --no_pp`, this, `nnUNetv2_preprocess`), anything else does not.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any


def thin(plan: dict[str, Any], features: int | None, most: int, batch: int | None, coarser: float | None) -> None:
    """Change a configuration of a plan; what is None stays as planned."""
    architecture = plan["architecture"]["arch_kwargs"]
    if features:
        stages = range(architecture["n_stages"])
        architecture["features_per_stage"] = [min(features * 2**stage, most) for stage in stages]
    if batch:
        plan["batch_size"] = batch
    if coarser:
        halvings = [sum(stride[axis] > 1 for stride in architecture["strides"]) for axis in (-2, -1)]
        plan["spacing"][-2:] = [spacing * coarser for spacing in plan["spacing"][-2:]]
        plan["patch_size"][-2:] = [
            max(round(size / coarser / 2**count), 1) * 2**count
            for size, count in zip(plan["patch_size"][-2:], halvings, strict=True)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="folder name in nnUNet_preprocessed, for example Dataset511_Bones")
    parser.add_argument("--features", type=int, help="features of the first stage, twice as many at each further one")
    parser.add_argument("--most", type=int, default=64, help="features of the deepest stages (default: %(default)s)")
    parser.add_argument("--batch", type=int, help="samples in a step")
    parser.add_argument("--coarser", type=float, metavar="FACTOR", help="voxels so many times as wide in plane")
    arguments = parser.parse_args()
    path = Path(os.environ["nnUNet_preprocessed"]) / arguments.dataset / "nnUNetPlans.json"
    plans = json.loads(path.read_text())
    for plan in plans["configurations"].values():
        if "architecture" in plan:
            thin(plan, arguments.features, arguments.most, arguments.batch, arguments.coarser)
    path.write_text(json.dumps(plans, indent=4))


if __name__ == "__main__":
    main()
