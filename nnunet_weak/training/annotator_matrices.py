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
from nnunet_weak.dataset.plans import damaged_plans_named, read_plans
from nnunet_weak.drawings.fusion import staple
from nnunet_weak.drawings.random_walker import FILLED_MAPS
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.networks.annotation_heads import AnnotatedOutput, AnnotationHeads
from nnunet_weak.training.annotation_maps import map_path, open_map
from nnunet_weak.training.checkpoints import HEADS_KEY, KEY, read_checkpoint
from nnunet_weak.training.composite import CompositeNetwork

_STAPLE_VOXELS_PER_CASE = 200_000


@dataclass(frozen=True)
class TrainedModel:
    """A RefineSeg network whose auxiliary part is a `TransitionProbe`.

    Attributes:
        network: The network.
        kinds: `positive` or `negative`, by annotation map.
        labels: Class names, background first.
        patch_size: Of the configuration.
        data_identifier: Name of the folder of preprocessed images.
        device: Where the network is.
    """

    network: CompositeNetwork
    kinds: Mapping[str, str]
    labels: tuple[str, ...]
    patch_size: tuple[int, ...]
    data_identifier: str
    device: torch.device


@dataclass(frozen=True)
class AnnotatorMatrices:
    """Matrices of one annotation map, axes (m, k); a column without a voxel is NaN.

    Attributes:
        kind: `positive` or `negative`.
        cases: Number of cases it was measured over.
        learned: Mean of the head's transition matrix where the network predicts k.
        observed: What is drawn where the network predicts k.
        agreement: What STAPLE estimates; None for negative maps, for maps that are filled by a rule (`FILLED_MAPS`),
            and for a single annotator.
    """

    kind: str
    cases: int
    learned: NDArray[np.float64]
    observed: NDArray[np.float64]
    agreement: NDArray[np.float64] | None


