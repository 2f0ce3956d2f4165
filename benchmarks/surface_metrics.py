"""Time of one label's five metrics on a synthetic CT-sized volume, against what one would write otherwise.

    python benchmarks/surface_metrics.py [--shape 300 512 512] [--repeats 3]

`full-volume EDT` is the common recipe: scipy's distance transforms of the whole image. `SimpleITK` is the one of its
notebooks: the LabelOverlapMeasures filter, and Maurer distance maps of contours. Both would gain most of the ratio
by cropping first. All run in one thread, and the figures are printed, to show that they agree.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import binary_erosion, distance_transform_edt

from nnunet_weak.evaluation.metrics import evaluate_case

SPACING_MM = (1.5, 0.8, 0.8)
TOLERANCE_MM = 2.0
Figures = tuple[float, float, float, float, float]


def ellipsoid(shape: tuple[int, ...], centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    return (sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)) <= 1).astype(np.uint8)


def ours(p: np.ndarray, r: np.ndarray) -> Figures:
    row = evaluate_case(p, r, {"organ": 1}, SPACING_MM, nsd_tolerance_mm=TOLERANCE_MM)[0]
    return row.dice, row.iou, row.hd95_mm, row.assd_mm, row.nsd


def full_volume_edt(p: np.ndarray, r: np.ndarray) -> Figures:
    p, r = p == 1, r == 1
    both, either = np.count_nonzero(p & r), np.count_nonzero(p | r)
    surface_p, surface_r = p ^ binary_erosion(p), r ^ binary_erosion(r)
    p_to_r = distance_transform_edt(~surface_r, SPACING_MM)[surface_p]
    r_to_p = distance_transform_edt(~surface_p, SPACING_MM)[surface_r]
    return 2 * both / (both + either), both / either, *of_distances(p_to_r, r_to_p)


def simpleitk(p: np.ndarray, r: np.ndarray) -> Figures:
    images = [sitk.GetImageFromArray(array) for array in (p, r)]
    for image in images:
        image.SetSpacing(SPACING_MM[::-1])
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images)
    contours = [sitk.LabelContour(image, fullyConnected=False) for image in images]
    on_p, on_r = (sitk.GetArrayViewFromImage(contour) > 0 for contour in contours)
    maps = [sitk.SignedMaurerDistanceMap(c, squaredDistance=False, useImageSpacing=True) for c in contours]
    to_p, to_r = (sitk.GetArrayViewFromImage(distances) for distances in maps)
    distances = np.maximum(to_r[on_p], 0), np.maximum(to_p[on_r], 0)
    return overlap.GetDiceCoefficient(), overlap.GetJaccardCoefficient(), *of_distances(*distances)


def of_distances(there: np.ndarray, back: np.ndarray) -> tuple[float, float, float]:
    pooled = np.concatenate([there, back])
    hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
    return float(hd95), float(pooled.mean()), float(np.mean(pooled <= TOLERANCE_MM + 1e-5))


def timed(function: Callable[[np.ndarray, np.ndarray], Figures], p: np.ndarray, r: np.ndarray) -> tuple[float, Figures]:
    start = time.perf_counter()
    figures = function(p, r)
    return time.perf_counter() - start, figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512), metavar=("Z", "Y", "X"))
    parser.add_argument("--repeats", type=int, default=3, help="of our own; the others run once (default: %(default)s)")
    arguments = parser.parse_args()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    shape = tuple(arguments.shape)
    centre = np.array(shape) / 2
    for name, share in (("organ", 0.16), ("small structure", 0.035)):
        reference = ellipsoid(shape, centre, np.array(shape) * share)
        prediction = ellipsoid(shape, centre + (2, 3, -3), np.array(shape) * share * (1.05, 0.97, 0.98))
        print(f"\n{name}: {np.count_nonzero(reference):,} of {reference.size:,} voxels")
        own = min(timed(ours, prediction, reference)[0] for _ in range(arguments.repeats))
        for title, function in (("nnunet_weak", ours), ("full-volume EDT", full_volume_edt), ("SimpleITK", simpleitk)):
            took, (dice, iou, hd95, assd, nsd) = timed(function, prediction, reference)
            took = own if function is ours else took
            figures = f"Dice {dice:.4f}  IoU {iou:.4f}  HD95 {hd95:.3f}  ASSD {assd:.3f}  NSD {nsd:.4f}"
            print(f"  {title:16} {took:7.2f} s  ratio {took / own:6.1f}   {figures}")


if __name__ == "__main__":
    main()
