"""Fit a template to the points of each object of a case, and rasterise all of them into one label map.

Label maps are (z, y, x), points LPS mm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.points.options import PointConversion
from nnunet_weak.points.points import ObjectPoints
from nnunet_weak.surface.average import average_surface
from nnunet_weak.surface.fit import SurfaceFit, fit_surface
from nnunet_weak.surface.image_evidence import follow_image
from nnunet_weak.surface.mesh_fit import fit_mesh
from nnunet_weak.surface.mesh_template import MeshTemplate, read_templates
from nnunet_weak.surface.model_evidence import certain_within_mm, weigh_probability
from nnunet_weak.surface.rasterise import rasterise_box, world_to_index


@dataclass(frozen=True)
class Template:
    """The template of one object.

    Attributes:
        points: The points it was fitted to.
        fit: The surface.
        voxels: Number of voxels inside it, or of what a model's probabilities made of it.
        lost_voxels: How many of them belong to templates of classes named earlier, by the titles of these.
    """

    points: ObjectPoints
    fit: SurfaceFit
    voxels: int
    lost_voxels: Mapping[str, int]

    def without_mesh(self) -> Template:
        """The same for reports, small enough to be kept of thousands of objects."""
        vertices, faces = self.fit.vertices_mm[:0].copy(), self.fit.faces[:0].copy()
        return replace(self, fit=replace(self.fit, vertices_mm=vertices, faces=faces, frame=None, surface=None))


def fit_templates(
    objects: Sequence[ObjectPoints],
    image: sitk.Image,
    options: PointConversion,
    probabilities: Mapping[str, NDArray[np.float32]],
    case: str,
) -> tuple[NDArray[np.uint8], list[Template]]:
    """Fit all templates; where two overlap, the class named first in the options wins.

    Args:
        objects: Points with the names of their classes.
        image: The grid, and what surfaces follow between the points if that is asked for.
        options: How to fit.
        probabilities: Of a model for this image (z, y, x), by class, which the templates are weighed against; or none.
        case: Its name: its own label map is no template of it, if there are others.

    Returns:
        Label map with class k (from 1) inside its templates, and the templates in the order of their classes.

    Raises:
        InvalidInputError: Every object that cannot be fitted, with the reason.
    """
    problems = Problems()
    templates: list[Template] = []
    voxel_mm = image.GetSpacing()[::-1]
    owner = np.zeros(image.GetSize()[::-1], np.uint16)  # 1 + place in `templates`
    label_of_class = {name: label for label, name in enumerate(options.classes, start=1)}
    for one in sorted(objects, key=lambda one: label_of_class[one.class_name]):
        try:
            fit = _fit(one, options, image, case)
        except InvalidInputError as error:
            for problem in error.problems:
                problems.add(one.title, problem)
            continue
        box, inside = rasterise_box(world_to_index(fit.vertices_mm, image), fit.faces, image.GetSize())
        if not inside.any():
            what = f"its template of {fit.volume_mm3:.3g} mm3 holds no voxel centre"
            problems.add(one.title, what, "check points and image, or leave the object out")
            continue
        if one.class_name in probabilities:
            probability, known_shape = probabilities[one.class_name], one.class_name in options.templates
            scale_mm = certain_within_mm(fit, len(one.points_mm), known_shape)
            box, inside = weigh_probability(box, inside, probability, voxel_mm, scale_mm, known_shape)
        taken = np.bincount(owner[box][inside], minlength=len(templates) + 1)[1:]
        lost = {earlier.points.title: int(voxels) for earlier, voxels in zip(templates, taken, strict=True) if voxels}
        templates.append(Template(one, fit, int(inside.sum()), lost))
        owner[box][inside & (owner[box] == 0)] = len(templates)
    problems.raise_if_any()
    labels = np.array([0, *(label_of_class[one.points.class_name] for one in templates)], np.uint8)
    return labels[owner], templates


def _fit(one: ObjectPoints, options: PointConversion, image: sitk.Image, case: str) -> SurfaceFit:
    path = options.templates.get(one.class_name)
    if path is not None:
        shapes = read_templates(path, options.classes[one.class_name])
        of_others = [shape for shape in shapes if not shape.name.startswith(f"{case}.")]
        fit = _average_fit(one, options, of_others or shapes)
    else:
        fit = fit_surface(one.points_mm, stiffness=options.stiffness, noise_mm=options.noise_mm)
        fit = follow_image(fit, one.points_mm, image) if options.follow_image else fit
    return fit.inset(options.inset_mm)


def _average_fit(one: ObjectPoints, options: PointConversion, shapes: Sequence[MeshTemplate]) -> SurfaceFit:
    """The average of the surfaces from all shapes that can be bent through the points; raises if none can."""
    problems, fits = Problems(), []
    for shape in shapes:
        fit = problems.attempt(fit_mesh, one.points_mm, shape, stiffness=options.stiffness, noise_mm=options.noise_mm)
        fits += [fit] if fit is not None else []
    if not fits:
        problems.raise_if_any()
    return average_surface(fits, one.points_mm)