class TransitionProbe(nn.Module):
    """Predicted classes, and transition matrices summed over the voxels of a tile."""

    def __init__(self, heads: AnnotationHeads) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, logits: Tensor, features: Tensor, counted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Classes `(B, *spatial)`, and `AnnotationHeads.transition_sums` over the voxels that count."""
        classes = logits.argmax(1)
        return classes, *self.heads.transition_sums(features, torch.where(counted, classes, -1))


def load_model(
    model_folder: Path, fold: str, checkpoint_name: str, device: torch.device, *, trust: bool = False
) -> TrainedModel:
    """Load a RefineSeg model with the parts that only training needs.

    Raises:
        InvalidInputError: No such checkpoint, one without annotation heads, or one that `read_checkpoint` refuses.
    """
    path = model_folder / f"fold_{fold}" / checkpoint_name
    checkpoint = read_checkpoint(path, trust=trust)
    own = checkpoint.get(KEY, {})
    if HEADS_KEY not in own:
        raise InvalidInputError(f"{path}: holds no annotation heads (remedy: name a model trained by RefineSeg)")
    with damaged_plans_named(path, model_folder / "plans.json"):
        return _model_of(model_folder, checkpoint, device)


def _model_of(model_folder: Path, checkpoint: Mapping[str, Any], device: torch.device) -> TrainedModel:
    own = checkpoint[KEY]
    plans = PlansManager(read_plans(model_folder / "plans.json"))
    dataset_json = checkpoint["init_args"]["dataset_json"]
    configuration = plans.get_configuration(checkpoint["init_args"]["configuration"])
    classes = plans.get_label_manager(dataset_json).num_segmentation_heads
    channels = determine_num_input_channels(plans, configuration, dataset_json)
    core = nnUNetTrainer.build_network_architecture(
        plans, configuration, channels, classes, enable_deep_supervision=False
    )
    core.load_state_dict(checkpoint["network_weights"])
    strategies, dims = own[HEADS_KEY]["strategies"], len(configuration.patch_size)
    features = core.decoder.seg_layers[-1].in_channels
    heads = AnnotationHeads(strategies, classes, features, dims, per_image=own[HEADS_KEY]["per_image"])
    AnnotatedOutput(heads).load_state_dict(own["auxiliary_weights"])
    kinds = WeakAnnotations.read(model_folder).maps
    return TrainedModel(
        CompositeNetwork(core, TransitionProbe(heads)).to(device).eval(),
        {name: kinds[name] for name in strategies},
        tuple(name for name in sorted(dataset_json["labels"], key=dataset_json["labels"].get) if name != "ignore"),
        tuple(configuration.patch_size),
        configuration.data_identifier,
        device,
    )


def measure_annotators(
    model: TrainedModel,
    preprocessed: Path,
    cases: Sequence[str],
    maps_of_case: Mapping[str, Sequence[str]],
    *,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, AnnotatorMatrices]:
    """Measure all annotation maps over cases.

    Args:
        model: The model.
        preprocessed: Folder of the preprocessed data set; images and annotation maps must be there.
        cases: The cases.
        maps_of_case: Maps that each case has.
        seed: Of the choice of voxels for STAPLE, where a case has more than it takes.
        progress: Whether to show a progress bar.
    """
    folder = preprocessed / model.data_identifier
    dataset = infer_dataset_class(str(folder))(str(folder), list(cases))
    names, classes = list(model.kinds), len(model.labels)
    learned, observed = np.zeros((2, len(names), classes, classes))
    voxels = np.zeros((len(names), classes))
    votes: list[NDArray[Any]] = []
    random = np.random.default_rng(seed)
    positive = [name for name, kind in model.kinds.items() if kind == "positive" and name not in FILLED_MAPS]
    for case in tqdm(cases, desc="Cases", unit="case", disable=not progress):
        missing = [name for name in maps_of_case[case] if not map_path(folder, name, case).is_file()]
        if missing:
            raise InvalidInputError(
                f"{folder}, case '{case}': the maps {', '.join(missing)} are not preprocessed (remedy: run "
                "nnunet_weak_preprocess_annotations)"
            )
        drawings = {name: np.asarray(open_map(folder, name, case)[:])[0] for name in maps_of_case[case]}
        prediction, sums, counts = _predict(model, np.asarray(dataset.load_case(case)[0][:]))
        for name, drawing in drawings.items():
            index = names.index(name)
            learned[index] += sums[index]
            voxels[index] += counts
            observed[index] += _joint_counts(drawing, prediction, classes)
        votes.append(_votes(drawings, positive, random))
    agreement = _agreement(positive, votes, classes)
    with np.errstate(invalid="ignore", divide="ignore"):
        learned /= voxels[:, None]
        observed /= observed.sum(1, keepdims=True)
    return {
        name: AnnotatorMatrices(
            kind,
            sum(name in maps_of_case[case] for case in cases),
            learned[index],
            observed[index],
            agreement.get(name),
        )
        for index, (name, kind) in enumerate(model.kinds.items())
    }


def _predict(
    model: TrainedModel, data: NDArray[Any]
) -> tuple[NDArray[np.int16], NDArray[np.float64], NDArray[np.float64]]:
    """Predicted classes of a case `(z, y, x)`, and its `transition_sums`; every voxel counts once."""
    shape = data.shape[1:]
    size = (1,) * (len(shape) - len(model.patch_size)) + model.patch_size
    padded = tuple(max(n, patch) for n, patch in zip(shape, size, strict=True))
    image = np.pad(data, [(0, 0), *[(0, p - n) for p, n in zip(padded, shape, strict=True)]])
    crop = tuple(slice(0, n) for n in shape)
    pending = np.zeros(padded, bool)
    pending[crop] = True
    prediction = np.zeros(padded, np.int16)
    sums, counts = np.zeros((len(model.kinds), *[len(model.labels)] * 2)), np.zeros(len(model.labels))
    for window in _windows(padded, size):
        new = pending[window]
        tile, counted = torch.from_numpy(image[(slice(None), *window)][None]).float(), torch.from_numpy(new[None])
        if len(model.patch_size) == 2:
            tile, counted = tile[:, :, 0], counted[:, 0]
        with torch.no_grad():
            _, (found, of_tile, voxels) = model.network(tile.to(model.device), (counted.to(model.device),))
        prediction[window][new] = found.cpu().numpy().reshape(new.shape)[new]
        sums += of_tile.numpy()
        counts += voxels.numpy()
        pending[window] = False
    return prediction[crop], sums, counts


def _windows(shape: Sequence[int], size: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    for corner in product(*compute_steps_for_sliding_window(tuple(shape), tuple(size), 1.0)):
        yield tuple(slice(start, start + length) for start, length in zip(corner, size, strict=True))


def _joint_counts(drawing: NDArray[Any], prediction: NDArray[Any], classes: int) -> NDArray[np.float64]:
    """Numbers of voxels, axes (drawn, predicted); blank voxels are left out."""
    drawn = drawing > 0
    pairs = (drawing[drawn].astype(np.int64) - 1) * classes + prediction[drawn]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes).astype(float)


def _votes(drawings: Mapping[str, NDArray[Any]], positive: Sequence[str], random: np.random.Generator) -> NDArray[Any]:
    """Voxels on which several annotators spoke, `(annotators, voxels)`; 0 where one did not."""
    blank = np.zeros_like(next(iter(drawings.values()), np.zeros(0, np.uint8)))
    votes = np.stack([drawings.get(name, blank).ravel() for name in positive]) if positive else np.zeros((0, 0))
    chosen = np.flatnonzero((votes > 0).sum(0) > 1)
    if len(chosen) > _STAPLE_VOXELS_PER_CASE:
        chosen = random.choice(chosen, _STAPLE_VOXELS_PER_CASE, replace=False)
    return votes[:, chosen]


def _agreement(positive: Sequence[str], votes: Sequence[NDArray[Any]], classes: int) -> dict[str, NDArray[np.float64]]:
    together = np.concatenate(votes, axis=1) if votes else np.zeros((0, 0))
    if len(positive) < 2 or not together.shape[1]:
        return {}
    return dict(zip(positive, staple(list(together), classes)[1], strict=True))
