"""SCORE and SCOREPlus on real initial masks: Dice, HD95 and paired tests on held-out cases.

    python benchmarks/score_refinement.py WORK --images DIR --labels DIR --masks DIR --regions RV=1 LV=2 \
        --prior posterior --configuration 2d --device cpu

Files are named alike in the three folders. Patients of `--leave-out` (those that the model behind the masks was trained
on) are neither trained on nor held out. Scores are simulated from the labels of the training cases; the labels are used
for nothing else there. Nothing is tuned on the held-out cases. Tables and reports: WORK/evaluation_*.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nnunet_runs import Runs, add_run_options

NAME = "ScoreBenchmark"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_run_options(parser, dataset=551, epochs=24, iterations=60)
    for name in ("images", "labels", "masks"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--regions", nargs="+", required=True, help="NAME=LABEL, in labels and masks alike")
    parser.add_argument("--leave-out", type=int, nargs="*", default=[], help="numbers of patients")
    parser.add_argument("--prior", default="posterior")
    parser.add_argument("--mm-per-point", type=float, default=0.5, help="of the simulated scores")
    parser.add_argument("--eta", type=float, default=2.0, help="half the width of the correction band, in voxels")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="the paper's is 1e-4, for long schedules")
    parser.add_argument("--methods", nargs="+", default=["SCOREPlus", "SCORE"])
    arguments = parser.parse_args()
    bench = Benchmark(arguments, BENCHMARK_ETA=arguments.eta, BENCHMARK_LEARNING_RATE=arguments.learning_rate)
    bench.collect(arguments.leave_out, images=arguments.images, labels=arguments.labels, masks=arguments.masks)
    bench.prepare()
    for method in arguments.methods:
        bench.refine(method)
    return 0


class Benchmark(Runs):
    def prepare(self) -> None:
        """Scores, raw data set, plans, preprocessed data."""
        regions, processes = " ".join(self.arguments.regions), self.arguments.np
        self.make(
            "scores.csv",
            "nnunet_weak_simulate_scores --references train/labels --masks train/masks --images train/images "
            f"--classes {regions} --mm-per-point {self.arguments.mm_per_point} -o scores.csv -np {processes}",
            show=True,
        )
        self.make(
            f"nnUNet_raw/{self.folder(NAME)}",
            "nnunet_weak_convert_scores --images train/images --masks train/masks --scores scores.csv "
            f"--regions {regions} --prior {self.arguments.prior} --patients patients.csv --channel-names MRI "
            f"-d {self.number(NAME)} -n {NAME} -np {processes}",
        )
        self.plan(NAME)

    def refine(self, method: str) -> None:
        """Train, prepare the held-out cases, predict, evaluate against the initial masks."""
        trainer = f"nnUNetTrainer{method}_benchmark"
        model = self.train(NAME, trainer)
        self.run(
            f"nnunet_weak_prepare_inputs -i test/images --masks test/masks -m {model} -o imagesTs "
            f"-np {self.arguments.np}"
        )
        self.evaluate(
            {method: self.predict(NAME, trainer, method), "initial": "test/masks"},
            labels=f"nnUNet_raw/{self.folder(NAME)}/dataset.json",
            output=f"evaluation_{method}",
        )


if __name__ == "__main__":
    sys.exit(main())
