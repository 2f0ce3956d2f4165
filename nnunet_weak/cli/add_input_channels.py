"""`nnunet_weak_add_input_channels`: start from any stock checkpoint although the network has further input channels."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_weak.cli.console import console_command
from nnunet_weak.errors import InvalidInputError

EPILOG = """
nnU-Net's -pretrained_weights wants every weight in the shape of the network to be trained. A network with mask and
prior channels has a wider first convolution, so a stock checkpoint is refused. This command writes a copy whose first
convolution has the new channels at zero.

example: continue from a bone model trained on CT alone
  nnunet_weak_add_input_channels \\
      "$nnUNet_results/Dataset300_Bones/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/checkpoint_final.pth" \\
      -d 511 -c 3d_fullres -o bones_for_511.pth
  nnUNetv2_train 511 3d_fullres 0 -tr nnUNetTrainerSCORE -pretrained_weights bones_for_511.pth
"""


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="nnunet_weak_add_input_channels",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint of nnU-Net (.pth) with fewer input channels")
    parser.add_argument("-d", "--dataset", required=True, help="planned data set that is to be trained: ID or name")
    parser.add_argument("-c", "--configuration", required=True, help="2d, 3d_lowres or 3d_fullres")
    parser.add_argument("-p", "--plans", default="nnUNetPlans", help="plans identifier (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace OUTPUT if it exists")
    arguments = parser.parse_args(argv)
    if arguments.output.exists() and not arguments.overwrite:
        raise InvalidInputError(f"{arguments.output} exists (remedy: name another file, or give --overwrite)")
    if not arguments.checkpoint.is_file():
        raise InvalidInputError(f"{arguments.checkpoint}: no such file")

    import torch

    from nnunet_weak.training.input_channels import inflate_weights

    target = _network_state(arguments.dataset, arguments.configuration, arguments.plans)
    checkpoint = torch.load(arguments.checkpoint, map_location="cpu", weights_only=False)
    checkpoint["network_weights"] = inflate_weights(checkpoint["network_weights"], target, str(arguments.checkpoint))
    partial = arguments.output.with_name(arguments.output.name + ".partial")
    torch.save(checkpoint, partial)
    os.replace(partial, arguments.output)
    print(f"Wrote {arguments.output}; train with -pretrained_weights {arguments.output}")
    return 0


def _network_state(dataset: str, configuration: str, plans_name: str) -> dict[str, Any]:
    import torch
    from nnunetv2.paths import nnUNet_preprocessed
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    folder = Path(str(nnUNet_preprocessed)) / maybe_convert_to_dataset_name(
        int(dataset) if dataset.isdigit() else dataset
    )
    path = folder / f"{plans_name}.json"
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file (remedy: run nnUNetv2_plan_and_preprocess -d {dataset} first)")
    plans = PlansManager(json.loads(path.read_text()))
    if configuration not in plans.available_configurations:
        raise InvalidInputError(
            f"{path}: no configuration {configuration!r}, there are {', '.join(plans.available_configurations)}"
        )
    dataset_json = json.loads((folder / "dataset.json").read_text())
    configuration_manager = plans.get_configuration(configuration)
    with torch.device("meta"):
        network = nnUNetTrainer.build_network_architecture(
            plans,
            configuration_manager,
            determine_num_input_channels(plans, configuration_manager, dataset_json),
            plans.get_label_manager(dataset_json).num_segmentation_heads,
            enable_deep_supervision=True,
        )
    return network.state_dict()
