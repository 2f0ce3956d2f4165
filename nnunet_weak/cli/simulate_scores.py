"""`nnunet_weak_simulate_scores`: quality scores for SCORE from reference segmentations, for benchmarks and teaching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_weak.cli.console import console_command
from nnunet_weak.cli.simulation import INPUT, OtherLabels, References, SimulationOptions, find_images
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.options import option, read_count, read_number
from nnunet_weak.tables import table_text

if TYPE_CHECKING:
    from nnunet_weak.priors import BandAssessment

_EPILOG = """\
the rule, for each region of each case:
  The volume that is missing or too much, over the area of the region's surface, is the mean distance between the two
  surfaces. Quality is 5 minus that distance over --mm-per-point, rounded to --step, not below 0. Quality 5 has error
  type "none". Below, the type is "over" if at least three quarters of the wrong volume are too much, "under" if at most
  a quarter is, "both" in between.
  A region that neither the reference nor the mask shows gets no score.
People do not score by a rule: --rater-sd and --wrong-errors add their errors. Exact scores (0 for both) flatter a
method.

examples:
  nnunet_weak_simulate_scores --references labels --masks initial_masks --classes head=1 shaft=2 -o scores.csv
  nnunet_weak_simulate_scores --references labelsTr --masks predictions --dataset-json dataset.json -o scores.csv
  Several labels that count as one, where the masks have 1 and the references 1 and 2:
  nnunet_weak_simulate_scores --references labels --masks initial_masks --classes hippocampus=1,2 -o scores.csv
  Three raters, each about half a point off:
  nnunet_weak_simulate_scores ... --raters 3 --rater-sd 0.5 --seed 1 -o scores.csv
  Can SCORE help here? The AUC of each boundary prior near the masks' boundary says so, 0.5 being chance:
  nnunet_weak_simulate_scores ... --images images -o scores.csv
