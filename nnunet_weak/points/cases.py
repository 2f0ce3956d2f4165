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
from nnunet_weak.dataset.input_channels import (
    lowest_intensities,
    read_first_channel,
    write_input_channels,
)
from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.read import read_label_map_on_grid, with_geometry_of
from nnunet_weak.points.options import PointConversion
from nnunet_weak.points.points import ObjectPoints, PointSet, check_points_in_image
from nnunet_weak.points.predictions import PredictedCase
from nnunet_weak.points.templates import FittedObject, Templates
from nnunet_weak.surface.fit import SurfaceFit, fit_surface
from nnunet_weak.surface.image_evidence import follow_image
from nnunet_weak.surface.mesh import write_ply
from nnunet_weak.surface.mesh_fit import fit_mesh
from nnunet_weak.surface.mesh_template import read_template
from nnunet_weak.surface.rasterise import rasterise_box, world_to_index

TEMPLATES = "templates"
"""Folder of the raw data set that holds meshes, previews and tables: what a person looks at."""


@dataclass(frozen=True)
class PointCase:
    """A case's files and points.

    Attributes:
        name: The case.
        images: Its image channels.
        objects: Its objects, each with the name of its class.
        files: The point files they came from.
        reference: Its reference labels, if it is fully annotated.
        classes: Values in reference label maps, by class, in the order of the labels.
        options: How templates are fitted and written.
        predicted: A model's probabilities for the templates to follow.
    """

    name: str
    images: tuple[Path, ...]
    objects: tuple[ObjectPoints, ...]
    files: tuple[Path, ...]
    reference: Path | None
    classes: Mapping[str, tuple[int, ...]]
    options: PointConversion
    predicted: PredictedCase | None = None


