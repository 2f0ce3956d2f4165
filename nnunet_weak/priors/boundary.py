"""The kinds of boundary prior, their options as they stand in dataset.json, and P of a case as an image.

To add a kind, write its module and list it in `PriorKind` and `PRIORS`.

Images are SimpleITK's (x, y, z); arrays are (z, y, x).

Reference:
    De Langlais et al., Resource-efficient automatic refinement of segmentations via weak supervision from light
    feedback (SCORE), eq. 2 and 3, "Network inputs and boundary prior".
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import SimpleITK as sitk

from nnunet_weak.errors import InvalidInputError, Problems
from nnunet_weak.images.read import geometry_difference, read_image, with_geometry_of
from nnunet_weak.priors.body import filled_nonzero_region
from nnunet_weak.priors.gradient import GRADIENT
from nnunet_weak.priors.local import LOCAL
from nnunet_weak.priors.otsu import OTSU
from nnunet_weak.priors.posterior import LIKELIHOOD, POSTERIOR
from nnunet_weak.priors.prior import UNINFORMATIVE, Prior, PriorInput, Probability

logger = logging.getLogger(__name__)

PriorKind = Literal["otsu", "local", "gradient", "posterior", "likelihood", "none", "file"]
PRIOR_KINDS: tuple[str, ...] = get_args(PriorKind)
PRIORS: dict[str, Prior] = {
    "otsu": OTSU,
    "local": LOCAL,
    "gradient": GRADIENT,
    "posterior": POSTERIOR,
    "likelihood": LIKELIHOOD,
    "none": Prior(lambda case: np.full(case.intensities.shape, UNINFORMATIVE, np.float32)),
    "file": Prior(lambda case: case.file, needs_file=True),
}
OPTIONS = {name: option for prior in PRIORS.values() for name, option in prior.options.items()}

_FILE_TOLERANCE = 1e-3


@dataclass(init=False)
class PriorOptions:
    """A kind of prior and the values of options; options of other kinds are allowed, and recorded.

    Args:
        kind: A key of `PRIORS`.
        **values: By name; options of the kind that are left out have their default.

    Raises:
        InvalidInputError: An unknown kind or option, or values out of range; all of them in one list.
    """

    kind: str
    values: dict[str, Any]

    def __init__(self, kind: PriorKind = "otsu", **values: Any) -> None:
        self._set(kind, values, "boundary prior")

    @property
    def needs_mask(self) -> bool:
        """Whether P is made from the initial mask as well as from the image."""
        return PRIORS[self.kind].needs_mask

    @property
    def needs_file(self) -> bool:
        """Whether P is made from a file of probabilities."""
        return PRIORS[self.kind].needs_file

    def probability(self, case: PriorInput) -> Probability | None:
        """P of a case; None where it would say nothing."""
        prior = PRIORS[self.kind]
        return prior.function(case, **{name: self.values[name] for name in prior.options})

    def to_json(self) -> dict[str, str | float]:
        """As an object of strings and numbers, for dataset.json; values of None are left out."""
        return {"kind": self.kind, **{name: value for name, value in self.values.items() if value is not None}}

    @classmethod
    def from_json(cls, obj: object, where: str) -> PriorOptions:
        """Read the object that `to_json` writes.

        Args:
            obj: The parsed JSON object.
            where: File and JSON path, for messages.

        Raises:
            InvalidInputError: Not an object, unknown keys, wrong types or values out of range; everything in one list.
        """
        if not isinstance(obj, Mapping):
            raise InvalidInputError(f"{where}: {type(obj).__name__} instead of an object such as {{'kind': 'otsu'}}")
        options = object.__new__(cls)
        options._set(obj.get("kind", "otsu"), {str(key): value for key, value in obj.items() if key != "kind"}, where)
        return options

    def _set(self, kind: object, values: Mapping[str, Any], where: str) -> None:
        problems = Problems()
        prior = PRIORS.get(kind) if isinstance(kind, str) else None
        if prior is None:
            problems.add(f"{where}.kind", f"{kind!r} is no kind of prior", f"allowed are {', '.join(PRIORS)}")
        for name, value in values.items():
            if name in OPTIONS:
                OPTIONS[name].check(value, f"{where}.{name}", problems)
            else:
                allowed = f"allowed are kind, {', '.join(OPTIONS)}"
                problems.add(f"{where}.{name}", "unknown option of the boundary prior", allowed)
        defaults = {name: option.default for name, option in prior.options.items()} if prior else {}
        self.kind, self.values = str(kind), {**defaults, **values}
        if prior and prior.check and not problems:
            prior.check(self.values, where, problems)
        problems.raise_if_any("Boundary prior" if len(problems) > 1 else "")


def boundary_prior(
    image: sitk.Image, options: PriorOptions, mask: sitk.Image | None = None, prior_file: Path | None = None
) -> sitk.Image:
    """Make P for one case.

    The same image, options and mask give the same P, at training and at inference. Except for `none`, P is 0 outside
    the filled nonzero region of the image, so that nnU-Net's crop to nonzero crops with this channel as without it
    (zeros enclosed by the body are not outside).

    Args:
        image: First image channel, 3D, finite, any number type.
        options: Kind of prior and its settings.
        mask: Initial mask on the same grid, 0 = background, k = region k, for kinds that need it. If it is empty the
            case gets the `otsu` prior, and a warning is logged.
        prior_file: Probabilities on the same grid, in [0, 1], for kinds that need them.

    Returns:
        P as float32 image on the grid of `image`. 0.5 where nothing can be said: everywhere for `none`, in the nonzero
        region for an image of one intensity (with a warning).

    Raises:
        InvalidInputError: Mask or file is missing, unreadable, not needed, on another grid, or out of range.
    """
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InvalidInputError(
            "boundary prior: a 3D image with one value per voxel is needed (remedy: give each channel as its own image)"
        )
    if prior_file is not None and not options.needs_file:
        remedy = "choose kind 'file', or leave the file out"
        raise InvalidInputError(f"{prior_file}: is not used by the boundary prior {options.kind!r} (remedy: {remedy})")
    file = _read_probability(image, options.kind, prior_file) if options.needs_file else None
    labels = _read_labels(image, options.kind, mask) if options.needs_mask else None
    if labels is not None and not labels.any():
        logger.warning("The initial mask is empty; the boundary prior is of kind 'otsu' instead of %r.", options.kind)
        options = PriorOptions("otsu", **options.values)
    array = sitk.GetArrayViewFromImage(image)
    nonzero = filled_nonzero_region(array) if options.kind != "none" else None
    prior = options.probability(PriorInput(array, image.GetSpacing()[::-1], nonzero, labels, file))
    if prior is None:
        logger.warning("Boundary prior is %g: the image has one intensity only.", UNINFORMATIVE)
        prior = np.full(array.shape, UNINFORMATIVE, dtype=np.float32)
    if nonzero is not None:
        np.copyto(prior, 0, where=~nonzero)  # a product would copy the volume
    del nonzero
    return with_geometry_of(prior, image)


def _read_labels(image: sitk.Image, kind: str, mask: sitk.Image | None) -> np.ndarray:
    where = f"boundary prior, kind {kind!r}: the initial mask"
    if mask is None:
        raise InvalidInputError(f"{where} is needed, and none was given (remedy: give it, or choose 'otsu')")
    if difference := geometry_difference(image, mask):
        raise InvalidInputError(f"{where} is not on the image's grid: {difference} (remedy: resample the mask)")
    labels = sitk.GetArrayViewFromImage(mask)
    if labels.dtype.kind not in "ui" or labels.min() < 0:
        raise InvalidInputError(f"{where} holds {labels.dtype} from {labels.min():g}; whole numbers from 0 are needed")
    return labels


def _read_probability(image: sitk.Image, kind: str, path: Path | None) -> Probability:
    if path is None:
        raise InvalidInputError(f"boundary prior, kind {kind!r}: needs a file for each case (remedy: name it)")
    prior = read_image(path, image.GetSize())
    if difference := geometry_difference(image, prior):
        raise InvalidInputError(f"{path}: is not on the image's grid: {difference} (remedy: resample it)")
    array = sitk.GetArrayViewFromImage(prior)
    low, high = float(array.min()), float(array.max())
    if low < -_FILE_TOLERANCE or high > 1 + _FILE_TOLERANCE:
        what = f"a boundary prior lies in [0, 1], this one in [{low:g}, {high:g}]"
        raise InvalidInputError(f"{path}: {what} (remedy: rescale it)")
    return np.clip(array.astype(np.float32), 0, 1)
