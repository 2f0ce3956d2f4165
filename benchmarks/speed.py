"""Are our computations faster than the usual way to write them, do they need less memory, and are the results the same?

- band: the band around a mask at 128^3 against two of scipy's distance transforms (on a GPU, with the transfers)
- prior: the Otsu prior of a CT against SimpleITK's Otsu filter and numpy's percentile on every voxel
- metrics: five metrics of one label against scipy's distance transforms of the whole image, and against the filters of
  SimpleITK's notebooks; both would gain most of the ratio by cropping first
- matrices: RefineSeg's transition matrices of 20 classes at 64^3, forward and backward, against materialised ones

Each way runs in a process of its own, in one thread, on synthetic volumes. Prints seconds, peak memory beyond inputs,
the ratios to ours, and results to compare.

    python -m benchmarks.speed band prior metrics matrices --shrink 4
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import binary_erosion, distance_transform_edt

from benchmarks.measure import measure

CT_SHAPE = (300, 512, 512)  # z, y, x
SPACING_MM = (1.5, 0.8, 0.8)
TOLERANCE_MM = 2.0
CLASSES, FEATURES = 20, 32
Action = Callable[[], Sequence[float]]


def ellipsoid(shape: Sequence[int], shift: Sequence[float], radii: Sequence[float]) -> np.ndarray:
    """Radii as shares of the shape."""
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    parts = [((g - n / 2 - d) / (n * r)) ** 2 for g, n, d, r in zip(grid, shape, shift, radii, strict=True)]
    return np.asarray(sum(parts) <= 1)


def band(way: str, shrink: int, device: str) -> Action:
    import torch

    from nnunet_weak.morphology import dilate, erode

    eta, spacing = 3.0, (1.5, 0.7, 0.7)
    torch.set_num_threads(1)
    mask = torch.from_numpy(ellipsoid([128 // shrink] * 3, (0, 0, 0), (0.4, 0.17, 0.14))).to(device)

    def by_scipy() -> torch.Tensor:
        array = mask.cpu().numpy()
        outer = distance_transform_edt(~array, sampling=spacing) <= eta
        inner = distance_transform_edt(array, sampling=spacing) > eta
        return torch.from_numpy(outer & ~inner).to(device)

    def ours() -> torch.Tensor:
        return dilate(mask, eta, spacing) & ~erode(mask, eta, spacing)

    return lambda: [float((ours() if way == "ours" else by_scipy()).sum())]


def prior(way: str, shrink: int, device: str) -> Action:
    from nnunet_weak.priors import PriorOptions, boundary_prior

    shape = [n // shrink for n in CT_SHAPE]
    bone = ellipsoid(shape, (0, 0, 0), (0.4, 0.1, 0.1))
    ct = np.where(ellipsoid(shape, (0, 0, 0), (9, 0.4, 0.4)), 40.0, -1000.0) + 860 * bone
    ct += np.random.default_rng(0).normal(0, 20, shape)
    image, mask = (sitk.GetImageFromArray(array) for array in (ct.astype(np.float32), bone.astype(np.uint8)))
    del ct, bone
    options = PriorOptions.from_json({"kind": "otsu"}, "benchmark")

    def by_filters() -> sitk.Image:
        array = sitk.GetArrayFromImage(image)
        otsu = sitk.OtsuThresholdImageFilter()
        otsu.SetNumberOfHistogramBins(256)
        otsu.SetMaskValue(1)
        otsu.Execute(image, sitk.Cast(image > -300, sitk.sitkUInt8))
        low, high = otsu.GetThreshold(), np.percentile(array[array > -300], 99.5)
        inside = sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.Cast(image != 0, sitk.sitkUInt8)))
        return sitk.GetImageFromArray(np.clip((array - low) / (high - low), 0, 1).astype(np.float32) * inside)

    def run() -> list[float]:
        made = boundary_prior(image, options, mask=mask) if way == "ours" else by_filters()
        return [float(sitk.GetArrayViewFromImage(made).mean(dtype=np.float64))]

    return run


def metrics(way: str, shrink: int, device: str) -> Action:
    from nnunet_weak.evaluation.metrics import evaluate_case

    shape = [n // shrink for n in CT_SHAPE]
    r = ellipsoid(shape, (0, 0, 0), [0.16] * 3).astype(np.uint8)
    p = ellipsoid(shape, (2, 3, -3), [0.168, 0.155, 0.157]).astype(np.uint8)

    def of_distances(there: np.ndarray, back: np.ndarray) -> list[float]:
        pooled = np.concatenate([there, back])
        hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
        return [float(hd95), float(pooled.mean()), float(np.mean(pooled <= TOLERANCE_MM + 1e-5))]

    def ours() -> list[float]:
        row = evaluate_case(p, r, {"organ": 1}, SPACING_MM, nsd_tolerance_mm=TOLERANCE_MM)[0]
        return [row.dice, row.iou, row.hd95_mm, row.assd_mm, row.nsd]

    def by_scipy() -> list[float]:
        masks = [array == 1 for array in (p, r)]
        both, either = np.count_nonzero(masks[0] & masks[1]), np.count_nonzero(masks[0] | masks[1])
        on_p, on_r = (mask ^ binary_erosion(mask) for mask in masks)
        to_p, to_r = (distance_transform_edt(~surface, SPACING_MM) for surface in (on_p, on_r))
        return [2 * both / (both + either), both / either, *of_distances(to_r[on_p], to_p[on_r])]

    def by_simpleitk() -> list[float]:
        images = [sitk.GetImageFromArray(array) for array in (p, r)]
        for image in images:
            image.SetSpacing(SPACING_MM[::-1])
        overlap = sitk.LabelOverlapMeasuresImageFilter()
        overlap.Execute(*images)
        contours = [sitk.LabelContour(image, fullyConnected=False) for image in images]
        on_p, on_r = (sitk.GetArrayViewFromImage(contour) > 0 for contour in contours)
        maps = [sitk.SignedMaurerDistanceMap(c, squaredDistance=False, useImageSpacing=True) for c in contours]
        to_p, to_r = (np.maximum(sitk.GetArrayViewFromImage(distances), 0) for distances in maps)
        return [overlap.GetDiceCoefficient(), overlap.GetJaccardCoefficient(), *of_distances(to_r[on_p], to_p[on_r])]

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    return {"ours": ours, "scipy": by_scipy, "SimpleITK": by_simpleitk}[way]


def matrices(way: str, shrink: int, device: str) -> Action:
    """The last convolution and ``u = A p``, without the hidden convolution, which is the same in both."""
    import torch

    from nnunet_weak.losses.refineseg import positive_loss
    from nnunet_weak.networks.annotation_heads import AnnotationHeads

    torch.manual_seed(0)
    torch.set_num_threads(1)
    spatial = [64 // shrink] * 3
    heads = AnnotationHeads(["one"], CLASSES, FEATURES, 3, hidden_channels=0).to(device)
    features = torch.randn(1, FEATURES, *spatial, device=device, requires_grad=True)
    logits = torch.randn(1, CLASSES, *spatial, device=device, requires_grad=True)
    annotation = torch.randint(0, CLASSES + 1, (1, *spatial), device=device)

    def materialised() -> tuple[torch.Tensor, torch.Tensor]:
        head = heads.heads[0]
        weight = head.weight.flatten(0, 1).view(CLASSES**2, FEATURES, 1, 1, 1)
        matrix = torch.nn.functional.conv3d(features, weight, head.bias.flatten()).unflatten(1, (CLASSES, CLASSES))
        matrix = matrix.softmax(2).transpose(1, 2)
        distance = (
            (matrix.flatten(3) - torch.eye(CLASSES, device=device)[None, :, :, None]).square().sum((1, 2)).mean(1)
        )
        return torch.einsum("bmk...,bk...->bm...", matrix, logits.softmax(1)), distance

    def run() -> list[float]:
        u, distance = heads(features, logits.softmax(1))["one"][:2] if way == "ours" else materialised()
        loss = positive_loss(u, annotation).sum() + 0.2 * distance.sum()
        loss.backward()
        return [loss.item()]

    positive_loss(logits.softmax(1), annotation).sum().backward()  # loads what the first call loads
    return run


COMPARISONS = {
    "band": (band, ("ours", "scipy")),
    "prior": (prior, ("ours", "filters")),
    "metrics": (metrics, ("ours", "scipy", "SimpleITK")),
    "matrices": (matrices, ("ours", "materialised")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparisons", nargs="*", metavar="NAME", help=f"of {', '.join(COMPARISONS)} (default: all)")
    parser.add_argument("--device", default="cpu", help="of PyTorch, for band and matrices (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="of which the median counts (default: %(default)s)")
    parser.add_argument("--shrink", type=int, default=1, help="divide all sizes, to try (default: %(default)s)")
    options = parser.parse_args()
    for name in options.comparisons or COMPARISONS:
        prepare, ways = COMPARISONS[name]
        device = options.device if name in ("band", "matrices") else "cpu"
        runs = {
            way: measure(prepare, way, options.shrink, device, device=device, repeats=options.repeats) for way in ways
        }
        ours = runs["ours"]
        print(f"\n{name:14} {'seconds':>9} {'ratio':>6} {'peak MiB':>9} {'ratio':>6}   result")
        for way, run in runs.items():
            print(
                f"{way:14} {run.seconds:9.3f} {run.seconds / ours.seconds:6.1f} {run.peak_bytes / 2**20:9.1f} "
                f"{run.peak_bytes / max(ours.peak_bytes, 1):6.1f}   " + " ".join(f"{x:.4f}" for x in run.result)
            )


if __name__ == "__main__":
    main()
