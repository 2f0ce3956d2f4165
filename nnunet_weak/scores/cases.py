"""One case of a SCORE data set, checked and written in a worker process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from nnunet_weak.dataset.annotations import ChannelLayout
from nnunet_weak.dataset.case_files import CaseFiles, label_values
from nnunet_weak.dataset.convert import ConvertedCase, files_in
from nnunet_weak.dataset.input_channels import (
    lowest_intensities,
    read_first_channel,
    write_input_channels,
)
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.read import left_right_axis, list_images, read_label_map_on_grid
from nnunet_weak.priors import BandAssessment, PriorOptions, assess_in_band, boundary_prior
from nnunet_weak.scores.initial_masks import InitialMask, read_initial_mask
from nnunet_weak.scores.regions import RegionSource

# Beyond some 32 degrees off the left-right axis a flip makes anatomy that does not exist.
_SMALLEST_LEFT_RIGHT_COSINE = 0.85


@dataclass(frozen=True)
class ScoreCase:
    """A case's files and how to read them.

    Attributes:
        name: The case.
        images: Its image channels.
        mask: Its initial mask, a label map or a folder of binary masks.
        reference: Its reference labels, if it is fully annotated.
        prior_file: Its boundary prior, for the prior kind `file`.
        regions: The regions and where the mask has them.
        other_labels: What to do about values of the mask that belong to no region.
        layout: The channels.
        prior: How P is made; None without a prior channel.
        file_ending: Ending of the files to write.
        assess_prior: Whether to compare P with the reference.
    """

    name: str
    images: tuple[Path, ...]
    mask: Path
    regions: tuple[RegionSource, ...]
    layout: ChannelLayout
    prior: PriorOptions | None = None
    reference: Path | None = None
    prior_file: Path | None = None
    other_labels: Literal["refuse", "background"] = "refuse"
    file_ending: str = ".nii.gz"
    assess_prior: bool = False


@dataclass(frozen=True, kw_only=True)
class CheckedCase(ConvertedCase):
    """What was found in a case's files.

    Attributes:
        voxels: Number of voxels.
        left_right_axis: SimpleITK axis that runs left-right; None where none does clearly.
        overlaps: Voxels claimed by two regions.
        empty_regions: Regions without any voxel in the initial mask.
        assessment: P against the reference.
    """

    voxels: int = 0
    left_right_axis: int | None = None
    overlaps: Mapping[tuple[str, str], int] = field(default_factory=dict)
    empty_regions: tuple[str, ...] = ()
    assessment: BandAssessment | None = None


def convert_case(case: ScoreCase, folder: Path | None) -> CheckedCase:
    """Check a case and write its channels and label map into a raw folder; None checks only.

    Raises:
        InvalidInputError: All problems of its files.
    """
    problems = Problems()
    image = read_first_channel(case.images)
    mask = problems.attempt(_read_mask, case, image)
    reference = problems.attempt(read_reference, case, image)
    minima: tuple[float, ...] | None = None
    prior: sitk.Image | None = None
    if folder is None or problems or mask is None:
        minima = problems.attempt(lowest_intensities, case.images, image)
        if case.prior_file is not None or (case.assess_prior and reference is not None and not problems):
            prior = problems.attempt(_prior, case, image, mask)
    else:
        files = CaseFiles(folder, case.name, case.file_ending, image)
        files.write_labels(mask.label_map if reference is None else reference)
        written = problems.attempt(
            write_input_channels, files, case.images, mask.label_map, case.layout, case.prior, case.prior_file
        )
        if written is not None:
            minima, prior = written.minima, written.prior
    assessment = None
    if case.assess_prior and prior is not None and mask is not None and reference is not None and not problems:
        assessment = assess_in_band(prior, mask.label_map, reference)
    problems.raise_if_any()
    return CheckedCase(
        name=case.name,
        minima=minima or (),
        inputs=_input_files(case, mask) if mask else (),
        voxels=image.GetNumberOfPixels(),
        left_right_axis=_clear_left_right_axis(image),
        overlaps=mask.overlaps if mask else {},
        empty_regions=mask.empty_regions if mask else (),
        assessment=assessment,
    )


def read_reference(case: ScoreCase, image: sitk.Image) -> sitk.Image | None:
    """Reference labels of a case as regions 1 to K; None where it has none.

    They are read as the initial mask is. Where that is a folder of files, a label map with the values 1 to K will do as
    well.
    """
    if case.reference is None:
        return None
    if case.reference.is_dir() or any(region.labels for region in case.regions):
        return read_initial_mask(case.reference, case.regions, image, other_labels=case.other_labels).label_map
    labels = read_label_map_on_grid(case.reference, image)
    highest = label_values(labels)[-1]
    if highest > len(case.regions):
        raise InvalidInputError(
            f"{case.reference}: holds the label {highest}, but there are {len(case.regions)} regions "
            "(remedy: number them 1, 2, ... in the order of the regions)"
        )
    return labels


def _read_mask(case: ScoreCase, image: sitk.Image) -> InitialMask:
    return read_initial_mask(case.mask, case.regions, image, other_labels=case.other_labels)


def _prior(case: ScoreCase, image: sitk.Image, mask: InitialMask | None) -> sitk.Image:
    options = case.prior or PriorOptions(kind="none")
    return boundary_prior(image, options, mask.label_map if mask and options.needs_mask else None, case.prior_file)


def _clear_left_right_axis(image: sitk.Image) -> int | None:
    axis = left_right_axis(image)
    cosine = abs(np.array(image.GetDirection()).reshape(3, 3)[0, axis])
    return axis if cosine >= _SMALLEST_LEFT_RIGHT_COSINE else None


def _input_files(case: ScoreCase, mask: InitialMask) -> tuple[Path, ...]:
    masks = [case.mask]
    if case.mask.is_dir():
        available = list_images(case.mask)
        masks = [available[name] for names in mask.files.values() for name in names] or list(available.values())
    sources = [*case.images, *masks, case.reference, case.prior_file]
    return files_in(sources)
