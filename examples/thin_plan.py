"""Make a plan's network thinner, so that it trains on a CPU in minutes: `thin_plan.py DATASET [--features 8]`.

Plans are JSON and may be edited between planning and training; nothing needs to be preprocessed again.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path


def thin(plans_file: Path, first_features: int, most_features: int, batch_size: int | None) -> None:
    """Write the plan back with `first_features`, twice as many at each stage, up to `most_features`."""
    plans = json.loads(plans_file.read_text())
    for configuration in plans["configurations"].values():
        if "architecture" in configuration:
            arguments = configuration["architecture"]["arch_kwargs"]
            stages = len(arguments["features_per_stage"])
            arguments["features_per_stage"] = [min(first_features * 2**i, most_features) for i in range(stages)]
            configuration["batch_size"] = batch_size or configuration["batch_size"]
    plans_file.write_text(json.dumps(plans, indent=4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="folder name in nnUNet_preprocessed, for example Dataset511_Bones")
    parser.add_argument("--features", type=int, default=8, help="features of the first stage (default: %(default)s)")
    parser.add_argument("--most", type=int, default=64, help="features of the deepest stages (default: %(default)s)")
    parser.add_argument("--batch", type=int, help="samples in a step (default: as planned)")
    arguments = parser.parse_args()
    thin(
        Path(os.environ["nnUNet_preprocessed"]) / arguments.dataset / "nnUNetPlans.json",
        arguments.features,
        arguments.most,
        arguments.batch,
    )


if __name__ == "__main__":
    main()
