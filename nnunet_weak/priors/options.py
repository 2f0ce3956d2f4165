"""Options of the boundary prior, as they stand in dataset.json so that training and inference make the same P."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

from nnunet_weak.errors import Problems

PriorKind = Literal["otsu", "local", "gradient", "posterior", "none", "file"]
PRIOR_KINDS: tuple[str, ...] = get_args(PriorKind)


@dataclass(frozen=True)
class PriorOptions:
    """How P is made. Each kind reads the fields named with it and ignores the others.

    Attributes:
        kind: `otsu` (the paper's), `local`, `gradient`, `posterior`, `none` (P = 0.5 everywhere) or `file`.
        upper_percentile: Intensity (`otsu`) or gradient (`gradient`) at which P reaches 1, as a percentile over the
            body.
        air_threshold: Intensity up to which a voxel is air (`otsu`, `gradient`); None finds it from the image.
        sigma_mm: Standard deviation of the Gaussian under the gradient (`gradient`).
        core_mm: Voxels this near to the mask's boundary may well be wrong and teach nothing (`posterior`).
        shell_mm: How far around the mask its surroundings are learned from (`local`, `posterior`).
        reach_mm: Farther than this from the mask P is 0 (`local`, `posterior`).
        locality_mm: Standard deviation of the window in which intensities are compared; 0 takes a region as a whole
            (`posterior`).
        mask_weight_per_mm: What the mask itself counts for: added to the log-odds of P per mm of depth in it
            (`posterior`).

    Raises:
        InvalidInputError: A value outside its range; all of them in one list.
    """

    kind: PriorKind = "otsu"
    upper_percentile: float = 99.5
    air_threshold: float | None = None
    sigma_mm: float = 1.0
    core_mm: float = 1.0
    shell_mm: float = 6.0
    reach_mm: float = 20.0
    locality_mm: float = 6.0
    mask_weight_per_mm: float = 0.5

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        problems = Problems()
        _check_values(self, "boundary prior", problems)
        problems.raise_if_any()

    @property
    def needs_mask(self) -> bool:
        """Whether P is made from the initial mask as well as from the image."""
        return self.kind in ("local", "posterior")

    def to_json(self) -> dict[str, str | float]:
        """As an object of strings and numbers, for dataset.json; what is None is left out."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}

    @classmethod
    def from_json(cls, obj: object, where: str) -> PriorOptions:
        """Read what `to_json` wrote; fields that are left out keep their default.

        Args:
            obj: The parsed JSON object.
            where: File and JSON path, for messages.

        Raises:
            InvalidInputError: Not an object, unknown keys, wrong types or values out of range; everything in one list.
        """
        problems = Problems()
        if not isinstance(obj, Mapping):
            problems.add(where, f"{type(obj).__name__} instead of an object such as {{'kind': 'otsu'}}")
            problems.raise_if_any()
        assert isinstance(obj, Mapping)
        allowed = [field.name for field in fields(cls)]
        for key in obj:
            if key not in allowed:
                problems.add(
                    f"{where}.{key}", "unknown option of the boundary prior", f"allowed are {', '.join(allowed)}"
                )
        known = {str(key): value for key, value in obj.items() if key in allowed}
        candidate = object.__new__(cls)
        for field in fields(cls):
            object.__setattr__(candidate, field.name, known.get(field.name, field.default))
        _check_values(candidate, where, problems)
        problems.raise_if_any("Boundary prior" if len(problems) > 1 else "")
        return cls(**known)


def _check_values(options: PriorOptions, where: str, problems: Problems) -> None:
    if options.kind not in PRIOR_KINDS:
        problems.add(f"{where}.kind", f"{options.kind!r} is no kind of prior", f"allowed are {', '.join(PRIOR_KINDS)}")
    ranges: dict[str, tuple[float, float]] = {
        "upper_percentile": (50.0, 100.0),
        "air_threshold": (-math.inf, math.inf),
        "sigma_mm": (1e-3, 100.0),
        "core_mm": (0.0, 100.0),
        "shell_mm": (1e-3, 1000.0),
        "reach_mm": (1e-3, 10000.0),
        "locality_mm": (0.0, 10000.0),
        "mask_weight_per_mm": (0.0, 100.0),
    }
    sound = True
    for name, (low, high) in ranges.items():
        value = getattr(options, name)
        if value is None and name == "air_threshold":
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            problems.add(f"{where}.{name}", f"{value!r} is not a finite number")
            sound = False
        elif not low <= value <= high:
            problems.add(f"{where}.{name}", f"{value:g} is outside {low:g} to {high:g}")
            sound = False
    if sound and options.shell_mm <= options.core_mm:
        problems.add(
            f"{where}.shell_mm",
            f"{options.shell_mm:g} leaves nothing outside core_mm = {options.core_mm:g}",
            "enlarge shell_mm",
        )
