"""One case of a SCORE data set, checked and written in a worker process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_weak.dataset.case_files import CaseFiles, label_values
from nnunet_weak.dataset.convert import ConvertedCase, files_in
from nnunet_weak.dataset.input_channels import lowest_intensities, read_first_channel, write_input_channels
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.read import left_right_axis, read_label_map_on_grid
from nnunet_weak.priors import BandAssessment, assess_in_band, boundary_prior
from nnunet_weak.scores.initial_masks import InitialMask, read_initial_mask
from nnunet_weak.scores.options import ScoreConversion

# Beyond some 32 degrees off the left-right axis a flip makes anatomy that does not exist.
_SMALLEST_LEFT_RIGHT_COSINE = 0.85


@dataclass(frozen=True)
class ScoreCase:
    """Files of a case.

    Attributes:
        name: The case.
        images: Its image channels.
        mask: Its initial mask, a label map or a folder of binary masks.
        prior_file: Its boundary prior, for the prior kind `file`.
        reference: Its reference labels, if it is fully annotated.
        assess_prior: Whether to compare P with the reference.
        may_appear: Regions that a refinement may draw although the mask does not have them.
    """

    name: str
    images: tuple[Path, ...]
    mask: Path
    prior_file: Path | None = None
    reference: Path | None = None
    assess_prior: bool = False
    may_appear: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CheckedCase(ConvertedCase):
    """What was found in a case's files.

    Attributes:
        left_right_axis: SimpleITK axis that runs left-right; None where none does clearly.
        overlaps: Voxels claimed by two regions.
        empty_regions: Regions without any voxel in the initial mask.
        assessment: P against the reference.
    """

    left_right_axis: int | None = None
    overlaps: Mapping[tuple[str, str], int] = field(default_factory=dict)
    empty_regions: tuple[str, ...] = ()
    assessment: BandAssessment | None = None


def convert_case(options: ScoreConversion, case: ScoreCase, folder: Path | None) -> CheckedCase:
    """Check a case and write its channels and label map into a raw folder; None checks only.

    Raises:
        InvalidInputError: All problems of its files.
    """
    problems = Problems()
    image = read_first_channel(case.images)
    mask = problems.attempt(
        read_initial_mask, case.mask, options.mask_regions, image, other_labels=options.other_labels
    )
    reference = problems.attempt(_read_reference, options, case, image)
    minima: tuple[float, ...] | None = None
    prior: sitk.Image | None = None
    if folder is None or mask is None or problems:
        minima = problems.attempt(lowest_intensities, case.images, image)
        if case.prior_file is not None or (case.assess_prior and not problems):
            prior = problems.attempt(_make_prior, options, case, image, mask)
    else:
        files = CaseFiles(folder, case.name, options.file_ending, image)
        files.write_labels(mask.label_map if reference is None else reference)
        layout, settings = options.channel_layout(len(case.images)), options.prior_settings
        written = problems.attempt(
            write_input_channels, files, case.images, mask.label_map, layout, settings, case.prior_file
        )
        if written is not None:
            minima, prior = written.minima, written.prior
    problems.raise_if_any()
    assert mask is not None and minima is not None  # otherwise there was a problem
    assessment = None
    if case.assess_prior and prior is not None and reference is not None:
        assessment = assess_in_band(prior, mask.label_map, reference)
    masks = [path for files_of_region in mask.files.values() for path in files_of_region] or [case.mask]
    return CheckedCase(
        name=case.name,
        minima=minima,
        inputs=files_in([*case.images, *masks, case.reference, case.prior_file]),
        left_right_axis=_clear_left_right_axis(image),
        overlaps=mask.overlaps,
        empty_regions=mask.empty_regions,
        assessment=assessment,
    )


def _read_reference(options: ScoreConversion, case: ScoreCase, image: sitk.Image) -> sitk.Image | None:
    """Reference labels of a case as regions 1 to K; None if it has none.

    They are read as the initial mask is. Where that is a folder of files, a label map with the values 1 to K is read as
    well.
    """
    if case.reference is None:
        return None
    if case.reference.is_dir() or any(region.labels for region in options.regions):
        return read_initial_mask(case.reference, options.regions, image, other_labels=options.other_labels).label_map
    labels = read_label_map_on_grid(case.reference, image)
    highest = label_values(labels)[-1]
    if highest > len(options.regions):
        raise InvalidInputError(
            f"{case.reference}: holds the label {highest}, but there are {len(options.regions)} regions "
            "(remedy: number them 1, 2, ... in the order of the regions)"
        )
    return labels


def _make_prior(options: ScoreConversion, case: ScoreCase, image: sitk.Image, mask: InitialMask | None) -> sitk.Image:
    settings = options.prior_settings
    return boundary_prior(image, settings, mask.label_map if mask and settings.needs_mask else None, case.prior_file)


def _clear_left_right_axis(image: sitk.Image) -> int | None:
    axis = left_right_axis(image)
    cosine = abs(np.array(image.GetDirection()).reshape(3, 3)[0, axis])
    return axis if cosine >= _SMALLEST_LEFT_RIGHT_COSINE else None
