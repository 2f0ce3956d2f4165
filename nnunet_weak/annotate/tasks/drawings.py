"""Rough drawings: two label maps of an annotator, "is" and "is not", on the grid of the image.

0 is blank, k + 1 is class k with 0 the background: `--blank 0 --labels background=1 A=2 B=3` of
`nnunet_weak_convert_drawings`. Arrays of the page are (superior, anterior, right).
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_weak.annotate.cases.decode import DecodedCase
from nnunet_weak.annotate.cases.views import View
from nnunet_weak.annotate.records.files import replaced
from nnunet_weak.drawings.random_walker import propagate_random_walker
from nnunet_weak.errors import InvalidInputError
from nnunet_weak.images.read import read_label_map
from nnunet_weak.images.write import write_volume

LAYERS = ("is", "not")
ENDING = ".nii.gz"


class DrawingFolder:
    """The drawings of one annotator.

    Args:
        output: Folder of the annotation.
        annotator: Name of the annotator.
        classes: Number of classes, without background.
    """

    def __init__(self, output: Path, annotator: str, classes: int) -> None:
        root = output / "drawings"
        self.folders = {"is": root / annotator, "not": root / f"{annotator}_not"}
        self._highest = classes + 1

    def read(self, case: DecodedCase, view: View) -> dict[str, NDArray[np.uint8]]:
        """Both drawings in a view.

        Raises:
            InvalidInputError: A file is unreadable or of another image.
        """
        return {layer: self._whole(case, layer)[view.slices] for layer in LAYERS}

    def write(self, case: DecodedCase, view: View, drawn: Mapping[str, NDArray[np.uint8]]) -> dict[str, list[int]]:
        """Write what was drawn in a view; what lies outside of it stays. A drawing that is blank has no file.

        Returns:
            Voxels of each class, from background on, by layer.

        Raises:
            OSError: The disk is full, for example; the files are as they were.
        """
        counts = {}
        for layer in LAYERS:
            whole = self._whole(case, layer)
            whole[view.slices] = drawn[layer]
            counts[layer] = np.bincount(whole.ravel(), minlength=self._highest + 1)[1:].tolist()
            path = self._path(case.case, layer)
            if any(counts[layer]):
                with replaced(path) as temporary:
                    write_volume(case.grid.to_file(whole), case.grid.file_image(), temporary)
            else:
                path.unlink(missing_ok=True)
        return counts

    def decoded(self, view: View, body: bytes) -> dict[str, NDArray[np.uint8]]:
        """Both drawings of a view as the page sends them: gzip of one byte a voxel, "is" before "not".

        Raises:
            InvalidInputError: Another length, or values that are no class.
        """
        size = int(np.prod(view.shape))
        try:
            inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
            content = inflate.decompress(body, 2 * size + 1)  # never more than was announced
        except zlib.error as error:
            raise InvalidInputError(f"drawing: broken ({error})") from error
        if len(content) != 2 * size:
            raise InvalidInputError(f"drawing: holds {len(content)} voxels, the view has 2 x {size}")
        both = np.frombuffer(content, np.uint8).reshape(2, *view.shape[::-1])
        if both.max(initial=0) > self._highest:
            raise InvalidInputError(f"drawing: holds the value {both.max()}, the classes end with {self._highest}")
        return dict(zip(LAYERS, both, strict=True))

    def _whole(self, case: DecodedCase, layer: str) -> NDArray[np.uint8]:
        path = self._path(case.case, layer)
        if not path.is_file():
            return np.zeros(case.grid.shape[::-1], np.uint8)
        array = case.grid.to_page(sitk.GetArrayFromImage(read_label_map(path)))
        if array.shape != case.grid.shape[::-1]:
            raise InvalidInputError(f"{path}: is not of this image: {array.shape} voxels (remedy: move it away)")
        return np.ascontiguousarray(array, np.uint8)

    def _path(self, case: str, layer: str) -> Path:
        return self.folders[layer] / f"{case}{ENDING}"


def compressed(drawn: Mapping[str, NDArray[np.uint8]]) -> bytes:
    """Both drawings as the page takes them: see `DrawingFolder.decoded`."""
    return gzip.compress(b"".join(np.ascontiguousarray(drawn[layer]).tobytes() for layer in LAYERS), 1, mtime=0)


def propagate(
    case: DecodedCase, view: View, drawn: Mapping[str, NDArray[np.uint8]], classes: int, axis: int, channel: int = 0
) -> NDArray[np.uint8]:
    """What the random walker would add to a drawing in slices with at least two classes; 0 where nothing.

    Args:
        case: The case.
        view: The view that was drawn in.
        drawn: Both drawings of the view.
        classes: Number of classes, without background.
        axis: Of the arrays, across the slices.
        channel: The image channel to look at; the page gives the one that is shown.

    Raises:
        InvalidInputError: No slice has two classes.
    """
    spacing = case.grid.spacing_mm[::-1]
    negative = [drawn["not"]] if drawn["not"].any() else []
    image = np.asarray(case.image(channel)[view.slices])
    filled = propagate_random_walker([image], [drawn["is"]], negative, classes + 1, spacing, axis)
    added = np.where(drawn["is"] > 0, 0, filled).astype(np.uint8)
    if not added.any():
        raise InvalidInputError("Draw at least two classes in one slice, the background being one of them")
    return added


def interpolate(drawn: NDArray[np.uint8], code: int, axis: int) -> NDArray[np.uint8]:
    """What lies between drawn slices: each pair's signed distances are blended (Raya and Udupa 1990).

    Args:
        drawn: Drawing, (superior, anterior, right).
        code: Which class.
        axis: Of the array, across the slices.

    Returns:
        Voxels to add, where the drawing is blank.

    Raises:
        InvalidInputError: No blank slice lies between two drawn ones.
    """
    slices = np.moveaxis(drawn, axis, 0)
    present = np.flatnonzero((slices == code).any((1, 2)))
    added = np.zeros_like(slices)
    for first, last in zip(present[:-1], present[1:], strict=True):
        below, above = (_signed_distance(slices[index] == code) for index in (first, last))
        for index in range(int(first) + 1, int(last)):
            share = (index - first) / (last - first)
            added[index][((1 - share) * below + share * above > 0) & (slices[index] == 0)] = code
    if not added.any():
        raise InvalidInputError("Draw this class in two slices with blank ones between them")
    return np.ascontiguousarray(np.moveaxis(added, 0, axis))


def _signed_distance(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    return ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
