"""`nnunet_weak_refine`: from images and masks to better masks, by a network trained with SCORE, in one step."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from nnunet_weak.cli.console import console_command
from nnunet_weak.cli.refinement import ModelOptions
from nnunet_weak.dataset.annotations import RegionScore
from nnunet_weak.dataset.parts import Parts
from nnunet_weak.errors import Problems
from nnunet_weak.images.outputs import check_place
from nnunet_weak.options import RUN, option, parse, read_number
from nnunet_weak.scores.cases import ScoreCase
from nnunet_weak.scores.inference import ScoreNetwork, find_inference_cases, read_network
from nnunet_weak.scores.options import parse_columns
from nnunet_weak.scores.table import missing_regions

ACCEPT = "what is accepted"

_EPILOG = """
example: refine TotalSegmentator's masks of new CTs
  nnunet_weak_refine -i new_cts --masks new_masks -o refined -f 0 \\
      -m "$nnUNet_results/Dataset511_HumerusScore/nnUNetTrainerSCORE__nnUNetPlans__3d_fullres"

The masks are those of nnunet_weak_prepare_inputs and nnUNetv2_predict, byte for byte, but for two rules:
- a region that is empty in the initial mask stays empty, unless --scores says that it is missing (quality 0, under),
  or --allow-new-regions;
- where a region's volume changes by more than --volume-factor, or more than --moved-share of it moves, the whole case
  keeps its initial mask, unless --no-fall-back.
refined/refinement.csv lists what was done to every case and region, and why.

An interrupted run goes on with --continue_prediction, which makes a case again only if its files, the model or the
options have changed. On four machines: -num_parts 4 -part_id 0 to -part_id 3, each with --continue_prediction if it is
started again; then once -num_parts 4 --merge, which writes refinement.csv.
"""


@dataclass(frozen=True, kw_only=True)
class Refinement(ModelOptions, Parts):
    """Options of the command."""

    output: Path = option("-o", metavar="DIR", help="folder to write to")
    scores: Path | None = option(
        default=None,
        group=ACCEPT,
        metavar="FILE",
        help="scores of some of the masks, as for nnunet_weak_convert_scores: a region that is empty and scored 0, "
        "under, is missing and may appear",
    )
    columns: Mapping[str, str] | None = option(
        default=None, group=ACCEPT, metavar="FIELD=HEADER,...", read=parse_columns, help="as for the converter"
    )
    allow_new_regions: bool = option(
        default=False, group=ACCEPT, help="accept every region that is empty in the initial mask"
    )
    volume_factor: float = option(
        default=2.0,
        group=ACCEPT,
        read=partial(read_number, "--volume-factor", least=1, above=True),
        metavar="FACTOR",
        help="largest plausible change of a region's volume, either way (default: %(default)s)",
    )
    moved_share: float = option(
        default=0.75,
        group=ACCEPT,
        read=partial(read_number, "--moved-share", above=True),
        metavar="SHARE",
        help="largest plausible number of voxels that leave or join a region, as a share of it (default: %(default)s)",
    )
    fall_back: bool = option("--no-fall-back", default=True, group=ACCEPT, help="keep implausible refinements too")
    continue_prediction: bool = option(
        "--continue_prediction", "--c", default=False, group=RUN, help="skip cases that are complete"
    )
    overwrite: bool = option(default=False, group=RUN, help="replace files that this command did not make")
    merge: bool = option(default=False, group=RUN, help="all parts are done: write refinement.csv, and nothing else")

    def __post_init__(self) -> None:
        """Refuse a part that does not exist, and an output among the inputs."""
        problems = Problems()
        inputs = (self.images, self.masks, self.prior_folder, Path(self.model), self.scores)
        if self.columns and self.scores is None:
            problems.add("--columns", "is for --scores", "give --scores FILE as well")
        check_place(self.output, inputs, f"--output {self.output}", problems)
        self.check_part(problems)
        problems.raise_if_any()

    def let_appear(self, cases: Mapping[str, ScoreCase], network: ScoreNetwork) -> dict[str, ScoreCase]:
        """The cases, with the regions that each may have although its mask does not.

        Raises:
            InvalidInputError: Everything that is wrong with the table of scores.
        """
        names = network.annotations.channels.masks
        scores: Mapping[str, Mapping[str, RegionScore]] = {}
        if self.scores is not None:
            scores = self.read_scores(network, list(cases), self.scores, self.columns)
        return {
            name: replace(
                case,
                may_appear=names if self.allow_new_regions else missing_regions(scores.get(name, {}), names),
            )
            for name, case in cases.items()
        }


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run `nnunet_weak_refine`."""
    options = parse(
        Refinement,
        sys.argv[1:] if argv is None else argv,
        prog="nnunet_weak_refine",
        description="Refine masks with a network trained by SCORE: prepare its input and predict, in one step.",
        epilog=_EPILOG,
    )

    from nnunet_weak.refinement.plausibility import Bounds
    from nnunet_weak.refinement.refine import RefinementRules, merge, refine_cases

    network = read_network(options)
    cases = options.let_appear(find_inference_cases(options, network), network)
    loaded = options.load(network)
    if not options.merge:
        bounds = Bounds(volume_factor=options.volume_factor, moved_share=options.moved_share)
        outcome = refine_cases(
            loaded,
            options.of(cases),
            options.output,
            RefinementRules(
                bounds=bounds if options.fall_back else None,
                other_labels=options.other_labels,
            ),
            options.prediction_settings,
            resume=options.continue_prediction,
            overwrite=options.overwrite,
            say=print,
        )
        print(
            f"{outcome.refined} cases refined in {options.output}, {outcome.kept} kept their initial mask, "
            f"{outcome.complete} were complete before"
        )
        if options.num_parts > 1:
            print(f"When all {options.num_parts} parts are done, run the command once with --merge")
            return 0
    merge(loaded, list(cases), options.output)
    print(f"{options.output / 'refinement.csv'} lists all {len(cases)} cases")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(None))
