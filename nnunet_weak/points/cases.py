"""One case of a Weak-Net data set: templates fitted to its points, checked and written in a worker process.

Label maps are (z, y, x), points LPS mm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunet_weak.dataset.annotations import ChannelLayout
from nnunet_weak.dataset.case_files import CaseFiles
from nnunet_weak.dataset.convert import ConvertedCase, files_in
from nnunet_weak.dataset.input_channels import lowest_intensities, read_first_channel, write_input_channels
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.read import read_label_map_on_grid, with_geometry_of
from nnunet_weak.points.options import PointConversion
from nnunet_weak.points.placement import check_points_in_image
from nnunet_weak.points.points import ObjectPoints
from nnunet_weak.points.predictions import read_probabilities
from nnunet_weak.points.templates import Template, fit_templates
from nnunet_weak.surface.mesh import write_ply

TEMPLATES = "templates"
"""Folder of the raw data set with meshes, previews and tables, for people to inspect."""


@dataclass(frozen=True)
class PointCase:
    """A case's files, and the objects of its point files, each with the name of its class.

    With a reference it is fully annotated; its templates are weighed against the predicted probabilities, if there are
    any.
    """

    name: str
    images: tuple[Path, ...]
    objects: tuple[ObjectPoints, ...]
    files: tuple[Path, ...]
    reference: Path | None
    predicted: Path | None


@dataclass(frozen=True, kw_only=True)
class ConvertedPointCase(ConvertedCase):
    """Templates (without their meshes), warnings about points outside the image, Dice with the reference by class."""

    templates: tuple[Template, ...] = ()
    warnings: tuple[str, ...] = ()
    template_dice: Mapping[str, float] = field(default_factory=dict)
    fully_annotated: bool = False

    @property
    def residuals_mm(self) -> list[float]:
        """Distance of each point to its surface."""
        return [value for one in self.templates for value in one.fit.residuals_mm.tolist()]

    @property
    def overlaps(self) -> dict[tuple[str, str], int]:
        """Voxels in two templates: (title of the one that has them, title of the other)."""
        return {(winner, one.points.title): n for one in self.templates for winner, n in one.lost_voxels.items()}


def convert_case(options: PointConversion, case: PointCase, folder: Path | None) -> ConvertedPointCase:
    """Check a case, fit its templates, and write images, label map, meshes and preview; no folder: check only.

    Raises:
        InvalidInputError: All problems of its files.
    """
    problems = Problems()
    image = read_first_channel(case.images)
    source = case.files[0].name if len(case.files) == 1 else "points"
    warnings = problems.attempt(check_points_in_image, case.objects, image, source) or []
    fitted = None if problems else problems.attempt(_fit, options, case, image)
    reference = problems.attempt(_read_reference, case.reference, image, options.classes) if case.reference else None
    if folder is None or problems or fitted is None:
        minima = problems.attempt(lowest_intensities, case.images, image)
    else:
        files = CaseFiles(folder, case.name, options.file_ending, image)
        files.write_labels(with_geometry_of(fitted[0] if reference is None else reference, image))
        layout = ChannelLayout(len(case.images))
        written = problems.attempt(write_input_channels, files, case.images, image, layout, None)
        minima = None if written is None else written.minima
        if fitted[1]:
            _write_meshes_and_preview(folder / TEMPLATES, options, case.name, image, *fitted, reference)
    problems.raise_if_any()
    assert fitted is not None and minima is not None
    return ConvertedPointCase(
        name=case.name,
        minima=minima,
        inputs=files_in([*case.images, *case.files, case.reference, case.predicted]),
        templates=tuple(one.without_mesh() for one in fitted[1]),
        warnings=tuple(warnings),
        template_dice={} if reference is None else _dice(options.classes, fitted[0], reference),
        fully_annotated=case.reference is not None,
    )


def mesh_file_name(case: str, title: str) -> str:
    """Name of an object's mesh: `CASE_CLASS-OBJECT.ply`, with a hyphen for each character that file systems refuse."""
    return re.sub(r"[^\w.-]", "-", f"{case}_{title}.ply")


def _fit(options: PointConversion, case: PointCase, image: sitk.Image) -> tuple[NDArray[np.uint8], list[Template]]:
    classes = list(options.classes)
    probabilities = {} if case.predicted is None else read_probabilities(case.predicted, classes, image)
    return fit_templates(case.objects, image, options, probabilities, case.name)


def _read_reference(path: Path, image: sitk.Image, classes: Mapping[str, tuple[int, ...]]) -> NDArray[np.uint8]:
    """Reference labels as classes 0 to K."""
    values = sitk.GetArrayFromImage(read_label_map_on_grid(path, image))
    labels = np.zeros(values.shape, np.uint8)
    for label, known in enumerate(classes.values(), start=1):
        labels[np.isin(values, known)] = label
    unknown = sorted(set(np.unique(values[labels == 0]).tolist()) - {0})
    if unknown:
        raise InvalidInputError(
            f"{path}: holds the values {', '.join(map(str, unknown))}, which belong to no class "
            "(remedy: say which values a class has, --classes liver=1,2 for example)"
        )
    return labels


def _write_meshes_and_preview(
    folder: Path,
    options: PointConversion,
    case: str,
    image: sitk.Image,
    labels: NDArray[np.uint8],
    templates: Sequence[Template],
    reference: NDArray[np.uint8] | None,
) -> None:
    (folder / "meshes").mkdir(parents=True, exist_ok=True)
    for one in templates:
        write_ply(folder / "meshes" / mesh_file_name(case, one.points.title), one.fit.vertices_mm, one.fit.faces)
    if options.previews:
        from nnunet_weak.points.preview import draw_preview  # matplotlib is slow to load

        (folder / "previews").mkdir(exist_ok=True)
        draw_preview(folder / "previews" / f"{case}.png", case, image, templates, labels, reference)


def _dice(classes: Mapping[str, object], labels: NDArray[np.uint8], reference: NDArray[np.uint8]) -> dict[str, float]:
    result = {}
    for label, name in enumerate(classes, start=1):
        template, true = labels == label, reference == label
        if template.any():
            result[name] = 2 * int((template & true).sum()) / int(template.sum() + true.sum())
    return result
