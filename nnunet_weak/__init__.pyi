# The public names of the package, for type checkers and editors; `__init__.py` imports them on demand.
from nnunet_weak.api import (
    convert_drawings as convert_drawings,
    convert_points as convert_points,
    convert_scores as convert_scores,
    evaluate as evaluate,
    load_annotations as load_annotations,
)
from nnunet_weak.errors import InvalidInputError as InvalidInputError
from nnunet_weak.evaluation.metrics import evaluate_case as evaluate_case
from nnunet_weak.morphology import dilate as dilate, erode as erode, signed_distance as signed_distance
from nnunet_weak.points.files import read_points as read_points
from nnunet_weak.priors import PriorOptions as PriorOptions, boundary_prior as boundary_prior
from nnunet_weak.simulation.annotators import ANNOTATORS as ANNOTATORS
from nnunet_weak.simulation.drawings import draw_negative as draw_negative, draw_positive as draw_positive
from nnunet_weak.simulation.phantoms import make_phantom as make_phantom
from nnunet_weak.simulation.points import simulate_points as simulate_points
from nnunet_weak.simulation.scores import simulate_scores as simulate_scores
from nnunet_weak.surface.fit import fit_surface as fit_surface
from nnunet_weak.surface.rasterise import rasterise as rasterise

__version__: str
