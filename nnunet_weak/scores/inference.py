"""Images and initial masks for a trained SCORE network: what it takes, and the cases of a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nnunet_weak.dataset.annotations import WeakAnnotations
from nnunet_weak.dataset.dataset_json import read_stock_entries
from nnunet_weak.dataset.find_cases import CaseLayout, discover_cases
from nnunet_weak.dataset.folders import dataset_folder
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.read import list_images
from nnunet_weak.options import option
from nnunet_weak.scores.cases import ScoreCase
from nnunet_weak.scores.initial_masks import find_initial_masks
from nnunet_weak.scores.regions import RegionSource, keep_largest_components, parse_regions

OtherLabels = Literal["refuse", "background"]


@dataclass(frozen=True, kw_only=True)
class InferenceInputs:
    """Options of every command that feeds a SCORE network."""

    images: Path = option("-i", metavar="DIR", help="images, stored as for the converter")
    masks: Path = option(metavar="DIR", help="initial masks, stored as for the converter")
    model: str = option(
        "-m", metavar="MODEL", help="model folder (with dataset.json), or number or name of the data set"
    )
    regions: tuple[RegionSource, ...] | None = option(
        default=None,
        metavar="NAME=SOURCE",
        read=parse_regions,
        help="where the regions are, as for the converter (default: as at training)",
    )
    prior_folder: Path | None = option(
        default=None, metavar="DIR", help="boundary priors, for networks trained with --prior file"
    )
    channel_suffixes: tuple[str, ...] | None = option(
        default=None, metavar="SUFFIX", help="endings of file names, channel by channel"
    )
    case_layout: CaseLayout = option("--layout", default="auto", help="how images are stored (default: %(default)s)")
    other_labels: OtherLabels = option(
        default="refuse", help="values of a mask that belong to no region (default: %(default)s)"
    )


@dataclass(frozen=True)
class ScoreNetwork:
    """What a SCORE network takes: its annotations, the regions of its masks, and the format of its files."""

    annotations: WeakAnnotations
    regions: tuple[RegionSource, ...]
    file_ending: str

    def block_settings(self) -> dict[str, Any]:
        """What decides how input channels are made, as it stands in `dataset.json`."""
        block = self.annotations.to_json(with_cases=False)
        return {key: block[key] for key in ("channels", "largest_component", "prior") if key in block}


def read_network(inputs: InferenceInputs) -> ScoreNetwork:
    """Read what the network of a model or data set takes.

    Raises:
        InvalidInputError: No such folder, another method than SCORE, or other regions than the options name.
    """
    folder = Path(inputs.model)
    if not folder.is_dir():
        folder = dataset_folder(inputs.model, "nnUNet_raw", "nnUNet_preprocessed", option="-m")
    annotations = WeakAnnotations.read(folder)
    if annotations.method != "score":
        raise InvalidInputError(
            f"{folder}: trained by the method '{annotations.method}', which needs the images alone "
            "(remedy: give them to nnUNetv2_predict as they are)"
        )
    names, sources = annotations.channels.masks, annotations.mask_sources
    regions = inputs.regions or parse_regions(
        [f"{name}={sources.get(name, number)}" for number, name in enumerate(names, start=1)]
    )
    if tuple(region.name for region in regions) != names:
        raise InvalidInputError(
            f"--regions {' '.join(region.name for region in regions)}: the network was trained with the regions "
            f"{', '.join(names)} (remedy: name these, in this order)"
        )
    regions = keep_largest_components(regions, annotations.largest_component)
    return ScoreNetwork(annotations, regions, read_stock_entries(folder).file_ending)


def find_inference_cases(inputs: InferenceInputs, network: ScoreNetwork) -> Mapping[str, ScoreCase]:
    """Find images, masks and priors, by case and sorted by it.

    Raises:
        InvalidInputError: All files that are missing or do not fit.
    """
    found = discover_cases(inputs.images, channel_suffixes=inputs.channel_suffixes, layout=inputs.case_layout)
    problems = Problems()
    channels = network.annotations.channels.images
    for case, paths in found.items():
        if len(paths) != channels:
            problems.add(
                f"{inputs.images}, case '{case}'",
                f"{len(paths)} image channels, the network was trained with {channels}",
                "give the channels of the training images, in their order",
            )
    masks = problems.attempt(find_initial_masks, inputs.masks, list(found), network.regions, problems) or {}
    priors: dict[str, Path] = {}
    prior = network.annotations.prior
    if prior is not None and prior.kind == "file":
        if inputs.prior_folder is None:
            problems.add(
                "boundary prior", "the network was trained with priors of your own", "give them with --prior-folder DIR"
            )
        else:
            priors = problems.attempt(list_images, inputs.prior_folder) or {}
            for case in found:
                if case not in priors:
                    problems.add(f"{inputs.prior_folder}, case '{case}'", "no boundary prior", "add it")
    problems.raise_if_any("nothing was written")
    return {case: ScoreCase(case, tuple(found[case]), masks[case], priors.get(case)) for case in sorted(found)}
