"""Does the estimated quality of masks say which are bad? On held-out cases with references.

    python -m benchmarks.quality --folder WORK/mandible_ct --model MODEL --device cpu

FOLDER is one of `benchmarks.all`: `train/` and `held_out/` with images, labels and initial_masks. Scores of both parts
are simulated from the references, without a rater's errors. The estimator learns from those of the training part and
estimates the held-out part; the true quality and the Dice of its masks are known. Two baselines rank the same masks:
the distance of a mask's volume from the cohort's, and the entropy of the network alone.

The SCORE network was trained on the training part, so its features are a little too good there.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.data import Part
from benchmarks.rows import commit_of_this
from nnunet_weak.cli.console import Device
from nnunet_weak.cli.estimate_quality import main as estimate_quality
from nnunet_weak.cli.simulate_scores import main as simulate_scores
from nnunet_weak.dataset.annotations import WeakAnnotations
from nnunet_weak.evaluation.metrics import evaluate_case
from nnunet_weak.images.atomic import atomic_file
from nnunet_weak.images.read import list_images, read_label_map
from nnunet_weak.options import option, parse

WORST_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    folder: Path = option(metavar="DIR", help="folder with train/ and held_out/")
    model: Path = option(metavar="MODEL", help="model folder of a SCORE training on the training part")
    fold: str = option("-f", default="all", help="(default: %(default)s)")
    checkpoint: str = option("-chk", default="checkpoint_final.pth", help="(default: %(default)s)")
    output: Path = option("-o", default=Path("quality_benchmark"), metavar="DIR", help="(default: %(default)s)")
    device: Device = option("-device", default="cpu", help="(default: %(default)s)")
    with_tta: bool = option(default=False, help="predict with mirroring")
    part: Part = option(default="development", help="what the held-out cases are (default: %(default)s)")
    results: Path | None = option(default=None, metavar="FILE", help="JSON to write as well")


@dataclass(frozen=True)
class Ranking:
    """How well an order of masks, worst first, finds the bad ones.

    Attributes:
        spearman: Rank correlation of the order (as a quality) with the true Dice.
        auc: Probability that a mask whose Dice is in the worst fifth comes before one whose is not.
        found: Share of the worst fifth in the first fifth of the order.
    """

    spearman: float
    auc: float
    found: float


def rank(quality: np.ndarray, dice: np.ndarray) -> Ranking:
    """Assess an order by ascending `quality`."""
    from scipy.stats import spearmanr
    from sklearn.metrics import roc_auc_score

    count = max(1, round(WORST_SHARE * len(dice)))
    worst = np.zeros(len(dice), bool)
    worst[np.argsort(dice, kind="stable")[:count]] = True
    first = np.argsort(quality, kind="stable")[:count]
    return Ranking(
        float(spearmanr(quality, dice).statistic), float(roc_auc_score(worst, -quality)), float(worst[first].mean())
    )


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(Options, argv, description=__doc__)
    options.output.mkdir(parents=True, exist_ok=True)
    regions = WeakAnnotations.read(options.model).channels.masks
    classes = [f"{name}={number}" for number, name in enumerate(regions, start=1)]
    scores, tables = {}, {}
    for part in ("train", "held_out"):
        scores[part] = options.output / f"{part}_scores.csv"
        tables[part] = options.output / f"{part}.csv"
        folder = options.folder / part
        _run(
            simulate_scores,
            [
                *("--references", str(folder / "labels"), "--masks", str(folder / "initial_masks"), "--classes"),
                *(
                    *classes,
                    "--rater-sd",
                    "0",
                    "--wrong-errors",
                    "0",
                    "-o",
                    str(scores[part]),
                    "--overwrite",
                    "-np",
                    "1",
                ),
            ],
        )
        learn = ["--scores", str(scores[part])] if part == "train" else []
        learn = learn or ["--estimator", str(tables["train"].with_suffix(".json"))]
        _run(
            estimate_quality,
            [
                *("-i", str(folder / "images"), "--masks", str(folder / "initial_masks"), "-m", str(options.model)),
                *("-o", str(tables[part]), "-f", options.fold, "-chk", options.checkpoint, "-device", options.device),
                *(*learn, "--overwrite", "--pictures", "20", "--regions", *classes),
                *([] if options.with_tta else ["--disable_tta"]),
            ],
        )
    _report(options, regions, tables["held_out"], scores["held_out"])


def _report(options: Options, regions: Sequence[str], table: Path, scores: Path) -> None:
    rows = _read(table)
    dice = _true_dice(options.folder / "held_out", regions)
    true = {(row["case"], row["region"]): float(row["quality"]) for row in _read(scores)}
    rows = [row for row in rows if (row["case"], row["region"]) in dice]
    keys = [(row["case"], row["region"]) for row in rows]
    truth = np.array([dice[key] for key in keys])
    quality = np.array([float(row["quality"]) for row in rows])
    orders = {
        "estimated quality": quality,
        "ranking without scores": -np.array([float(row["suspicion"]) for row in rows]),
        "volume z-score alone": -np.abs([float(row["volume_z"]) for row in rows]),
        "entropy alone": -np.array([float(row["entropy"]) for row in rows]),
    }
    print(f"{len(rows)} held-out masks, Dice {truth.mean():.3f} ({truth.min():.3f} to {truth.max():.3f})")
    print(f"{'':24}{'Spearman':>10}{'AUC worst fifth':>17}{'found in first fifth':>22}")
    ranked = {title: rank(order, truth) for title, order in orders.items()}
    for title, found in ranked.items():
        print(f"{title:24}{found.spearman:10.2f}{found.auc:17.2f}{found.found:22.0%}")
    points = np.array([true[key] for key in keys])
    error, median_error = (float(np.abs(guess - points).mean()) for guess in (quality, np.median(points)))
    print(f"off by {error:.2f} points on average; always the held-out median: {median_error:.2f}")
    if options.results is not None:
        content = {
            "quality of": options.folder.name,
            "part": options.part,
            "date": time.strftime("%Y-%m-%d"),
            "commit": commit_of_this(),
            "versions": {name: version(name) for name in ("nnunet_weak", "nnunetv2", "torch", "scikit-learn")},
            "prior": WeakAnnotations.read(options.model).to_json(with_cases=False).get("prior"),
            "orders": {title: asdict(found) for title, found in ranked.items()},
            "mean_absolute_error": error,
            "median_guess_error": median_error,
            "masks": [
                {"case": case, "region": region, "dice": dice[case, region], "score": score, "estimate": estimate}
                for (case, region), score, estimate in zip(keys, points, quality, strict=True)
            ],
        }
        options.results.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(options.results) as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n")


def _true_dice(folder: Path, regions: Sequence[str]) -> dict[tuple[str, str], float]:
    import SimpleITK as sitk

    references, masks = list_images(folder / "labels"), list_images(folder / "initial_masks")
    labels = {name: number for number, name in enumerate(regions, start=1)}
    found = {}
    for case, path in references.items():
        reference, mask = read_label_map(path), read_label_map(masks[case])
        arrays = [sitk.GetArrayViewFromImage(image) for image in (mask, reference)]
        for row in evaluate_case(*arrays, labels, reference.GetSpacing()[::-1]):
            if row.status != "both empty":
                found[case, row.label] = row.dice
    return found


def _run(command, arguments: Sequence[str]) -> None:
    if command(list(arguments)):
        raise SystemExit(f"{' '.join(arguments)} failed")


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