@dataclass(frozen=True)
class ObjectReport:
    """What tables and reports say of an object; lengths in mm, by point where there are several."""

    title: str
    class_name: str
    points: int
    positions_mm: tuple[tuple[float, ...], ...]
    point_names: tuple[str, ...]
    residuals_mm: tuple[float, ...]
    volume_mm3: float
    voxels: int
    gap_mm: float
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CheckedPointCase(ConvertedCase):
    """What was found in a case's files.

    Attributes:
        objects: The fitted objects.
        overlaps: Voxels claimed by two objects: (who has them, who has not).
        warnings: What was noticed about points outside the image.
        template_dice: Dice of template and reference by class, where there is one.
        fully_annotated: Whether there is a reference.
    """

    objects: tuple[ObjectReport, ...] = ()
    overlaps: Mapping[tuple[str, str], int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    template_dice: Mapping[str, float] = field(default_factory=dict)
    fully_annotated: bool = False


def fit_templates(
    objects: Sequence[ObjectPoints],
    image: sitk.Image,
    classes: Sequence[str],
    options: PointConversion,
    evidence: Mapping[str, sitk.Image] | None = None,
) -> Templates:
    """Fit a template to the points of each object and rasterise it; where two overlap the first-named class wins.

    Args:
        objects: Points with the names of their classes.
        image: The grid.
        classes: Names of the classes in the order of their labels.
        options: How to fit.
        evidence: By class, the image that its surfaces follow between the points; none by default.

    Raises:
        InvalidInputError: Every object that cannot be fitted, with the reason.
    """
    problems: list[str] = []
    fitted: list[FittedObject] = []
    labels = np.zeros(image.GetSize()[::-1], np.uint8)
    owner = np.zeros(labels.shape, np.uint16)
    overlaps: dict[tuple[str, str], int] = {}
    for one in sorted(objects, key=lambda one: list(classes).index(one.class_name)):
        try:
            fit = _fitted(one, options, (evidence or {}).get(one.class_name))
        except InvalidInputError as error:
            problems += [f"{one.title}: {problem}" for problem in error.problems]
            continue
        box, inside = rasterise_box(world_to_index(fit.vertices_mm, image), fit.faces, image.GetSize())
        if not inside.any():
            problems.append(
                f"{one.title}: its template of {fit.volume_mm3:.3g} mm3 holds no voxel centre "
                "(remedy: check points and image, or leave the object out)"
            )
            continue
        earlier = np.bincount(owner[box][inside], minlength=len(fitted) + 1)[1:]
        overlaps |= {
            (fitted[number].points.title, one.title): int(count) for number, count in enumerate(earlier) if count
        }
        fitted.append(FittedObject(one, fit, int(inside.sum())))
        free = inside & (owner[box] == 0)
        owner[box][free] = len(fitted)
        labels[box][free] = list(classes).index(one.class_name) + 1
    if problems:
        raise InvalidInputError(problems)
    return Templates(labels, tuple(fitted), overlaps)


def _fitted(one: ObjectPoints, options: PointConversion, evidence: sitk.Image | None) -> SurfaceFit:
    mesh = options.templates.get(one.class_name)
    if mesh is not None:
        template = read_template(mesh)
        return fit_mesh(one.points_mm, template, stiffness=options.stiffness, noise_mm=options.noise_mm)
    fit = fit_surface(one.points_mm, stiffness=options.stiffness, noise_mm=options.noise_mm)
    return fit if evidence is None else follow_image(fit, one.points_mm, evidence)


def _templates(case: PointCase, image: sitk.Image) -> Templates:
    return fit_templates(case.objects, image, list(case.classes), case.options, _evidence(case, image))


def _evidence(case: PointCase, image: sitk.Image) -> dict[str, sitk.Image]:
    if case.predicted is not None:
        return case.predicted.probabilities(image)
    return dict.fromkeys(case.classes, image) if case.options.follow_image else {}


def read_reference(case: PointCase, image: sitk.Image) -> NDArray[np.uint8] | None:
    """Reference labels as classes 0 to K; None where there are none."""
    if case.reference is None:
        return None
    labels = read_label_map_on_grid(case.reference, image)
    values = sitk.GetArrayViewFromImage(labels)
    classes = np.zeros(values.shape, np.uint8)
    for number, known in enumerate(case.classes.values(), start=1):
        classes[np.isin(values, known)] = number
    unknown = sorted(set(np.unique(values[classes == 0]).tolist()) - {0})
    if unknown:
        raise InvalidInputError(
            f"{case.reference}: holds the values {', '.join(map(str, unknown))}, which belong to no class "
            "(remedy: say which values a class has, --classes liver=1,2 for example)"
        )
    return classes


def convert_case(case: PointCase, folder: Path | None) -> CheckedPointCase:
    """Check a case, fit its templates, and write it into a raw folder; None checks only.

    Written are its images, label map, meshes and preview.

    Raises:
        InvalidInputError: All problems of its files.
    """
    problems = Problems()
    image = read_first_channel(case.images)
    source = case.files[0] if len(case.files) == 1 else None
    warnings = problems.attempt(check_points_in_image, PointSet(case.objects, source), image) or []
    templates = None
    if not problems:
        templates = problems.attempt(_templates, case, image)
    reference = problems.attempt(read_reference, case, image)
    if folder is None or problems or templates is None:
        minima = problems.attempt(lowest_intensities, case.images, image)
    else:
        files = CaseFiles(folder, case.name, case.options.file_ending, image)
        files.write_labels(with_geometry_of(templates.labels if reference is None else reference, image))
        layout = ChannelLayout(len(case.images))
        written = problems.attempt(write_input_channels, files, case.images, image, layout, None)
        minima = None if written is None else written.minima
        if templates.fitted:
            _write_for_looking(folder / TEMPLATES, case, image, templates, reference)
    problems.raise_if_any()
    predicted = case.predicted.path if case.predicted is not None else None
    return CheckedPointCase(
        name=case.name,
        minima=minima or (),
        inputs=files_in([*case.images, *case.files, case.reference, predicted]),
        objects=tuple(map(_report, templates.fitted)) if templates else (),
        overlaps=templates.overlaps if templates else {},
        warnings=tuple(warnings),
        template_dice=_dice(case, templates, reference) if templates and reference is not None else {},
        fully_annotated=case.reference is not None,
    )


def _write_for_looking(
    folder: Path, case: PointCase, image: sitk.Image, templates: Templates, reference: NDArray[np.uint8] | None
) -> None:
    meshes = folder / "meshes"
    meshes.mkdir(parents=True, exist_ok=True)
    for one in templates.fitted:
        file_name = re.sub(r"[^\w.-]", "-", f"{case.name}_{one.points.title}.ply")
        write_ply(meshes / file_name, one.fit.vertices_mm, one.fit.faces)
    if case.options.previews:
        from nnunet_weak.points.overview import draw_preview

        previews = folder / "previews"
        previews.mkdir(parents=True, exist_ok=True)
        draw_preview(previews / f"{case.name}.png", case.name, image, templates, reference)


def _report(one: FittedObject) -> ObjectReport:
    points = one.points
    return ObjectReport(
        points.title,
        points.class_name,
        len(points.points_mm),
        tuple(tuple(float(value) for value in point) for point in points.points_mm),
        tuple(points.label_of(row) for row in range(len(points.points_mm))),
        tuple(float(value) for value in one.fit.residuals_mm),
        one.fit.volume_mm3,
        one.voxels,
        one.fit.gap_mm,
        one.fit.warnings,
    )


def _dice(case: PointCase, templates: Templates, reference: NDArray[np.uint8]) -> dict[str, float]:
    result = {}
    for number, name in enumerate(case.classes, start=1):
        template, true = templates.labels == number, reference == number
        if template.any():
            result[name] = 2 * int((template & true).sum()) / int(template.sum() + true.sum())
    return result
