"""`nnunet_weak_add_input_channels`: start from any stock checkpoint although the network has further input channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_weak.cli.console import console_command, trust_option
from nnunet_weak.dataset.folders import dataset_folder
from nnunet_weak.dataset.plans import damaged_plans_named, read_plans
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.json_files import load_object
from nnunet_weak.images.outputs import check_output_file
from nnunet_weak.options import option, parse

_EPILOG = """
nnU-Net's -pretrained_weights wants every weight in the shape of the network to be trained. A network with mask and
prior channels has a wider first convolution, so a stock checkpoint is refused. This command writes a copy whose first
convolution has the new channels at zero.

example: continue from a bone model trained on CT alone
  nnunet_weak_add_input_channels \\
      -chk "$nnUNet_results/Dataset300_Bones/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/checkpoint_final.pth" \\
      -d 511 -c 3d_fullres -o bones_for_511.pth
  nnUNetv2_train 511 3d_fullres 0 -tr nnUNetTrainerSCORE -pretrained_weights bones_for_511.pth
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the command."""

    checkpoint: Path = option("-chk", metavar="FILE", help="checkpoint of nnU-Net (.pth) with fewer input channels")
    dataset_id: str = option("-d", metavar="ID", help="number or name of the planned data set that is to be trained")
    configuration: str = option("-c", metavar="CONFIGURATION", help="2d, 3d_lowres or 3d_fullres")
    plans: str = option("-p", default="nnUNetPlans", metavar="PLANS", help="plans identifier (default: %(default)s)")
    output: Path = option("-o", metavar="FILE", help="checkpoint to write")
    overwrite: bool = option(default=False, help="replace the file if it exists")
    trust: bool = trust_option()


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(Options, argv, prog="nnunet_weak_add_input_channels", description=__doc__, epilog=_EPILOG)
    check_output_file(
        options.output, overwrite=options.overwrite, inputs=(options.checkpoint,), begins_with=b"PK", option="-o"
    )

    from nnunet_weak.training.checkpoints import read_checkpoint, write_checkpoint
    from nnunet_weak.training.input_channels import inflate_weights

    checkpoint = read_checkpoint(options.checkpoint, trust=options.trust)
    target = _network_state(options)
    checkpoint["network_weights"] = inflate_weights(checkpoint["network_weights"], target, str(options.checkpoint))
    write_checkpoint(checkpoint, options.output, replace=options.overwrite)
    print(f"Wrote {options.output}; train with -pretrained_weights {options.output}")
    return 0


def _network_state(options: Options) -> dict[str, Any]:
    """Shapes of all weights of the network to be trained."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    folder = dataset_folder(options.dataset_id, "nnUNet_preprocessed")
    path = folder / f"{options.plans}.json"
    if not path.is_file():
        raise InvalidInputError(
            f"{path}: no such file (remedy: run nnUNetv2_plan_and_preprocess -d {options.dataset_id} first)"
        )
    plans = PlansManager(read_plans(path))
    if options.configuration not in plans.available_configurations:
        raise InvalidInputError(
            f"-c {options.configuration}: {path} has the configurations "
            f"{', '.join(plans.available_configurations)} (remedy: choose one of these)"
        )
    dataset_json = load_object(folder / "dataset.json", labels=dict, channel_names=dict)
    with damaged_plans_named(path, folder / "dataset.json"), torch.device("meta"):
        configuration = plans.get_configuration(options.configuration)
        network = nnUNetTrainer.build_network_architecture(
            plans,
            configuration,
            determine_num_input_channels(plans, configuration, dataset_json),
            plans.get_label_manager(dataset_json).num_segmentation_heads,
            enable_deep_supervision=True,
        )
    return network.state_dict()
