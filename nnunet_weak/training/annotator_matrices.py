"""What a RefineSeg training has learned about each annotator, measured over its training cases.

Three views of p(drawn m | class k), axes (m, k), for each annotation map: what the annotation head says, averaged over
all voxels that the network predicts as k; what is drawn where the network predicts k, which uses no head; and for
positive maps what STAPLE says of the annotators' agreement, which uses no network. All on the preprocessed grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from nnunet_weak.dataset.annotations import WeakAnnotations
from nnunet_weak.drawings.fusion import staple
from nnunet_weak.drawings.random_walker import RANDOM_WALKER
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.networks.annotated_output import AnnotatedOutput
from nnunet_weak.networks.annotation_heads import AnnotationHeads
from nnunet_weak.training.annotation_maps import map_path, open_map
from nnunet_weak.training.checkpoints import HEADS_KEY, KEY
from nnunet_weak.training.composite import CompositeNetwork

_STAPLE_VOXELS_PER_CASE = 200_000
_LARGEST_MATRIX = 2**27


@dataclass(frozen=True)
class TrainedModel:
    """A RefineSeg network with its annotation heads.

    Attributes:
        network: The network; its auxiliary part measures, see `TransitionProbe`.
        strategies: Kind of each annotation map.
        labels: Class names, background first.
        patch_size: Of the configuration.
        data_identifier: Name of the folder of preprocessed images.
        device: Where the network is.
    """

    network: CompositeNetwork
    strategies: Mapping[str, str]
    labels: tuple[str, ...]
    patch_size: tuple[int, ...]
    data_identifier: str
    device: torch.device


@dataclass
class AnnotatorMatrices:
    """Matrices of one annotation map, axes (m, k); a column without a voxel is NaN.

    Attributes:
        kind: `positive` or `negative`.
        cases: Number of cases it was measured over.
        learned: Mean of the head's transition matrix where the network predicts k.
        observed: What is drawn where the network predicts k.
        agreement: What STAPLE estimates; None for negative maps, for the random walker's, which follows the drawings,
            and for a single annotator.
    """

    kind: str
    cases: int
    learned: NDArray[np.float64]
    observed: NDArray[np.float64]
    agreement: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Deviation:
    """Where an annotator's matrix deviates from the identity, in the slice of a case where it does so most.

    Attributes:
        case: The case.
        image: First channel of the slice.
        drawing: The drawing there, 0 = blank, k + 1 = class k.
        prediction: Class that the network predicts.
        deviation: 1 - A_kk of the predicted class k.
    """

    case: str
    image: NDArray[Any]
    drawing: NDArray[Any]
    prediction: NDArray[Any]
    deviation: NDArray[Any]


@dataclass
class _Sums:
    learned: NDArray[np.float64]
    voxels: NDArray[np.float64]
    observed: NDArray[np.float64]
    cases: int = 0


def load_model(model_folder: Path, fold: str, checkpoint_name: str, device: torch.device) -> TrainedModel:
    """Load a RefineSeg model with the parts that only training needs.

    Raises:
        InvalidInputError: No such checkpoint, or one without annotation heads.
    """
    path = model_folder / f"fold_{fold}" / checkpoint_name
    if not path.is_file():
        raise InvalidInputError(f"{path}: no such file (remedy: name the model folder, and the fold with -f)")
    annotations = WeakAnnotations.read(model_folder)
    checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    own = checkpoint.get(KEY, {})
    if HEADS_KEY not in own:
        raise InvalidInputError(f"{path}: holds no annotation heads (remedy: name a model trained by RefineSeg)")
    plans_manager = PlansManager(str(model_folder / "plans.json"))
    dataset_json = checkpoint["init_args"]["dataset_json"]
    configuration = plans_manager.get_configuration(checkpoint["init_args"]["configuration"])
    label_manager = plans_manager.get_label_manager(dataset_json)
    classes = label_manager.num_segmentation_heads
    core = nnUNetTrainer.build_network_architecture(
        plans_manager,
        configuration,
        determine_num_input_channels(plans_manager, configuration, dataset_json),
        classes,
        enable_deep_supervision=False,
    )
    core.load_state_dict(checkpoint["network_weights"])
    facts = own[HEADS_KEY]
    heads = AnnotationHeads(
        facts["strategies"],
        classes,
        core.decoder.seg_layers[-1].in_channels,
        len(configuration.patch_size),
        per_image=facts["per_image"],
    )
    output = AnnotatedOutput(heads)
    output.load_state_dict(own["auxiliary_weights"])
    network = CompositeNetwork(core, TransitionProbe(output.heads)).to(device).eval()
    names = sorted((value, name) for name, value in dataset_json["labels"].items() if name != "ignore")
    strategies = {name: annotations.maps[name] for name in facts["strategies"]}
    return TrainedModel(
        network,
        strategies,
        tuple(name for _, name in names),
        tuple(configuration.patch_size),
        configuration.data_identifier,
        device,
    )


class TransitionProbe(nn.Module):
    """In the place of the trained auxiliary part: predicted classes, and matrices summed over the voxels of a tile.

    Args:
        heads: The trained annotation heads.
    """

    def __init__(self, heads: AnnotationHeads) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, logits: Tensor, features: Tensor, counted: Tensor, pictured: Sequence[str]) -> tuple[Any, ...]:
        """Sums over the voxels that count, predicted classes, and the deviation of some strategies."""
        classes = logits.argmax(1)
        sums = self.heads.transition_sums(features, torch.where(counted, classes, -1))
        fits = self.heads.num_classes**2 * classes[0].numel() <= _LARGEST_MATRIX
        deviations = {name: self._deviation(features, classes, name) for name in pictured if fits}
        return sums, classes, deviations

    def _deviation(self, features: Tensor, classes: Tensor, name: str) -> Tensor:
        """1 - A_kk of the predicted class k, `(B, *spatial)`."""
        matrix = self.heads.transition_matrix(features, name)
        if matrix.ndim == 3:  # one for the whole image
            matrix = matrix.view(*matrix.shape, *[1] * (classes.ndim - 1)).expand(-1, -1, -1, *classes.shape[1:])
        diagonal = torch.diagonal(matrix, dim1=1, dim2=2).movedim(-1, 1)
        return 1 - diagonal.gather(1, classes[:, None])[:, 0]


def measure_annotators(
    model: TrainedModel,
    preprocessed: Path,
    cases: Sequence[str],
    maps_of_case: Mapping[str, Sequence[str]],
    *,
    seed: int = 0,
    progress: bool = True,
) -> tuple[dict[str, AnnotatorMatrices], dict[str, Deviation]]:
    """Measure all annotation maps over cases.

    Args:
        model: The model.
        preprocessed: Folder of the preprocessed data set; images and annotation maps must be there.
        cases: The cases.
        maps_of_case: Maps that each case has.
        seed: Of the choice of voxels for STAPLE, where a case has more than it takes.
        progress: Whether to show a progress bar.

    Returns:
        Matrices by map, and for each map the slice to look at.
    """
    folder = preprocessed / model.data_identifier
    dataset = infer_dataset_class(str(folder))(str(folder), list(cases))
    classes = len(model.labels)
    sums = {
        name: _Sums(np.zeros((classes, classes)), np.zeros(classes), np.zeros((classes, classes)))
        for name in model.strategies
    }
    pictured = {name: next((c for c in cases if name in maps_of_case[c]), None) for name in model.strategies}
    deviations: dict[str, Deviation] = {}
    votes: list[NDArray[Any]] = []
    random = np.random.default_rng(seed)
    positive = [name for name, kind in model.strategies.items() if kind == "positive" and name != RANDOM_WALKER]
    for case in tqdm(cases, desc="Cases", unit="case", disable=not progress):
        missing = [name for name in maps_of_case[case] if not map_path(folder, name, case).is_file()]
        if missing:
            raise InvalidInputError(
                f"{folder}, case '{case}': the maps {', '.join(missing)} are not preprocessed (remedy: run "
                "nnunet_weak_preprocess_annotations)"
            )
        drawings = {name: np.asarray(open_map(folder, name, case)[:])[0] for name in maps_of_case[case]}
        data = np.asarray(dataset.load_case(case)[0][:])
        shown = tuple(name for name, first in pictured.items() if first == case)
        prediction, found, away = _run(model, data, shown)
        for name, drawing in drawings.items():
            entry, (learned, voxels) = sums[name], found[name]
            entry.learned += learned
            entry.voxels += voxels
            entry.observed += _drawn_by_prediction(drawing, prediction, classes)
            entry.cases += 1
        for name, deviation in away.items():
            deviations[name] = _slice_to_look_at(case, data[0], drawings[name], prediction, deviation)
        votes.append(_votes(drawings, positive, random))
    matrices = {
        name: AnnotatorMatrices(
            model.strategies[name], entry.cases, _columns(entry.learned, entry.voxels), _columns(entry.observed)
        )
        for name, entry in sums.items()
    }
    together = np.concatenate(votes, axis=1) if votes else np.zeros((0, 0))
    if len(positive) > 1 and together.shape[1]:
        _, estimated = staple(list(together), classes)
        for name, matrix in zip(positive, estimated, strict=True):
            matrices[name].agreement = matrix
    return matrices, deviations


def _run(
    model: TrainedModel, data: NDArray[Any], pictured: tuple[str, ...]
) -> tuple[NDArray[Any], dict[str, tuple[NDArray[Any], NDArray[Any]]], dict[str, NDArray[Any]]]:
    """Predicted classes of a case, sums and voxel counts of each strategy, deviations; every voxel counts once."""
    shape = data.shape[1:]
    size = (1,) * (len(shape) - len(model.patch_size)) + model.patch_size
    padded = tuple(max(n, patch) for n, patch in zip(shape, size, strict=True))
    image = np.pad(data, [(0, 0), *[(0, p - n) for p, n in zip(padded, shape, strict=True)]])
    done = np.ones(padded, bool)
    done[tuple(slice(0, n) for n in shape)] = False
    prediction = np.zeros(padded, np.int16)
    deviations: dict[str, NDArray[Any]] = {}
    totals: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
    for window in _windows(padded, size):
        flat = len(model.patch_size) == 2
        tile = torch.from_numpy(image[(slice(None), *window)][None]).float()
        counted = torch.from_numpy(~done[window])[None]
        if flat:
            tile, counted = tile[:, :, 0], counted[:, 0]
        with torch.no_grad():
            _, (found, classes, away) = model.network(tile.to(model.device), (counted.to(model.device), pictured))
        new = ~done[window]
        prediction[window][new] = classes.cpu().numpy().reshape(new.shape)[new]
        for name, values in away.items():
            deviation = deviations.setdefault(name, np.zeros(padded, np.float32))
            deviation[window][new] = values.float().cpu().numpy().reshape(new.shape)[new]
        done[window] = True
        for name, (learned, voxels) in found.items():
            before = totals.get(name, (0.0, 0.0))
            totals[name] = (before[0] + learned.numpy(), before[1] + voxels.numpy())
    crop = tuple(slice(0, n) for n in shape)
    return prediction[crop], totals, {name: deviation[crop] for name, deviation in deviations.items()}


def _windows(shape: Sequence[int], size: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    for corner in product(*compute_steps_for_sliding_window(tuple(shape), tuple(size), 1.0)):
        yield tuple(slice(start, start + length) for start, length in zip(corner, size, strict=True))


def _drawn_by_prediction(drawing: NDArray[Any], prediction: NDArray[Any], classes: int) -> NDArray[Any]:
    drawn = drawing > 0
    pairs = (drawing[drawn].astype(np.int64) - 1) * classes + prediction[drawn]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes).astype(float)


def _votes(drawings: Mapping[str, NDArray[Any]], positive: Sequence[str], random: np.random.Generator) -> NDArray[Any]:
    """Voxels on which several annotators spoke, `(annotators, voxels)`; 0 where one did not."""
    shape = next(iter(drawings.values())).shape if drawings else (0,)
    blank = np.zeros(shape, np.uint8)
    votes = np.stack([drawings.get(name, blank).ravel() for name in positive]) if positive else np.zeros((0, 0))
    chosen = np.flatnonzero((votes > 0).sum(0) > 1)
    if len(chosen) > _STAPLE_VOXELS_PER_CASE:
        chosen = random.choice(chosen, _STAPLE_VOXELS_PER_CASE, replace=False)
    return votes[:, chosen]


def _slice_to_look_at(
    case: str, image: NDArray[Any], drawing: NDArray[Any], prediction: NDArray[Any], deviation: NDArray[Any]
) -> Deviation:
    # Where targets are, not where the background is uncertain as a whole.
    weight = (deviation * (prediction > 0)).sum((1, 2))
    index = int(weight.argmax()) if weight.any() else len(image) // 2
    return Deviation(case, image[index], drawing[index], prediction[index], deviation[index])


def _columns(sums: NDArray[np.float64], voxels: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    total = sums.sum(0) if voxels is None else voxels
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums / total
