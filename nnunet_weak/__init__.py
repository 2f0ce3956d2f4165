"""Train nnU-Net from annotation a clinician can afford: quality scores, rough drawings, a few surface points.

The names below are imported when they are first asked for, so `import nnunet_weak` is instant and loads neither torch
nor nnU-Net. `__init__.pyi` tells type checkers and editors what they are.
"""

__version__ = "0.2.0"

_MODULES = {
    "api": ("convert_drawings", "convert_points", "convert_scores", "evaluate", "load_annotations"),
    "errors": ("InvalidInputError",),
    "evaluation.metrics": ("evaluate_case",),
    "morphology": ("dilate", "erode", "signed_distance"),
    "points.files": ("read_points",),
    "priors": ("PriorOptions", "boundary_prior"),
    "simulation.annotators": ("ANNOTATORS",),
    "simulation.drawings": ("draw_negative", "draw_positive"),
    "simulation.phantoms": ("make_phantom",),
    "simulation.points": ("simulate_points",),
    "simulation.scores": ("simulate_scores",),
    "surface.fit": ("fit_surface",),
    "surface.rasterise": ("rasterise",),
}
"""Public names by the module below this package that defines them."""

_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(["__version__", *_MODULE_OF])


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