"""


def _read_step(text: str) -> float:
    step = read_number("--step", text, most=5, above=True)
    if abs(5 / step - round(5 / step)) > 1e-9:
        raise InvalidInputError(f"--step {text}: does not divide the scale from 0 to 5 (remedy: 0.5 or 1, for example)")
    return step


@dataclass(frozen=True, kw_only=True)
class ScoreSimulation(OtherLabels, SimulationOptions):
    """How to score."""

    command = "nnunet_weak_simulate_scores"
    description = (
        "Score automatic masks by comparing them with reference segmentations, and write what a human rater would: a "
        "quality from 0 (unusable) to 5 (excellent) and an error type for each region. For benchmarks and teaching; "
        "real scores need no reference."
    )
    epilog = _EPILOG

    masks: Path = option(group=INPUT, metavar="DIR", help="masks to score; same file names, same grids")
    images: Path | None = option(
        default=None,
        group=INPUT,
        metavar="DIR",
        help="also tell from the images (first channel) how well each boundary prior would guide the correction",
    )
    output: Path = option("-o", group=INPUT, metavar="FILE.csv", help="table: case,region,quality,error[,rater]")
    mm_per_point: float = option(
        default=0.5,
        read=partial(read_number, "--mm-per-point", above=True),
        metavar="MM",
        help="mean distance of the surfaces that costs one point (default: %(default)s)",
    )
    step: float = option(
        default=0.5, read=_read_step, metavar="POINTS", help="scores are multiples of this (default: %(default)s)"
    )
    rater_sd: float = option(
        default=1.0,
        read=partial(read_number, "--rater-sd"),
        metavar="POINTS",
        help="standard deviation of a rater's quality from the rule's (default: %(default)s)",
    )
    wrong_errors: float = option(
        default=0.15,
        read=partial(read_number, "--wrong-errors", most=1),
        metavar="SHARE",
        help="share of the error types that are one of the two wrong ones (default: %(default)s)",
    )
    raters: int = option(
        default=1,
        read=partial(read_count, "--raters"),
        metavar="N",
        help="number of raters; with several, a column names them (default: %(default)s)",
    )

    def __post_init__(self) -> None:
        if self.raters > 1 and self.rater_sd == self.wrong_errors == 0:
            raise InvalidInputError(
                f"--raters {self.raters}: raters without errors would all say the same (remedy: --rater-sd 1)"
            )

    def check_output(self, *inputs: Path | None) -> None:
        """Check that the table may be written."""
        from nnunet_weak.images.outputs import check_output_file

        inputs = (*inputs, self.masks, self.images)
        header = b"case,region,quality,error"
        check_output_file(self.output, overwrite=self.overwrite, inputs=inputs, begins_with=header)

    def check_further(self, files: Mapping[str, Path], problems: Problems) -> None:
        """Check the table to be written, and that each mask has a reference and an image."""
        super().check_further(files, problems)
        self.pair_files(files, problems)

    def pair_files(
        self, references: Mapping[str, Path], problems: Problems
    ) -> dict[str, tuple[Path, Path, Path | None]]:
        """Reference, mask and image of each case that has a mask; what is missing is noted."""
        masks = find_images(self.masks, problems)
        images = {} if self.images is None else find_images(self.images, problems)
        # Names of an nnU-Net image folder end in the channel; the priors look at the first one.
        images = {name.removesuffix("_0000"): path for name, path in images.items()} | dict(images)
        for folder, kind, found in ((self.references, "reference", references), (self.images, "image", images)):
            missing = sorted(set(masks) - set(found))
            if found and missing:
                names = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
                problems.add(str(folder), f"no {kind} for {names}", "name the files like the masks, endings aside")
        return {case: (references[case], mask, images.get(case)) for case, mask in masks.items() if case in references}


@console_command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = ScoreSimulation.parse(argv)

    from nnunet_weak.images.atomic import atomic_file
    from nnunet_weak.simulation.prior_check import prior_summary
    from nnunet_weak.simulation.scores import score_summary

    references = options.check_inputs()
    cases = options.pair_files(references.files, Problems())
    score = partial(_score, options=options, references=references)
    results = options.run_cases(score, cases, "scoring").values()
    rows = [row for scored, _ in results for row in scored]
    if not rows:
        raise InvalidInputError(
            f"{options.masks}: none of {references.describe_classes()} occurs in any case (remedy: check the values)"
        )
    with atomic_file(options.output, replace=options.overwrite) as file:
        file.write_text(table_text(rows), encoding="utf-8", newline="")
    print(
        f"{options.output}: {len(rows)} scores of {len(cases)} cases, {options.mm_per_point:g} mm per point, "
        f"{options.raters} rater{'s' if options.raters > 1 else ''} with SD {options.rater_sd:g} and "
        f"{options.wrong_errors:.0%} wrong error types, seed {options.seed}"
    )
    print(score_summary(rows, list(references.classes)))
    if options.images is not None:
        print("\nBoundary priors against the references, in the band of 2 voxels around the masks:")
        print(prior_summary([priors for _, priors in results]))
    return 0


def _score(
    case: tuple[str, tuple[Path, Path, Path | None]], *, options: ScoreSimulation, references: References
) -> tuple[list[dict[str, str | float]], Mapping[str, BandAssessment]]:
    """Rows of the table, and an assessment of each prior."""
    import SimpleITK as sitk

    from nnunet_weak.images.read import geometry_difference, read_image
    from nnunet_weak.simulation.prior_check import assess_priors
    from nnunet_weak.simulation.references import read_classes
    from nnunet_weak.simulation.scores import Rater, score_rows, simulate_scores

    name, (reference_path, mask_path, image_path) = case
    problems = Problems()
    known = references.known_values if options.other_labels == "refuse" else None
    reference = problems.attempt(read_classes, reference_path, references.classes, known)
    mask = problems.attempt(read_classes, mask_path, references.classes, known)
    image = None if image_path is None else problems.attempt(read_image, image_path)
    for path, other in ((mask_path, mask), (image_path, image)):
        difference = geometry_difference(reference, other) if reference is not None and other is not None else ""
        if difference:
            problems.add(str(path), f"not on the grid of its reference: {difference}", "resample one to the other")
    problems.raise_if_any()
    assert reference is not None and mask is not None
    rows: list[dict[str, str | float]] = []
    for number in range(1, options.raters + 1):
        scores = simulate_scores(
            sitk.GetArrayViewFromImage(reference),
            sitk.GetArrayViewFromImage(mask),
            {region: label for region, label in references.labels.items() if label},
            reference.GetSpacing()[::-1],
            mm_per_point=options.mm_per_point,
            step=options.step,
            rater=Rater(options.rater_sd, options.wrong_errors, options.seed, name, number),
        )
        rows += score_rows(name, scores, f"rater_{number}" if options.raters > 1 else None)
    return rows, {} if image is None else assess_priors(image, mask, reference)
